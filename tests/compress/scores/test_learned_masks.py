"""Gates that are learned: their distributions, the size that is expected under them, and what training them gives."""

from __future__ import annotations

import copy
import functools
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.coupling.find import find_coupling
from edge_dendrite.compress.scores.expected_parameters import ExpectedParameters
from edge_dendrite.compress.scores.gates import GatedWeights, HardConcrete, StraightThrough
from edge_dendrite.compress.scores.importance import unit_scores
from edge_dendrite.compress.scores.learned_masks import learn_masks
from edge_dendrite.config import MaskConfig
from edge_dendrite.data.digits import read_digits
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.models.convnets import DigitsCNN

METHODS = ("l0", "straight_through")


class Tower(nn.Module):
    """A convolution behind a cat, a layer used twice, a flatten."""

    def __init__(self, a=3, b=2, c=4):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, a, 1), nn.Conv2d(2, b, 3, padding=1)
        self.norm, self.c = nn.BatchNorm2d(a + b), nn.Linear((a + b) * 4, c)
        self.twice, self.head = nn.Linear(c, c), nn.Linear(c, 3)

    def forward(self, x):
        h = self.norm(torch.cat([self.a(x), self.b(x)], 1)).relu()
        h = self.c(functional.adaptive_avg_pool2d(h, 2).flatten(1)).relu()
        return self.head(self.twice(self.twice(h).tanh()).tanh())


def tower_size(a, b, c):
    return 3 * a + 19 * b + 2 * (a + b) + (4 * (a + b) + 1) * c + (c + 1) * c + 3 * c + 3


class Memory(nn.Module):
    """An LSTM between linear layers: the recurrent weights have the hidden units in both dimensions."""

    def __init__(self, width=3, hidden=4):
        super().__init__()
        self.before, self.rnn = nn.Linear(2, width), nn.LSTM(width, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 3)

    def forward(self, x):
        return self.fc(self.rnn(self.before(x).relu())[0][:, -1])


def memory_size(width, hidden):
    return 3 * width + 4 * hidden * (width + hidden + 2) + 3 * hidden + 3


CASES = {
    "cat, flatten, shared layer": (Tower, tower_size, (3, 2, 4), (2, 5, 5)),
    "LSTM": (Memory, memory_size, (3, 4), (6, 2)),
}


def units_of(coupling, name):
    """The group's number whose layers are called so."""
    return next(number for number, group in enumerate(coupling.groups) if group.name.split(" + ")[0] == name)


@pytest.mark.parametrize("name", CASES)
def test_expected_parameters_by_counting_every_case(name):
    factory, size, widths, shape = CASES[name]
    torch.manual_seed(0)
    for smaller in itertools.product(*(range(1, width + 1) for width in widths)):
        assert sum(one.numel() for one in factory(*smaller).parameters()) == size(*smaller)
    coupling = find_coupling(factory().eval(), torch.zeros(2, *shape))
    order = [units_of(coupling, layer) for layer in (("a", "b", "c") if factory is Tower else ("before", "rnn"))]
    keep = [torch.rand(group.num_units, dtype=torch.float64) for group in coupling.groups]
    assert [len(keep[number]) for number in order] == list(widths)
    probabilities = torch.cat([keep[number] for number in order]).tolist()
    wanted = 0.0
    for case in itertools.product((0, 1), repeat=len(probabilities)):
        rest = iter(case)
        left = [sum(itertools.islice(rest, width)) for width in widths]
        wanted += math.prod(p if stays else 1.0 - p for p, stays in zip(probabilities, case, strict=True)) * size(*left)
    expected = ExpectedParameters(coupling)
    assert float(expected(keep)) == pytest.approx(wanted, rel=1e-12)
    assert float(expected([torch.ones_like(one) for one in keep])) == expected.total == size(*widths)
    assert float(expected([torch.zeros_like(one) for one in keep])) == size(*(0 for _ in widths))


def test_expected_parameters_have_a_gradient():
    coupling = find_coupling(Memory().eval(), torch.zeros(2, 6, 2))
    expected = ExpectedParameters(coupling)
    keep = [torch.rand(group.num_units, dtype=torch.float64, requires_grad=True) for group in coupling.groups]
    assert torch.autograd.gradcheck(lambda *probabilities: expected(probabilities), keep)


@pytest.mark.parametrize("kind", [HardConcrete(2 / 3), HardConcrete(0.3), StraightThrough()])
def test_gates_are_open_as_often_as_they_say(kind):
    generator = torch.Generator().manual_seed(0)
    logits = torch.tensor([-3.0, -1.0, 0.0, 0.7, 2.5]).repeat(40_000, 1)
    gates = kind.draw(logits, torch.rand(logits.shape, generator=generator))
    assert 0.0 <= float(gates.min()) < float(gates.max()) <= 1.0
    seen = (gates > 0).double().mean(0)
    assert torch.allclose(seen, kind.open_probability(logits[0]).double(), atol=0.01)
    for probability in (0.1, 0.5, 0.9):
        logit = torch.tensor(kind.logit_of(probability), dtype=torch.float64)
        assert float(kind.open_probability(logit)) == pytest.approx(probability)


def test_hard_concrete_gates_are_those_of_the_paper():
    """Equations 10 and 11 at given noise, beta = 2/3, gamma = -0.1, zeta = 1.1; a gradient where a gate is between."""
    kind, logits = HardConcrete(2 / 3), torch.tensor([0.5, 0.5, 0.5], requires_grad=True)
    noise = [0.01, 0.4, 0.99]
    gates = kind.draw(logits, torch.tensor(noise))
    wanted = []
    for u in noise:
        s = 1 / (1 + math.exp(-(math.log(u) - math.log(1 - u) + 0.5) / (2 / 3)))
        wanted.append(min(1.0, max(0.0, s * 1.2 - 0.1)))
    assert wanted[0] == 0.0
    assert wanted[2] == 1.0
    assert gates.tolist() == pytest.approx(wanted, rel=1e-5)
    gates.sum().backward()
    assert (logits.grad != 0).tolist() == [False, True, False]


def test_straight_through_gates_are_binary_with_the_gradient_of_the_probability():
    logits = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    gates = StraightThrough().draw(logits, torch.tensor([0.2, 0.6, 0.8]))
    assert gates.tolist() == [1.0, 0.0, 1.0]
    gates.sum().backward()
    probability = torch.sigmoid(logits.detach())
    assert torch.allclose(logits.grad, probability * (1 - probability))


@torch.no_grad()
def test_a_gate_multiplies_what_a_unit_sends():
    torch.manual_seed(0)
    module, inputs = Memory(), torch.randn(5, 6, 2)
    coupling = find_coupling(module, inputs)
    gated = GatedWeights(coupling, locked=[])
    gates = torch.rand(gated.num_units)
    width, hidden = (gated.per_group(gates)[units_of(coupling, name)] for name in ("before", "rnn"))
    weights = gated.apply({name: one.detach() for name, one in module.named_parameters()}, gates)
    steps, state = module.before(inputs).relu() * width, (torch.zeros(5, 4), torch.zeros(5, 4))
    cell = nn.LSTMCell(3, 4)
    cell.load_state_dict({name.removesuffix("_l0"): one for name, one in module.rnn.state_dict().items()})
    for step in range(6):
        new, memory = cell(steps[:, step], state)
        state = (new * hidden, memory)
    wanted = module.fc(state[0])
    other = copy.deepcopy(module)
    other.load_state_dict(weights)
    assert torch.allclose(other(inputs), wanted, atol=1e-6)
    assert float((module(inputs) - wanted).abs().max()) > 0.01


@functools.cache
def digits():
    """(network that knows the digits, its coupling, batches, validation inputs and targets)."""
    data = read_digits()
    torch.manual_seed(0)
    module = DigitsCNN()
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    for epoch in range(10):
        for inputs, targets in data.batches(data.train, 64, torch.Generator().manual_seed(epoch)):
            optimizer.zero_grad()
            functional.cross_entropy(module(inputs), targets).backward()
            optimizer.step()
    batches = list(data.batches(data.train, 64, torch.Generator().manual_seed(0)))
    inputs, targets = next(iter(data.batches(data.validation, 512)))
    return module.eval(), find_coupling(module, inputs[:2]), batches, inputs, targets


def best_units(coupling, scores, max_parameters):
    """0 or 1 for every unit: the least scores go, two stay in every group, until the budget is kept."""
    expected = ExpectedParameters(coupling)
    alive = [torch.ones_like(score) for score in scores]
    order = sorted(
        (value, number, unit) for number, one in enumerate(scores) for unit, value in enumerate(one.tolist())
    )
    for _, number, unit in order:
        if float(expected(alive)) <= max_parameters:
            break
        if float(alive[number].sum()) > 2:
            alive[number][unit] = 0.0
    assert float(expected(alive)) <= max_parameters
    return alive


@torch.no_grad()
def accuracy_with(alive, weights=None):
    module, coupling, _, inputs, targets = digits()
    gated = GatedWeights(coupling, locked=[])
    module = copy.deepcopy(module)
    module.load_state_dict(weights or {}, strict=False)
    values = gated.apply(dict(module.named_parameters()), torch.cat(alive).float())
    outputs = torch.func.functional_call(module, values, (inputs,))
    return float((outputs.argmax(1) == targets).double().mean())


@pytest.mark.parametrize("method", METHODS)
def test_learned_masks_are_far_better_than_random_ones(method):
    """At a third of the parameters, without any training of the weights; three seeds of the masks."""
    module, coupling, batches, inputs, targets = digits()
    with torch.no_grad():
        dense = float((module(inputs).argmax(1) == targets).double().mean())
    assert dense > 0.93
    budget = 13_706 / 3
    learned, random = [], []
    for seed in range(3):
        config = MaskConfig(method=method, num_steps=100, seed=seed)
        masks = learn_masks(module, coupling, batches, functional.cross_entropy, config, max_parameters=budget)
        assert masks.weights == {}
        learned.append(accuracy_with(best_units(coupling, masks.keep, budget)))
        scores = unit_scores(module, coupling, "random", (), functional.cross_entropy, seed=seed)
        random.append(accuracy_with(best_units(coupling, scores, budget)))
    assert min(learned) > max(random) + 0.2
    assert sum(learned) / 3 > dense - 0.15


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_the_budget_is_met(share):
    module, coupling, batches, _, _ = digits()
    masks = learn_masks(
        module,
        coupling,
        batches,
        functional.cross_entropy,
        MaskConfig(num_steps=120),
        max_parameters=share * 13_706,
    )
    assert masks.expected_parameters == pytest.approx(share * 13_706, rel=0.15)
    assert masks.expected_parameters == pytest.approx(float(ExpectedParameters(coupling)(masks.keep)))
    for group, keep in zip(coupling.groups, masks.keep, strict=True):
        assert keep.shape == (group.num_units,)
        assert keep.dtype == torch.float64
        assert 0.0 < float(keep.min()) <= float(keep.max()) < 1.0


def test_weights_can_be_trained_along():
    module, coupling, batches, _, _ = digits()
    before = {name: one.clone() for name, one in module.state_dict().items()}
    config = MaskConfig(num_steps=120, train_weights=True, weight_learning_rate=3e-3)
    budget = 0.2 * 13_706
    masks = learn_masks(module, coupling, batches, functional.cross_entropy, config, max_parameters=budget)
    assert masks.weights.keys() == before.keys()
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    assert not any(torch.equal(one, before[name]) for name, one in masks.weights.items())
    assert not any(one.requires_grad for one in masks.weights.values())
    alive = best_units(coupling, masks.keep, budget)
    assert accuracy_with(alive, masks.weights) > accuracy_with(alive) + 0.05


def run(module, batches, loss=functional.cross_entropy, **options):
    coupling = find_coupling(module, batches[0][0])
    locked = options.pop("locked", ())
    return learn_masks(
        module, coupling, batches, loss, MaskConfig(**{"num_steps": 5, **options}), max_parameters=60, locked=locked
    )


def small_batches(*shape):
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(6, *shape, generator=generator), torch.randint(0, 3, (6,), generator=generator))]


@pytest.mark.parametrize("train_weights", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_as_it_was(train_weights, fails):
    """Also where the loss fails in the middle, with frozen weights, gradients, batch norm and mixed modes."""
    torch.manual_seed(0)
    module, batches = Tower().train(), small_batches(2, 5, 5)
    module.c.requires_grad_(False)
    module.a.weight.grad = torch.ones_like(module.a.weight)
    module.head.eval()
    before = {name: one.clone() for name, one in module.state_dict().items()}
    random_state, calls = torch.get_rng_state(), []

    def loss(outputs, targets):
        calls.append(module.norm.training)
        if fails and len(calls) == 3:
            raise ZeroDivisionError("the user's loss")
        return functional.cross_entropy(outputs, targets)

    if fails:
        with pytest.raises(ZeroDivisionError):
            run(module, batches, loss, train_weights=train_weights)
    else:
        masks = run(module, batches, loss, train_weights=train_weights)
        changed = {name for name, one in masks.weights.items() if not torch.equal(one, before[name])}
        frozen = {"c.weight", "c.bias"}
        assert changed == (before.keys() - frozen if train_weights else set())
    assert calls == [train_weights] * (3 if fails else 5), "batch norm is trained only along with the weights"
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    assert [name for name, one in module.named_parameters() if not one.requires_grad] == ["c.weight", "c.bias"]
    assert torch.equal(module.a.weight.grad, torch.ones_like(module.a.weight))
    assert all(one.grad is None for name, one in module.named_parameters() if name != "a.weight")
    assert (module.training, module.norm.training, module.head.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), random_state)
    copy.deepcopy(module)


def test_a_recurrent_network_learns_masks_and_stays_usable():
    torch.manual_seed(0)
    module, batches = Memory(), small_batches(6, 2)
    before = module(batches[0][0])
    masks = run(module, batches)
    assert [len(one) for one in masks.keep] == [3, 4]
    assert torch.equal(module(batches[0][0]), before)
    assert torch.equal(copy.deepcopy(module)(batches[0][0]), before)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_masks(method):
    torch.manual_seed(0)
    module, batches = Tower(), small_batches(2, 5, 5)
    first, again, other = (run(module, batches, method=method, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one, same) for one, same in zip(first.keep, again.keep, strict=True))
    assert not all(torch.equal(one, different) for one, different in zip(first.keep, other.keep, strict=True))


def test_dropout_follows_the_seed_too():
    module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(), nn.Linear(8, 3))
    first = run(module, small_batches(4), train_weights=True)
    torch.manual_seed(123)
    again = run(module, small_batches(4), train_weights=True)
    assert all(torch.equal(one, again.weights[name]) for name, one in first.weights.items())


def test_locked_groups_stay_open():
    torch.manual_seed(0)
    module, batches = Tower(), small_batches(2, 5, 5)
    number = units_of(find_coupling(module, batches[0][0]), "c")
    masks = run(module, batches, locked=[number])
    assert masks.keep[number].tolist() == [1.0] * 4
    assert all(float(one.max()) < 1.0 for at, one in enumerate(masks.keep) if at != number)


def test_what_cannot_go_on_says_so():
    torch.manual_seed(0)
    module, batches = Tower(), small_batches(2, 5, 5)
    coupling = find_coupling(module, batches[0][0])
    with pytest.raises(PruneError, match="no training batches were given"):
        learn_masks(module, coupling, [], functional.cross_entropy, max_parameters=60)
    with torch.no_grad():
        module.head.weight[0, 0] = torch.nan
    with pytest.raises(PruneError, match="the loss became NaN or infinite in step 1 of 5; lower the learning rate"):
        run(module, batches)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "l1"}, "method must be one of l0, straight_through"),
        ({"num_steps": 0}, "num_steps must be a int from 1"),
        ({"temperature": 0.0}, "temperature must be a float above 0"),
        ({"open_probability": 1.0}, "open_probability must be a float from 0.01 to 0.99"),
        ({"train_weights": 1}, "train_weights must be true or false"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        MaskConfig(**options)

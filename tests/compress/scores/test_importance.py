"""Every score against a direct formula, on networks with residuals, depthwise layers, recurrence and batch norm."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.coupling.find import find_coupling
from edge_dendrite.compress.scores.importance import reasons_against, taylor_scores, unit_scores
from edge_dendrite.config import SCORES
from edge_dendrite.errors import PruneError

OF_WEIGHTS = ("l1", "l2", "lamp", "fpgm")


class Mixed(nn.Module):
    """A stem, a residual block with a depthwise layer, a flatten, a hidden layer; gates where a test wants them."""

    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.widen, self.depth = nn.Conv2d(6, 8, 1, bias=False), nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.narrow, self.bn3 = nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6)
        self.fc1, self.fc2 = nn.Linear(6 * 4, 5), nn.Linear(5, 3)
        self.gates = {}

    def gated(self, name, h):
        gate = self.gates.get(name)
        return h if gate is None else h * gate.view(1, -1, *[1] * (h.dim() - 2))

    def forward(self, x):
        h = self.bn(self.stem(x)).relu()
        inner = self.bn1(self.widen(self.gated("stream", h))).relu()
        inner = self.gated("inner", self.bn2(self.depth(inner)).relu())
        h = h + self.bn3(self.narrow(inner))
        h = functional.adaptive_avg_pool2d(h.relu(), 2)
        return self.fc2(self.gated("hidden", self.fc1(self.gated("stream", h).flatten(1)).relu()))


class Written(nn.Module):
    """Mixed without any layer: all by functions on parameters of other names."""

    def __init__(self, original):
        super().__init__()
        tensors = {name.replace(".", "_"): one for name, one in original.state_dict().items()}
        for name, tensor in tensors.items():
            kind = "running" in name or "num" in name
            self.register_buffer(name, tensor) if kind else self.register_parameter(name, nn.Parameter(tensor))

    def norm(self, name, x):
        own = (getattr(self, f"{name}_{one}") for one in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *own)

    def forward(self, x):
        h = self.norm("bn", functional.conv2d(x, self.stem_weight, self.stem_bias, padding=1)).relu()
        inner = self.norm("bn1", functional.conv2d(h, self.widen_weight)).relu()
        inner = functional.conv2d(inner, self.depth_weight, padding=1, groups=inner.shape[1])
        inner = functional.conv2d(self.norm("bn2", inner).relu(), self.narrow_weight, self.narrow_bias)
        h = functional.adaptive_avg_pool2d((h + self.norm("bn3", inner)).relu(), 2).flatten(1)
        return functional.linear(
            functional.linear(h, self.fc1_weight, self.fc1_bias).relu(), self.fc2_weight, self.fc2_bias
        )


class Recurrent(nn.Module):
    """Two LSTM layers between linear ones."""

    def __init__(self):
        super().__init__()
        self.before, self.rnn, self.fc = nn.Linear(3, 4), nn.LSTM(4, 5, 2, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        out, _ = self.rnn(self.before(x).tanh())
        return self.fc(out[:, -1])


def recurrence(module, x, gates):
    """(outputs of Recurrent by its equations, all that hidden units send); hidden states times gates (5,) are sent."""
    rnn, steps = module.rnn, module.before(x).tanh()
    sent = []
    for layer in (0, 1):
        names = [f"{kind}_l{layer}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        w_ih, w_hh, b_ih, b_hh = (getattr(rnn, name) for name in names)
        hidden, cell = torch.zeros(len(x), 5), torch.zeros(len(x), 5)
        out = []
        for step in range(x.shape[1]):
            i, f, g, o = (steps[:, step] @ w_ih.T + b_ih + hidden @ w_hh.T + b_hh).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh() * gates
            out.append(hidden)
        steps = torch.stack(out, 1)
        sent.append(steps)
    return module.fc(steps[:, -1]), sent


def lively_(module):
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.weight.uniform_(0.5, 1.5)
                part.weight[::3] *= -1
                part.bias.normal_()
                part.running_mean.normal_(std=0.3)
                part.running_var.uniform_(0.5, 2.0)
    return module.eval()


def build(factory, seed=0):
    torch.manual_seed(seed)
    return lively_(factory())


def data(*shape, count=2, size=8):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, *shape, generator=generator), torch.randint(0, 3, (size,), generator=generator))
        for _ in range(count)
    ]


@functools.cache
def mixed():
    module, batches = build(Mixed), data(2, 6, 6)
    return module, find_coupling(module, batches[0][0]), batches


@functools.cache
def written():
    module, _, batches = mixed()
    module = Written(module)
    return module, find_coupling(module, batches[0][0]), batches


@functools.cache
def recurrent():
    module, batches = build(Recurrent), data(4, 3)
    return module, find_coupling(module, batches[0][0]), batches


def group_of(coupling, tensor, dim=0):
    """Number of the group that `tensor` makes units of."""
    return next(
        number
        for number, group in enumerate(coupling.groups)
        if any((one.tensor, one.dim, one.role) == (tensor, dim, "produced") for one in group.slices)
    )


def scores_of(network, method, **options):
    module, coupling, batches = network
    return unit_scores(module, coupling, method, batches, functional.cross_entropy, **options)


def unread():
    raise AssertionError("batches were read")
    yield


def filters(module):
    """The filters of Mixed by group, written down by hand: (units, weights)."""
    return {
        "stem.weight": torch.cat([module.stem.weight.flatten(1), module.narrow.weight.flatten(1)], 1),
        "widen.weight": torch.cat([module.widen.weight.flatten(1), module.depth.weight.flatten(1)], 1),
        "fc1.weight": module.fc1.weight,
    }


def test_taylor_is_the_squared_derivative_of_real_gates():
    """The residual stream is read twice, by a convolution and behind a flatten; a depthwise layer lies in between."""
    module, coupling, batches = mixed()
    seen = scores_of(mixed(), "taylor")
    module = copy.deepcopy(module)
    for name, tensor, units in (
        ("stream", "stem.weight", 6),
        ("inner", "widen.weight", 8),
        ("hidden", "fc1.weight", 5),
    ):
        wanted = torch.zeros(units, dtype=torch.float64)
        for inputs, targets in batches:
            module.gates = {name: torch.ones(units, requires_grad=True)}
            loss = functional.cross_entropy(module(inputs), targets)
            (gradient,) = torch.autograd.grad(loss, module.gates[name])
            wanted += gradient.double() ** 2 / len(batches)
        assert float(wanted.max()) > 1e-6
        assert torch.allclose(seen[group_of(coupling, tensor)], wanted, rtol=1e-3, atol=1e-10)


def test_taylor_of_hidden_units_of_a_recurrent_network():
    """A gate on what a hidden unit sends stands in the recurrence too, at every step."""
    module, coupling, batches = recurrent()
    number = group_of(coupling, "rnn.weight_ih_l0")
    assert number == group_of(coupling, "rnn.weight_ih_l1"), "the engine cuts the layers together"
    wanted = torch.zeros(5, dtype=torch.float64)
    for inputs, targets in batches:
        gates = torch.ones(5, requires_grad=True)
        outputs, _ = recurrence(module, inputs, gates)
        assert torch.allclose(outputs, module(inputs), atol=1e-6)
        (gradient,) = torch.autograd.grad(functional.cross_entropy(outputs, targets), gates)
        wanted += gradient.double() ** 2 / len(batches)
    assert torch.allclose(scores_of(recurrent(), "taylor")[number], wanted, rtol=1e-3, atol=1e-12)


def test_taylor_counts_frozen_weights_and_touches_no_gradient():
    module, coupling, batches = mixed()
    frozen = copy.deepcopy(module).requires_grad_(False)
    frozen.fc1.weight.requires_grad_(True)
    frozen.fc1.weight.grad = torch.full_like(frozen.fc1.weight, 7.0)
    frozen.train()
    frozen.bn1.eval()
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    with torch.no_grad():
        scores = taylor_scores(frozen, coupling, batches, functional.cross_entropy)
    assert all(torch.equal(one, other) for one, other in zip(scores, scores_of(mixed(), "taylor"), strict=True))
    assert [name for name, one in frozen.named_parameters() if one.requires_grad] == ["fc1.weight"]
    assert torch.equal(frozen.fc1.weight.grad, torch.full_like(frozen.fc1.weight, 7.0))
    assert frozen.stem.weight.grad is None
    assert (frozen.training, frozen.bn.training, frozen.bn1.training) == (True, True, False)
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def test_magnitudes_are_those_of_the_filters():
    module, coupling, _ = mixed()
    for tensor, rows in filters(module).items():
        number = group_of(coupling, tensor)
        rows = rows.detach().double()
        assert torch.allclose(scores_of(mixed(), "l1")[number], rows.abs().sum(1))
        assert torch.allclose(scores_of(mixed(), "l2")[number], rows.square().sum(1).sqrt())


def test_a_hidden_unit_of_an_lstm_has_a_row_of_every_gate():
    module, coupling, _ = recurrent()
    rows = []
    for unit in range(5):
        gates = [gate * 5 + unit for gate in range(4)]
        parts = [getattr(module.rnn, f"weight_{kind}_l{layer}")[gates] for kind in ("ih", "hh") for layer in (0, 1)]
        rows.append(sum(float(part.detach().abs().double().sum()) for part in parts))
    seen = scores_of(recurrent(), "l1")[group_of(coupling, "rnn.weight_ih_l0")]
    assert seen.tolist() == pytest.approx(rows)


def lamp_by_hand(rows):
    """Equation 3 of Lee et al., weight by weight."""
    sizes = [sum(float(value) ** 2 for value in row) for row in rows.detach().double()]
    return [size / sum(other for other in sizes if other >= size) for size in sizes]


def test_lamp_is_its_equation():
    module, coupling, _ = mixed()
    for tensor, rows in filters(module).items():
        seen = scores_of(mixed(), "lamp")[group_of(coupling, tensor)]
        assert seen.tolist() == pytest.approx(lamp_by_hand(rows))
        assert float(seen.max()) == 1.0


def test_lamp_knows_what_happens_to_zeros_and_equals():
    module = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0], [2.0, 0.0]]))
    coupling = find_coupling(module, torch.zeros(2, 2))
    scores = unit_scores(module, coupling, "lamp", (), functional.cross_entropy)[0]
    assert scores.tolist() == pytest.approx([0.0, 1 / 6, 1 / 5, 1.0])
    with torch.no_grad():
        module[0].weight.zero_()
    assert unit_scores(module, coupling, "lamp", (), functional.cross_entropy)[0].tolist() == [0.0] * 4


def test_fpgm_is_the_sum_of_distances():
    module, coupling, _ = mixed()
    for tensor, rows in filters(module).items():
        rows = rows.detach().double().numpy()
        wanted = [sum(np.linalg.norm(row - other) for other in rows) for row in rows]
        assert scores_of(mixed(), "fpgm")[group_of(coupling, tensor)].tolist() == pytest.approx(wanted)


def test_fpgm_keeps_its_digits_far_from_zero():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    coupling = find_coupling(module, torch.zeros(2, 3, dtype=torch.float64))
    before = unit_scores(module, coupling, "fpgm", (), functional.cross_entropy)[0]
    with torch.no_grad():
        module[0].weight += 1e7
    after = unit_scores(module, coupling, "fpgm", (), functional.cross_entropy)[0]
    assert torch.allclose(after, before, rtol=1e-6)


def test_fpgm_finds_the_filter_that_the_others_can_stand_in_for():
    module = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 3))
    with torch.no_grad():
        module[0].weight[4] = module[0].weight[[0, 1, 2, 3, 5, 6]].mean(0)
        module[0].weight += 100.0  # far from zero: what is small is no guide
        module[0].weight[5] *= 2.0
    coupling = find_coupling(module, torch.zeros(2, 3))
    scores = unit_scores(module, coupling, "fpgm", (), functional.cross_entropy)[0]
    assert (int(scores.argmin()), int(scores.argmax())) == (4, 5)


@pytest.mark.parametrize("method", OF_WEIGHTS)
def test_invariances_of_scores_by_weights(method):
    """Signs of whole layers, scales of layers, shifts of filters: what each method promises, and what it does not."""
    module, coupling, _ = mixed()
    number = group_of(coupling, "fc1.weight")

    def after(change):
        changed = copy.deepcopy(module)
        with torch.no_grad():
            changed.fc1.weight.copy_(change(changed.fc1.weight))
        return unit_scores(changed, coupling, method, (), functional.cross_entropy)

    before = scores_of(mixed(), method)
    assert torch.allclose(after(lambda weight: -weight)[number], before[number])
    scaled = after(lambda weight: 3.0 * weight)
    assert torch.allclose(scaled[number], before[number] * (1.0 if method == "lamp" else 3.0), rtol=1e-5)
    shifted = after(lambda weight: weight + torch.linspace(0.5, 1.0, 24))
    assert torch.allclose(shifted[number], before[number], rtol=1e-5) == (method == "fpgm")
    flipped = after(lambda weight: weight * torch.tensor([1.0, -1.0] * 12))
    assert torch.allclose(flipped[number], before[number], rtol=1e-5)
    for other, score in enumerate(scaled):
        assert other == number or torch.equal(score, before[other]), "other layers are not concerned"


def test_bn_scale_is_the_mean_absolute_scale():
    module, coupling, _ = mixed()
    hidden = group_of(coupling, "fc1.weight")
    seen = scores_of(mixed(), "bn_scale", locked=[hidden])
    for tensor, (first, second) in {
        "stem.weight": (module.bn, module.bn3),
        "widen.weight": (module.bn1, module.bn2),
    }.items():
        wanted = (first.weight.abs() + second.weight.abs()).double() / 2
        assert bool((first.weight < 0).any())
        assert torch.allclose(seen[group_of(coupling, tensor)], wanted)
    assert seen[hidden].tolist() == [0.0] * 5


def test_layers_without_a_batch_norm_scale_are_refused_by_name():
    _, coupling, _ = mixed()
    assert list(reasons_against(coupling, "bn_scale")) == [group_of(coupling, "fc1.weight")]
    assert reasons_against(coupling, "l1") == {}
    with pytest.raises(PruneError, match="score 'bn_scale' does not know the units of 'fc1'.*choose another score"):
        scores_of(mixed(), "bn_scale")


def test_a_scale_is_known_by_its_use():
    """A batch norm without a scale, a layer norm's scale, and a batch norm that is called as a function."""

    class Norms(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.plain = nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False)
            self.b, self.scale, self.shift = nn.Linear(6, 5), nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5))
            self.register_buffer("mean", torch.zeros(5))
            self.register_buffer("variance", torch.ones(5))
            self.c, self.norm, self.d = nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3)

        def forward(self, x):
            h = self.plain(self.a(x)).relu()
            h = functional.batch_norm(self.b(h), self.mean, self.variance, self.scale, self.shift).relu()
            return self.d(self.norm(self.c(h)))

    module = Norms().eval()
    coupling = find_coupling(module, torch.zeros(2, 4))
    numbers = {name: group_of(coupling, f"{name}.weight") for name in "abc"}
    assert set(reasons_against(coupling, "bn_scale")) == {numbers["a"], numbers["c"]}
    scores = unit_scores(
        module, coupling, "bn_scale", (), functional.cross_entropy, locked=[numbers["a"], numbers["c"]]
    )
    assert torch.allclose(scores[numbers["b"]], module.scale.abs().double())


def test_activation_is_the_mean_absolute_value_of_what_is_sent():
    """Seen with hooks: what the layers that read a unit are given."""
    module, coupling, batches = mixed()
    given = {}
    hooked = copy.deepcopy(module)
    for name in ("widen", "narrow", "fc1", "fc2"):
        getattr(hooked, name).register_forward_pre_hook(
            lambda _, args, name=name: given.setdefault(name, []).append(args[0].detach().abs().double())
        )
    for inputs, _ in batches:
        hooked(inputs)
    mean = {name: torch.cat(values) for name, values in given.items()}
    wanted = {
        "stem.weight": (mean["widen"].mean((0, 2, 3)) + mean["fc1"].unflatten(1, (6, 4)).mean((0, 2))) / 2,
        "widen.weight": mean["narrow"].mean((0, 2, 3)),
        "fc1.weight": mean["fc2"].mean(0),
    }
    seen = scores_of(mixed(), "activation")
    for tensor, values in wanted.items():
        assert torch.allclose(seen[group_of(coupling, tensor)], values, rtol=1e-5)


def test_activation_of_hidden_units_counts_every_step():
    module, coupling, batches = recurrent()
    reads = {name: [] for name in ("hh0", "ih1", "hh1", "fc")}
    for inputs, _ in batches:
        _, (first, second) = recurrence(module, inputs, torch.ones(5))
        start = torch.zeros(len(inputs), 1, 5)
        reads["hh0"].append(torch.cat([start, first[:, :-1]], 1))
        reads["ih1"].append(first)
        reads["hh1"].append(torch.cat([start, second[:, :-1]], 1))
        reads["fc"].append(second[:, -1:])
    wanted = torch.stack([torch.cat(values).abs().double().mean((0, 1)) for values in reads.values()]).mean(0)
    seen = scores_of(recurrent(), "activation")[group_of(coupling, "rnn.weight_ih_l0")]
    assert torch.allclose(seen, wanted, rtol=1e-4)


def test_activation_knows_no_classes():
    """Grouped convolutions, products with parts of one weight, einsum with a reordered one; values by hand."""

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.make, self.kernel = nn.Parameter(torch.randn(6, 3)), nn.Parameter(torch.randn(8, 3, 1))
            self.heads, self.out = nn.Parameter(torch.randn(8, 2, 4)), nn.Parameter(torch.randn(3, 2, 4))
            self.seen = []

        def forward(self, x):
            h = (self.make @ x.T).T.tanh()
            grouped = functional.conv1d(h.unsqueeze(-1), self.kernel, groups=2).squeeze(-1).relu()
            heads = torch.einsum("bd,dhk->bhk", grouped, self.heads).sigmoid()
            self.seen = [h.abs().mean(0), grouped.abs().mean(0), heads.abs().mean((0, 2)), heads.abs().mean((0, 1))]
            return torch.einsum("bhk,ohk->bo", heads, self.out)

    torch.manual_seed(0)
    module = Functional().eval()
    inputs = torch.randn(5, 3)
    coupling = find_coupling(module, inputs)
    numbers = [group_of(coupling, "make"), group_of(coupling, "kernel"), group_of(coupling, "heads", 1)]
    scores = unit_scores(module, coupling, "activation", [(inputs, None)], functional.cross_entropy)
    with torch.no_grad():
        module(inputs)
    h, grouped, by_head, by_size = (one.double() for one in module.seen)
    assert torch.allclose(scores[numbers[0]], h.view(2, 3).mean(0), rtol=1e-5), "a unit goes in all groups"
    assert torch.allclose(scores[numbers[1]].sort().values, _units_of(coupling, numbers[1], grouped), rtol=1e-5)
    assert torch.allclose(scores[numbers[2]], by_head, rtol=1e-5)
    assert torch.allclose(scores[group_of(coupling, "heads", 2)], by_size, rtol=1e-5)


def _units_of(coupling, number, per_index):
    """Values of a group's units, sorted, from those of the indices that make them."""
    made = next(one for one in coupling.groups[number].slices if one.role == "produced")
    return per_index[torch.from_numpy(made.indices)].mean(1).sort().values


def test_activation_says_what_it_could_not_see():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c, self.skips = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(4, 3), False

        def forward(self, x):
            return self.c(x) if self.skips else self.b(self.a(x).relu())

    module = Fickle()
    coupling = find_coupling(module, torch.zeros(2, 4))
    module.skips = True
    with pytest.raises(PruneError, match="what the units of 'a' send was not seen"):
        unit_scores(module, coupling, "activation", data(4), functional.cross_entropy)


def test_random_scores_follow_their_seed():
    first, again, other = (scores_of(mixed(), "random", seed=seed) for seed in (3, 3, 4))
    assert all(torch.equal(one, same) for one, same in zip(first, again, strict=True))
    assert not any(torch.equal(one, different) for one, different in zip(first, other, strict=True))
    values = torch.cat(first)
    assert 0.0 <= float(values.min()) < float(values.max()) < 1.0
    assert len(values.unique()) == len(values)


@pytest.mark.parametrize("method", [one for one in SCORES if one not in ("taylor", "activation")])
def test_scores_without_data_read_none(method):
    module, coupling, _ = mixed()
    locked = list(reasons_against(coupling, method))
    scores = unit_scores(module, coupling, method, unread(), None, locked=locked)
    assert [len(one) for one in scores] == [group.num_units for group in coupling.groups]


@pytest.mark.parametrize("method", SCORES)
def test_every_score_is_finite_double_and_never_below_zero(method):
    _, coupling, _ = mixed()
    locked = list(reasons_against(coupling, method))
    for number, score in enumerate(scores_of(mixed(), method, locked=locked)):
        assert score.dtype == torch.float64
        assert score.shape == (coupling.groups[number].num_units,)
        assert float(score.min()) >= 0.0
        assert not score.requires_grad
        assert (float(score.max()) > 0.0) == (number not in locked)


@pytest.mark.parametrize("method", SCORES)
def test_locked_groups_do_not_change_the_others(method):
    _, coupling, _ = mixed()
    locked = {group_of(coupling, "fc1.weight"), *reasons_against(coupling, method)}
    free = scores_of(mixed(), method, locked=reasons_against(coupling, method))
    for number, score in enumerate(scores_of(mixed(), method, locked=locked)):
        assert torch.equal(score, torch.zeros_like(score) if number in locked else free[number])


@pytest.mark.parametrize("method", SCORES)
def test_names_and_classes_make_no_difference(method):
    _, coupling, _ = mixed()
    _, other, _ = written()
    seen = scores_of(written(), method, locked=reasons_against(other, method))
    wanted = scores_of(mixed(), method, locked=reasons_against(coupling, method))
    assert len(seen) == 3
    if method != "random":
        for tensor in ("stem", "widen", "fc1"):
            first = seen[group_of(other, f"{tensor}_weight")]
            assert torch.allclose(first, wanted[group_of(coupling, f"{tensor}.weight")], rtol=1e-4)


@pytest.mark.parametrize("method", ["taylor", "activation"])
def test_inputs_as_tuple_and_by_keyword(method):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 6), nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, left, right):
            return self.c((self.a(left) + self.b(right)).relu())

    torch.manual_seed(0)
    module, left, right, targets = Two(), torch.randn(5, 3), torch.randn(5, 4), torch.randint(0, 3, (5,))
    coupling = find_coupling(module, (left, right))
    loss = functional.cross_entropy
    (first,) = unit_scores(module, coupling, method, [((left, right), targets)], loss)
    (second,) = unit_scores(module, coupling, method, [({"right": right, "left": left}, targets)], loss)
    assert torch.equal(first, second)
    sent = (module.a(left) + module.b(right)).relu().detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(module.c(sent), targets), sent)
    direct = sent.abs().mean(0) if method == "activation" else (sent * gradient).sum(0).square()
    assert torch.allclose(first, direct.detach().double(), rtol=1e-4)


@pytest.mark.parametrize("method", [*OF_WEIGHTS, "taylor", "activation"])
def test_what_is_not_finite_is_named(method):
    module, coupling, batches = mixed()
    broken = copy.deepcopy(module)
    with torch.no_grad():
        broken.fc1.weight[2, 3] = torch.nan
    cause = {"taylor": "loss or its gradients", "activation": "what these layers send"}.get(method, "their weights")
    with pytest.raises(PruneError, match=f"scores by {method} are not finite for .*fc1.*{cause}"):
        unit_scores(broken, coupling, method, batches, functional.cross_entropy)
    assert broken.fc1.weight.grad is None


def test_a_broken_batch_norm_scale_is_named():
    module, coupling, _ = mixed()
    broken = copy.deepcopy(module)
    with torch.no_grad():
        broken.bn1.weight[0] = torch.inf
    with pytest.raises(PruneError, match="scores by bn_scale are not finite for widen: their weights"):
        unit_scores(broken, coupling, "bn_scale", (), None, locked=reasons_against(coupling, "bn_scale"))


def test_wrong_calls_say_what_to_do():
    module, coupling, batches = mixed()
    loss = functional.cross_entropy
    with pytest.raises(PruneError, match="unknown score 'tailor'; known: taylor, l1, l2, bn_scale"):
        unit_scores(module, coupling, "tailor", batches, loss)
    for method in ("taylor", "activation"):
        with pytest.raises(PruneError, match=f"score '{method}' needs training batches, and none were given"):
            unit_scores(module, coupling, method, iter(()), loss)
    with pytest.raises(PruneError, match="one number with a gradient.*without one; does the forward or the loss use"):
        unit_scores(module, coupling, "taylor", batches, lambda outputs, targets: loss(outputs.detach(), targets))
    with pytest.raises(PruneError, match=r"not a tensor of shape \(8,\)"):
        unit_scores(
            module, coupling, "taylor", batches, lambda outputs, targets: loss(outputs, targets, reduction="none")
        )
    assert all(one.requires_grad for one in module.parameters())


def test_a_network_without_units_has_no_scores():
    module = nn.Linear(4, 3)
    coupling = find_coupling(module, torch.zeros(2, 4))
    for method in SCORES:
        assert unit_scores(module, coupling, method, data(4), functional.cross_entropy) == []

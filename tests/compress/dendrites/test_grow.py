from __future__ import annotations

import copy
import itertools
import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.dendrites.grow import Grower
from edge_dendrite.compress.layers.build import DENDRITES
from edge_dendrite.compress.layers.dendrites import DendriticLayer, new_dendrites, one_set, set_dendrites_
from edge_dendrite.compress.plan import Plan, Replace, apply_plan_
from edge_dendrite.config import GrowConfig
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.session import open_session, run_onnx

QUICK = {"candidate_steps": 100, "num_batches": 8, "num_samples": 4096, "patience": 2}


class Renamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 4, 3, stride=2), nn.Linear(36, 3)

    def forward(self, x):
        return self.c(self.b(self.a(x).relu()).relu().flatten(1))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Renamed().eval()


@pytest.fixture
def batches():
    """Targets that a small network gets only partly right."""
    generator = torch.Generator().manual_seed(1)
    quarters = torch.randn(2048, 1, 2, 2, generator=generator)
    inputs = functional.interpolate(quarters, size=(8, 8)) + 0.1 * torch.randn(2048, 1, 8, 8, generator=generator)
    distance = quarters.mean((1, 2, 3)).abs()
    targets = (distance > 0.25).long() + (distance > 0.5).long()
    return list(zip(inputs.split(256), targets.split(256), strict=True))


def mean_loss(network, batches):
    with torch.no_grad():
        return sum(float(functional.cross_entropy(network(x), y)) for x, y in batches) / len(batches)


def num_parameters(module):
    return sum(one.numel() for one in module.parameters())


def train(network, batches, num_epochs, optimizer=None):
    optimizer = optimizer or torch.optim.Adam(network.parameters(), lr=0.01)
    network.train()
    for _ in range(num_epochs):
        for x, y in batches:
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
    network.eval()


def test_new_dendrites_lower_the_loss_and_come_back_as_parameters(network, batches):
    train(network, batches, 3)
    before, size = mean_loss(network, batches), num_parameters(network)
    grower = Grower(network, GrowConfig(**QUICK))
    grower.observe(0.5)
    new = grower.grow(batches)
    growth = grower.growths[-1]
    assert growth.num_dendrites > 0 and growth.correlation > 0.05
    assert growth.losses[0] == pytest.approx(before)
    assert growth.losses[1] == pytest.approx(mean_loss(network, batches)) and growth.losses[1] < before
    assert num_parameters(network) == size + sum(one.numel() for one in new)
    assert {id(one) for one in new} <= {id(one) for one in network.parameters()}
    assert isinstance(network.get_submodule(growth.layer), DendriticLayer)


def test_the_loop_of_the_documentation_trains_on_with_the_same_optimizer(network, batches):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    # An epoch that gains less than this is the time to grow: there can be few others, so it comes.
    config = GrowConfig(**{**QUICK, "patience": 1}, min_gain=0.05, max_parameters=num_parameters(network) + 300)
    grower = Grower(network, config)
    born = []
    for _ in range(60):
        train(network, batches, 1, optimizer)
        if grower.observe(-mean_loss(network, batches)):
            new = grower.grow(batches)
            if new:
                optimizer.add_param_group({"params": new})
                born += [(one, one.detach().clone()) for one in new]
        if grower.is_done:
            break
    assert grower.is_done and born and any(one.num_dendrites for one in grower.growths)
    assert not any(torch.equal(one, then) for one, then in born)  # the optimizer trains them
    plan = grower.finish(lambda: -mean_loss(network, batches))
    assert math.isfinite(mean_loss(network, batches))
    assert num_parameters(network) <= num_parameters(Renamed()) + 300
    fresh = apply_plan_(Renamed(), plan).eval()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(batches[0][0]), network(batches[0][0]))


@pytest.mark.parametrize("mode", ["correlation", "gradient"])
def test_dendrites_train_and_so_does_all_before_them(network, batches, mode):
    """No gradient is cut: with everything else silent, upstream weights learn through the dendrites."""
    grower = Grower(network, GrowConfig(**QUICK, mode=mode, layers=("c",), freeze=mode == "correlation"))
    grower.grow(batches)
    layer = network.c
    frozen = [one.requires_grad for one in layer.sets[0].branches.parameters()]
    assert frozen == ([False, False] if mode == "correlation" else [True, True])
    layer.sets[0](network.b(network.a(batches[0][0]).relu()).relu().flatten(1)).sum().backward()
    assert bool(network.a.weight.grad.any()) and bool(network.b.weight.grad.any())
    assert bool(layer.sets[0].soma.weight.grad.any())


def test_a_growth_that_does_not_help_is_taken_back_bit_for_bit(network, batches):
    best = copy.deepcopy(network.state_dict())
    grower = Grower(network, GrowConfig(**QUICK))
    grower.observe(0.9)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    assert grower.grow(batches)
    train(network, batches, 1, optimizer)
    grower.observe(0.5)
    grower.grow(batches)
    assert sum(isinstance(one, DendriticLayer) for one in network.modules()) == 1  # the first growth is gone
    plan = grower.finish(lambda: 0.0)
    assert plan.edits == () and network.state_dict().keys() == best.keys()
    assert all(torch.equal(value, best[name]) for name, value in network.state_dict().items())


def test_a_growth_without_gain_ends_growing(network, batches):
    best = copy.deepcopy(network.state_dict())
    grower = Grower(network, GrowConfig(**QUICK))
    assert [grower.observe(value) for value in (0.9, 0.8, 0.8)] == [False, False, True] and not grower.is_done
    assert grower.grow(batches) and not grower.is_done
    assert not grower.observe(0.9) and not grower.is_done  # it has two epochs to help
    assert not grower.observe(0.8) and grower.is_done
    assert not grower.observe(0.7) and len(grower.growths) == 1  # no pool is trained any more
    assert grower.finish(lambda: 0.0).edits == ()
    assert all(torch.equal(value, best[name]) for name, value in network.state_dict().items())


def test_growing_goes_on_after_a_gain_and_ends_when_the_parameters_are_used_up(network, batches):
    limit = num_parameters(network) + 45  # for one dendrite of c
    grower = Grower(network, GrowConfig(**QUICK, layers=("c",), max_parameters=limit))
    assert grower.grow(batches) and not grower.is_done  # it still has to be trained
    assert [grower.observe(value) for value in (0.5, 0.6, 0.6)] == [False] * 3 and not grower.is_done
    assert not grower.observe(0.6) and grower.is_done
    grower.observe(0.7)  # weights are still remembered
    wanted = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        network.a.weight.zero_()
    assert grower.finish(itertools.count(0, -1).__next__).edits
    assert torch.equal(network.a.weight, wanted["a.weight"])
    wider = Grower(network, GrowConfig(**QUICK))
    wider.grow(batches)
    assert [wider.observe(value) for value in (0.5, 0.5, 0.5)] == [False, False, True] and not wider.is_done


def test_a_metric_that_is_not_finite_brings_the_best_weights_back(network):
    best = copy.deepcopy(network.state_dict())
    grower = Grower(network, GrowConfig(patience=2))
    assert not grower.observe(0.9)
    with torch.no_grad():
        network.c.weight.fill_(float("nan"))
    assert not grower.observe(float("nan"))
    assert torch.equal(network.c.weight, best["c.weight"])
    assert grower.observe(0.9)  # no gain: the second epoch without


def test_a_pool_that_finds_nothing_says_so(network, batches):
    """Every target is certain: no error is left to follow."""
    with torch.no_grad():
        network.c.weight.zero_()
        network.c.bias.copy_(torch.tensor([80.0, 0.0, 0.0]))
    solved = [(x, torch.zeros(len(x), dtype=torch.long)) for x, _ in batches]
    grower = Grower(network, GrowConfig(**QUICK))
    assert grower.grow(solved) == []
    assert grower.growths[-1].num_dendrites == 0 and "no candidate" in grower.growths[-1].words
    assert grower.is_done and not any(grower.observe(0.5) for _ in range(5))
    assert not any(isinstance(one, DendriticLayer) for one in network.modules())


def test_batches_are_taken_once_where_there_are_fewer_than_asked_for():
    """Copies of a sample would lie on the fitted and on the held-out side, and noise would be followed."""
    found = []
    for seed, num_batches in itertools.product(range(4), (1, 32)):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 3))
        noise = [(torch.randn(128, 32), torch.randint(3, (128,)))]
        grower = Grower(network, GrowConfig(candidate_steps=60, num_batches=num_batches))
        found.append(([one.shape for one in grower.grow(noise)], grower.growths[-1].words))
    assert found[::2] == found[1::2]
    assert "no candidate" in found[-1][1]


def test_the_parameters_are_a_limit(network, batches):
    limit = num_parameters(network) + 45  # one dendrite of c costs 36 + 1 + 3, one of a 9 + 1 + 3
    grower = Grower(network, GrowConfig(**QUICK, layers=("c",), max_parameters=limit))
    grower.observe(0.5)
    assert len(grower.grow(batches)) == 3
    assert grower.growths[-1].num_dendrites == 1 and num_parameters(network) <= limit
    grower.observe(0.6)
    assert grower.grow(batches) == []
    assert {"a", "b"} <= set(grower.kept)


def with_sets(layer, sizes):
    generator = torch.Generator().manual_seed(4)
    made = DendriticLayer(layer)
    for size in sizes:
        one = new_dendrites(layer, size, "tanh")
        shapes = ((size, layer.weight[0].numel()), (size,), (len(layer.weight), size))
        set_dendrites_(one, *(torch.randn(shape, generator=generator) for shape in shapes))
        made.sets.append(one)
    return made


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(5, 4), torch.randn(6, 5)),
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), torch.randn(2, 3, 7, 7)),
        (nn.Conv1d(3, 4, 3, dilation=2, padding_mode="circular", padding=1), torch.randn(2, 3, 9)),
    ],
)
def test_sets_are_joined_to_one_without_a_change(layer, x):
    made = with_sets(layer, (3, 2))
    together = DendriticLayer(
        made.layer,
        [one_set(made.layer, list(made.sets), [torch.ones(3, dtype=torch.bool), torch.ones(2, dtype=torch.bool)])],
    )
    assert len(together.sets) == 1 and torch.allclose(together(x), made(x), atol=1e-5)
    with torch.no_grad():
        made.sets[0].soma.weight[:, 1] = 0.0
    fewer = DendriticLayer(
        made.layer,
        [one_set(made.layer, list(made.sets), [torch.tensor([True, False, True]), torch.ones(2, dtype=torch.bool)])],
    )
    assert fewer.sets[0].branches.weight.shape[0] == 4 and torch.allclose(fewer(x), made(x), atol=1e-5)


def test_what_costs_nothing_to_zero_is_removed(network, batches):
    network.c = with_sets(network.c, (3, 2))
    with torch.no_grad():
        network.c.sets[0].soma.weight[:, 1] = 0.0  # adds nothing
    x = batches[0][0]
    wanted = network(x).detach()
    grower = Grower(network, GrowConfig())  # of relu, which does not matter here
    plan = grower.finish(lambda: -float((network(x) - wanted).abs().max()))
    assert plan.edits == (Replace("c", DENDRITES, {"sizes": [4], "activation": "tanh"}),)
    assert torch.allclose(network(x), wanted, atol=1e-5)
    assert [(line.layer, line.before, line.after) for line in plan.layers] == [("c (dendrites)", 5, 4)]


def test_an_interrupted_finish_leaves_the_dendrites_as_they_were():
    made = new_dendrites(nn.Linear(4, 3), 2, "relu")
    set_dendrites_(made, torch.eye(2, 4), torch.ones(2), torch.ones(3, 2))
    network = nn.Sequential(DendriticLayer(nn.Linear(4, 3), [made]))
    metrics = iter([1.0])

    def validate():
        try:
            return next(metrics)
        except StopIteration:
            raise KeyboardInterrupt from None

    with pytest.raises(KeyboardInterrupt):
        Grower(network).finish(validate)
    assert torch.equal(made.soma.weight, torch.ones(3, 2))


def test_a_plan_gives_a_fresh_network_the_shape(network, batches):
    network.c, network.a = with_sets(network.c, (3,)), with_sets(network.a, (2,))
    edits = tuple(Replace(name, DENDRITES, {"sizes": [n], "activation": "tanh"}) for name, n in (("c", 3), ("a", 2)))
    plan = Plan.from_dict(json.loads(json.dumps(Plan(edits).to_dict())))
    fresh = apply_plan_(Renamed(), plan).eval()
    fresh.load_state_dict(network.state_dict())
    x = batches[0][0]
    assert torch.equal(fresh(x), network(x))
    exported = export_onnx(network, (1, 8, 8), 13)
    assert torch.allclose(torch.from_numpy(run_onnx(open_session(exported.content), x.numpy())), network(x), atol=1e-4)
    with pytest.raises(PruneError, match="without a dendrite"):
        apply_plan_(Renamed(), Plan((Replace("c", DENDRITES, {"sizes": [0], "activation": "tanh"}),)))


def test_two_growers_do_not_know_of_each_other(batches):
    made = []
    for _ in range(2):
        torch.manual_seed(0)
        one = Renamed().eval()
        Grower(one, GrowConfig(**QUICK)).grow(batches)
        made.append(one.state_dict())
    assert made[0].keys() == made[1].keys() and all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "perforated"},
        {"activation": "gelu"},
        {"num_dendrites": 0},
        {"freeze": 1},
        {"layers": "fc1"},
        {"layers": ("[",)},
        {"max_parameters": 0},
        {"patience": 0},
        {"min_gain": -1.0},
        {"learning_rate": 0.0},
    ],
)
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError, match="GrowConfig"):
        GrowConfig(**settings)


def test_no_layer_can_grow(batches):
    with pytest.raises(PruneError, match="not among the layers that may grow"):
        Grower(Renamed(), GrowConfig(layers=("nothing",))).grow(batches)


def test_what_follows_finish(network, batches):
    """Finished twice, told of nonsense, grown on: each on the network as it is then."""
    grower = Grower(network, GrowConfig(**QUICK, layers=("c",)))
    grower.grow(batches)
    grower.observe(0.9)
    everything_counts = itertools.count(0, -1).__next__
    assert grower.finish(everything_counts).edits
    x = batches[0][0]
    y = network(x)
    assert grower.finish(everything_counts).edits
    grower.observe(float("nan"))
    assert torch.equal(network(x), y)
    other = Grower(network, GrowConfig(**QUICK))
    other.grow(batches)
    assert all(".sets." not in one.layer and not one.layer.endswith(".layer") for one in other.growths)
    other.observe(0.9)
    other.finish(everything_counts)
    assert not any(
        isinstance(one.layer, DendriticLayer) for one in network.modules() if isinstance(one, DendriticLayer)
    )


def test_a_mixture_of_activations_is_refused(network):
    network.c = with_sets(network.c, (2,))
    network.c.sets.append(new_dendrites(network.c.layer, 2, "relu"))
    with pytest.raises(PruneError, match="dendrites with relu and tanh cannot become one"):
        Grower(network).finish(itertools.count(0, -1).__next__)


@pytest.mark.parametrize("mode", ["correlation", "gradient"])
def test_a_forward_that_looks_at_its_layers_keeps_them(batches, mode):
    class Looks(Renamed):
        def forward(self, x):
            return super().forward(x) * (self.c.in_features / 36)

    network = Looks().eval()
    grower = Grower(network, GrowConfig(**QUICK, mode=mode, layers=("c",)))
    assert grower.grow(batches) == []
    assert "in_features" in grower.kept["c"] and isinstance(network.c, nn.Linear)


@pytest.mark.parametrize("mode", ["correlation", "gradient"])
def test_one_growth_takes_no_layer_twice(network, batches, mode):
    grower = Grower(network, GrowConfig(**QUICK, mode=mode, num_layers=9))
    assert grower.grow(batches)
    layers = [one.layer for one in grower.growths if one.num_dendrites]
    assert 2 <= len(layers) == len(set(layers)) <= 3
    assert all(len(part.sets) == 1 for part in network.modules() if isinstance(part, DendriticLayer))


def test_random_dendrites_come_to_one_layer_after_the_other(network, batches):
    """All have room for as many: not always the smallest one."""
    grower = Grower(network, GrowConfig(**QUICK, mode="gradient"))
    for metric in (0.5, 0.6, 0.7):
        grower.observe(metric)
        assert grower.grow(batches)
    assert [one.layer for one in grower.growths] == ["a", "b", "c"]


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("mode", ["correlation", "gradient"])
def test_inside_of_a_place_without_gradients(network, batches, context, mode):
    grower = Grower(network, GrowConfig(**QUICK, mode=mode))
    with context():
        grower.observe(0.5)
        new = grower.grow(batches)
    assert new
    train(network, batches, 1)


def test_numbers_of_double_precision(network, batches):
    twice = [(x.double(), y) for x, y in batches]
    new = Grower(network.double(), GrowConfig(**QUICK, layers=("c",))).grow(twice)
    assert new and all(one.dtype is torch.float64 for one in new)


def test_data_that_are_not_finite_or_too_few(network, batches):
    with pytest.raises(PruneError, match="samples of .* are too few"):
        Grower(network, GrowConfig(**QUICK, layers=("c",))).grow([(batches[0][0][:3], batches[0][1][:3])])
    batches[2][0][0] = float("nan")
    with pytest.raises(PruneError, match="the loss on the training batches is nan"):
        Grower(network, GrowConfig(**QUICK)).grow(batches)


def test_buffers_that_a_forward_makes_are_left_alone(batches):
    class Late(Renamed):
        def forward(self, x):
            if not hasattr(self, "position"):
                self.register_buffer("position", torch.ones(1))
            return super().forward(x) * self.position

    network = Late().eval()
    grower = Grower(network, GrowConfig(**QUICK))
    grower.grow(batches)
    grower.observe(float("nan"))
    assert torch.equal(network.position, torch.ones(1))


def test_one_of_several_processes_is_refused(network, batches, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PruneError, match="2 were launched"):
        Grower(network).grow(batches)


@pytest.mark.parametrize("sizes", [[], [10_000_000], [1] * 1000])
def test_plans_that_would_fill_the_memory(sizes):
    with pytest.raises(PruneError, match="the plan adds"):
        apply_plan_(Renamed(), Plan((Replace("c", DENDRITES, {"sizes": sizes, "activation": "tanh"}),)))


def test_a_control_from_scratch_has_dendrites_that_learn(network, batches):
    plan = Plan((Replace("c", DENDRITES, {"sizes": [3], "activation": "relu"}),))
    control = same_shape_from_scratch(Renamed, plan, 0)
    assert all(float(one.detach().std()) > 0 for one in control.c.sets.parameters())


def test_what_was_trained_before_any_metric_is_not_lost(network, batches):
    grower = Grower(network, GrowConfig(**QUICK))
    train(network, batches, 3)
    trained = copy.deepcopy(network.state_dict())
    grower.grow(batches)
    assert grower.growths[0].num_dendrites > 0
    for name, value in trained.items():
        owner, _, leaf = name.rpartition(".")
        now = network.state_dict()
        assert torch.equal(now.get(name, now.get(f"{owner}.layer.{leaf}")), value)


@pytest.mark.parametrize("config", [GrowConfig(layers=("a", "b")), GrowConfig(max_parameters=9, freeze=True)])
def test_settings_from_json(config):
    assert GrowConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config

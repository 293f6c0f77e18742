"""Segments and learned groups: choice, budgets, values, refusals, saving, ONNX."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from edge_dendrite.compress.connections.dense_layers import DenseLayer, find_dense_layers, replaced_network
from edge_dendrite.compress.connections.group_choice import choose_groupings
from edge_dendrite.compress.connections.learned_groups import connection_scores, group_sizes, prune_groups
from edge_dendrite.compress.connections.partition import Grouping, partition
from edge_dendrite.compress.connections.segments import choose_segments, prune_segments, segment_scores, split_inputs
from edge_dendrite.compress.layers.sparse import GroupedLayer, SegmentedLayer
from edge_dendrite.compress.model import CompressedModel, load
from edge_dendrite.compress.plan import Plan, Replace, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import Budget, FitConfig, GroupConfig, SegmentConfig
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.export.onnx import check_parity, export_onnx
from edge_dendrite.models.convnets import DigitsCNN
from edge_dendrite.train.fit import fit


class Residual(nn.Module):
    """Convolutions with batch norm, a residual, a layer of two names, a flatten, and positions in a linear layer."""

    def __init__(self, width=64, classes=4):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.body = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.again = self.body
        self.mix = nn.Linear(width, width)
        self.head = nn.Linear(width * 4, classes)

    def forward(self, x):
        h = self.norm(self.stem(x)).relu()
        h = h + self.again(self.body(h).relu())
        h = h + self.mix(h.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(h.shape)
        return self.head(functional.dropout(functional.adaptive_avg_pool2d(h, 2).flatten(1).relu(), 0.1, self.training))


SHAPE = (3, 4, 4)


def lively(width=64):
    torch.manual_seed(0)
    module = Residual(width)
    nn.init.uniform_(module.norm.weight, 0.5, 1.5)
    module.norm.running_mean.normal_(std=0.2)
    module.norm.running_var.uniform_(0.5, 2.0)
    return module.eval()


def batches_for(shape=SHAPE, count=3, classes=4):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(8, *shape, generator=generator), torch.randint(0, classes, (8,), generator=generator))
        for _ in range(count)
    ]


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


QUICK = SegmentConfig(num_rounds=2, num_batches=2)
PRUNERS = {
    "segments": lambda module, budget: prune_segments(module, batches_for(), budget, QUICK),
    "groups": lambda module, budget: prune_groups(module, batches_for(), budget, GroupConfig(4, num_batches=2)),
    "groups of our choice": lambda module, budget: prune_groups(
        module, batches_for(), budget, GroupConfig(num_batches=2)
    ),
}


@pytest.mark.parametrize("name", PRUNERS)
def test_the_budget_is_kept_and_the_values_are_those_of_masked_weights(name):
    module = lively()
    before = copy.deepcopy(module.state_dict())
    budget = Budget(pruning_ratio=0.4)
    pruned = PRUNERS[name](module, budget)
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    start, left = num_parameters(module), num_parameters(pruned.module)
    assert 0.2 * start < left <= budget.resolve(start)
    replaced = {edit.module: edit for edit in pruned.plan.edits}
    assert "body" in replaced
    assert pruned.module.again is pruned.module.body
    inputs = torch.randn(5, *SHAPE)
    masked = copy.deepcopy(module)
    for fqn, edit in replaced.items():
        small, layer = pruned.module.get_submodule(fqn), masked.get_submodule(fqn)
        with torch.no_grad():
            layer.weight.copy_(dense_weight(small, layer.weight, edit))
    with torch.no_grad():
        wanted = masked(inputs)
        assert float((wanted - module(inputs)).abs().max()) > 1e-2
        assert torch.allclose(pruned.module(inputs), wanted, atol=1e-4)


def dense_weight(small, like, edit):
    """The weight of a replaced layer, put back where it came from."""
    dense = torch.zeros_like(like)
    inputs = torch.tensor(edit.settings["inputs"])
    if isinstance(small, SegmentedLayer):
        dense[:, inputs] = small.layer.weight.detach()
        return dense
    groups = edit.settings["num_groups"]
    neurons = torch.tensor(edit.settings["neurons"])
    weight = small.layer.weight.detach().view(len(neurons), -1, *like.shape[2:])
    for neuron, group, row in zip(neurons, torch.arange(groups).repeat_interleave(len(neurons) // groups), weight):  # noqa: B905
        dense[neuron, inputs.view(groups, -1)[group]] = row
    return dense


@pytest.mark.parametrize("name", PRUNERS)
def test_a_second_run_and_a_saved_folder_give_the_same(name, tmp_path):
    first, second = (PRUNERS[name](lively(), Budget(pruning_ratio=0.4)) for _ in range(2))
    assert first.plan == second.plan
    model = CompressedModel(first.module, "x", "x", "compressed", SHAPE, plan=first.plan, labels=tuple("abcd"))
    model.save(tmp_path / "m")
    again = load(tmp_path / "m", model=Residual)
    inputs = torch.randn(3, *SHAPE)
    assert torch.equal(again.module(inputs), first.module.eval()(inputs))
    assert again.plan == first.plan
    assert again.stats == model.stats


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("name", PRUNERS)
def test_the_onnx_file_computes_the_same(name, opset):
    module = PRUNERS[name](lively(), Budget(pruning_ratio=0.4)).module
    check_parity(export_onnx(module, SHAPE, opset), module, torch.randn(3, *SHAPE), 1e-4, 1e-4)


@pytest.mark.parametrize("name", PRUNERS)
def test_the_smallest_reachable_number_is_reachable_and_below_it_is_refused(name):
    module = lively()
    with pytest.raises(PruneError, match="cannot be reached") as caught:
        PRUNERS[name](module, Budget(max_parameters=1000))
    smallest = int(
        str(caught.value).partition("inputs " if "groups" in name else "each layer ")[2].split()[0].replace(",", "")
    )
    assert "norm" not in str(caught.value)
    assert num_parameters(PRUNERS[name](module, Budget(max_parameters=smallest)).module) <= smallest
    with pytest.raises(PruneError, match="cannot be reached"):
        PRUNERS[name](module, Budget(max_parameters=smallest - 1))


def test_a_budget_of_nothing_changes_nothing():
    for pruner in PRUNERS.values():
        pruned = pruner(lively(), Budget(pruning_ratio=0.0))
        assert pruned.plan.edits == ()
        assert {line.before - line.after for line in pruned.plan.layers} == {0}


@pytest.mark.parametrize(("pruner", "config"), [(prune_segments, QUICK), (prune_groups, GroupConfig(num_batches=1))])
def test_refusals(pruner, config):
    module = lively()
    with pytest.raises(PruneError, match="number of parameters"):
        pruner(module, batches_for(), Budget(max_macs=10), config)
    with pytest.raises(PruneError, match="no training batches"):
        pruner(module, [], Budget(pruning_ratio=0.4), config)
    with pytest.raises(PruneError, match="fails at its forward"):
        pruner(module, batches_for((5, 4, 4)), Budget(pruning_ratio=0.4), config)
    with pytest.raises(PruneError, match="no layer of this network"):
        pruner(nn.Sequential(nn.Flatten(), nn.Linear(4, 4)), batches_for((4,)), Budget(pruning_ratio=0.4), config)
    with torch.no_grad():
        module.mix.weight[0, 0] = float("nan")
    with pytest.raises(PruneError, match="not finite"):
        pruner(module, batches_for(), Budget(pruning_ratio=0.4), config)


class Awkward(nn.Module):
    """One layer for every reason to leave a layer alone, and one that is plain."""

    def __init__(self):
        super().__init__()
        self.plain = nn.Linear(16, 16)
        self.functional = nn.Linear(16, 16)
        self.asked = nn.Linear(16, 16)
        self.tied, self.tie = nn.Linear(16, 16), nn.Linear(16, 16)
        self.tie.weight = self.tied.weight
        self.normed = parametrizations.weight_norm(nn.Linear(16, 16))
        self.grouped = nn.Conv1d(16, 16, 1, groups=2)
        self.unused = nn.Linear(16, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.recurrent = nn.LSTM(16, 16, batch_first=True)

    def forward(self, x):
        h = functional.linear(self.plain(x), self.functional.weight)
        h = self.asked(h).to(self.asked.weight.dtype)
        h = self.grouped(self.normed(self.tie(self.tied(h))).unsqueeze(-1)).squeeze(-1).unsqueeze(1)
        return self.recurrent(self.block(self.attention(h, h, h)[0]))[0][:, 0]


def test_layers_that_are_left_alone_are_named_with_the_reason():
    torch.manual_seed(0)
    module = Awkward().eval()
    pruned = prune_segments(
        module, batches_for((16,), classes=16), Budget(pruning_ratio=0.01), SegmentConfig(4, num_rounds=1)
    )
    assert {edit.module for edit in pruned.plan.edits} == {"plain"}
    assert {name: reason.split()[0:3] for name, reason in pruned.kept.items()} == {
        "functional": ["its", "weight", "is"],
        "asked": ["its", "weight", "is"],
        "tied": ["another", "layer", "shares"],
        "tie": ["another", "layer", "shares"],
        "normed": ["its", "weight", "is"],
        "grouped": ["its", "inputs", "are"],
        "unused": ["it", "is", "not"],
        "attention": ["MultiheadAttention", "is", "not"],
        "attention.out_proj": ["torch's", "attention", "blocks"],
        "block.self_attn": ["MultiheadAttention", "is", "not"],
        "block.self_attn.out_proj": ["torch's", "attention", "blocks"],
        "block.linear1": ["torch's", "attention", "blocks"],
        "block.linear2": ["torch's", "attention", "blocks"],
        "recurrent": ["LSTM", "is", "not"],
    }
    assert "parametrised" in pruned.kept["normed"]
    assert "read outside" in pruned.kept["functional"]


class ByName(nn.Module):
    """A forward that asks its layer for an attribute that the new layer does not have."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.hidden(x).view(-1, self.hidden.out_features))


def test_a_network_that_does_not_take_the_new_layer_is_refused():
    module = ByName()
    with pytest.raises(PruneError, match="fails at its forward"):
        prune_segments(
            module, batches_for((16,)), Budget(pruning_ratio=0.4), SegmentConfig(4, num_rounds=1, num_batches=1)
        )
    assert isinstance(module.hidden, nn.Linear)


class Stubborn(nn.Module):
    """A forward that computes something else when its layer is not the dense one."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.hidden(x) * (1.0 if isinstance(self.hidden, nn.Linear) else 1.1))


def test_other_values_are_discarded():
    plan = Plan((Replace("hidden", "segments", {"inputs": [0, 1]}),))
    with pytest.raises(PruneError, match="differs by"):
        replaced_network(Stubborn(), plan, torch.randn(2, 16))


def test_segments_of_maps_and_positions_are_found():
    layers = {one.name: one for one in find_dense_layers(lively(), torch.randn(2, *SHAPE))[0]}
    assert layers["head"] == DenseLayer("head", 4, 256, 1, True, map_size=4)
    assert layers["mix"] == DenseLayer("mix", 64, 64, 1, True, num_positions=16)
    assert layers["body"] == DenseLayer("body", 64, 64, 9, False)
    assert set(layers) == {"stem", "body", "mix", "head"}


@pytest.mark.parametrize(
    ("num_inputs", "map_size", "segment_size", "edges"),
    [
        (16, 1, 8, [0, 8, 16]),
        (20, 1, 8, [0, 8, 16, 20]),
        (3, 1, 8, [0, 3]),
        (100, 25, 8, [0, 25, 50, 75, 100]),
        (100, 25, 60, [0, 50, 100]),
        (5, 1, 1, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_segments_are_of_one_size_and_no_map_is_divided(num_inputs, map_size, segment_size, edges):
    layer = DenseLayer("x", 2, num_inputs, 1, True, map_size=map_size)
    assert split_inputs(layer, segment_size).edges.tolist() == edges


def test_segment_scores_are_the_squared_derivatives_of_gates():
    module = lively(16).double()
    layers, _ = find_dense_layers(module, torch.randn(2, *SHAPE).double())
    segmented = [split_inputs(layer, 8) for layer in layers]
    batches = [(x.double(), y) for x, y in batches_for()]
    scores = segment_scores(module, segmented, batches, functional.cross_entropy)
    number = [layer.name for layer in layers].index("mix")
    wanted = 0.0
    for x, y in batches:
        gate = torch.ones((), dtype=torch.float64, requires_grad=True)
        gates = torch.cat([torch.ones(8).double(), gate.expand(8)])
        hook = module.mix.register_forward_pre_hook(lambda part, args, gates=gates: (args[0] * gates,))
        (derivative,) = torch.autograd.grad(functional.cross_entropy(module(x), y), gate)
        hook.remove()
        wanted += float(derivative) ** 2 / len(batches)
    assert scores[number].shape == (2,)
    assert scores[number][1] == pytest.approx(wanted, rel=1e-9)


def test_inputs_without_effect_go_first():
    module = lively(16)
    with torch.no_grad():
        module.mix.weight[:, 8:] = 0.0
        module.head.weight[:, :32] = 0.0
    budget = Budget(max_parameters=num_parameters(module) - 16 * 8 - 4 * 32)
    pruned = prune_segments(module, batches_for(), budget, QUICK)
    assert {edit.module: edit.settings["inputs"] for edit in pruned.plan.edits} == {
        "mix": list(range(8)),
        "head": list(range(32, 64)),
    }
    inputs = torch.randn(4, *SHAPE)
    assert torch.allclose(pruned.module(inputs), module(inputs), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (SegmentConfig, {"segment_size": 0}),
        (SegmentConfig, {"min_segments": 0}),
        (SegmentConfig, {"num_rounds": 1.5}),
        (SegmentConfig, {"num_groups": 2}),
        (GroupConfig, {"num_groups": 1}),
        (GroupConfig, {"num_groups": True}),
        (GroupConfig, {"round_to": 0}),
        (GroupConfig, {"num_batches": 0}),
    ],
)
def test_settings_out_of_range_are_refused(kind, values):
    with pytest.raises(ConfigError, match=kind.__name__):
        kind.from_dict(values)


@pytest.mark.parametrize("config", [SegmentConfig(4, 2, 3, 5), GroupConfig(4), GroupConfig()])
def test_settings_round_trip(config):
    assert type(config).from_dict(config.to_dict()) == config


def test_the_choice_of_segments_goes_by_score_per_parameter():
    alive = [np.ones(3, bool), np.ones(2, bool)]
    scores, costs = [np.array([3.0, 1.0, 2.0]), np.array([4.0, 5.0])], [np.array([1, 1, 1]), np.array([10, 10])]
    assert choose_segments(alive, scores, costs, 23, 13, 1) == 13
    assert [one.tolist() for one in alive] == [[True, True, True], [False, True]]
    # One of each layer stays, whatever the target.
    assert choose_segments(alive, scores, costs, 13, 0, 1) == 11
    assert [one.tolist() for one in alive] == [[True, False, False], [False, True]]


def test_frozen_weights_are_scored_and_stay_frozen():
    module = lively(16).requires_grad_(False)
    pruned = prune_segments(module, batches_for(), Budget(pruning_ratio=0.3), QUICK)
    reference = prune_segments(lively(16), batches_for(), Budget(pruning_ratio=0.3), QUICK)
    assert pruned.plan == reference.plan
    assert not any(parameter.requires_grad for parameter in pruned.module.parameters())
    assert all(parameter.requires_grad for parameter in reference.module.parameters())


def planted(groups=4, size=16, seed=0):
    """(scores in blocks, shuffled; the groups of neurons; the inputs of each group)."""
    generator = np.random.default_rng(seed)
    neurons = generator.permutation(groups * size).reshape(groups, size)
    inputs = generator.permutation(groups * size).reshape(groups, size)
    scores = generator.random((groups * size, groups * size)) * 0.1
    for one, other in zip(neurons, inputs, strict=True):
        scores[np.ix_(one, other)] += 1.0
    return scores, neurons, inputs


@pytest.mark.parametrize("seed", range(3))
def test_a_partition_finds_blocks_that_are_there(seed):
    scores, neurons, inputs = planted(seed=seed)
    found = partition(scores, 4, 16)
    wanted = {(tuple(sorted(one)), tuple(sorted(other))) for one, other in zip(neurons, inputs, strict=True)}
    assert {(tuple(one), tuple(other)) for one, other in zip(found.neurons, found.inputs, strict=True)} == wanted
    kept = sum(scores[np.ix_(one, other)].sum() for one, other in zip(neurons, inputs, strict=True))
    assert found.kept_score == pytest.approx(kept)


@pytest.mark.parametrize(("neurons", "groups", "inputs", "size"), [(12, 3, 7, 2), (8, 8, 5, 5), (6, 2, 4, 1)])
def test_a_partition_is_balanced_and_never_worse_than_neurons_in_order(neurons, groups, inputs, size):
    scores = np.random.default_rng(0).random((neurons, inputs)) ** 3
    found = partition(scores, groups, size)
    assert sorted(found.neurons.ravel().tolist()) == list(range(neurons))
    assert found.inputs.shape == (groups, size)
    in_order = sum(np.sort(block.sum(0))[-size:].sum() for block in np.split(scores, groups))
    assert found.kept_score >= in_order - 1e-12


def test_a_small_partition_is_near_the_best_of_all():
    scores = np.random.default_rng(1).random((6, 4)) ** 4
    best = 0.0
    for group in itertools.combinations(range(6), 3):
        other = [neuron for neuron in range(6) if neuron not in group]
        best = max(best, sum(np.sort(scores[list(part)].sum(0))[-2:].sum() for part in (group, other)))
    assert partition(scores, 2, 2).kept_score > 0.95 * best


def test_forms_that_pay_are_chosen_by_size():
    def sizes(neurons, inputs, kernel=9, is_linear=False, positions=1, config=None):
        layer = DenseLayer("x", neurons, inputs, kernel, is_linear, num_positions=positions)
        return group_sizes(layer, config or GroupConfig())

    assert sizes(64, 64) == [(2, 32), (4, 16)]
    assert sizes(96, 96) == [(2, 48), (3, 32), (6, 16)]
    assert sizes(128, 96) == [(2, 48)]
    assert sizes(48, 48) == [(3, 16)]
    assert sizes(48, 64) == sizes(32, 64) == sizes(40, 40) == sizes(64, 3) == sizes(48, 96, kernel=1) == []
    assert sizes(64, 64, kernel=1) == [(2, 32), (4, 16)]
    assert sizes(512, 512, 1, True) == []
    assert sizes(1024, 1024, 1, True) == [(4, 256), (8, 128)]
    assert sizes(128, 256, 1, True, positions=64) == [(2, 128), (4, 64), (8, 32)]
    assert sizes(128, 256, 1, True, positions=32) == sizes(64, 64, 1, True, positions=64) == []
    asked = GroupConfig(num_groups=4, round_to=8)
    assert sizes(20, 100, config=asked) == [(4, 25), (4, 24), (4, 16), (4, 8)]
    assert sizes(20, 64, config=asked) == [(4, 16), (4, 8)]
    assert sizes(10, 64, config=asked) == sizes(20, 3, config=asked) == []


def test_the_choice_of_groupings_takes_the_cheapest_form_and_uses_the_budget():
    layers = [DenseLayer(name, 10, 10, 1, True) for name in "ab"]

    def form(size, kept):
        return Grouping(np.zeros((2, 5), int), np.zeros((2, size), int), kept)

    options = [[form(5, 90.0), form(2, 50.0)], [form(5, 40.0), form(2, 30.0)]]
    assert choose_groupings(layers, options, [100.0, 100.0], 200, 200) == [None, None]
    assert choose_groupings(layers, options, [100.0, 100.0], 200, 150) == [options[0][0], None]
    assert choose_groupings(layers, options, [100.0, 100.0], 200, 100) == [options[0][0], options[1][0]]
    assert choose_groupings(layers, options, [100.0, 100.0], 200, 40) == [options[0][1], options[1][1]]
    # The cheapest step by its price (b to 5 inputs) would not do; a single other one does, and loses less in all.
    options = [[form(2, 60.0)], [form(5, 80.0)]]
    assert choose_groupings(layers, options, [100.0, 100.0], 200, 125) == [options[0][0], None]


def test_scores_of_connections_sum_over_the_kernel():
    module = lively(16)
    layers, _ = find_dense_layers(module, torch.randn(2, *SHAPE))
    batches = batches_for(count=1)
    (stem, *_) = connection_scores(module, layers, batches, functional.cross_entropy)
    functional.cross_entropy(module(batches[0][0]), batches[0][1]).backward()
    wanted = (module.stem.weight * module.stem.weight.grad).sum((2, 3)).double() ** 2
    assert stem.shape == (16, 3)
    assert np.allclose(stem, wanted.detach().numpy(), rtol=1e-3)


def test_stats_of_a_grouped_network_by_hand():
    pruned = prune_groups(lively(), batches_for(), Budget(pruning_ratio=0.3), GroupConfig(num_batches=1))
    (edit,) = pruned.plan.edits
    per_group = len(edit.settings["inputs"]) // edit.settings["num_groups"]
    assert isinstance(pruned.module.body, GroupedLayer)
    layer = next(one for one in measure_stats(pruned.module, (torch.zeros(1, *SHAPE),)).layers if "body" in one.name)
    assert (layer.name, layer.num_parameters) == ("body.layer", 64 * per_group * 9)
    assert layer.num_macs == 2 * 4 * 4 * 64 * per_group * 9  # called twice


def test_cut_twice_trained_and_rebuilt(digits):
    torch.manual_seed(0)
    module = DigitsCNN()
    batches = list(itertools.islice(digits.batches(digits.train, 64), 4))
    first = prune_segments(module, batches, Budget(pruning_ratio=0.3), QUICK)
    both = prune_groups(first.module, batches, Budget(pruning_ratio=0.1), GroupConfig(2, num_batches=2))
    history = fit(both.module, digits, FitConfig(epochs=1, batch_size=32))
    assert history[-1]["val_metric"] > 0.5
    fresh = apply_plan_(DigitsCNN(), Plan(first.plan.edits + both.plan.edits))
    fresh.load_state_dict(both.module.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh.eval()(batches[0][0]), both.module(batches[0][0]))

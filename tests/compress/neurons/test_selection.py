"""What a selection says of the network's cost, against networks that are really cut; widths, limits, rules."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from edge_dendrite.compress.coupling.find import find_coupling
from edge_dendrite.compress.layers.attention import replace_attention_
from edge_dendrite.compress.neurons.edits import build_plan
from edge_dendrite.compress.neurons.selection import Selection
from edge_dendrite.compress.plan import apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import LayerRule, PruneConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.models.convnets import DigitsCNN, ResNet8

FREE = PruneConfig(min_units=1, round_to=1, normalised_units=True)


def mlp(*widths):
    layers = [part for one in zip(widths, widths[1:], strict=False) for part in (nn.Linear(*one), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class Separable(nn.Module):
    """A residual, a depthwise and a grouped convolution, a transposed one, a flatten, a layer that is used twice."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 12, 3, stride=2, padding=1), nn.BatchNorm2d(12)
        self.depth = nn.Conv2d(12, 12, 3, padding=1, groups=12, bias=False)
        self.point = nn.Conv2d(12, 12, 1)
        self.split = nn.Conv2d(12, 8, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.twice = nn.Linear(6 * 16, 6 * 16)
        self.head = nn.Linear(6 * 16, 3)

    def forward(self, x):
        h = self.norm(self.stem(x)).relu()
        h = h + self.point(self.depth(h).relu())
        h = functional.adaptive_avg_pool2d(self.up(self.split(h).relu()), 4).flatten(1)
        return self.head(self.twice(self.twice(h).relu()))


class Encoder(nn.Module):
    """An encoder layer of torch between an embedding of pixels and a classifier."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(5, 24)
        layer = nn.TransformerEncoderLayer(24, 6, 20, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(24, 3)

    def forward(self, x):
        return self.head(self.body(self.embed(x)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.rnn = kind(5, 12, num_layers=2, batch_first=True)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


NETWORKS = {
    "linear": (lambda: mlp(6, 20, 30, 3), (6,)),
    "digits-cnn": (DigitsCNN, (1, 8, 8)),
    "residuals": (ResNet8, (3, 16, 16)),
    "separable": (Separable, (3, 8, 8)),
    "attention": (lambda: replace_attention_(Encoder()), (7, 5)),
    "lstm": (Recurrent, (4, 5)),
}


def made(name):
    torch.manual_seed(0)
    factory, shape = NETWORKS[name]
    module = factory().eval()
    return module, find_coupling(module, (torch.zeros(2, *shape),)), shape


def remove_randomly(selection, seed):
    """Takes away up to all but one unit of every group; returns what was taken."""
    generator = np.random.default_rng(seed)
    taken = {}
    for number, group in enumerate(selection.coupling.groups):
        count = int(generator.integers(0, group.num_units))
        taken[number] = generator.permutation(group.num_units)[:count].tolist()
        selection.remove(number, taken[number])
    return taken


def cut(module, selection):
    zeros = [np.zeros(group.num_units) for group in selection.coupling.groups]
    return apply_plan_(copy.deepcopy(module), build_plan(module, selection, zeros))


def counted_macs(module, shape):
    """By torch's counter, which knows the products of attention only where they are matrix products."""
    with sdpa_kernel(SDPBackend.MATH):
        return measure_stats(module, (torch.zeros(1, *shape),)).num_macs


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_are_those_of_the_cut_network(name):
    module, coupling, _ = made(name)
    assert coupling.groups
    for seed in range(4):
        selection = Selection(coupling, FREE)
        assert selection.num_parameters == selection.amount == num_parameters(module)
        taken = remove_randomly(selection, seed)
        assert selection.num_parameters == num_parameters(cut(module, selection)) < num_parameters(module)
        for number, units in taken.items():
            selection.restore(number, units[1:])
        left = num_parameters(cut(module, selection))
        assert selection.num_parameters == left
        assert [selection.width(number) for number in taken] == [int(one.sum()) for one in selection.alive]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "lstm"])
def test_multiply_accumulates_are_those_that_torch_counts(name):
    module, coupling, shape = made(name)
    whole = Selection(coupling, FREE, "macs")
    assert whole.num_macs == whole.amount == counted_macs(module, shape) > 0
    for seed in range(4):
        selection = Selection(coupling, FREE, "macs")
        remove_randomly(selection, seed)
        counted = counted_macs(cut(module, selection), shape)
        assert selection.num_macs == pytest.approx(counted, rel=1e-12)
        assert counted < whole.num_macs


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_multiply_accumulates_of_recurrent_layers_by_hand(kind, gates):
    """Torch counts none of them. One input has four steps; every gate multiplies inputs and hidden state."""
    module = Recurrent(kind).eval()
    selection = Selection(find_coupling(module, (torch.zeros(2, 4, 5),)), FREE, "macs")

    def by_hand(hidden):
        return 4 * gates * (hidden * (5 + hidden) + hidden * (hidden + hidden)) + hidden * 3

    assert selection.num_macs == by_hand(12)
    selection.remove(0, [0, 3, 7])
    assert selection.num_macs == by_hand(9)
    selection.restore(0, [3])
    assert selection.num_macs == by_hand(10)


def test_multiply_accumulates_of_a_projected_and_reversed_lstm_by_hand():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(5, 12, batch_first=True, proj_size=7, bidirectional=True)
            self.head = nn.Linear(14, 3)

        def forward(self, x):
            return self.head(self.rnn(x)[0][:, -1])

    coupling = find_coupling(Both().eval(), (torch.zeros(2, 4, 5),))
    selection = Selection(coupling, FREE, "macs")
    # Two directions, four steps, four gates that read inputs and projections, then the projection.
    assert selection.num_macs == 2 * 4 * (4 * 12 * (5 + 7) + 12 * 7) + 14 * 3


@pytest.mark.parametrize("cost", ["parameters", "macs"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_saving_is_what_the_removal_then_saves(name, cost):
    _, coupling, _ = made(name)
    selection = Selection(coupling, FREE, cost)
    for number in range(len(coupling.groups)):
        block = selection.block(number)
        if block:
            before, said = selection.amount, selection.saving(number, block)
            selection.remove(number, list(range(block)))
            assert before - selection.amount == pytest.approx(said)
            assert -selection.saving(number, -block) == pytest.approx(said)


def widths_on_the_way(selection, number):
    widths = [selection.width(number)]
    while block := selection.block(number):
        gone = np.flatnonzero(selection.alive[number])[:block]
        selection.remove(number, gone.tolist())
        widths.append(selection.width(number))
    return widths


@pytest.mark.parametrize(
    ("round_to", "min_units", "wanted"),
    [
        (8, 2, [20, 16, 8]),
        (8, 8, [20, 16, 8]),
        (8, 9, [20, 16]),
        (5, 1, [20, 15, 10, 5]),
        (1, 17, [20, 19, 18, 17]),
        (64, 2, [20]),
        (1, 20, [20]),
    ],
)
def test_widths_are_multiples_down_to_the_smallest(round_to, min_units, wanted):
    coupling = find_coupling(mlp(6, 20, 3), (torch.zeros(2, 6),))
    selection = Selection(coupling, PruneConfig(min_units=min_units, round_to=round_to))
    assert widths_on_the_way(selection, 0) == wanted


def test_never_all_units_of_a_layer():
    coupling = find_coupling(mlp(6, 5, 3), (torch.zeros(2, 6),))
    assert widths_on_the_way(Selection(coupling, PruneConfig(min_units=1, round_to=1)), 0)[-1] == 1


def test_heads_leave_so_that_the_width_of_the_projection_is_a_multiple():
    """Six heads of four rows each: multiples of 16 rows are multiples of four heads."""
    _, coupling, _ = made("attention")
    heads = next(number for number, group in enumerate(coupling.groups) if group.num_units == 6)
    rows = {one.indices.shape[1] for one in coupling.groups[heads].slices if one.tensor.endswith("q_proj.weight")}
    assert rows == {4}
    assert widths_on_the_way(Selection(coupling, PruneConfig(min_units=1, round_to=16)), heads) == [6, 4]
    assert widths_on_the_way(Selection(coupling, PruneConfig(min_units=1, round_to=8)), heads) == [6, 4, 2]
    assert widths_on_the_way(Selection(coupling, PruneConfig(min_units=1, round_to=1)), heads) == [6, 5, 4, 3, 2, 1]


def test_what_can_come_back_leads_to_a_width_of_before():
    coupling = find_coupling(mlp(6, 20, 3), (torch.zeros(2, 6),))
    selection = Selection(coupling, PruneConfig(round_to=8))
    assert selection.return_block(0) == 0
    seen = widths_on_the_way(selection, 0)
    assert seen == [20, 16, 8]
    for wanted in (16, 20):
        units = np.flatnonzero(~selection.alive[0])[: selection.return_block(0)]
        selection.restore(0, units.tolist())
        assert selection.width(0) == wanted
    assert selection.return_block(0) == 0


def test_units_under_a_mean_are_locked_unless_asked_for():
    _, coupling, _ = made("attention")
    width = next(number for number, group in enumerate(coupling.groups) if group.normalised)
    careful = Selection(coupling, PruneConfig(round_to=1))
    assert width in careful.locked
    assert careful.block(width) == 0
    assert "normalised_units" in careful.kept["embed"]
    assert careful.locked != frozenset(range(len(coupling.groups)))
    assert Selection(coupling, FREE).locked == frozenset()
    assert Selection(coupling, FREE).block(width) == 1
    assert "embed" not in coupling.kept, "what a selection keeps is its own"


def test_a_lock_names_its_layers_and_holds_for_those_that_are_tied():
    coupling = find_coupling(mlp(6, 20, 20, 3), (torch.zeros(2, 6),))
    tied = dataclasses.replace(coupling, ties=((0, 1),))
    selection = Selection(tied, FREE)
    selection.lock(1, "because")
    assert selection.locked == {0, 1}
    assert (selection.block(0), selection.block(1)) == (0, 0)
    assert selection.kept == {**coupling.kept, "0": "because", "2": "because"}
    alone = Selection(coupling, FREE)
    alone.lock(1, "because")
    assert alone.locked == {1}
    assert alone.block(0) == 1


def test_tied_groups_count_together_and_take_the_narrower_limits():
    coupling = dataclasses.replace(find_coupling(mlp(6, 20, 20, 3), (torch.zeros(2, 6),)), ties=((0, 1),))
    rules = (LayerRule("0", min_units=7, round_to=2), LayerRule("2", round_to=3))
    selection = Selection(coupling, PruneConfig(min_units=1, layers=rules))
    assert selection.block(0) == selection.block(1) == 2  # 20 to 18, the next multiple of lcm(2, 3)
    before, said = selection.num_parameters, selection.saving(0, 2)
    for number in (0, 1):
        selection.remove(number, [0, 1])
    # (6 + 1) * 20 + (20 + 1) * 20 + (20 + 1) * 3 becomes the same with 18.
    assert before - selection.num_parameters == said == (7 * 20 + 21 * 20 + 21 * 3) - (7 * 18 + 19 * 18 + 19 * 3)
    assert selection.block(0) == 6
    for number in (0, 1):
        selection.remove(number, list(range(2, 8)))
    assert selection.block(0) == 0, "12 - 6 is below the seven units that one of them must keep"


RULED = find_coupling(mlp(6, 20, 30, 40, 3), (torch.zeros(2, 6),))


def smallest_widths(*rules, coupling=RULED, **settings):
    config = PruneConfig(**{"min_units": 1, "round_to": 1, "layers": rules, **settings})
    selection = Selection(coupling, config)
    return [widths_on_the_way(selection, number)[-1] for number in range(len(coupling.groups))]


def test_the_first_rule_that_names_a_layer_holds():
    half, none = LayerRule(r"[02]", 0.5), LayerRule("2", 0.0)
    assert smallest_widths(half, none) == [10, 15, 1]
    assert smallest_widths(none, half) == [10, 30, 1]
    # The first one holds whole: what it does not say comes from the general settings, not from the next rule.
    assert smallest_widths(LayerRule("0", round_to=4), LayerRule("0", min_units=11)) == [4, 1, 1]


def test_rules_have_their_own_limits():
    rules = (LayerRule("0", min_units=7), LayerRule("2", round_to=8), LayerRule("4", 0.3, round_to=4))
    assert smallest_widths(*rules) == [7, 8, 28]
    # A ratio that is no whole number of blocks goes as far as blocks do, never beyond.
    assert smallest_widths(LayerRule("4", 0.3, round_to=16)) == [1, 1, 32]
    assert Selection(RULED, PruneConfig(layers=rules)).exact == [None, None, 0.3]


def test_a_ratio_of_zero_locks():
    selection = Selection(RULED, PruneConfig(layers=(LayerRule("2", 0.0),)))
    assert selection.locked == {1}


def test_an_expression_has_to_match_the_whole_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([mlp(6, 20, 6), mlp(6, 20, 6)])
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    coupling = find_coupling(Named(), (torch.zeros(2, 6),))
    inner = [number for number, group in enumerate(coupling.groups) if group.num_units == 20]
    assert [coupling.groups[number].name for number in inner] == ["blocks.0.0", "blocks.1.0"]

    def left(*rules):
        widths = smallest_widths(*rules, coupling=coupling)
        return [widths[number] for number in inner]

    assert left(LayerRule(r"blocks\.\d+\.0", 0.5)) == [10, 10]
    assert left(LayerRule("blocks.1.0", 0.5)) == [1, 10]
    with pytest.raises(PruneError, match="'blocks' names no layer"):
        left(LayerRule("blocks", 0.5))


def test_a_rule_by_any_name_of_layers_that_are_joined():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.head = nn.Linear(6, 20), nn.Linear(6, 20), nn.Linear(20, 3)

        def forward(self, x):
            return self.head((self.left(x) + self.right(x)).relu())

    coupling = find_coupling(Joined(), (torch.zeros(2, 6),))
    assert len(coupling.groups) == 1
    for name in ("left", "right"):
        assert smallest_widths(LayerRule(name, 0.25), coupling=coupling) == [15]


def test_a_rule_for_no_layer_names_the_nearest_or_all():
    coupling = find_coupling(DigitsCNN(), (torch.zeros(2, 1, 8, 8),))
    with pytest.raises(PruneError, match="the rule for 'conv_1' names no layer.*did you mean 'conv1'"):
        Selection(coupling, PruneConfig(layers=(LayerRule("conv_1", 0.5),)))
    with pytest.raises(PruneError, match="'zzzz' names no layer.*conv1, conv2, fc1"):
        Selection(coupling, PruneConfig(layers=(LayerRule("fc1", 0.5), LayerRule("zzzz", 0.5))))


def test_the_smallest_network_by_hand():
    selection = Selection(RULED, PruneConfig(min_units=3, round_to=8))
    before = selection.num_parameters
    # 20, 30 and 40 all end at 8.
    assert selection.smallest() == 7 * 8 + 9 * 8 + 9 * 8 + 9 * 3
    assert Selection(RULED, PruneConfig(min_units=3, round_to=8), "macs").smallest() == 6 * 8 + 8 * 8 + 8 * 8 + 8 * 3
    keep = (LayerRule("2", 0.0), LayerRule("4", 0.5))
    ruled = Selection(RULED, PruneConfig(min_units=3, round_to=1, layers=keep))
    assert ruled.smallest() == 7 * 3 + 4 * 30 + 31 * 20 + 21 * 3
    assert selection.num_parameters == before
    assert all(alive.all() for alive in selection.alive)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_smallest_network_can_be_had(name):
    module, coupling, shape = made(name)
    selection = Selection(coupling, PruneConfig(min_units=2, round_to=4))
    wanted = selection.smallest()
    for number in range(len(coupling.groups)):
        widths_on_the_way(selection, number)
    small = cut(module, selection)
    assert num_parameters(small) == wanted < num_parameters(module)
    with torch.no_grad():
        assert small(torch.randn(3, *shape)).shape == module(torch.randn(3, *shape)).shape


@pytest.mark.parametrize("name", NETWORKS)
def test_what_a_layer_saves_alone_is_counted_with_all_others_whole(name):
    module, coupling, shape = made(name)
    selection = Selection(coupling, FREE)
    remove_randomly(selection, 1)
    for number in range(len(coupling.groups)):
        alone = Selection(coupling, FREE)
        alone.remove(number, np.flatnonzero(~selection.alive[number]).tolist())
        small = cut(module, alone)
        parameters, macs = selection.saved_alone(number)
        assert parameters == num_parameters(module) - num_parameters(small)
        if name != "lstm":
            assert macs == counted_macs(module, shape) - counted_macs(small, shape)

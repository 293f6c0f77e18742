"""Which units a budget takes, on networks small enough to know the answer by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.coupling.find import find_coupling
from edge_dendrite.compress.neurons.choice import give_back, remove_cheapest, remove_exactly
from edge_dendrite.compress.neurons.prune import plan_pruning
from edge_dendrite.compress.neurons.selection import Selection
from edge_dendrite.config import SCOPES, Budget, LayerRule, PruneConfig
from edge_dendrite.models.convnets import DigitsCNN

FREE = PruneConfig(min_units=1, round_to=1)


def mlp(*widths):
    layers = [part for one in zip(widths, widths[1:], strict=False) for part in (nn.Linear(*one), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def coupling_of(*widths):
    return find_coupling(mlp(*widths), (torch.zeros(2, widths[0]),))


DIGITS = find_coupling(DigitsCNN(), (torch.zeros(2, 1, 8, 8),))
# Two hidden layers of four: a unit of the first costs 100 + 1 + 4 parameters, one of the second 4 + 1 + 3.
UNEQUAL = coupling_of(100, 4, 4, 3)
WHOLE = 101 * 4 + 5 * 4 + 5 * 3


def gone(selection):
    return [np.flatnonzero(~alive).tolist() for alive in selection.alive]


def chosen(coupling, scores, target, scope="global", config=FREE, cost="parameters", **settings):
    selection = Selection(coupling, config, cost)
    remove_cheapest(selection, [np.array(one, float) for one in scores], target, scope, **settings)
    return selection


def random_scores(coupling, seed):
    generator = np.random.default_rng(seed)
    return [generator.random(group.num_units) for group in coupling.groups]


def test_global_takes_the_least_score_for_each_parameter():
    # Per parameter: 0.1, 0.2, 0.9, 0.9 in the first layer, 0.15, 0.5, 0.9, 0.9 in the second, while both are whole.
    scores = [[10.5, 21, 94.5, 94.5], [1.2, 4, 7.2, 7.2]]
    assert gone(chosen(UNEQUAL, scores, WHOLE)) == [[], []]
    assert gone(chosen(UNEQUAL, scores, WHOLE - 1)) == [[0], []]
    assert gone(chosen(UNEQUAL, scores, WHOLE - 105)) == [[0], []]
    # Now a unit of the second layer has three inputs: 1.2 / 7.
    assert gone(chosen(UNEQUAL, scores, WHOLE - 106)) == [[0], [0]]
    assert gone(chosen(UNEQUAL, scores, WHOLE - 105 - 7 - 1)) == [[0, 1], [0]]


def test_scores_made_to_be_compared_as_they_are():
    scores = [[10.5, 21, 94.5, 94.5], [1.2, 4, 7.2, 7.2]]
    last = chosen(UNEQUAL, scores, WHOLE - 9, per_saving=False)
    assert gone(last) == [[], [0, 1]]
    assert gone(chosen(UNEQUAL, scores, WHOLE - 17, per_saving=False)) == [[], [0, 1, 2]]


def test_what_is_saved_is_counted_in_the_budgets_own_unit():
    """A convolution of few parameters does most of the work; a linear layer of many does little."""
    whole = {cost: Selection(DIGITS, FREE, cost).amount for cost in ("parameters", "macs")}
    ones = [np.ones(group.num_units) for group in DIGITS.groups]
    names = [group.name for group in DIGITS.groups]
    for cost, first in (("parameters", "conv2"), ("macs", "conv1")):
        selection = chosen(DIGITS, ones, whole[cost] - 1, cost=cost)
        assert [name for name, one in zip(names, gone(selection), strict=True) if one] == [first]


def test_of_equal_scores_the_first_unit_goes():
    # 4 inputs, 4 + 4 hidden, 4 outputs: a unit of either layer costs 9.
    even = coupling_of(4, 4, 4, 4)
    ones = [[1, 1, 1, 1], [1, 1, 1, 1]]
    first = chosen(even, ones, 60 - 1)
    assert sum(len(one) for one in gone(first)) == 1
    assert [0] in gone(first)
    assert gone(chosen(even, ones, 60 - 1)) == gone(first)
    assert gone(chosen(even, [[2, 1, 1, 1], [2, 2, 1, 2]], 60 - 9)) == [[1], []]
    assert gone(chosen(even, [[2, 2, 2, 2], [2, 2, 1, 2]], 60 - 9)) == [[], [2]]


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_by_layer_every_layer_loses_the_same_share(share):
    coupling = coupling_of(8, 16, 8, 4, 3)
    scores = random_scores(coupling, 0)
    scores[2] *= 1e-6  # by the scores alone the last layer would go first, and whole
    widths = [round(width * (1 - share)) for width in (16, 8, 4)]
    target = 9 * widths[0] + (widths[0] + 1) * widths[1] + (widths[1] + 1) * widths[2] + (widths[2] + 1) * 3
    selection = chosen(coupling, scores, target, "layer")
    assert [selection.width(number) for number in range(3)] == widths
    for one, score in zip(gone(selection), scores, strict=True):
        assert sorted(one) == sorted(np.argsort(score)[: len(one)].tolist())


class TwoKinds(nn.Module):
    """Two convolutions and two linear layers with units; the last one is the output."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.c, self.d, self.e = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x):
        h = self.b(self.a(x).relu()).relu().mean((2, 3))
        return self.e(self.d(self.c(h).relu()).relu())


def test_by_type_each_type_loses_the_same_share_and_compares_within():
    coupling = find_coupling(TwoKinds(), (torch.zeros(2, 1, 6, 6),))
    names = [group.name for group in coupling.groups]
    assert names == ["a", "b", "c", "d"]
    scores = [np.arange(1, group.num_units + 1, dtype=float) for group in coupling.groups]
    scores[0] += 1e6  # within its type nothing of the first convolution should go before the second one's
    scores[2] += 1e6
    selection = Selection(coupling, FREE)
    target = 10 * 8 + 73 * 4 + 5 * 16 + 17 * 8 + 9 * 3  # half of b, half of d
    remove_cheapest(selection, scores, target, "type")
    assert gone(selection) == [[], [0, 1, 2, 3], [], list(range(8))]
    # By layer, all would have lost; over all layers one of the types alone.
    everywhere = chosen(coupling, scores, target, "layer")
    assert all(gone(everywhere))


@pytest.mark.parametrize("scope", ["layer", "type"])
@pytest.mark.parametrize("num_rounds", [1, 4, 16])
def test_the_same_share_however_many_rounds(scope, num_rounds):
    """Also when a round needs a single block: who lost more in the rounds before has to wait."""
    torch.manual_seed(0)
    module = mlp(8, 64, 64, 64, 3) if scope == "layer" else Wide()
    shape = (8,) if scope == "layer" else (1, 6, 6)
    batches = [(torch.randn(8, *shape), torch.randint(0, 3, (8,))) for _ in range(2)]
    config = PruneConfig(scope=scope, num_rounds=num_rounds, num_batches=1)
    planned = plan_pruning(module, batches, Budget(pruning_ratio=0.5), config)
    lost: dict[str, list[int]] = {}
    for line in planned.plan.layers:
        kind = line.layer if scope == "layer" else type(module.get_submodule(line.layer)).__name__
        before = lost.setdefault(kind, [0, 0])
        before[0], before[1] = before[0] + line.before - line.after, before[1] + line.before
    shares = [removed / whole for removed, whole in lost.values()]
    # One block of 8 of 64, and one that was given back because the budget had room.
    assert max(shares) - min(shares) <= 2 * 8 / 64, lost


class Wide(nn.Module):
    """One convolution and one linear layer with units, 64 each."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc, self.head = nn.Conv2d(1, 64, 3), nn.Linear(64, 64), nn.Linear(64, 3)

    def forward(self, x):
        return self.head(self.fc(self.conv(x).relu().mean((2, 3))).relu())


def valid_widths(num_units, config):
    return {num_units} | {width for width in range(config.min_units, num_units) if width % config.round_to == 0}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("cost", ["parameters", "macs"])
@pytest.mark.parametrize("round_to", [1, 8])
def test_the_budget_holds_and_its_room_is_used(scope, cost, round_to):
    config = PruneConfig(min_units=2, round_to=round_to)
    whole = Selection(DIGITS, config, cost)
    for seed, share in enumerate(np.linspace(0.1, 0.95, 9)):
        target = max(share * whole.amount, whole.smallest())
        scores = random_scores(DIGITS, seed)
        selection = chosen(DIGITS, scores, target, scope, config, cost)
        assert selection.amount <= target
        before, alive = selection.amount, [one.copy() for one in selection.alive]
        give_back(selection, scores, target)
        assert before <= selection.amount <= target
        assert all(bool((now >= then).all()) for now, then in zip(selection.alive, alive, strict=True)), "only back"
        for number, group in enumerate(DIGITS.groups):
            assert selection.width(number) in valid_widths(group.num_units, config)
            block = selection.return_block(number)
            assert not block or selection.amount - selection.saving(number, -block) > target, "there was room"


def test_what_comes_back_is_worth_most():
    """Blocks of four of 8 + 8 units: the last block goes far below the budget, what fits comes back."""
    coupling = coupling_of(4, 8, 8, 4)
    config = PruneConfig(min_units=4, round_to=4)
    selection = Selection(coupling, config)
    whole = selection.num_parameters
    assert whole == 5 * 8 + 9 * 8 + 9 * 4
    scores = [np.array([9.0, 1, 9, 2, 9, 3, 9, 4]), np.array([5.0, 5, 5, 5, 6, 6, 6, 6])]
    for number in (0, 1):
        selection.remove(number, [1, 3, 5, 7] if number == 0 else [0, 1, 2, 3])
    # With both at four: 5 * 4 + 5 * 4 + 5 * 4. A block of the first costs 36, one of the second 36 too.
    assert selection.num_parameters == 60
    give_back(selection, scores, 60 + 35)
    assert selection.num_parameters == 60
    give_back(selection, scores, 60 + 36)
    assert gone(selection) == [[1, 3, 5, 7], []], "20 points for 36 parameters instead of 10"
    give_back(selection, scores, whole)
    assert gone(selection) == [[], []]


def test_what_comes_back_is_worth_most_for_what_it_costs():
    """Room for 104 parameters: a unit of the first layer of 10 points, or one of the second of 2 points for 7."""
    selection = Selection(UNEQUAL, FREE)
    selection.remove(0, [0])
    selection.remove(1, [0])
    target = selection.num_parameters + 101 + 3
    give_back(selection, [np.array([10.0, 1, 1, 1]), np.array([2.0, 1, 1, 1])], target)
    assert gone(selection) == [[0], []]
    assert selection.num_parameters == target - 104 + 7


def test_of_a_layer_the_most_valuable_units_come_back():
    coupling = coupling_of(4, 8, 3)
    selection = Selection(coupling, PruneConfig(min_units=1, round_to=2))
    scores = [np.array([1.0, 8, 2, 7, 3, 6, 4, 5])]
    selection.remove(0, [0, 1, 2, 3, 4, 5])
    give_back(selection, scores, selection.num_parameters + 2 * 8 + 7)
    assert gone(selection) == [[0, 2, 4, 5]]


def test_tied_groups_keep_equal_numbers_of_units():
    coupling = dataclasses.replace(coupling_of(6, 12, 12, 12, 3), ties=((0, 2), (1,)))
    for seed in range(6):
        scores = random_scores(coupling, seed)
        selection = Selection(coupling, PruneConfig(min_units=2, round_to=3))
        target = 0.3 * selection.amount + 40 * seed
        remove_cheapest(selection, scores, target, "global")
        assert selection.amount <= target
        assert selection.width(0) == selection.width(2) < 12
        give_back(selection, scores, target)
        assert selection.width(0) == selection.width(2)
        for number in (0, 1, 2):
            lost = len(gone(selection)[number])
            assert gone(selection)[number] == sorted(np.argsort(scores[number])[:lost].tolist())


def test_a_tie_is_worth_what_all_its_units_are():
    coupling = dataclasses.replace(coupling_of(8, 8, 8, 8, 8), ties=((0, 1), (2,)))
    # Alone the first unit would be the cheapest by far; its partner makes the pair dear.
    scores = [[0.1] * 8, [1000.0] * 8, [1.0] * 8]
    selection = chosen(coupling, scores, Selection(coupling, FREE).amount - 1)
    assert gone(selection) == [[], [], [0]]


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("cost", ["parameters", "macs"])
def test_a_smaller_budget_takes_more_of_the_same(scope, cost):
    scores = random_scores(DIGITS, 3)
    whole = Selection(DIGITS, FREE, cost)
    before: list[set[int]] = [set(), set(), set()]
    for share in np.linspace(1.0, whole.smallest() / whole.amount, 12):
        selection = chosen(DIGITS, scores, share * whole.amount, scope, cost=cost)
        now = [set(one) for one in gone(selection)]
        assert all(earlier <= later for earlier, later in zip(before, now, strict=True))
        before = now
    assert [len(one) for one in before] == [15, 31, 63]


def test_an_unreachable_target_ends_with_the_smallest_widths():
    selection = chosen(DIGITS, random_scores(DIGITS, 0), 0, config=PruneConfig(min_units=3, round_to=1))
    assert [selection.width(number) for number in range(3)] == [3, 3, 3]


def test_locked_layers_and_their_scores_play_no_part():
    selection = Selection(DIGITS, FREE)
    selection.lock(2, "asked for")
    scores = random_scores(DIGITS, 0)
    scores[2][:] = 0.0
    remove_cheapest(selection, scores, 11_000, "global")
    give_back(selection, scores, 11_000)
    assert selection.width(2) == 64
    assert selection.amount <= 11_000


EXACT = (LayerRule("fc1", 0.5), LayerRule("conv1", 0.0))


@pytest.mark.parametrize("target", [13_706, 9_000, 5_000])
def test_exact_rules_are_carried_out_whatever_the_budget(target):
    config = PruneConfig(min_units=1, round_to=1, layers=EXACT)
    scores = random_scores(DIGITS, 1)
    selection = Selection(DIGITS, config)
    remove_exactly(selection, scores)
    assert [selection.width(number) for number in range(3)] == [16, 32, 32]
    assert gone(selection)[2] == sorted(np.argsort(scores[2])[:32].tolist())
    remove_cheapest(selection, scores, target, "global")
    give_back(selection, scores, target)
    assert selection.width(0) == 16
    assert selection.width(2) == 32, "nothing of it comes back, and no more goes"
    assert selection.amount <= target


def batches_of_digits(digits):
    return [(digits.prepare(digits.train.inputs[:32]), digits.train.targets[:32])]


@pytest.mark.parametrize("ratio", [0.0, 0.6])
def test_exact_rules_through_prune(digits, ratio):
    torch.manual_seed(0)
    config = PruneConfig(round_to=1, num_rounds=3, num_batches=1, layers=EXACT)
    planned = plan_pruning(DigitsCNN(), batches_of_digits(digits), Budget(pruning_ratio=ratio), config)
    lines = {line.layer: (line.before, line.after) for line in planned.plan.layers}
    assert lines["conv1"] == (16, 16)
    assert lines["fc1"] == (64, 32)
    assert lines["conv2"] == (32, 32) if ratio == 0.0 else lines["conv2"][1] < 32


def test_no_budget_no_cut(digits):
    torch.manual_seed(0)
    planned = plan_pruning(DigitsCNN(), batches_of_digits(digits), Budget(pruning_ratio=0.0), FREE)
    assert planned.plan.edits == ()
    assert planned.num_parameters == (13_706, 13_706)
    assert all(line.before == line.after and line.removed_score == 0.0 for line in planned.plan.layers)


def test_a_larger_ratio_leaves_a_smaller_network(digits):
    torch.manual_seed(0)
    module, batches = DigitsCNN(), batches_of_digits(digits)
    left = [
        plan_pruning(module, batches, Budget(pruning_ratio=ratio), PruneConfig(num_rounds=1)).num_parameters[1]
        for ratio in (0.1, 0.3, 0.5, 0.7, 0.85)
    ]
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == len(left)


def test_the_scores_that_are_told_are_those_of_the_whole_network(digits):
    """In later rounds units that are gone have no score any more."""
    torch.manual_seed(0)
    module, batches = DigitsCNN(), batches_of_digits(digits)
    totals = [
        [
            line.total_score
            for line in plan_pruning(
                module, batches, Budget(pruning_ratio=0.5), PruneConfig(num_rounds=rounds, num_batches=1)
            ).plan.layers
        ]
        for rounds in (1, 4)
    ]
    assert totals[0] == totals[1]
    assert min(totals[0]) > 0


@pytest.mark.parametrize(("num_rounds", "kept"), [(1, (2,)), (2, (1,))])
def test_later_rounds_score_the_network_as_it_is_cut_so_far(num_rounds, kept):
    """Units 0 and 1 do the same, so each seems dispensable; once one is gone, the other matters more than unit 2."""
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        module[1].weight.copy_(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 0.45]]))
        module[0].bias.zero_()
        module[1].bias.zero_()
    inputs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    # Derivatives by the gates: (1 - 3) / 2 twice, (0.45 - 3) * 0.45; without unit 0 (0.5 - 3) / 2 for unit 1.
    config = PruneConfig(min_units=1, round_to=1, num_batches=1, num_rounds=num_rounds)
    planned = plan_pruning(
        module,
        [(inputs, 3 * inputs)],
        Budget(max_parameters=7),
        config,
        loss=functional.mse_loss,
    )
    assert planned.num_parameters == (17, 7)
    assert next(edit.keep for edit in planned.plan.edits if getattr(edit, "tensor", "") == "1.weight") == kept

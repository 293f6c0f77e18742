"""Pruning: values before and after, exact budgets, refusals that change nothing."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from edge_dendrite.compress.coupling.find import find_coupling
from edge_dendrite.compress.coupling.grouping import CONTRACTED
from edge_dendrite.compress.neurons.prune import Selection, build_plan, prune
from edge_dendrite.compress.plan import Plan, apply_plan_, find_tensor
from edge_dendrite.compress.scores.importance import taylor_scores
from edge_dendrite.config import Budget, PruneConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.models.convnets import DigitsCNN, MnistCNN, ResNet8


class Depthwise(nn.Module):
    """A depthwise block with batch norm, a squeeze-and-excitation gate, a residual, cat and a shared layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.depth = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.squeeze, self.excite = nn.Linear(12, 6), nn.Linear(6, 12)
        self.side = nn.Conv2d(12, 5, 1)
        self.shared = nn.Conv2d(17, 17, 1)
        self.head = nn.Linear(17 * 4, 4)

    def forward(self, x):
        h = self.norm(self.stem(x)).relu()
        d = nn.functional.silu(self.depth(h))
        gate = self.excite(self.squeeze(d.mean((2, 3))).relu()).sigmoid()
        h = h + d * gate.unsqueeze(-1).unsqueeze(-1)
        h = torch.cat([h, self.side(h)], 1)
        h = self.shared(self.shared(h).relu()).relu()
        return self.head(nn.functional.adaptive_avg_pool2d(h, 2).flatten(1))


NETWORKS = {
    "digits-cnn": (DigitsCNN, (1, 8, 8)),
    "mnist-cnn": (MnistCNN, (1, 28, 28)),
    "resnet8": (ResNet8, (3, 32, 32)),
    "depthwise, SE, cat, shared": (Depthwise, (3, 8, 8)),
}


def lively(factory, seed=0):
    """A network whose batch-norm statistics and biases are not those of a newborn, in evaluation mode."""
    torch.manual_seed(seed)
    module = factory()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


def batches_for(shape, count=3, classes=4):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(16, *shape, generator=generator), torch.randint(0, classes, (16,), generator=generator))
        for _ in range(count)
    ]


def cut_randomly(module, shape, seed=0):
    """(selection, plan) that removes a random half of the units of every group."""
    coupling = find_coupling(module, (torch.zeros(2, *shape),))
    selection = Selection(coupling, PruneConfig(min_units=1, round_to=1))
    generator = torch.Generator().manual_seed(seed)
    for number, group in enumerate(coupling.groups):
        gone = torch.randperm(group.num_units, generator=generator)[: group.num_units // 2]
        selection.remove(number, gone.tolist())
    return selection, build_plan(module, selection, [np.zeros(group.num_units) for group in coupling.groups])


@torch.no_grad()
def mask_(module, selection):
    """Zero the weights through which removed units reach other layers."""
    for group, alive in zip(selection.coupling.groups, selection.alive, strict=True):
        for one in group.slices:
            if one.role == CONTRACTED:
                find_tensor(module, one.tensor).index_fill_(one.dim, torch.from_numpy(one.indices[~alive].ravel()), 0.0)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_cut_network_computes_what_the_masked_one_does(name):
    factory, shape = NETWORKS[name]
    module = lively(factory)
    selection, plan = cut_randomly(module, shape)
    assert len(selection.alive) >= 3
    masked, cut = copy.deepcopy(module), apply_plan_(copy.deepcopy(module), plan)
    mask_(masked, selection)
    inputs = torch.randn(5, *shape)
    wanted = masked(inputs)
    assert float((wanted - module(inputs)).abs().max()) > 1e-2, "the mask must change something"
    assert torch.allclose(cut.eval()(inputs), wanted, atol=1e-5)
    assert sum(p.numel() for p in cut.parameters()) == selection.num_parameters


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_units_whose_outgoing_weights_are_zero_cost_nothing(name):
    factory, shape = NETWORKS[name]
    module = lively(factory)
    selection, plan = cut_randomly(module, shape, seed=3)
    mask_(module, selection)  # from here on the removed units are without effect
    inputs = torch.randn(5, *shape)
    before = module(inputs)
    assert float(before.std()) > 1e-3
    assert torch.allclose(apply_plan_(copy.deepcopy(module), plan)(inputs), before, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_renaming_modules_and_classes_changes_nothing(name):
    factory, shape = NETWORKS[name]
    kind = factory
    renamed = type("Whatever", (kind,), {})
    first = prune(lively(factory), batches_for(shape), Budget(pruning_ratio=0.4), PruneConfig(round_to=1))
    second = prune(lively(renamed), batches_for(shape), Budget(pruning_ratio=0.4), PruneConfig(round_to=1))
    assert first.plan == second.plan


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("round_to", [1, 4])
def test_budget_is_kept_and_widths_are_round(ratio, round_to):
    module = lively(DigitsCNN)
    budget = Budget(pruning_ratio=ratio)
    pruned = prune(module, batches_for((1, 8, 8)), budget, PruneConfig(round_to=round_to, min_units=round_to))
    target = budget.resolve(13_706)
    left = sum(p.numel() for p in pruned.module.parameters())
    # Room for not even one more block: the largest block of this network costs fewer parameters than this.
    assert target - 1000 * round_to < left <= target
    for layer in pruned.plan.layers:
        assert layer.after == layer.before or layer.after % round_to == 0
    assert sum(p.numel() for p in module.parameters()) == 13_706


def test_attributes_follow_the_shapes():
    pruned = prune(lively(Depthwise), batches_for((3, 8, 8)), Budget(pruning_ratio=0.5), PruneConfig(round_to=1)).module
    assert pruned.depth.groups == pruned.depth.in_channels == pruned.depth.weight.shape[0]
    assert pruned.norm.num_features == len(pruned.norm.running_mean) == pruned.stem.out_channels
    assert (pruned.head.out_features, pruned.head.in_features) == tuple(pruned.head.weight.shape)


def test_taylor_scores_are_the_squared_gate_gradients():
    """Against gates that are really there: d loss / d gate by autograd, for a unit after batch norm and ReLU."""

    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.fc = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Linear(6 * 4, 3)
            self.gates = None

        def forward(self, x):
            h = nn.functional.max_pool2d(self.norm(self.conv(x)).relu(), 3)
            h = h if self.gates is None else h * self.gates.view(1, -1, 1, 1)
            return self.fc(h.flatten(1))

    module = lively(Gated)
    batches = batches_for((1, 8, 8), count=2, classes=3)
    scores = taylor_scores(module, find_coupling(module, (batches[0][0],)), batches, nn.functional.cross_entropy)
    module.gates = torch.ones(6, requires_grad=True)
    wanted = torch.zeros(6, dtype=torch.float64)
    for inputs, targets in batches:
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(module(inputs), targets), module.gates)
        wanted += gradient.double() ** 2 / len(batches)
    assert torch.allclose(scores[0], wanted, rtol=1e-3, atol=1e-10)
    assert float(wanted.max()) > 1e-5


def test_useless_units_go_first():
    module = lively(DigitsCNN)
    with torch.no_grad():
        module.fc1.bias.fill_(5.0)  # no unit is dead by chance
        module.fc2.weight[:, 10:30] = 0.0
    pruned = prune(
        module, batches_for((1, 8, 8), classes=10), Budget(max_parameters=13_706 - 15 * 139), PruneConfig(round_to=1)
    )
    keep = next(edit.keep for edit in pruned.plan.edits if getattr(edit, "tensor", "") == "fc2.weight")
    assert len(keep) <= 64 - 15
    assert sum(10 <= unit < 30 for unit in keep) == 20 - (64 - len(keep))


def test_identity_plan_is_the_identity():
    module = lively(ResNet8)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    apply_plan_(module, Plan())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("module", "budget", "message"),
    [
        (DigitsCNN(), Budget(max_parameters=50), "cannot be reached: with the smallest widths"),
        (nn.Linear(4, 3), Budget(pruning_ratio=0.5), "no layer of this network can be pruned.*output of the network"),
        (nn.Flatten(), Budget(max_parameters=1), "no layer of this network can be pruned"),
    ],
)
def test_impossible_budgets_are_refused_with_the_reason(module, budget, message):
    shape = (4,) if isinstance(module, nn.Linear) else (1, 8, 8)
    with pytest.raises(PruneError, match=message):
        prune(module, batches_for(shape, classes=3), budget)


def test_nan_and_missing_batches_are_refused():
    module = lively(DigitsCNN)
    with torch.no_grad():
        module.fc2.weight[0, 0] = float("nan")
    with pytest.raises(PruneError, match="not finite"):
        prune(module, batches_for((1, 8, 8)), Budget(pruning_ratio=0.5))
    with pytest.raises(PruneError, match="no training batches"):
        prune(lively(DigitsCNN), [], Budget(pruning_ratio=0.5))


def test_a_size_hidden_in_python_is_refused_and_the_original_survives():
    class Hidden(nn.Module):
        """Keeps its width outside of every operator that the graph shows."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 8), nn.Linear(8, 4)

        def forward(self, x):
            h = self.a(x.flatten(1)).relu()
            if h.shape[1] != 8:
                raise RuntimeError("width 8 expected")
            return self.b(h)

    module = Hidden()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(
        PruneError, match="cannot be reached.*a trial cut was wrong: the .* fails at its forward .*width 8 expected"
    ):
        prune(module, batches_for((1, 8, 8)), Budget(pruning_ratio=0.5), PruneConfig(round_to=1))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_network_that_computes_something_else_after_the_cut_is_refused():
    class Sly(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(64, 8), nn.Linear(8, 4)

        def forward(self, x):
            h = self.a(x.flatten(1)).relu()
            return self.b(h) * (1.0 if self.a.out_features == 8 else 2.0)

    with pytest.raises(
        PruneError,
        match="a trial cut was wrong: the pruned network differs by .* from the same network with masked units",
    ):
        prune(Sly(), batches_for((1, 8, 8)), Budget(pruning_ratio=0.5), PruneConfig(round_to=1))


def test_a_frozen_weight_has_a_contribution_too():
    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))

    free, frozen = net(), net()
    frozen.requires_grad_(False)
    budget, config = Budget(pruning_ratio=0.5), PruneConfig(round_to=1)
    first = prune(free, batches_for((1, 8, 8)), budget, config)
    second = prune(frozen, batches_for((1, 8, 8)), budget, config)
    assert first.plan == second.plan
    assert not any(parameter.requires_grad for parameter in second.module.parameters())


def test_modes_of_every_part_are_kept():
    module = lively(ResNet8).train()
    module.bn.eval()  # frozen by its owner
    pruned = prune(module, batches_for((3, 32, 32)), Budget(pruning_ratio=0.3)).module
    for one in (module, pruned):
        assert one.training
        assert not one.bn.training
        assert one.blocks[0].bn1.training

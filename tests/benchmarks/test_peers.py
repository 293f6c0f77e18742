"""Torch-Pruning at a budget: as close as it gets, and of the kind that its name says."""

from __future__ import annotations

import pytest
import torch

from edge_dendrite.models.convnets import DigitsCNN, ResNet8
from scripts.benchmarks.peers import (
    num_parameters,
    prune_global_l2,
    prune_global_taylor,
    prune_uniform_l2,
)

PRUNERS = [prune_uniform_l2, prune_global_l2, prune_global_taylor]


def make(network, shape):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.randn(8, *shape, generator=generator), torch.arange(8)) for _ in range(2)]
    return network(), batches


@pytest.mark.parametrize(
    ("network", "shape", "prune"),
    [*((DigitsCNN, (1, 8, 8), prune) for prune in PRUNERS), (ResNet8, (3, 32, 32), prune_global_taylor)],
)
def test_the_budget_is_kept_and_nearly_used(network, shape, prune):
    module, batches = make(network, shape)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    budget = round(num_parameters(module) * 0.3)
    pruned = prune(module, batches, budget)
    assert 0.85 * budget < num_parameters(pruned) <= budget
    assert pruned(batches[0][0]).shape == (8, 10)
    assert all(parameter.grad is None for parameter in pruned.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_uniform_takes_the_same_share_everywhere_and_global_does_not():
    module, batches = make(DigitsCNN, (1, 8, 8))
    with torch.no_grad():
        module.conv1.weight[::2] *= 1e-3  # half of a layer is clearly the least
    budget = round(num_parameters(module) * 0.5)
    uniform = prune_uniform_l2(module, batches, budget)
    shares = [uniform.conv1.out_channels / 16, uniform.conv2.out_channels / 32, uniform.fc1.out_features / 64]
    assert max(shares) - min(shares) <= 1 / 16
    overall = prune_global_l2(module, batches, budget)
    assert overall.conv1.out_channels <= 8 < uniform.conv1.out_channels


def test_taylor_keeps_what_the_loss_depends_on():
    module, batches = make(DigitsCNN, (1, 8, 8))
    with torch.no_grad():
        module.fc1.weight[:32] *= 10.0  # large, but nothing reads these units
        module.fc2.weight[:, :32] = 0.0
    kept = prune_global_taylor(module, batches, round(num_parameters(module) * 0.7))
    assert not (kept.fc2.weight == 0).all(0).any()


def test_a_budget_below_the_smallest_network_is_said():
    module, batches = make(DigitsCNN, (1, 8, 8))
    with pytest.raises(ValueError, match="at no pruning ratio"):
        prune_uniform_l2(module, batches, 5)

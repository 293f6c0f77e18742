"""Torch-Pruning (MIT, github.com/VainF/Torch-Pruning) as it comes, at the setting that meets a budget."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
import torch_pruning
from torch import nn
from torch.nn import functional

from edge_dendrite.train.evaluate import evaluating

# Halvings of the interval of pruning ratios: far below what one channel of one layer changes.
_NUM_HALVINGS = 20

Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def prune_uniform_l2(module: nn.Module, batches: Batches, max_parameters: int) -> nn.Module:
    """Every layer loses the same share of its channels, those with the smallest L2 norm over their group."""
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    return _closest(module, batches, max_parameters, importance, global_pruning=False)


def prune_global_l2(module: nn.Module, batches: Batches, max_parameters: int) -> nn.Module:
    """The channels of all layers are ranked together by the L2 norm over their group."""
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    return _closest(module, batches, max_parameters, importance, global_pruning=True)


def prune_global_taylor(module: nn.Module, batches: Batches, max_parameters: int) -> nn.Module:
    """The channels of all layers are ranked together by first-order Taylor scores over their group.

    The gradient is the sum over `batches`, as in Torch-Pruning's own examples.
    """
    module = copy.deepcopy(module)
    _accumulate_gradients_(module, batches)
    importance = torch_pruning.importance.GroupTaylorImportance()
    return _closest(module, batches, max_parameters, importance, global_pruning=True)


def _closest(
    module: nn.Module,
    batches: Batches,
    max_parameters: int,
    importance: Callable[..., torch.Tensor],
    *,
    global_pruning: bool,
) -> nn.Module:
    """The largest network of at most `max_parameters` that bisection over the pruning ratio finds.

    Raises ValueError when not even the largest ratio reaches the budget.
    """
    example = next(iter(batches))[0][:2]
    low, high = 0.0, 1.0
    best: nn.Module | None = None
    for _ in range(_NUM_HALVINGS):
        ratio = (low + high) / 2.0
        pruned = _pruned(module, example, importance, ratio, global_pruning)
        if num_parameters(pruned) > max_parameters:
            low = ratio
            continue
        high = ratio
        if best is None or num_parameters(pruned) > num_parameters(best):
            best = pruned
    if best is None:
        raise ValueError(f"Torch-Pruning reaches {max_parameters:,} parameters at no pruning ratio")
    best.zero_grad(set_to_none=True)
    return best


def _pruned(
    module: nn.Module,
    example: torch.Tensor,
    importance: Callable[..., torch.Tensor],
    ratio: float,
    global_pruning: bool,
) -> nn.Module:
    pruned = copy.deepcopy(module).eval()
    for new, old in zip(pruned.parameters(), module.parameters(), strict=True):
        new.grad = None if old.grad is None else old.grad.clone()  # deepcopy leaves gradients behind
    pruner = torch_pruning.pruner.BasePruner(
        pruned,
        example,
        importance=importance,
        pruning_ratio=ratio,
        global_pruning=global_pruning,
        ignored_layers=[last_linear(pruned)],
    )
    pruner.step()
    return pruned


def _accumulate_gradients_(module: nn.Module, batches: Batches) -> None:
    module.zero_grad(set_to_none=True)
    with evaluating(module):
        for inputs, targets in batches:
            functional.cross_entropy(module(inputs), targets).backward()


def last_linear(module: nn.Module) -> nn.Module:
    """The classifier: its outputs are the classes."""
    return [part for part in module.modules() if isinstance(part, nn.Linear)][-1]


def num_parameters(module: nn.Module) -> int:
    """Parameters of a network; shared ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())

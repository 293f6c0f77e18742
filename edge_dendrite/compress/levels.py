"""What is removed: neurons, segments of a layer's inputs, segments of each group of neurons, or two weights of four;
or what takes the place of dense layers: branches."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from edge_dendrite.boards import load_board
from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.connections.dense_layers import resolve_parameters
from edge_dendrite.compress.connections.learned_groups import prune_groups
from edge_dendrite.compress.connections.mask_folding import fold_masks, plan_folding
from edge_dendrite.compress.connections.nm_sparsity import (
    bake_,
    hold_zeros_,
    layer_with_zeros,
    masks_of,
    prune_two_of_four,
)
from edge_dendrite.compress.connections.segments import prune_segments
from edge_dendrite.compress.dendrites.branch import branch
from edge_dendrite.compress.neurons.prune import plan_pruning, prune
from edge_dendrite.compress.plan import Plan, find_tensor
from edge_dendrite.compress.pruned import Planned, Pruned
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import BranchConfig, Budget, GroupConfig, LevelConfig, PruneConfig, SegmentConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent


def prune_at_level(
    module: nn.Module,
    batches: Iterable[Batch],
    budget: Budget,
    config: LevelConfig,
    *,
    num_bytes: Callable[[nn.Module], int] | None = None,
    progress: Progress = silent,
) -> Pruned:
    """A pruned copy of `module` at the level that the class of `config` stands for. Raises as the level's function.

    2:4 sparsity has a ratio of its own: the budget says nothing there. Its result holds its zeros while it is trained;
    `bake_` makes it plain afterwards. A network that learns its groups by masks has chosen already: there level
    "groups" folds the masks, and raises PruneError when that does not meet the budget.
    """
    if isinstance(config, PruneConfig):
        return prune(module, batches, budget, config, num_bytes=num_bytes, progress=progress)
    if isinstance(config, SegmentConfig):
        return prune_segments(module, batches, budget, config, progress=progress)
    if isinstance(config, GroupConfig):
        if plan_folding(module).edits:
            return _folded(module, batches, budget)
        return prune_groups(module, batches, budget, config, progress=progress)
    if isinstance(config, BranchConfig):
        return branch(module, batches, budget, config, progress=progress)
    return prune_two_of_four(module, batches, load_board(config.board), config)


def _folded(module: nn.Module, batches: Iterable[Batch], budget: Budget) -> Pruned:
    folded = fold_masks(module, batches)
    _, target = resolve_parameters(module, budget)
    number = sum(one.numel() for one in folded.module.parameters())
    if number > target:
        raise PruneError(
            f"the masks of this network choose its size: {number:,} parameters, more than the budget of {target:,}. "
            "Give a larger budget, or prune the folded network further"
        )
    return folded


def plan_at_level(
    module: nn.Module,
    batches: Iterable[Batch],
    budget: Budget,
    config: LevelConfig,
    input_shape: tuple[int, ...],
    *,
    num_bytes: Callable[[nn.Module], int] | None = None,
    progress: Progress = silent,
) -> Planned:
    """As `prune_at_level`, for looking at it: the plan and what it would save."""
    if isinstance(config, PruneConfig):
        return plan_pruning(module, batches, budget, config, num_bytes=num_bytes, progress=progress)
    pruned = prune_at_level(module, batches, budget, config, progress=progress)
    one = (torch.zeros(1, *input_shape),)
    before, after = measure_stats(module, one), measure_stats(bake_(pruned.module), one)
    return Planned(
        pruned.plan,
        pruned.kept,
        (before.num_parameters, after.num_parameters),
        (before.num_macs, after.num_macs),
    )


def hold_same_zeros_(module: nn.Module, plan: Plan, sparse: nn.Module) -> nn.Module:
    """Hold the zeros of a trained 2:4 network in `module`, its control; does nothing for other levels."""
    masks = masks_of(sparse)
    for name in filter(None, (layer_with_zeros(line) for line in plan.layers)):
        weight = find_tensor(sparse, f"{name}.weight")
        if weight is not None:
            masks[name] = weight != 0
    return hold_zeros_(module, masks)

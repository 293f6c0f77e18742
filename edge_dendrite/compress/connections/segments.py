"""Dendritic segments: groups of a layer's inputs that are cut for the whole layer, under a parameter budget.

Scores, choice and edits are apart: `choose_segments` takes any scores.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.batches import Batch, endless
from edge_dendrite.compress.connections.dense_layers import (
    DenseLayer,
    find_dense_layers,
    first_and_all,
    mask_connections_,
    mean_over_batches,
    names_of,
    replaced_network,
    resolve_parameters,
    with_savings,
)
from edge_dendrite.compress.layers.build import SEGMENTS
from edge_dendrite.compress.plan import LayerChange, Plan, Replace
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.config import Budget, SegmentConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.fit import Loss


@dataclass(frozen=True)
class SegmentedInputs:
    """The inputs of a layer in segments: segment s is edges[s] to edges[s + 1] (exclusive)."""

    layer: DenseLayer
    edges: np.ndarray

    @property
    def costs(self) -> np.ndarray:
        """Parameters of each segment, (num_segments,)."""
        return np.diff(self.edges) * self.layer.num_neurons * self.layer.kernel

    def kept_inputs(self, alive: np.ndarray) -> list[int]:
        """Indices of the inputs in segments that are alive."""
        return np.flatnonzero(np.repeat(alive, np.diff(self.edges))).tolist()


def prune_segments(
    module: nn.Module,
    batches: Iterable[Batch],
    budget: Budget,
    config: SegmentConfig | None = None,
    *,
    loss: Loss = functional.cross_entropy,
    progress: Progress = silent,
) -> Pruned:
    """Cut the segments that contribute least to the loss for the parameters that they cost; `module` is unchanged.

    batches: as in `prune`. A layer that loses segments becomes a SegmentedLayer: a gather and a smaller layer. The
    result is not trained. Raises PruneError when no layer has segments, the budget cannot be reached, or the new
    network does not compute what the dense one with masked weights computes.
    """
    config = config or SegmentConfig()
    inputs, stream = first_and_all(endless(batches))
    layers, kept = find_dense_layers(module, inputs)
    segmented = [split_inputs(layer, config.segment_size) for layer in layers]
    num_parameters, target = resolve_parameters(module, budget)
    _check_reachable(segmented, num_parameters, target, config, kept)
    plan = _choose(module, segmented, num_parameters, target, stream, config, loss, progress)
    single = {one.layer.name: "its inputs are a single segment" for one in segmented if len(one.costs) == 1}
    small = replaced_network(module, plan, inputs)
    return Pruned(small, with_savings(plan, module, small, inputs), kept | single)


def split_inputs(layer: DenseLayer, segment_size: int) -> SegmentedInputs:
    """Consecutive segments of `segment_size`, the last one maybe smaller; a map is never divided.

    Of one size, because blocks of one size can be gathered as a whole.
    """
    size = max(1, segment_size // layer.map_size) * layer.map_size
    edges: np.ndarray = np.append(np.arange(0, layer.num_inputs, size), layer.num_inputs)
    return SegmentedInputs(layer, edges)


def segment_scores(
    module: nn.Module, segmented: Sequence[SegmentedInputs], batches: Iterable[Batch], loss: Loss
) -> list[np.ndarray]:
    """One score per segment for each layer, (num_segments,).

    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", method with gates: a gate of value 1 on
    what a segment sends to all neurons of its layer; the score is its squared derivative, averaged over batches. The
    derivative is the sum of weight * gradient over the segment's block of the weight.
    """

    def squared(number: int, gradients_nc: np.ndarray) -> np.ndarray:
        return np.add.reduceat(gradients_nc.sum(0), segmented[number].edges[:-1]) ** 2

    return mean_over_batches(module, [one.layer for one in segmented], batches, loss, squared)


def choose_segments(
    alive: list[np.ndarray],
    scores: Sequence[np.ndarray],
    costs: Sequence[np.ndarray],
    num_parameters: int,
    target: int,
    min_segments: int,
) -> int:
    """Switch segments off, the least score per parameter first, until at most `target` parameters are left.

    alive, scores, costs: per layer (num_segments,); `alive` is changed in place. Returns the parameters left.
    """
    prices = [
        (float(score[segment] / cost[segment]), layer, segment)
        for layer, (score, cost) in enumerate(zip(scores, costs, strict=True))
        for segment in np.flatnonzero(alive[layer]).tolist()
    ]
    for _, layer, segment in sorted(prices):
        if num_parameters <= target:
            break
        if alive[layer].sum() > min_segments:
            alive[layer][segment] = False
            num_parameters -= int(costs[layer][segment])
    return num_parameters


def give_back_segments(
    alive: list[np.ndarray], scores: Sequence[np.ndarray], costs: Sequence[np.ndarray], num_parameters: int, target: int
) -> int:
    """Switch on again, the most score per parameter first, what the budget has room for. Returns the parameters."""
    values = [
        (-float(score[segment] / cost[segment]), layer, segment)
        for layer, (score, cost) in enumerate(zip(scores, costs, strict=True))
        for segment in np.flatnonzero(~alive[layer]).tolist()
    ]
    for _, layer, segment in sorted(values):
        if num_parameters + costs[layer][segment] <= target:
            alive[layer][segment] = True
            num_parameters += int(costs[layer][segment])
    return num_parameters


def _check_reachable(
    segmented: Sequence[SegmentedInputs], start: int, target: int, config: SegmentConfig, kept: dict[str, str]
) -> None:
    if not any(len(one.costs) > config.min_segments for one in segmented):
        raise PruneError(
            f"no layer of this network has more than {config.min_segments} segments of {config.segment_size} inputs; "
            f"give a smaller segment_size. Layers that must stay: {names_of(kept)}"
        )
    # As if each layer kept its largest ones: what the choice reaches whatever the scores say.
    smallest = start - sum(int(np.sort(one.costs)[: -config.min_segments].sum()) for one in segmented)
    if target < smallest:
        raise PruneError(
            f"the budget of {target:,} parameters cannot be reached by cutting segments: with {config.min_segments} "
            f"in each layer {smallest:,} of {start:,} stay. Give a larger budget, a smaller segment_size or "
            f"min_segments, or prune neurons too. Layers that must stay: {names_of(kept)}"
        )


def _choose(
    module: nn.Module,
    segmented: Sequence[SegmentedInputs],
    num_parameters: int,
    target: int,
    stream: Iterator[Batch],
    config: SegmentConfig,
    loss: Loss,
    progress: Progress,
) -> Plan:
    """Rounds of scoring and removing; the work is done on a copy in which removed segments are masked."""
    masked = copy.deepcopy(module).requires_grad_(True)  # a frozen weight has a contribution too
    costs = [one.costs for one in segmented]
    alive: list[np.ndarray] = [np.ones(len(cost), bool) for cost in costs]
    start = num_parameters
    first_scores: list[np.ndarray] = []
    for number in range(1, config.num_rounds + 1):
        progress("scoring segments", number - 1, config.num_rounds)
        scores = segment_scores(masked, segmented, itertools.islice(stream, config.num_batches), loss)
        first_scores = first_scores or scores
        round_target = round(start - (start - target) * number / config.num_rounds)
        num_parameters = choose_segments(alive, scores, costs, num_parameters, round_target, config.min_segments)
        for one, mask in zip(segmented, alive, strict=True):
            mask_connections_(masked, one.layer.name, _mask_of(one, mask))
    # By the scores of the first round, the only one in which every segment was still there.
    give_back_segments(alive, first_scores, costs, num_parameters, target)
    progress("scoring segments", config.num_rounds, config.num_rounds)
    return build_segment_plan(segmented, alive, first_scores)


def _mask_of(segmented: SegmentedInputs, alive: np.ndarray) -> torch.Tensor:
    kept: np.ndarray = np.repeat(alive, np.diff(segmented.edges))
    return torch.from_numpy(kept).expand(segmented.layer.num_neurons, -1)


def build_segment_plan(
    segmented: Sequence[SegmentedInputs], alive: Sequence[np.ndarray], scores: Sequence[np.ndarray]
) -> Plan:
    """A replacement for each layer that loses segments; lines for people count inputs."""
    edits: list[Replace] = []
    lines = []
    for one, mask, score in zip(segmented, alive, scores, strict=True):
        inputs = one.kept_inputs(mask)
        name, before = one.layer.name, one.layer.num_inputs
        lines.append(
            LayerChange(f"{name} (inputs)", before, len(inputs), float(score[~mask].sum()), float(score.sum()))
        )
        if not mask.all():
            edits.append(Replace(name, SEGMENTS, {"inputs": inputs}))
    return Plan(tuple(edits), tuple(lines))

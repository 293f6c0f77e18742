"""Learned groups: the neurons of a layer in equal groups, each of which keeps only its own best inputs.

CondenseNet (Huang et al. 2018, section 3) learns such groups while it trains; here they are chosen from scores of a
trained network: `connection_scores` here, the groups in partition.py, the choice of layers in group_choice.py.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Sequence

import numpy as np
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.batches import Batch, endless
from edge_dendrite.compress.connections.dense_layers import (
    DenseLayer,
    find_dense_layers,
    first_and_all,
    mean_over_batches,
    names_of,
    replaced_network,
    resolve_parameters,
    with_savings,
)
from edge_dendrite.compress.connections.group_choice import choose_groupings
from edge_dendrite.compress.connections.partition import Grouping, partitions
from edge_dendrite.compress.layers.build import GROUPS
from edge_dendrite.compress.plan import LayerChange, Plan, Replace
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.config import Budget, GroupConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.fit import Loss

# When groups pay in ONNX Runtime on x86, by scripts/benchmarks/grouped_layers.py: convolutions from so many channels,
# by whether the kernel is 1 or larger; linear layers at many positions of a sample from so many features, at a single
# one only large layers in at least four groups.
_MIN_CHANNELS, _MIN_CHANNELS_OF_1X1 = 48, 64
_MIN_POSITIONS, _MIN_FEATURES = 64, 128
_MIN_WEIGHTS, _MIN_GROUPS = 1 << 20, 4
_MAX_GROUPS = 8


def prune_groups(
    module: nn.Module,
    batches: Iterable[Batch],
    budget: Budget,
    config: GroupConfig | None = None,
    *,
    loss: Loss = functional.cross_entropy,
    progress: Progress = silent,
) -> Pruned:
    """Give groups of neurons their own inputs where that costs least per parameter saved; `module` is unchanged.

    batches: as in `prune`. A layer stays dense or becomes a GroupedLayer whose groups have together at most as many
    inputs as the dense one. The result is not trained. Raises PruneError when no layer can be grouped, the budget
    cannot be reached, or the new network does not compute what the dense one with masked weights computes.
    """
    config = config or GroupConfig()
    inputs, stream = first_and_all(endless(batches))
    layers, kept = find_dense_layers(module, inputs)
    levels = {layer.name: group_sizes(layer, config) for layer in layers}
    kept |= {layer.name: _reason_of_size(layer, config) for layer in layers if not levels[layer.name]}
    layers = tuple(layer for layer in layers if levels[layer.name])
    num_parameters, target = resolve_parameters(module, budget)
    _check_reachable(layers, levels, num_parameters, target, kept)
    progress("scoring connections", 0, 1)
    scored = copy.deepcopy(module).requires_grad_(True)
    scores = connection_scores(scored, layers, itertools.islice(stream, config.num_batches), loss)
    progress("scoring connections", 1, 1)
    options = []
    for number, (layer, score) in enumerate(zip(layers, scores, strict=True)):
        progress("grouping neurons", number, len(layers))
        options.append(partitions(score, levels[layer.name]))
    progress("grouping neurons", len(layers), len(layers))
    chosen = choose_groupings(layers, options, [float(one.sum()) for one in scores], num_parameters, target)
    plan = build_group_plan(layers, chosen, scores)
    small = replaced_network(module, plan, inputs)
    return Pruned(small, with_savings(plan, module, small, inputs), kept)


def connection_scores(
    module: nn.Module, layers: Sequence[DenseLayer], batches: Iterable[Batch], loss: Loss
) -> list[np.ndarray]:
    """For each layer a score of every connection, (neurons, inputs): a connection is an input of one neuron.

    First-order Taylor with gates (Molchanov et al. 2019): the squared derivative of a gate on the connection, which is
    the sum of weight * gradient over its kernel, averaged over batches.
    """
    return mean_over_batches(module, layers, batches, loss, lambda number, gradients_nc: gradients_nc**2)


def group_sizes(layer: DenseLayer, config: GroupConfig) -> list[tuple[int, int]]:
    """The forms (number of groups, inputs per group) that a layer may take, most weights first; maybe none.

    With all groups together a layer reads each input once on average, or less: what was measured to pay.
    """
    if config.num_groups is None:
        step = config.round_to
        counts = range(2, _MAX_GROUPS + 1)
        forms = [(count, layer.num_inputs // count) for count in counts if _pays(layer, count)]
        return [
            (count, size)
            for count, size in forms
            if layer.num_inputs % (count * step) == 0 and layer.num_neurons % (count * step) == 0
        ]
    count, largest = config.num_groups, layer.num_inputs // config.num_groups
    if layer.num_neurons % count or largest == 0:
        return []
    smaller = range((largest - 1) // config.round_to * config.round_to, 0, -config.round_to)
    return [(count, size) for size in (largest, *smaller)]


def _pays(layer: DenseLayer, num_groups: int) -> bool:
    width = min(layer.num_inputs, layer.num_neurons)
    if not layer.is_linear:
        return width >= (_MIN_CHANNELS if layer.kernel > 1 else _MIN_CHANNELS_OF_1X1)
    if layer.num_positions >= _MIN_POSITIONS:
        return width >= _MIN_FEATURES
    return layer.num_weights >= _MIN_WEIGHTS and num_groups >= _MIN_GROUPS


def build_group_plan(
    layers: Sequence[DenseLayer], chosen: Sequence[Grouping | None], scores: Sequence[np.ndarray]
) -> Plan:
    """A replacement for each layer that becomes grouped; lines for people count inputs of a neuron."""
    edits: list[Replace] = []
    lines = []
    for layer, grouping, score in zip(layers, chosen, scores, strict=True):
        total, after, removed = float(score.sum()), layer.num_inputs, 0.0
        if grouping is not None:
            after, removed = grouping.inputs.shape[1], total - grouping.kept_score
            settings = {
                "num_groups": len(grouping.inputs),
                "inputs": grouping.inputs.ravel().tolist(),
                "neurons": grouping.neurons.ravel().tolist(),
            }
            edits.append(Replace(layer.name, GROUPS, settings))
        lines.append(LayerChange(f"{layer.name} (inputs per neuron)", layer.num_inputs, after, removed, total))
    return Plan(tuple(edits), tuple(lines))


def _reason_of_size(layer: DenseLayer, config: GroupConfig) -> str:
    size = f"{layer.num_neurons} neurons of {layer.num_inputs} inputs"
    if config.num_groups is None:
        return f"groups were not measured to pay for {size}; num_groups would ask for them all the same"
    return f"{size} do not divide into {config.num_groups} groups"


def _check_reachable(
    layers: Sequence[DenseLayer],
    levels: dict[str, list[tuple[int, int]]],
    start: int,
    target: int,
    kept: dict[str, str],
) -> None:
    if not layers:
        raise PruneError(f"no layer of this network can be divided into groups. Kept: {names_of(kept)}")
    smallest = start - sum(
        layer.num_weights - min(layer.num_neurons * size * layer.kernel for _, size in levels[layer.name])
        for layer in layers
    )
    if target < smallest:
        raise PruneError(
            f"the budget of {target:,} parameters cannot be reached with groups: with the fewest inputs {smallest:,} "
            f"of {start:,} stay. Give a larger budget, more groups or a smaller round_to, or prune neurons too. "
            f"Layers that must stay: {names_of(kept)}"
        )

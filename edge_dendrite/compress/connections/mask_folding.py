"""Layers that have learned their groups by masks become plain grouped ones: fewer weights, the same values.

    module = find_factory("resnet18-dendritic")()
    fit(module, data, config, penalty=penalty_of_gates(module, inputs))
    small = fold_masks(module, batches).module

Where a trained dense network is to be grouped, learned_groups.py chooses the groups from scores instead.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.connections.dense_layers import first_and_all, replaced_network, with_savings
from edge_dendrite.compress.layers.build import GROUPS
from edge_dendrite.compress.layers.group_masks import MaskedLayer, without_masks
from edge_dendrite.compress.plan import LayerChange, Plan, Replace
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.errors import PruneError


def fold_masks(module: nn.Module, batches: Iterable[Batch]) -> Pruned:
    """A copy of `module` with a GroupedLayer for each MaskedLayer; `module` is unchanged.

    batches: as in `prune`; the first one's inputs are what the values are compared on. Raises PruneError when there is
    no mask, or the new network computes something else.
    """
    inputs, _ = first_and_all(iter(batches))
    plan = plan_folding(module)
    if not plan.edits:
        raise PruneError("no layer of this network has learned groups by a mask")
    dense = without_masks(module)
    small = replaced_network(dense, plan, inputs)
    return Pruned(small, with_savings(plan, dense, small, inputs))


def plan_folding(module: nn.Module) -> Plan:
    """The edits that fold every mask of `module`; none where it has no mask."""
    masked = [(name, part) for name, part in module.named_modules() if isinstance(part, MaskedLayer)]
    edits = tuple(Replace(name, GROUPS, part.settings) for name, part in masked)
    return Plan(edits, tuple(_line(edit) for edit in edits))


def _line(edit: Replace) -> LayerChange:
    """For people: the inputs of a neuron before and after. What was left out has no score of its own."""
    num_inputs = len(edit.settings["inputs"])
    after = num_inputs // edit.settings["num_groups"]
    return LayerChange(f"{edit.module} (inputs per neuron)", num_inputs, after, 0.0, 0.0)

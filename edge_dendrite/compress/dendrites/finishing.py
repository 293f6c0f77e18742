"""What is left of grown dendrites: those without which validation gets worse, in one set, and the plan for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.dendrites.sites import close_unused_
from edge_dendrite.compress.layers.build import DENDRITES
from edge_dendrite.compress.layers.dendrites import DendriticLayer, one_set
from edge_dendrite.compress.layers.slots import OpenBlock, Slot
from edge_dendrite.compress.plan import LayerChange, Plan, Replace
from edge_dendrite.errors import PruneError


def finish_(module: nn.Module, validate: Callable[[], float]) -> Plan:
    """Remove the dendrites of `module` whose zeroing costs nothing and join what is left, in place.

    Returns the plan that gives a fresh network this shape. Raises PruneError when one layer has dendrites of several
    activations.
    """
    edits, lines = [], []
    grown = {name: part for name, part in module.named_modules() if isinstance(part, (DendriticLayer, OpenBlock))}
    for name, part in grown.items():
        slots = part.slots if isinstance(part, OpenBlock) else {"": part}
        sizes = []
        for slot_name, slot in slots.items():
            before = sum(one.soma.weight.shape[1] for one in slot.sets)
            sizes.append(_finish_slot_(slot, validate))
            if before:
                line = f"{name}.{slot_name}".removesuffix(".")
                lines.append(LayerChange(f"{line} (dendrites)", before, sizes[-1], 0.0, 0.0))
        if any(sizes):
            edits.append(Replace(name, DENDRITES, {"sizes": sizes, "activation": _activation(name, slots)}))
    close_unused_(module)
    return Plan(tuple(edits), tuple(lines))


def _finish_slot_(slot: Any, validate: Callable[[], float]) -> int:
    """How many dendrites the layer or slot has in the end."""
    if not len(slot.sets):
        return 0
    keep = _needed(list(slot.sets), validate)
    count = sum(int(mask.sum()) for mask in keep)
    like = slot if isinstance(slot, Slot) else slot.layer
    slot.sets = nn.ModuleList([one_set(like, list(slot.sets), keep)] if count else [])
    return count


def _activation(name: str, slots: dict[str, Any]) -> str:
    found = {one.activation_name for slot in slots.values() for one in slot.sets}
    if len(found) > 1:
        raise PruneError(f"{name} has dendrites with {' and '.join(sorted(found))}, which no plan can say")
    return found.pop()


@torch.no_grad()
def _needed(sets: list[Any], validate: Callable[[], float]) -> list[torch.Tensor]:
    """For each set a mask of the dendrites without which validation gets worse, taken out one by one."""
    metric = validate()
    masks = [torch.ones(one.soma.weight.shape[1], dtype=torch.bool) for one in sets]
    order = [
        (float(column.norm()), number, at)
        for number, one in enumerate(sets)
        for at, column in enumerate(one.soma.weight.flatten(1).T)
    ]
    for _, number, at in sorted(order):
        column = sets[number].soma.weight[:, at]
        values = column.clone()
        column.zero_()
        try:
            without = validate()
        except BaseException:  # Ctrl-C too: what was only tried must not stay
            column.copy_(values)
            raise
        if without >= metric:
            metric, masks[number][at] = without, False
        else:
            column.copy_(values)
    return masks

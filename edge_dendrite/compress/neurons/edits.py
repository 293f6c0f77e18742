"""From a selection to a plan: the cuts of tensors and the attributes that must follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from torch import nn

from edge_dendrite.compress.coupling.find import Coupling, SizedAttribute
from edge_dendrite.compress.coupling.grouping import CARRIED, CONTRACTED, DEPTHWISE, PRODUCED, Group, Slices
from edge_dendrite.compress.neurons.selection import Selection
from edge_dendrite.compress.plan import Cut, Edit, LayerChange, Plan, SetAttribute, find_tensor

# Attributes in which the layers of torch and transformers keep the size of a dimension for checks and for printing, by
# the role of that dimension. What a forward computes with is found by attributes.py, whatever its name.
_SIZE_ATTRIBUTES = {
    PRODUCED: ("out_channels", "out_features", "embedding_dim", "nf"),
    CONTRACTED: ("in_channels", "in_features", "nx"),
    DEPTHWISE: ("in_channels", "out_channels", "groups"),
    CARRIED: ("num_features", "num_channels", "num_parameters"),
}


def build_plan(
    module: nn.Module, selection: Selection, scores: Sequence[np.ndarray], first: Sequence[Edit] = ()
) -> Plan:
    """The edits that cut everything that is not alive, in a fixed order, after the edits `first`.

    scores: (num_units,) of each group; they explain the plan.
    """
    coupling = selection.coupling
    gone: dict[tuple[str, int, str], list[np.ndarray]] = {}
    for group, alive in zip(coupling.groups, selection.alive, strict=True):
        if not alive.all():
            for one in group.slices:
                gone.setdefault((one.tensor, one.dim, one.role), []).append(one.indices[~alive].ravel())
    cuts: list[Edit] = []
    owners = _owners(module, {tensor for tensor, _, _ in gone})
    sizes: dict[tuple[str, str, int | None], SetAttribute] = {}
    for (tensor, dim, role), indices in sorted(gone.items()):
        size = coupling.shapes[tensor][dim]
        keep = np.setdiff1d(np.arange(size), np.concatenate(indices))
        cuts.append(Cut(tensor, dim, tuple(keep.tolist())))
        for edit in _printed_sizes(owners[tensor], role, size, len(keep)):
            sizes[edit.module, edit.attribute, edit.index] = edit
    for sized in coupling.attributes:
        for edit in _needed_size(coupling, selection, sized):
            sizes[edit.module, edit.attribute, edit.index] = edit
    return Plan((*first, *cuts, *(sizes[key] for key in sorted(sizes, key=str))), _layer_changes(selection, scores))


def _layer_changes(selection: Selection, scores: Sequence[np.ndarray]) -> tuple[LayerChange, ...]:
    return tuple(
        LayerChange(
            group.name,
            group.num_units,
            int(selection.alive[number].sum()),
            float(scores[number][~selection.alive[number]].sum()),
            float(scores[number].sum()),
            *selection.saved_alone(number),
        )
        for number, group in enumerate(selection.coupling.groups)
    )


def _needed_size(coupling: Coupling, selection: Selection, sized: SizedAttribute) -> Iterator[SetAttribute]:
    """The new value of an attribute that the forward computes with."""
    removed = sum(per_unit * int((~selection.alive[number]).sum()) for number, per_unit in sized.per_unit.items())
    if removed:
        where = sized.attribute
        yield SetAttribute(where.module, where.name, sized.value - removed, where.index)


def _printed_sizes(owners: Sequence[tuple[str, nn.Module]], role: str, old: int, new: int) -> Iterator[SetAttribute]:
    """Edits of attributes that hold the size of a cut dimension, in every module that registers the tensor."""
    for owner_name, owner in owners:
        for attribute in _SIZE_ATTRIBUTES[role]:
            value = getattr(owner, attribute, None)
            if type(value) is int and value == old:
                yield SetAttribute(owner_name, attribute, new)


def _owners(module: nn.Module, names: Iterable[str]) -> dict[str, list[tuple[str, nn.Module]]]:
    """(name, module) of all that register each of these tensors."""
    by_identity: dict[int, list[tuple[str, nn.Module]]] = defaultdict(list)
    for owner_name, owner in module.named_modules():
        for tensor in [*owner._parameters.values(), *owner._buffers.values()]:
            by_identity[id(tensor)].append((owner_name, owner))
    return {name: by_identity[id(find_tensor(module, name))] for name in names}


def remaining(coupling: Coupling, alive: Sequence[np.ndarray]) -> tuple[Group, ...]:
    """The groups as they stand in the network that is cut to `alive`: fewer units, at their new indices."""
    gone: dict[tuple[str, int], list[np.ndarray]] = {}
    for group, stays in zip(coupling.groups, alive, strict=True):
        for one in group.slices:
            gone.setdefault((one.tensor, one.dim), []).append(one.indices[~stays].ravel())
    kept = {
        place: np.setdiff1d(np.arange(coupling.shapes[place[0]][place[1]]), np.concatenate(indices))
        for place, indices in gone.items()
    }
    return tuple(
        Group(
            group.name,
            tuple(
                Slices(
                    one.tensor,
                    one.dim,
                    one.role,
                    np.asarray(np.searchsorted(kept[one.tensor, one.dim], one.indices[stays])),
                )
                for one in group.slices
            ),
            group.normalised,
        )
        for group, stays in zip(coupling.groups, alive, strict=True)
    )

"""From classes of atoms to groups of units: units that occupy the same tensors in the same way form a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from edge_dendrite.compress.coupling.calls import Labels, Roles

PRODUCED, CONTRACTED, DEPTHWISE, CARRIED = "produced", "contracted", "depthwise", "carried"


@dataclass(frozen=True)
class Slices:
    """The part of one tensor dimension that belongs to a group's units.

    indices: (num_units, indices per unit); role: produced (makes the units), contracted (sums over them),
    depthwise, or carried (one value per unit, such as a bias or batch-norm statistics).
    """

    tensor: str
    dim: int
    role: str
    indices: np.ndarray


@dataclass(frozen=True)
class Group:
    """Units that occupy the same tensors: the neurons of a layer, or of several layers joined by additions.

    normalised: whether a mean, a norm or an extreme is taken over them (LayerNorm, RMSNorm, channel attention). Then
    removing a unit changes what the others see, even when nothing reads the unit itself.
    """

    name: str
    slices: tuple[Slices, ...]
    normalised: bool = False

    @property
    def num_units(self) -> int:
        return len(self.slices[0].indices)


@dataclass(frozen=True)
class Groups:
    """All groups; why layers stay; for every atom its group and unit, -1 where it stays."""

    groups: tuple[Group, ...]
    kept: dict[str, str]
    group_of: np.ndarray
    unit_of: np.ndarray


@dataclass(frozen=True)
class _Occupied:
    """Where classes stand in one dimension: class and index, sorted by class; only those that can go."""

    classes: np.ndarray
    indices: np.ndarray


def find_groups(
    labels: Mapping[str, Labels],
    classes: np.ndarray,
    reasons: Mapping[int, str],
    roles: Roles,
    sizes: Sequence[np.ndarray],
    weights: Set[str],
) -> Groups:
    """Group the classes that can go.

    labels: of every parameter and buffer by name; classes: of every atom; reasons: of the classes that stay; sizes:
    label vectors whose length an attribute holds: units of one group count alike in each. weights: names of the
    parameters that could have units; each is in a group, or kept with a reason.
    """
    stays: np.ndarray = np.zeros(len(classes), bool)
    stays[np.fromiter(reasons, np.int64, len(reasons))] = True
    role_of = _roles_of_atoms(roles, len(classes))
    produced: np.ndarray = np.zeros(len(classes), bool)
    for atoms in roles.produced:
        produced[atoms] = True
    places = [(name, dim, atoms) for name, dims in labels.items() for dim, atoms in enumerate(dims)]
    occupied = [_occupied(classes[atoms], stays) for _, _, atoms in places]
    kinds = _kinds([*occupied, *(_occupied(classes[atoms], stays) for atoms in sizes)], len(classes))
    groups: list[Group] = []
    group_of: np.ndarray = np.full(len(classes), -1, np.int64)
    unit_of: np.ndarray = np.full(len(classes), -1, np.int64)
    normalised: np.ndarray = np.zeros(len(classes), bool)
    for atoms in roles.normalised:
        normalised[classes[atoms]] = True
    by_kind = _places_of_kinds(occupied, kinds)
    for members, at_places in by_kind:
        slices = tuple(
            Slices(places[at][0], places[at][1], str(role_of[places[at][2][0]]), _unit_indices(occupied[at], members))
            for at in at_places
        )
        producers = [places[at][0] for at in at_places if produced[places[at][2][0]]]
        if producers:
            group_of[members] = len(groups)
            unit_of[members] = np.arange(len(members))
            name = " + ".join(dict.fromkeys(_layer_name(one) for one in producers))
            groups.append(Group(name, slices, bool(normalised[members].any())))
    kept = _kept(places, classes, stays, reasons, produced)
    grouped = {one.tensor for group in groups for one in group.slices}
    for name in sorted(weights - grouped):
        kept.setdefault(_layer_name(name), _reason(labels[name], classes, reasons))
    return Groups(tuple(groups), kept, group_of[classes], unit_of[classes])


def _roles_of_atoms(roles: Roles, count: int) -> np.ndarray:
    found: np.ndarray = np.full(count, CARRIED, dtype=object)
    for role, marked in ((PRODUCED, roles.produced), (DEPTHWISE, roles.depthwise), (CONTRACTED, roles.contracted)):
        for atoms in marked:
            found[atoms] = role
    return found


def _occupied(classes: np.ndarray, stays: np.ndarray) -> _Occupied:
    indices = np.flatnonzero(~stays[classes])
    order = np.argsort(classes[indices], kind="stable")
    return _Occupied(classes[indices][order], indices[order])


def _kinds(occupied: Sequence[_Occupied], count: int) -> np.ndarray:
    """A number for every class; equal for classes with equally many indices in each of the same places.

    The number is a sum of random ones, so that two kinds coincide with a chance of 2**-64 only.
    """
    random = np.random.default_rng(0)
    kinds: np.ndarray = np.zeros(count, np.uint64)
    for place in occupied:
        present, counts = np.unique(place.classes, return_counts=True)
        key = random.integers(1, 2**63, dtype=np.uint64)
        mixed = key * (counts.astype(np.uint64) * np.uint64(2) + np.uint64(1))
        kinds[present] += mixed ^ (mixed >> np.uint64(29))
    return kinds


def _places_of_kinds(occupied: Sequence[_Occupied], kinds: np.ndarray) -> list[tuple[np.ndarray, list[int]]]:
    """(classes in order, numbers of the places) of every kind, in the order in which they first occur."""
    found: dict[int, tuple[np.ndarray, list[int]]] = {}
    for at, place in enumerate(occupied):
        present = np.unique(place.classes)
        if len(present) == 0:
            continue
        for kind in dict.fromkeys(kinds[present].tolist()):
            if kind not in found:
                found[kind] = (present[kinds[present] == kind], [])
            found[kind][1].append(at)
    return list(found.values())


def _unit_indices(place: _Occupied, members: np.ndarray) -> np.ndarray:
    """(num_units, indices per unit), unit by unit as in `members`, which is sorted."""
    own = np.isin(place.classes, members)
    return place.indices[own].reshape(len(members), -1)


def _kept(
    places: Sequence[tuple[str, int, np.ndarray]],
    classes: np.ndarray,
    stays: np.ndarray,
    reasons: Mapping[int, str],
    produced: np.ndarray,
) -> dict[str, str]:
    """Layers of which some units stay, with the first reason."""
    kept: dict[str, str] = {}
    for name, _, atoms in places:
        if len(atoms) and produced[atoms[0]]:
            staying = classes[atoms][stays[classes[atoms]]]
            if len(staying):
                kept[_layer_name(name)] = reasons[int(staying[0])]
    return kept


def _reason(labels: Labels, classes: np.ndarray, reasons: Mapping[int, str]) -> str:
    for atoms in labels:
        for number in classes[atoms].tolist():
            if number in reasons:
                return reasons[number]
    return "the forward does not use it, or not in a way that makes units"


def _layer_name(tensor: str) -> str:
    owner, _, leaf = tensor.rpartition(".")
    return owner if owner and not leaf.isdigit() else tensor  # an entry of a list of parameters has its own name

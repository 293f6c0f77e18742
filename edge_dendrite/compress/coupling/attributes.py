"""Attributes that must change with a cut: what the sizes written in a forward ask of them.

A forward that writes `view(b, t, self.num_heads, self.head_dim)` works after a cut only if `num_heads` becomes the
number of heads that stay, everywhere where it is used. What cannot be made to agree must stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_dendrite.compress.coupling.atoms import Atoms
from edge_dendrite.compress.coupling.calls import Binding
from edge_dendrite.compress.coupling.sizes import Attribute, Origin, Source


@dataclass(frozen=True)
class SourceSize:
    """A source of sizes: its value is `value` for all `labels`, and falls in proportion with those that stay."""

    source: Source
    value: int
    labels: np.ndarray


class Settlement:
    """Solves the atoms together with what the bindings ask."""

    def __init__(
        self,
        atoms: Atoms,
        bindings: Sequence[Binding],
        origins: Mapping[Origin, np.ndarray],
        escaped: frozenset[Attribute],
    ) -> None:
        """origins: labels of the dimensions that sizes were read from; those of others are not known.

        escaped: attributes that are used for other things than sizes, and therefore cannot change.
        """
        self._atoms, self._escaped = atoms, escaped
        self._compound: list[Binding] = []
        self._known: dict[Source, SourceSize] = {
            origin: SourceSize(origin, len(labels), labels) for origin, labels in origins.items()
        }
        for binding in bindings:
            attribute = _direct(binding)
            if attribute is None:
                self._compound.append(binding)
            else:
                self._join(attribute, binding)

    def _join(self, attribute: Attribute, binding: Binding) -> None:
        """The attribute itself is a size: wherever it is one, the same number of units stays."""
        known = self._known.setdefault(attribute, SourceSize(attribute, int(binding.size), binding.labels))
        self._atoms.unify(known.labels, binding.labels, binding.reason)
        if attribute in self._escaped:
            self._atoms.fix(binding.labels, f"{attribute} is its size, and is used in a calculation too")

    def solve(self) -> tuple[np.ndarray, dict[int, str], list[SourceSize]]:
        """(class of every atom, the reason of each class that stays, the attributes that change with the units)."""
        while True:
            classes, reasons = self._atoms.solve()
            stays: np.ndarray = np.zeros(len(classes), bool)
            stays[np.fromiter(reasons, np.int64, len(reasons))] = True
            round_ = _Round(self._atoms, classes, stays, dict(self._known), self._escaped)
            unsettled = [one for one in self._compound if round_.has_to_fix(one)]
            if not unsettled:
                changing = [one for one in round_.known.values() if isinstance(one.source, Attribute)]
                return classes, reasons, [one for one in changing if round_.moves(one)]


class _Round:
    """One look at all computed sizes, given which classes stay."""

    def __init__(
        self,
        atoms: Atoms,
        classes: np.ndarray,
        stays: np.ndarray,
        known: dict[Source, SourceSize],
        escaped: frozenset[Attribute],
    ) -> None:
        self._atoms, self._classes, self._stays, self._escaped = atoms, classes, stays, escaped
        self.known = known

    def moves(self, one: SourceSize) -> bool:
        """Whether any unit of a source can go."""
        return not bool(self._stays[self._classes[one.labels]].all())

    def has_to_fix(self, binding: Binding) -> bool:
        """Check one computed size; True when something had to be fixed because of it."""
        sources = [one for one in binding.size.sources if one not in self._escaped]
        moving = [one for one in sources if one in self.known and self.moves(self.known[one])]
        unknown = [one for one in sources if one not in self.known]
        if any(isinstance(one, Origin) for one in unknown):
            return False  # the size of a tensor of which nothing is known: values are compared in the end
        movable = self._counts(binding.labels)
        candidates = moving or unknown
        if not movable.any():
            return self._fix(binding, [self.known[one].labels for one in moving])
        if len(candidates) == 1 and self._in_proportion(binding, candidates[0], movable):
            return False
        return self._fix(binding, [binding.labels, *(self.known[one].labels for one in moving)])

    def _in_proportion(self, binding: Binding, source: Source, movable: np.ndarray) -> bool:
        """Whether the size falls as the units do, whatever units go."""
        size = int(binding.size)
        value = self.known[source].value if source in self.known else _value_for(binding, source)
        if not value or not _is_proportional(binding, source, value):
            return False
        if source in self.known:
            return bool((movable * value == self._counts(self.known[source].labels) * size).all())
        if bool(((movable * value) % size).any()):
            return False
        self.known[source] = SourceSize(source, value, binding.labels)
        return True

    def _counts(self, labels: np.ndarray) -> np.ndarray:
        """How often every class that can go stands in these labels."""
        classes = self._classes[labels]
        return np.bincount(classes[~self._stays[classes]], minlength=len(self._classes))

    def _fix(self, binding: Binding, labels: list[np.ndarray]) -> bool:
        fixed = False
        for dim in labels:
            if not bool(self._stays[self._classes[dim]].all()):
                self._atoms.fix(dim, binding.reason)
                fixed = True
        return fixed


def _direct(binding: Binding) -> Attribute | None:
    """The attribute whose plain value a size is, or None."""
    if len(binding.size.sources) != 1:
        return None
    (source,) = binding.size.sources
    value = int(binding.size)
    if isinstance(source, Origin) or binding.size.follows:
        return None
    same = all(binding.size.evaluate({source: value + more}) == value + more for more in (0, 1, 7))
    return source if same else None


def _value_for(binding: Binding, source: Source) -> int:
    """The value of an attribute with which the size comes out; 0 when none is found."""
    size = int(binding.size)
    for factor in range(1, 9):  # the attribute may be larger than the size: self.dim // 2
        if binding.size.evaluate({source: size * factor}) == size and binding.size.evaluate({}) == size:
            return size * factor
    return next((one for one in range(1, size) if binding.size.evaluate({source: one}) == size), 0)


def _is_proportional(binding: Binding, source: Source, value: int) -> bool:
    size = int(binding.size)
    common = math.gcd(size, value)
    down, step = value // common, size // common
    checked = range(1, min(common, 4))
    return all(binding.size.evaluate({source: value - down * one}) == size - step * one for one in checked)

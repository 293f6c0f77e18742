"""Atoms: one number for every index of every tensor dimension that could be cut, and which of them belong together.

Tracking labels per index rather than per dimension makes flatten, cat and split ordinary: they repeat, join and
slice label vectors. Two indices whose atoms end up in one class must be cut together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# The atom of everything that is no unit: batch, space, kernel positions, inputs and outputs of the network.
FIXED = 0


class Atoms:
    """A growing set of atoms with equivalences between them and reasons why some must stay."""

    def __init__(self) -> None:
        self._count = 1
        self._edges: list[tuple[np.ndarray, np.ndarray]] = []
        self._fixes: list[tuple[np.ndarray, str]] = []

    def fresh(self, size: int) -> np.ndarray:
        """`size` new atoms."""
        start = self._count
        self._count += size
        return np.arange(start, self._count, dtype=np.int64)

    def unify(self, first: np.ndarray, second: np.ndarray, reason: str) -> None:
        """Index by index, `first` and `second` belong together; what meets FIXED is fixed for `reason`."""
        self.fix(first[second == FIXED], reason)
        self.fix(second[first == FIXED], reason)
        both = (first != FIXED) & (second != FIXED)
        self._edges.append((first[both], second[both]))

    def tie(self, parts: Sequence[np.ndarray], reason: str) -> None:
        """Parts of a dimension that must keep equal sizes: cut at the same positions."""
        for part in parts[1:]:
            self.unify(parts[0], part, reason)

    def fix(self, atoms: np.ndarray, reason: str) -> None:
        """These atoms, and all that belong to them, stay."""
        movable = atoms[atoms != FIXED]
        if len(movable):
            self._fixes.append((movable, reason))

    def solve(self) -> tuple[np.ndarray, dict[int, str]]:
        """(class number of every atom, the first reason of every class that must stay)."""
        first = np.concatenate([edge[0] for edge in self._edges] or [np.empty(0, np.int64)])
        second = np.concatenate([edge[1] for edge in self._edges] or [np.empty(0, np.int64)])
        graph = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(self._count, self._count))
        _, classes = connected_components(graph, directed=False)
        reasons = {int(classes[FIXED]): "not a dimension of units"}
        for atoms, reason in self._fixes:
            for number in np.unique(classes[atoms]).tolist():
                reasons.setdefault(number, reason)
        return classes, reasons

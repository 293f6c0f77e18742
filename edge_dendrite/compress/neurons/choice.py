"""Choosing units under a budget: the least score for what it saves goes first."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from edge_dendrite.compress.neurons.selection import Selection, kinds_of_groups


def remove_cheapest(
    selection: Selection, scores: Sequence[np.ndarray], target: float, scope: str, *, per_saving: bool = True
) -> None:
    """Greedily remove blocks of units with the least score for what they save, until at most `target` stays or no unit
    can go.

    scope: "global" compares all layers; "type" gives each type of layer (linear, convolution) the same share to lose
    and compares within; "layer" gives every layer the same share. per_saving: whether a score is divided by what goes
    with it.
    """
    ranked = Ranked(selection, scores, per_saving)
    buckets = _buckets(selection, scope)
    heaps = [[(price, tie) for tie in bucket if (price := ranked.price(tie)) is not None] for bucket in buckets]
    groups = selection.coupling.groups
    before = [sum(groups[number].num_units for tie in bucket for number in tie) for bucket in buckets]
    for heap in heaps:
        heapq.heapify(heap)
    while selection.amount > target and any(heaps):
        at = min(
            (at for at, heap in enumerate(heaps) if heap),
            key=lambda at: 1.0 - _units(selection, buckets[at]) / before[at],
        )
        _remove_one(ranked, heaps[at])


def _remove_one(ranked: Ranked, heap: list[tuple[float, tuple[int, ...]]]) -> None:
    """Remove the block that is cheapest now. Prices only rise while neighbours shrink, so a stale one is put back."""
    price, tie = heapq.heappop(heap)
    now = ranked.price(tie)
    if now is None:
        return
    if now > price and heap and now > heap[0][0]:
        heapq.heappush(heap, (now, tie))
        return
    ranked.remove(tie)
    after = ranked.price(tie)
    if after is not None:
        heapq.heappush(heap, (after, tie))


def _units(selection: Selection, bucket: Sequence[tuple[int, ...]]) -> int:
    return sum(selection.width(number) for tie in bucket for number in tie)


def _buckets(selection: Selection, scope: str) -> list[list[tuple[int, ...]]]:
    ties = list(selection.coupling.ties)
    if scope == "global":
        return [ties]
    if scope == "layer":
        return [[tie] for tie in ties]
    kinds = kinds_of_groups(selection.coupling)
    return [[tie for tie in ties if kinds[tie[0]] == kind] for kind in sorted({kinds[tie[0]] for tie in ties})]


class Ranked:
    """The units that stay, least score first, and what the next block of each tie costs."""

    def __init__(self, selection: Selection, scores: Sequence[np.ndarray], per_saving: bool = True) -> None:
        self._selection, self._scores, self._per_saving = selection, scores, per_saving
        self._order = [
            np.array([unit for unit in np.argsort(score, kind="stable") if alive[unit]], np.int64)
            for score, alive in zip(scores, selection.alive, strict=True)
        ]
        self._at = [0] * len(self._order)

    def price(self, tie: tuple[int, ...]) -> float | None:
        """Score of the next block for each parameter (or multiply-accumulate) that goes; None when nothing may go."""
        block = self._selection.block(tie[0])
        if not block:
            return None
        total = sum(float(self._scores[number][self._next(number, block)].sum()) for number in tie)
        return total / (self._selection.saving(tie[0], block) if self._per_saving else block)

    def remove(self, tie: tuple[int, ...]) -> None:
        """Take the next block of a tie away."""
        block = self._selection.block(tie[0])
        for number in tie:
            self._selection.remove(number, self._next(number, block).tolist())
            self._at[number] += block

    def _next(self, number: int, block: int) -> np.ndarray:
        return self._order[number][self._at[number] : self._at[number] + block]


def give_back(selection: Selection, scores: Sequence[np.ndarray], target: float) -> None:
    """Put back the most valuable blocks for which the budget has room: the last block may have gone far
    below it. By the scores of the first round, the only one in which every unit was still there."""
    while True:
        offers: dict[tuple[int, ...], tuple[float, list[list[int]]]] = {}
        for tie in selection.coupling.ties:
            block = min(selection.return_block(number) for number in tie)
            if not block or any(selection.exact[number] is not None for number in tie):
                continue
            cost = -selection.saving(tie[0], -block)
            if selection.amount + cost <= target:
                units = [_most_valuable_gone(selection, scores, number, block) for number in tie]
                value = sum(float(scores[number][gone].sum()) for number, gone in zip(tie, units, strict=True))
                offers[tie] = (value / max(cost, 1), units)
        if not offers:
            return
        best = max(offers, key=lambda tie: offers[tie][0])
        for number, one in zip(best, offers[best][1], strict=True):
            selection.restore(number, one)


def _most_valuable_gone(selection: Selection, scores: Sequence[np.ndarray], number: int, block: int) -> list[int]:
    gone = np.flatnonzero(~selection.alive[number])
    return gone[np.argsort(-scores[number][gone], kind="stable")][:block].tolist()


def remove_exactly(selection: Selection, scores: Sequence[np.ndarray]) -> None:
    """Carry out the rules that give a layer its own pruning ratio, whatever the budget."""
    for tie in selection.coupling.ties:
        if any(selection.exact[number] is not None for number in tie):
            ranked = Ranked(selection, scores)
            while selection.block(tie[0]):
                ranked.remove(tie)

"""Which layers become grouped, and how far, under a parameter budget. Takes any groupings with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_dendrite.compress.connections.dense_layers import DenseLayer
from edge_dendrite.compress.connections.partition import Grouping


def choose_groupings(
    layers: Sequence[DenseLayer],
    options: Sequence[Sequence[Grouping]],
    totals: Sequence[float],
    num_parameters: int,
    target: int,
) -> list[Grouping | None]:
    """For each layer one of its options, or None for dense, with at most `target` parameters in all.

    totals: the score of each dense layer. Greedy by lost score per parameter saved. As forms are few and far apart,
    each single step that would end the search is tried on the way, and the end that keeps most score wins; then layers
    go back to larger forms while the budget has room. An unreachable target ends with the smallest forms.
    """
    chosen: list[Grouping | None] = [None] * len(layers)
    ends: list[tuple[float, int, list[Grouping | None]]] = []
    lost = 0.0
    while num_parameters > target and (steps := _steps(layers, options, totals, chosen, smaller=True)):
        for step in steps:
            if num_parameters + step.change <= target:
                ends.append((lost + step.lost_score, num_parameters + step.change, step.taken(chosen, options)))
        best = min(steps, key=lambda step: step.price)
        lost, num_parameters = lost + best.lost_score, num_parameters + best.change
        chosen = best.taken(chosen, options)
    if ends:
        _, num_parameters, chosen = min(ends, key=lambda end: end[0])
    while fitting := [
        step
        for step in _steps(layers, options, totals, chosen, smaller=False)
        if num_parameters + step.change <= target
    ]:
        best = max(fitting, key=lambda step: step.price)
        num_parameters += best.change
        chosen = best.taken(chosen, options)
    return chosen


@dataclass(frozen=True)
class _Step:
    """Another form for one layer; option -1 is dense. change: of the parameters; lost_score: negative for a gain."""

    layer: int
    option: int
    change: int
    lost_score: float

    @property
    def price(self) -> float:
        """Score per parameter."""
        return self.lost_score / -self.change

    def taken(self, chosen: Sequence[Grouping | None], options: Sequence[Sequence[Grouping]]) -> list[Grouping | None]:
        """The forms of all layers after this step."""
        after = list(chosen)
        after[self.layer] = options[self.layer][self.option] if self.option >= 0 else None
        return after


def _steps(
    layers: Sequence[DenseLayer],
    options: Sequence[Sequence[Grouping]],
    totals: Sequence[float],
    chosen: Sequence[Grouping | None],
    *,
    smaller: bool,
) -> list[_Step]:
    """All forms with fewer (or more) parameters than the chosen ones."""
    found = []
    for number, layer in enumerate(layers):
        score, size = _worth(layer, totals[number], chosen[number])
        for at, option in enumerate([None, *options[number]], -1):
            other_score, other_size = _worth(layer, totals[number], option)
            if (other_size < size) if smaller else (other_size > size):
                found.append(_Step(number, at, other_size - size, score - other_score))
    return found


def _worth(layer: DenseLayer, total: float, form: Grouping | None) -> tuple[float, int]:
    """(score that a form keeps, weights that it has)."""
    return (total, layer.num_weights) if form is None else (form.kept_score, form.num_weights(layer))

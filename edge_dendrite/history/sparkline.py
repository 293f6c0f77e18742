"""A line of a metric as one row of characters, for terminals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from edge_dendrite.history.trends import Line, Point

_BLOCKS = "\N{LOWER ONE EIGHTH BLOCK}\N{LOWER ONE QUARTER BLOCK}\N{LOWER THREE EIGHTHS BLOCK}\N{LOWER HALF BLOCK}"
_BLOCKS += "\N{LOWER FIVE EIGHTHS BLOCK}\N{LOWER THREE QUARTERS BLOCK}\N{LOWER SEVEN EIGHTHS BLOCK}\N{FULL BLOCK}"
_ASCII = "_.-=+*%#"
HOLLOW, GAP, CHANGE = "o", "x", "|"


def sparkline(line: Line, *, width: int, encoding: str | None) -> str:
    """The last runs, low figures low; `o`: a run that is not valid, `x`: one without the figure, `|`: a change."""
    try:
        _BLOCKS.encode(encoding or "ascii")
        levels = _BLOCKS
    except (UnicodeError, LookupError):
        levels = _ASCII
    points = line.points[-width:]
    values = [point.figure.value for point in points if point.figure and point.is_valid]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    changed = {change.time for change in line.changes}
    marks = [_mark(point, low, high, levels) for point in points]
    drawn = marks[:1]
    for (_, point), mark in zip(pairwise(points), marks[1:], strict=True):
        drawn.append(f"{CHANGE if point.is_valid and point.time in changed else ''}{mark}")
    return "".join(drawn)


def _mark(point: Point, low: float, high: float, levels: Sequence[str]) -> str:
    if point.figure is None:
        return GAP
    if not point.is_valid:
        return HOLLOW
    share = (point.figure.value - low) / (high - low) if high > low else 0.5
    return levels[min(len(levels) - 1, int(share * len(levels)))]

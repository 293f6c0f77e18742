"""How results stand in the cells of a study's tables."""

from __future__ import annotations

from collections.abc import Sequence

from edge_dendrite.paired import Interval
from edge_dendrite.report.format import count, percent
from scripts.benchmarks.rows import Row
from scripts.benchmarks.summary import mean_and_spread


def seeds(rows: Sequence[Row]) -> str:
    """Of these rows."""
    return ", ".join(str(row["seed"]) for row in rows)


def count_range(values: Sequence[int]) -> str:
    """One count, or the smallest and the largest."""
    low, high = min(values), max(values)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


def accuracy(values: Sequence[float]) -> str:
    """Their mean, with their spread where there are several."""
    mean, spread = mean_and_spread(values)
    return percent(mean, 2) if spread is None else f"{percent(mean, 2)} (± {100 * spread:.2f})"


def difference(interval: Interval) -> str:
    """In points, with its interval."""
    text = f"{100 * interval.value:+.2f} points"
    if interval.low is None or interval.high is None:
        return f"{text} (no interval: too few pairs that differ)"
    return f"{text} ({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"

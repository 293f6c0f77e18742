"""Whether a figure drifted: what the days that can be compared support, and nothing beyond it.

Runs of one day resemble each other more than those of two weeks, so a day counts once, by its median. Days resemble
their neighbours too (a warm week, a fan that clogs): where the rest around the line shows it, they count as fewer
(Santer et al., J. Geophys. Res. 105, 2000). Simulated, 30 days without a drift whose neighbours correlate by 0.6 are
called drifting in 11 % of cases, without that in 32 %, and independent ones in 5 %: of few days little can be told.
Only the last stretch is judged: before it the board's state, the runtime or the bundle was another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from edge_bench.stats import student_quantile
from edge_dendrite.history.metrics import Metric
from edge_dendrite.history.trends import Line, Point

_FEWEST_DAYS = 4
_CONFIDENCE = 0.95
_DAYS_A_WEEK = 7.0
# A slope, its level, and one left to tell the scatter.
_FEWEST_INDEPENDENT = 3.0


def judge_drift(line: Line, metric: Metric) -> str:
    """A sentence: how fast it drifts, that none can be told, or why nothing can be said."""
    if not line.stretches:
        return "no valid run has this figure"
    days = _by_day(line.stretches[-1])
    if metric.kind == "bundle":
        return ""
    since = f"{line.stretches[-1][0].time:%Y-%m-%d}"
    if len(days) < _FEWEST_DAYS:
        found = "1 day" if len(days) == 1 else f"{len(days)} days"
        return f"too few days to tell a drift from chance: {found} with valid runs since {since}, {_FEWEST_DAYS} needed"
    low, high = _weekly_change(days)
    reach = f"95 % interval {_percent(low)} to {_percent(high)} a week, {len(days)} days with runs since {since}"
    if low <= 0 <= high:
        sentence = f"no drift distinguishable ({reach})"
    else:
        sentence = f"drifts {'up' if low > 0 else 'down'} by {_percent((low + high) / 2)} a week ({reach})"
    return sentence + _last_day(days, metric)


def say_level(num_lines: int, metric: Metric) -> str:
    """How far sentences about several lines may be trusted; empty where there is no more than one."""
    if num_lines < 2 or metric.kind == "bundle":
        return ""
    return "Each line is judged by itself at 95 %: of twenty without a drift, one is still said to have one."


def _by_day(stretch: Sequence[Point]) -> list[tuple[int, float]]:
    """(day, median of its runs), in order."""
    values: dict[int, list[float]] = {}
    for point in stretch:
        if point.figure is not None:
            values.setdefault(point.time.toordinal(), []).append(point.figure.value)
    return [(day, median(found)) for day, found in sorted(values.items())]


def _weekly_change(days: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """The slope of a straight line by least squares, as an interval, relative to the mean, a week."""
    centre, level = fmean(day for day, _ in days), fmean(value for _, value in days)
    spread = math.fsum((day - centre) ** 2 for day, _ in days)
    slope = math.fsum((day - centre) * (value - level) for day, value in days) / spread
    rest = [value - level - slope * (day - centre) for day, value in days]
    freedom = _num_independent(rest) - 2
    error = math.sqrt(math.fsum(one * one for one in rest) / freedom / spread)
    reach = student_quantile((1 + _CONFIDENCE) / 2, freedom) * error
    scale = _DAYS_A_WEEK / abs(level) if level else 0.0
    return scale * (slope - reach), scale * (slope + reach)


def _num_independent(rest: Sequence[float]) -> float:
    """How many independent days tell as much, by the correlation of each day's rest with that of the day before."""
    power = math.fsum(one * one for one in rest)
    correlation = math.fsum(a * b for a, b in pairwise(rest)) / power if power else 0.0
    share = (1 - correlation) / (1 + correlation) if correlation > 0 else 1.0
    return max(_FEWEST_INDEPENDENT, share * len(rest))


def _last_day(days: Sequence[tuple[int, float]], metric: Metric) -> str:
    """Said only where the last day lies outside of what the earlier ones let expect of one more."""
    earlier, last = [value for _, value in days[:-1]], days[-1][1]
    if len(earlier) < _FEWEST_DAYS:
        return ""
    centre = fmean(earlier)
    deviation = math.sqrt(math.fsum((value - centre) ** 2 for value in earlier) / (len(earlier) - 1))
    reach = student_quantile((1 + _CONFIDENCE) / 2, len(earlier) - 1) * deviation * math.sqrt(1 + 1 / len(earlier))
    if abs(last - centre) <= reach:
        return ""
    where = "above" if last > centre else "below"
    bounds = f"{metric.show(centre - reach)} to {metric.show(centre + reach)}"
    return f"; the last day, {metric.show(last)}, lies {where} what the earlier ones let expect ({bounds}, 95 %)"


def _percent(share: float) -> str:
    return f"{100 * share:+.2f} %" if abs(share) < 0.1 else f"{100 * share:+.0f} %"

"""PASS, REGRESSION, INCONCLUSIVE or NOT MEASURED for each figure, and one verdict over all.

PASS: the 95 % interval lies within what is allowed. That all figures pass is claimed only where each of them does, so
their number makes the claim no weaker, and nothing is corrected (intersection-union test; Berger,
Technometrics 24, 1982).

REGRESSION of any figure ends a build, and among twenty figures without a difference some interval lies beyond its
threshold by chance in about four builds of ten. So regressions are taken step by step from the clearest one (Holm,
Scand. J. Stat. 6, 1979): that a build without any regression is called one happens in 2.5 % of builds at most, which is
the share that a single figure has. A figure that is beyond by itself alone becomes INCONCLUSIVE, and says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_bench import stats
from edge_bench.verdict.figures import ASSUMED_SHARE
from edge_dendrite.report.comparison.figures import NOT_MEASURED as ABSENT
from edge_dendrite.report.comparison.figures import REFUSED, Figure
from edge_dendrite.report.comparison.thresholds import Thresholds
from edge_dendrite.report.format import percent, points
from edge_dendrite.report.intervals import difference_interval

PASS, REGRESSION, INCONCLUSIVE, NOT_MEASURED = "PASS", "REGRESSION", "INCONCLUSIVE", "NOT MEASURED"
# One side of a 95 % interval.
_TAIL = 0.025
_ERRORS = 1.96
# More runs a side than anybody makes.
_MOST_RUNS, _MOST_SAMPLES = 100, 10_000_000


@dataclass(frozen=True)
class Judgement:
    """The verdict on one figure. `counts`: it takes part in the verdict over all. `is_noted`: a PASS that is worse,
    beyond doubt, by less than is allowed.
    """

    verdict: str
    limit: float
    reason: str
    counts: bool = True
    is_noted: bool = False


@dataclass(frozen=True)
class _Range:
    """What the runs show of one figure, as a change that is bad above 0: the ratio less 1, or the accuracy lost.

    p_value: how likely so much is, at least, where the truth is just the limit.
    """

    change: float
    low: float
    high: float
    p_value: float


def judge(figures: Sequence[Figure], thresholds: Thresholds) -> list[Judgement | None]:
    """Each figure in the light of all others; None where no threshold is given for it."""
    limits = [thresholds.of(figure.kind) for figure in figures]
    ranges = [None if limit is None else _range(figure, limit) for figure, limit in zip(figures, limits, strict=True)]
    # What is known exactly cannot be wrong by chance.
    tested = [one is not None and not figure.is_exact for one, figure in zip(ranges, figures, strict=True)]
    proven = _holm([one.p_value for one, is_tested in zip(ranges, tested, strict=True) if one and is_tested])
    made: list[Judgement | None] = []
    for figure, limit, seen, is_tested in zip(figures, limits, ranges, tested, strict=True):
        if limit is None:
            made.append(None)
        elif seen is None:
            made.append(_without_range(figure, limit, figure.kind.key in thresholds.by_figure))
        else:
            beyond = proven.pop(0) if is_tested else seen.low > limit
            made.append(_verdict(figure, limit, seen, beyond, sum(tested)))
    return made


def overall(verdicts: Sequence[str]) -> str:
    """REGRESSION if there is one; PASS if there is nothing else, and something."""
    if REGRESSION in verdicts:
        return REGRESSION
    return PASS if verdicts and set(verdicts) == {PASS} else INCONCLUSIVE


def _holm(p_values: Sequence[float]) -> list[bool]:
    """Which of the hypotheses 'within the limit' are refuted, together with an error of `_TAIL`."""
    refuted = [False] * len(p_values)
    for number, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        if p_values[place] > _TAIL / (len(p_values) - number):
            break
        refuted[place] = True
    return refuted


def _range(figure: Figure, limit: float) -> _Range | None:
    if figure.is_exact and figure.baseline is not None and figure.new is not None:
        if figure.kind.key == "accuracy":
            change = 0.0
        else:
            change = figure.new / figure.baseline - 1 if figure.baseline else math.inf if figure.new else 0.0
        # 105 / 100 - 1 is a little more than 0.05.
        change = limit if math.isclose(change, limit, rel_tol=0, abs_tol=1e-9) else change
        return _Range(change, change, change, 0.0)
    if figure.num_samples is not None and figure.difference is not None and figure.difference_interval is not None:
        low, high = figure.difference_interval
        return _Range(-figure.difference, -high, -low, _accuracy_tail(figure, limit))
    if figure.ratio is None or figure.ratio_interval is None or figure.freedom is None:
        return None
    reach = stats.student_quantile(1 - _TAIL, figure.freedom)
    error = math.hypot(math.log(figure.ratio_interval[1] / figure.ratio) / reach, _unseen(figure))
    distance = math.log(figure.ratio) - math.log1p(limit)
    factor = math.exp(min(reach * error, 600.0))
    p_value = _student_tail(distance / error, figure.freedom) if error else 0.0 if distance > 0 else 1.0
    return _Range(figure.ratio - 1, figure.ratio / factor - 1, figure.ratio * factor - 1, p_value)


def _unseen(figure: Figure) -> float:
    """What one run says nothing about, how runs differ: as much is assumed as edge-bench assumes of an energy. Of a
    memory that was read once it has done so already.
    """
    return 0.0 if figure.covers_runs or figure.kind.key == "memory" else math.sqrt(2) * ASSUMED_SHARE / _ERRORS


def _student_tail(t: float, freedom: float) -> float:
    """P(T > t) of Student's t."""
    both = stats.incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)
    return both / 2 if t > 0 else 1 - both / 2


def _accuracy_tail(figure: Figure, limit: float) -> float:
    """The tail at which the interval of the difference just touches the limit."""
    low, high = 0.0, 40.0
    for _ in range(60):
        z = (low + high) / 2
        low, high = (z, high) if _gain_at(figure, z) < -limit else (low, z)
    return math.erfc(low / math.sqrt(2)) / 2


def _gain_at(figure: Figure, z: float) -> float:
    """The upper bound of the gain in accuracy, so many standard errors away."""
    assert figure.num_samples is not None and figure.new is not None and figure.baseline is not None
    before, after = figure.num_samples
    return difference_interval(figure.new, after, figure.baseline, before, z)[1]


def _verdict(figure: Figure, limit: float, seen: _Range, beyond: bool, num_tested: int) -> Judgement:
    shown = _seen_in_words(figure, seen)
    if beyond:
        return Judgement(REGRESSION, limit, f"{shown}; {_allowed(figure, limit)}")
    if seen.high <= limit:
        is_noted = seen.low > 0
        return Judgement(
            PASS, limit, f"{shown}: worse, but within what is allowed" if is_noted else shown, True, is_noted
        )
    if seen.low > limit:
        reason = (
            f"{shown}; {_allowed(figure, limit)}. Beyond it by itself, but of {num_tested} figures that are judged "
            f"together one may be so by chance; {_advice(figure, limit, seen)}"
        )
    else:
        reason = f"{shown}; {_allowed(figure, limit)}; {_advice(figure, limit, seen)}"
    return Judgement(INCONCLUSIVE, limit, reason)


def _seen_in_words(figure: Figure, seen: _Range) -> str:
    low, high = _change(figure, seen.low), _change(figure, seen.high)
    if figure.is_exact:
        return f"{low}, exactly"
    if figure.kind.key == "accuracy":
        low, high = _change(figure, seen.high), _change(figure, seen.low)
    assumed = ""
    if _unseen(figure):
        assumed = f", with {percent(ASSUMED_SHARE, 0)} assumed from run to run, as a side has one run only"
    return f"{low} to {high}{assumed}"


def _change(figure: Figure, change: float) -> str:
    if figure.kind.key == "accuracy":
        return points(-change, 2)
    return f"{100 * change:+.3g} %" if math.isfinite(change) else "more than nothing"


def _allowed(figure: Figure, limit: float) -> str:
    return f"allowed is {_change(figure, limit)}"


def _advice(figure: Figure, limit: float, seen: _Range) -> str:
    """What would decide. An interval shrinks with the square root of what it is made of."""
    if figure.kind.key == "accuracy":
        distance, half = abs(seen.change - limit), (seen.high - seen.low) / 2
        smaller = min(figure.num_samples or (1,))
        needed = math.inf if not distance else smaller * (half / distance) ** 2
        if needed > _MOST_SAMPLES:
            return "too close to it for any number of test samples: allow more"
        return f"about {_two_digits(max(needed, smaller + 1)):,} test samples at the export would decide"
    if not figure.covers_runs:
        return "measure several runs a side, five rather than two, in turns: `edge-dendrite deploy --rounds 5`"
    if figure.freedom is None or not seen.change > -1:
        return "measure several runs a side, in turns"
    distance = abs(math.log1p(seen.change) - math.log1p(limit))
    half = (math.log1p(seen.high) - math.log1p(seen.low)) / 2
    times = math.inf if not distance else (half / distance) ** 2
    if times > _MOST_RUNS:
        return f"too close to it for any number of runs: {figure.kind.flag} {_next_percent(seen.high)} would pass"
    return f"about {max(2, math.ceil(times))} times as many runs a side, in turns, would decide"


def _two_digits(number: float) -> int:
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(number / unit) * int(unit)


def _next_percent(share: float) -> str:
    return f"{math.ceil(1000 * share) / 10:g}%"


def _without_range(figure: Figure, limit: float, is_explicit: bool) -> Judgement:
    """What has no interval. A figure that was asked for by name, or that the baseline has, must not be missing."""
    if figure.outcome == ABSENT:
        counts = is_explicit or figure.was_measured
        lost = ""
        if not counts:
            lost = f"; it does not count, as the baseline has none either: ask for it with {figure.kind.flag}"
        return Judgement(NOT_MEASURED, limit, f"{figure.reason}{lost}", counts)
    if figure.outcome == REFUSED:
        return Judgement(INCONCLUSIVE, limit, f"refused: {figure.reason}", figure.kind.in_overall or is_explicit)
    reason = figure.reason
    if figure.difference is not None and figure.kind.key != "accuracy":
        reason = "one of the values is not above 0, so there is no ratio to be allowed"
    return Judgement(INCONCLUSIVE, limit, reason or figure.outcome)

"""How figures, intervals and verdicts are written, in every form that a comparison is shown in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_dendrite.report import format as fmt
from edge_dendrite.report.comparison.figures import Figure
from edge_dendrite.report.comparison.judging import INCONCLUSIVE, NOT_MEASURED, PASS, REGRESSION, Judgement
from edge_dendrite.report.comparison.result import ComparisonReport
from edge_dendrite.report.comparison.thresholds import Kind

COLUMNS = ("figure", "baseline", "new", "difference, 95 % interval", "new / baseline", "allowed", "verdict")


def cells(figure: Figure, judgement: Judgement | None) -> tuple[str, ...]:
    """A line of a table, as in `COLUMNS`."""
    return (
        figure.kind.label,
        value(figure, figure.baseline),
        value(figure, figure.new),
        _difference(figure),
        _ratio(figure),
        "-" if judgement is None else allowed(figure.kind, judgement.limit),
        figure.outcome if judgement is None else judgement.verdict,
    )


def why(figure: Figure, judgement: Judgement | None) -> str:
    """What has to be said beside a line: why there is no verdict or no figure, what would decide; else nothing."""
    if judgement is None:
        return figure.reason if figure.difference is None else ""
    if judgement.verdict == PASS:
        return judgement.reason if judgement.is_noted else ""
    return judgement.reason


def value(figure: Figure, number: float | None) -> str:
    """A value with its unit."""
    if number is None:
        return "-"
    if figure.kind.unit == "share":
        # A loss is no share of anything.
        return fmt.percent(number, 2) if 0 <= number <= 1 else f"{number:.4g}"
    return _plain(figure.kind)(number)


def _plain(kind: Kind) -> Callable[[float], str]:
    return {
        "s": fmt.seconds,
        "J": fmt.joules,
        "bytes": lambda number: fmt.file_size(round(number)) if abs(number) >= 1 else "0 B",
        "count": lambda number: fmt.count(round(number)),
    }[kind.unit]


def _signed(figure: Figure, number: float) -> str:
    if figure.kind.unit == "share":
        return fmt.points(number, 2)
    text = _plain(figure.kind)(abs(number))
    return f"{'-' if number < 0 else '+'}{text}" if number else text


def _difference(figure: Figure) -> str:
    if figure.difference is None:
        return "-"
    text = _signed(figure, figure.difference)
    if figure.is_exact or figure.difference_interval is None:
        return text
    low, high = (_signed(figure, bound) for bound in figure.difference_interval)
    if figure.kind.unit == "share":
        low = low.removesuffix(" points")
    return f"{text} [{low} .. {high}]"


def _ratio(figure: Figure) -> str:
    if figure.ratio is None:
        return "-"
    if figure.is_exact or figure.ratio_interval is None:
        return f"{figure.ratio:.4g}"
    return f"{figure.ratio:.3f} [{figure.ratio_interval[0]:.3f} .. {figure.ratio_interval[1]:.3f}]"


def allowed(kind: Kind, limit: float) -> str:
    """A threshold as it was meant."""
    return fmt.points(-limit, 2) if kind.unit == "share" else f"{100 * limit:+.4g} %"


def headline(report: ComparisonReport) -> str:
    """The verdict over all, with what it rests on."""
    if report.verdict is None:
        return "compared without thresholds: nothing is judged"
    judged = report.judged()
    counts = [judgement.verdict for _, _, judgement in judged if judgement.counts]
    broken = sum(one.outputs is not None for one in report.comparisons)
    blocked = sum(one.blocks for one in report.missing)
    parts = [
        f"{counts.count(verdict)} {verdict}"
        for verdict in (REGRESSION, INCONCLUSIVE, NOT_MEASURED, PASS)
        if verdict in counts
    ]
    parts += [f"{fmt.plural(broken, 'network')} with wrong outputs"] if broken else []
    parts += [f"{fmt.plural(blocked, 'thing')} of the baseline without a counterpart"] if blocked else []
    return f"{report.verdict}: {fmt.plural(len(counts), 'figure')} judged: {', '.join(parts) or 'none'}"


def runs_line(files: Sequence[str], num_samples: Sequence[int]) -> str:
    """The runs of a side: how many, of how many samples, from where."""
    shown = ", ".join(files[:4]) + (f" and {len(files) - 4} more" if len(files) > 4 else "")
    return f"{fmt.plural(len(files), 'run')}, {sum(num_samples):,} samples: {shown}"

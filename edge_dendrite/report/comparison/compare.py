"""A baseline against one or several new sides: read, matched, compared, and judged where thresholds are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from edge_bench.verdict import comparing, records
from edge_dendrite.errors import ConfigError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.report.comparison import judging
from edge_dendrite.report.comparison.figures import Figure, read_figures
from edge_dendrite.report.comparison.judging import INCONCLUSIVE, REGRESSION, Judgement
from edge_dendrite.report.comparison.matching import Pair, Unmatched, pair_runs
from edge_dendrite.report.comparison.sides import Loaded, Side, divide, read_side
from edge_dendrite.report.comparison.thresholds import Thresholds
from edge_dendrite.report.format import clean_text, plural

SCHEMA = "edge-dendrite.comparison"
VERSION = 1
CONFIDENCE = 0.95
Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


@dataclass(frozen=True)
class SideSummary:
    """What was compared: the network, its files, and the state of the board at their start."""

    name: str
    role: str
    id: str
    files: tuple[str, ...]
    num_samples: tuple[int, ...]
    board_state: str
    started_at: str


@dataclass(frozen=True)
class Compared:
    """One network on one board. `judgements` stand beside `figures`, None where there is no threshold. `outputs` is a
    judgement where the new runs computed something wrong.
    """

    side: str
    board: str
    network: str
    baseline: SideSummary
    new: SideSummary
    refused: bool
    forced: bool
    reasons: tuple[str, ...]
    caveats: tuple[str, ...]
    figures: tuple[Figure, ...]
    judgements: tuple[Judgement | None, ...]
    outputs: Judgement | None = None

    def verdicts(self) -> list[str]:
        """Those that count."""
        found = [*self.judgements, self.outputs]
        return [judgement.verdict for judgement in found if judgement is not None and judgement.counts]


@dataclass(frozen=True)
class Missing:
    """A board, network or state of one side only."""

    side: str
    what: str
    reason: str
    blocks: bool


@dataclass(frozen=True)
class ComparisonReport:
    """All comparisons, and what had no counterpart. `verdict` is None where no threshold was given."""

    verdict: str | None
    thresholds: Thresholds
    baseline: str
    sides: tuple[str, ...]
    comparisons: tuple[Compared, ...]
    missing: tuple[Missing, ...]
    left_out: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether something was compared, nothing was refused, and each comparison has a figure of both sides."""
        figures_of_each = [[figure.difference is not None for figure in one.figures] for one in self.comparisons]
        return bool(figures_of_each) and all(map(any, figures_of_each))

    def judged(self) -> list[tuple[Compared, Figure, Judgement]]:
        """Every figure that has a threshold."""
        return [
            (one, figure, judgement)
            for one in self.comparisons
            for figure, judgement in zip(one.figures, one.judgements, strict=True)
            if judgement is not None
        ]

    def chance(self) -> str:
        """How often figures differ by chance, for as many as there are here."""
        intervals = [figure for one in self.comparisons for figure in one.figures if _is_uncertain(figure)]
        if not intervals:
            return ""
        text = (
            f"{plural(len(intervals), 'figure')} with a 95 % interval, each by itself: where nothing changed, one in 20"
        )
        if self.verdict is None:
            return f"{text} is called different by chance"
        return (
            f"{text} is called different by chance. REGRESSION is corrected for their number (Holm): at most 2.5 % of "
            "comparisons without any regression have one. PASS needs no correction, as all figures have to pass"
        )

    def _repr_markdown_(self) -> str:
        """In a notebook."""
        from edge_dendrite.report.comparison.markdown import render_markdown

        return render_markdown(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; SI units, shares for accuracies and thresholds."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "verdict": self.verdict,
            "confidence": CONFIDENCE,
            "thresholds": self.thresholds.to_dict(),
            "baseline": self.baseline,
            "new": list(self.sides),
            "num_judged": sum(judgement.counts for _, _, judgement in self.judged()),
            "note": self.chance(),
            "comparisons": [_compared_dict(one) for one in self.comparisons],
            "unmatched": [asdict(one) for one in self.missing],
            "left_out": list(self.left_out),
        }


def compare(
    baseline: Paths,
    *new: Paths,
    thresholds: Thresholds | Mapping[str, Any] | None = None,
    networks: Sequence[str] = (),
    skip_invalid: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> ComparisonReport:
    """Compare measurements with those of a baseline; each side a file, a folder, or a list of them.

    thresholds: what is allowed, {"max_regression": "5%", "max_latency_regression": "3%", "max_accuracy_drop": 0.5};
    without any, nothing is judged. networks: names or roles; all unless told. force: compare what is not comparable
    (other states, invalid runs), labelled so. Raises DataError, ConfigError.
    """
    if not new:
        raise ConfigError("nothing to compare the baseline with: give a measurement, or a folder of them")
    if not isinstance(thresholds, Thresholds):
        thresholds = Thresholds.from_dict(thresholds or {})
    first, *sides = (read_side(_paths(side), networks=networks, skip_invalid=skip_invalid) for side in (baseline, *new))
    return _compare_sides(first, sides, thresholds, force, progress)


def compare_paths(paths: Sequence[Path], baseline: Sequence[Path] = (), **options: Any) -> ComparisonReport:
    """As on a command line: without `baseline` the first path is it. New files together are one side."""
    first, rest = (list(baseline), list(paths)) if baseline else (list(paths[:1]), list(paths[1:]))
    return compare(first, *divide(rest), **options)


def _paths(side: Paths) -> list[Path]:
    return [Path(side)] if isinstance(side, (str, PathLike)) else [Path(path) for path in side]


def _compare_sides(
    baseline: Side, sides: Sequence[Side], thresholds: Thresholds, force: bool, progress: Progress
) -> ComparisonReport:
    pairs: list[tuple[Side, Pair]] = []
    missing: list[Missing] = []
    for side in sides:
        found, unmatched = pair_runs(baseline.runs, side.runs)
        pairs += [(side, pair) for pair in found]
        missing += [_missing(side, one) for one in unmatched]
    compared = []
    for number, (side, pair) in enumerate(pairs):
        compared.append(_compare_pair(side, pair, force))
        progress("comparing", number + 1, len(pairs))
    made = _judge(compared, thresholds)
    verdict = None
    if thresholds:
        verdicts = [verdict for one in made for verdict in one.verdicts()]
        verdict = judging.overall(verdicts + [INCONCLUSIVE for one in missing if one.blocks])
    left_out = tuple(text for side in (baseline, *sides) for text in side.left_out)
    names = tuple(side.name for side in sides)
    return ComparisonReport(verdict, thresholds, baseline.name, names, tuple(made), tuple(missing), left_out)


def _missing(side: Side, unmatched: Unmatched) -> Missing:
    return Missing(side.name, unmatched.what, unmatched.reason, unmatched.blocks)


def _compare_pair(side: Side, pair: Pair, force: bool) -> Compared:
    found = comparing.compare(_agent_side(pair.baseline), _agent_side(pair.new), force)
    figures = read_figures(found, pair.baseline, pair.new)
    reasons, caveats = (tuple(clean_text(text, 1000) for text in found[key]) for key in ("reasons", "caveats"))
    return Compared(
        side.name,
        pair.board,
        pair.network,
        _summary(found["a"], pair.baseline),
        _summary(found["b"], pair.new),
        found["refused"],
        found["forced"],
        reasons,
        caveats,
        figures,
        (None,) * len(figures),
        _judge_outputs(pair),
    )


def _judge_outputs(pair: Pair) -> Judgement | None:
    """Wrong outputs that the baseline does not have are a regression of whatever is judged."""
    wrong = [run.path for run in pair.new if records.outputs_failed(run.record)]
    if not wrong or any(records.outputs_failed(run.record) for run in pair.baseline):
        return None
    return Judgement(REGRESSION, 0.0, f"{', '.join(wrong)}: the outputs do not match the bundle's reference")


def _agent_side(runs: Sequence[Loaded]) -> comparing.Side:
    return comparing.Side([run.path for run in runs], [run.record for run in runs])


def _summary(side: Mapping[str, Any], runs: Sequence[Loaded]) -> SideSummary:
    return SideSummary(
        runs[0].name,
        runs[0].role,
        clean_text(side["id"]),
        tuple(side["files"]),
        tuple(side["num_samples"]),
        clean_text(side["board_state"]),
        clean_text(runs[0].record["started_at"]),
    )


def _judge(compared: Sequence[Compared], thresholds: Thresholds) -> list[Compared]:
    """All figures of all boards and networks together, as one build fails or passes by them together."""
    judgements = judging.judge([figure for one in compared for figure in one.figures], thresholds)
    made = []
    for one in compared:
        own, judgements = judgements[: len(one.figures)], judgements[len(one.figures) :]
        made.append(replace(one, judgements=tuple(own)))
    return made


def _is_uncertain(figure: Figure) -> bool:
    return figure.difference_interval is not None and not figure.is_exact


def _compared_dict(one: Compared) -> dict[str, Any]:
    return {
        "side": one.side,
        "board": one.board,
        "network": one.network,
        "baseline": asdict(one.baseline),
        "new": asdict(one.new),
        "refused": one.refused,
        "forced": one.forced,
        "reasons": list(one.reasons),
        "caveats": list(one.caveats),
        "outputs": None if one.outputs is None else asdict(one.outputs),
        "figures": [
            _figure_dict(figure, judgement) for figure, judgement in zip(one.figures, one.judgements, strict=True)
        ],
    }


def _figure_dict(figure: Figure, judgement: Judgement | None) -> dict[str, Any]:
    """One line of JSON; a ratio or bound that is not there is null."""
    intervals = {"difference": figure.difference_interval, "ratio": figure.ratio_interval}
    bounds = {
        f"{name}_{end}": None if interval is None else interval[place]
        for name, interval in intervals.items()
        for place, end in enumerate(("low", "high"))
    }
    return {
        "figure": figure.kind.key,
        "label": figure.kind.label,
        "unit": figure.kind.unit,
        "baseline": figure.baseline,
        "new": figure.new,
        "difference": figure.difference,
        "ratio": figure.ratio,
        **bounds,
        "covers_runs": figure.covers_runs,
        "exact": figure.is_exact,
        "outcome": figure.outcome,
        "reason": figure.reason,
        "threshold": None if judgement is None else judgement.limit,
        "verdict": None if judgement is None else judgement.verdict,
        "verdict_reason": None if judgement is None else judgement.reason,
        "counts": judgement is not None and judgement.counts,
    }

"""A baseline against one or several new sides: read, matched, compared, and judged where thresholds are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from edge_bench.verdict import comparing, records
from edge_dendrite.errors import ConfigError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.report.comparison import judging
from edge_dendrite.report.comparison.figures import read_figures
from edge_dendrite.report.comparison.judging import INCONCLUSIVE, REGRESSION, Judgement
from edge_dendrite.report.comparison.matching import Pair, Unmatched, pair_runs
from edge_dendrite.report.comparison.result import Compared, ComparisonReport, Missing, SideSummary
from edge_dendrite.report.comparison.sides import Loaded, Side, divide, read_side
from edge_dendrite.report.comparison.thresholds import Thresholds
from edge_dendrite.report.format import clean_text

Paths = str | PathLike[str] | Sequence[str | PathLike[str]]


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

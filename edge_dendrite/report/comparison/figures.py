"""Each figure of both sides: those of `edge-bench compare` as they are there, accuracy, and sizes, which are exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_bench.stats import Samples
from edge_bench.verdict import figures as measured
from edge_bench.verdict import records
from edge_dendrite.report import fields, pool
from edge_dendrite.report.comparison.sides import Loaded
from edge_dendrite.report.comparison.thresholds import KINDS, Kind
from edge_dendrite.report.format import clean_text
from edge_dendrite.report.rounds import compare_accuracies

NOT_MEASURED, NOT_COMPARABLE, REFUSED = "not measured", "not comparable", "refused"
_SIZES = {"parameters": "num_parameters", "macs": "num_macs", "size": "onnx_bytes"}
_PERCENTS = {"latency": 50.0, "p99": 99.0}


@dataclass(frozen=True)
class Figure:
    """One figure of both sides: new minus baseline, and new over baseline, with 95 % intervals. SI units; accuracy is a
    share. `outcome` says what the runs show, apart from any threshold; `freedom` None: not from runs.

    covers_runs: the interval covers what differs from run to run. num_samples: of both sides, of an accuracy.
    was_measured: the baseline has it.
    """

    kind: Kind
    outcome: str
    baseline: float | None = None
    new: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    ratio: float | None = None
    ratio_interval: tuple[float, float] | None = None
    freedom: float | None = None
    covers_runs: bool = True
    is_exact: bool = False
    num_samples: tuple[int, int] | None = None
    was_measured: bool = True
    reason: str = ""


def read_figures(compared: Mapping[str, Any], baseline: Sequence[Loaded], new: Sequence[Loaded]) -> tuple[Figure, ...]:
    """Every figure, in the order of `KINDS`; `compared` is what `edge_bench.verdict.comparing.compare` gave."""
    if compared["refused"]:
        return tuple(Figure(kind, REFUSED, reason=_cleaned(compared["reasons"])) for kind in KINDS)
    rows = {row["label"]: row for row in compared["rows"]}
    made = []
    for kind in KINDS:
        if kind.label in rows:
            made.append(_from_runs(kind, rows[kind.label], baseline))
        elif kind.key == "accuracy":
            made.append(_accuracy(kind, baseline[0].record, new[0].record))
        else:
            made.append(_size(kind, baseline[0].record, new[0].record))
    return tuple(made)


def _cleaned(texts: Sequence[str]) -> str:
    return clean_text("; ".join(texts), 1000)


def _from_runs(kind: Kind, row: Mapping[str, Any], baseline: Sequence[Loaded]) -> Figure:
    if row["difference"] is None:
        known = all(_is_there(kind, run.record) for run in baseline)
        return Figure(kind, row["verdict"], was_measured=known, reason=clean_text(row["reason"], 600))
    return Figure(
        kind,
        row["verdict"],
        row["a"],
        row["b"],
        row["difference"],
        (row["difference_low"], row["difference_high"]),
        row["ratio"],
        None if row["ratio"] is None else (row["ratio_low"], row["ratio_high"]),
        freedom=row["freedom"],
        covers_runs=row["covers_runs"],
        reason=clean_text(row["reason"], 600),
    )


def _is_there(kind: Kind, record: dict[str, Any]) -> bool:
    if kind.key in _PERCENTS:
        try:
            Samples(records.samples_of(record), _PERCENTS[kind.key])
        except ValueError:  # too few of them
            return False
        return True
    if kind.key == "memory":
        return measured.memory(record).value is not None
    return measured.energy(record, kind.label.partition(" ")[0]).value is not None


def _size(kind: Kind, baseline: Mapping[str, Any], new: Mapping[str, Any]) -> Figure:
    before, after = (pool.read_sizes(record["bundle"])[_SIZES[kind.key]] for record in (baseline, new))
    if before is None or after is None:
        which = "neither bundle states" if before is after else "only one of the two bundles states"
        return Figure(kind, NOT_MEASURED, was_measured=before is not None, reason=f"{which} it")
    difference = float(after - before)
    outcome = "the same" if not difference else "less" if difference < 0 else "more"
    ratio = after / before if before else None
    return Figure(
        kind,
        outcome,
        float(before),
        float(after),
        difference,
        (difference, difference),
        ratio,
        None if ratio is None else (ratio, ratio),
        is_exact=True,
    )


def _accuracy(kind: Kind, baseline: Mapping[str, Any], new: Mapping[str, Any]) -> Figure:
    """Of one network exactly the same; else with Newcombe's interval, as the test samples are a sample."""
    before, after = (pool.read_accuracy(fields.mapping(record["bundle"], "accuracy")) for record in (baseline, new))
    if before is None or after is None:
        which = "neither bundle states one" if before is after else "only one of the two bundles states one"
        reason = f"{which}: export with test data"
        return Figure(kind, NOT_MEASURED, was_measured=before is not None, reason=reason)
    compared = compare_accuracies(after, before)
    if compared is None:
        found = " and ".join(f"{one.metric} on {one.split or 'unnamed data'}" for one in (before, after))
        return Figure(kind, NOT_COMPARABLE, reason=f"the bundles state different figures: {found}")
    difference = compared.difference
    named = "" if before.metric == "accuracy" else f"{before.metric}; "
    if baseline["bundle"]["id"] == new["bundle"]["id"]:
        reason = f"{named}one network on both sides"
        return Figure(kind, "the same", before.value, after.value, 0.0, (0.0, 0.0), is_exact=True, reason=reason)
    if compared.interval is None or not before.num_samples or not after.num_samples:
        reason = f"{named}no interval: the bundles do not state an accuracy with its number of test samples"
        return Figure(kind, NOT_COMPARABLE, before.value, after.value, difference, reason=reason)
    counts = (before.num_samples, after.num_samples)
    reason = f"{counts[1]:,} test samples" + ("" if counts[0] == counts[1] else f" after {counts[0]:,}")
    return Figure(
        kind,
        compared.outcome,
        before.value,
        after.value,
        difference,
        compared.interval,
        num_samples=counts,
        reason=reason,
    )

"""One network's figures: from its bundle, and pooled over its valid runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_bench.stats import MIN_SAMPLES, median, median_absolute_deviation, percentile
from edge_dendrite.report import fields
from edge_dendrite.report.format import clean_text
from edge_dendrite.report.intervals import wilson_interval
from edge_dendrite.report.runs import Measurement, Run

Examined = Sequence[tuple[Run, Measurement]]
_NUM_ECDF_BODY, _NUM_ECDF_TAIL = 300, 100


@dataclass(frozen=True)
class Accuracy:
    """A figure of merit on a split of the data. `interval`: Wilson, 95 %; only for the metric 'accuracy'."""

    metric: str
    split: str | None
    value: float
    num_samples: int | None
    runtime: str | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Latency:
    """Seconds per inference over all samples of the valid runs; a percentile without enough samples is None.

    `ecdf` holds (share of samples, seconds) at no more than 400 ranks, ever denser towards the slowest sample.
    """

    num_samples: int
    median_s: float
    mad_s: float
    min_s: float
    max_s: float
    p90_s: float | None
    p99_s: float | None
    rounds: tuple[int, ...]
    run_medians_s: tuple[float, ...]
    ecdf: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Energy:
    """Joules per inference, median over the valid runs; gross, and net of idle power. The rails are named."""

    gross_j: float
    net_j: float
    source: str | None
    scope: str | None
    rails: tuple[str, ...]
    rounds: tuple[int, ...]
    run_gross_j: tuple[float, ...]


@dataclass(frozen=True)
class Layer:
    """One layer, in the order of the model's definition."""

    name: str
    kind: str
    num_inputs: int
    num_units: int
    num_parameters: int
    num_macs: int


def read_accuracy(source: Mapping[str, Any]) -> Accuracy | None:
    """The accuracy of a bundle, or None when there is none that can be understood."""
    value, metric = fields.number(source, "value"), fields.text(source, "metric")
    if value is None or metric is None:
        return None
    num_samples = fields.whole(source, "num_samples")
    known = metric == "accuracy" and num_samples and 0 <= value <= 1
    interval = wilson_interval(value, num_samples) if known and num_samples else None
    split, runtime = fields.text(source, "split"), fields.text(source, "runtime")
    return Accuracy(metric, split, value, num_samples, runtime, interval)


def read_layers(source: object) -> tuple[Layer, ...]:
    """The layers of a bundle's stats, or none at all when one of them is not what the format says."""
    layers = []
    for entry in source if isinstance(source, list) else ():
        entry = entry if isinstance(entry, Mapping) else {}
        sizes = [fields.whole(entry, key) for key in ("num_inputs", "num_units", "num_parameters", "num_macs")]
        name, kind = fields.text(entry, "name"), fields.text(entry, "kind")
        known = [size for size in sizes if size is not None]
        if name is None or kind is None or len(known) < len(sizes):
            return ()
        layers.append(Layer(name, kind, *known))
    return tuple(layers)


def pool_latency(valid: Examined, missing: dict[str, str]) -> Latency | None:
    """All samples of the valid runs together; what cannot be given gets its reason in `missing`."""
    if not valid:
        missing["latency"] = missing["p90"] = missing["p99"] = "no valid run: see the runs left out"
        return None
    # Sorted once: each of the statistics below sorts again, which is quick on what is sorted already.
    samples = sorted(sample for _, measurement in valid for sample in measurement["latency"]["samples_s"])
    p90_s, p99_s = (percentile(samples, percent) for percent in (90.0, 99.0))
    for name, value, percent in (("p90", p90_s, 90.0), ("p99", p99_s, 99.0)):
        if value is None:
            missing[name] = f"too few samples: {len(samples)}, and {name} needs {MIN_SAMPLES[percent]}"
    return Latency(
        num_samples=len(samples),
        median_s=median(samples),
        mad_s=median_absolute_deviation(samples),
        min_s=samples[0],
        max_s=samples[-1],
        p90_s=p90_s,
        p99_s=p99_s,
        rounds=tuple(run.round for run, _ in valid),
        run_medians_s=tuple(run.median_s for run, _ in valid if run.median_s is not None),
        ecdf=thin_ecdf(samples),
    )


def thin_ecdf(ordered: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """(share, value) at evenly spaced ranks and at ever closer ones towards the last; at most 400 points."""
    size = len(ordered)
    ranks = {math.ceil(size * step / _NUM_ECDF_BODY) for step in range(1, _NUM_ECDF_BODY + 1)} | {1}
    for step in range(_NUM_ECDF_TAIL - 1):
        # Distances from the last rank grow from 1 to a hundredth of all samples.
        ranks.add(size - round(max(1.0, size / 100) ** (step / (_NUM_ECDF_TAIL - 2))))
    return tuple((rank / size, ordered[rank - 1]) for rank in sorted(ranks) if rank > 0)


def peak_memory(valid: Examined, missing: dict[str, str]) -> int | None:
    """Bytes that the measuring process held at most: the largest over the valid runs."""
    memories = [fields.mapping(measurement, "memory") for _, measurement in valid]
    peaks = [fields.whole(memory, "process_peak_rss_bytes") for memory in memories]
    largest = max((peak for peak in peaks if peak is not None), default=None)
    if largest is None:
        missing["memory"] = missing.get("latency", "VmHWM in /proc/self/status could not be read on the board")
    return largest


def pool_energy(valid: Examined, missing: dict[str, str]) -> Energy | None:
    """Median over the valid runs that measured energy."""
    figures = []
    for run, measurement in valid:
        record = fields.mapping(measurement, "energy")
        gross, net = fields.number(record, "gross_energy_j"), fields.number(record, "net_energy_j")
        if gross is not None and net is not None:
            figures.append((run.round, gross, net, record))
    if not figures:
        missing["energy"] = missing.get("latency") or _why_no_energy(valid)
        return None
    last = figures[-1][3]
    return Energy(
        gross_j=median([gross for _, gross, _, _ in figures]),
        net_j=median([net for _, _, net, _ in figures]),
        source=fields.text(last, "source"),
        scope=fields.text(last, "scope"),
        rails=fields.texts(last, "rails"),
        rounds=tuple(number for number, _, _, _ in figures),
        run_gross_j=tuple(gross for _, gross, _, _ in figures),
    )


def _why_no_energy(valid: Examined) -> str:
    for _, measurement in valid:
        for entry in measurement["unavailable"]:
            if entry["what"] == "energy":
                return clean_text(f"{entry['reason']}; {entry['fix']}", 500)
    return "the measurements hold no energy and no reason for it"

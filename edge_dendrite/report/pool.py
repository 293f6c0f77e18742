"""One network's figures: from its bundle, and pooled over its valid runs."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge_bench.stats import MIN_SAMPLES, median, median_absolute_deviation, percentile, student_quantile
from edge_bench.verdict import figures as measured
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

    throughput_per_s: examples per second, one inference after another: all examples over the sum of all samples, as
    `edge-bench validate` has it for a run. batch: examples of an inference, None where runs differ in it.
    `ecdf` holds (share of samples, seconds) at no more than 400 ranks, ever denser towards the slowest sample.
    """

    num_samples: int
    median_s: float
    mad_s: float
    min_s: float
    max_s: float
    p90_s: float | None
    p99_s: float | None
    throughput_per_s: float
    batch: int | None
    rounds: tuple[int, ...]
    run_medians_s: tuple[float, ...]
    ecdf: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Energy:
    """Joules per inference, the mean of the valid runs; gross, and net of idle power. The rails are named.

    Intervals are about 95 %: of a single run its own, of several what `pool_interval` makes of them; None where nothing
    tells.
    """

    gross_j: float
    net_j: float
    gross_interval_j: tuple[float, float] | None
    net_interval_j: tuple[float, float] | None
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
    num_groups: int = 1


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


def read_sizes(bundle: Mapping[str, Any]) -> dict[str, int | None]:
    """num_parameters, num_nonzero, num_macs and onnx_bytes of a bundle; None for what it does not state."""
    sizes = {key: fields.whole(bundle["stats"], key) for key in ("num_parameters", "num_nonzero", "num_macs")}
    sizes["onnx_bytes"] = fields.whole(bundle["stats"], "onnx_bytes") or fields.whole(bundle["model"], "num_bytes")
    return sizes


def read_energy(measurement: Measurement, kind: str) -> tuple[float, tuple[float, float] | None] | None:
    """Joules per inference of a run, `gross` or `net`, with the run's own interval where it has one.

    None where the agent's `compare` and `validate` take it for not measured either.
    """
    record, key = dict(fields.mapping(measurement, "energy")), f"{kind}_interval_j"
    record[key] = fields.interval(record, key)
    figure = measured.energy({**measurement, "energy": record}, kind)
    if figure.value is None:
        return None
    known = figure.low is not None and figure.high is not None and not figure.is_assumed
    return figure.value, (figure.low, figure.high) if known else None  # type: ignore[return-value]


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
        num_groups = fields.whole(entry, "num_groups") or 1
        layers.append(replace(Layer(name, kind, *known), num_groups=num_groups))
    return tuple(layers)


def pool_latency(valid: Examined, missing: dict[str, str]) -> Latency | None:
    """All samples of the valid runs together; what cannot be given gets its reason in `missing`."""
    if not valid:
        missing["latency"] = missing["p90"] = missing["p99"] = "no valid run: see the runs left out"
        return None
    batches = [fields.whole(fields.mapping(measurement, "backend"), "batch") or 1 for _, measurement in valid]
    counts = [len(measurement["latency"]["samples_s"]) for _, measurement in valid]
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
        throughput_per_s=sum(map(operator.mul, batches, counts)) / math.fsum(samples),
        batch=batches[0] if len(set(batches)) == 1 else None,
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


def peak_memories(valid: Examined, missing: dict[str, str]) -> dict[int, int]:
    """Bytes that the measuring process held at most, of each valid run that tells it, by its round."""
    peaks: dict[int, int] = {}
    for run, measurement in valid:
        peak = fields.whole(fields.mapping(measurement, "memory"), "process_peak_rss_bytes")
        if peak is not None:
            peaks[run.round] = peak
    if not peaks:
        missing["memory"] = missing.get("latency", "VmHWM in /proc/self/status could not be read on the board")
    return peaks


def pool_energy(valid: Examined, missing: dict[str, str]) -> Energy | None:
    """The mean over the valid runs that measured energy."""
    figures = []
    for run, measurement in valid:
        gross, net = read_energy(measurement, "gross"), read_energy(measurement, "net")
        if gross is not None and net is not None:
            figures.append((run.round, gross, net))
            last = fields.mapping(measurement, "energy")
    if not figures:
        missing["energy"] = missing.get("latency") or _why_no_energy(valid)
        return None
    rounds, all_gross, all_net = zip(*figures, strict=True)
    run_gross_j, gross_intervals_j = zip(*all_gross, strict=True)
    run_net_j, net_intervals_j = zip(*all_net, strict=True)
    return Energy(
        gross_j=math.fsum(run_gross_j) / len(figures),
        net_j=math.fsum(run_net_j) / len(figures),
        gross_interval_j=pool_interval(run_gross_j, gross_intervals_j),
        net_interval_j=pool_interval(run_net_j, net_intervals_j),
        source=fields.text(last, "source"),
        scope=fields.text(last, "scope"),
        rails=fields.texts(last, "rails"),
        rounds=rounds,
        run_gross_j=run_gross_j,
    )


def pool_interval(
    values: Sequence[float], intervals: Sequence[tuple[float, float] | None]
) -> tuple[float, float] | None:
    """About 95 % for the mean of the runs' values, of which each has its own interval or None.

    Of several runs the scatter says it, by Student's t as in `edge-bench compare`; but what all of them share, such as
    the step of the sensor, does not scatter, so it is no narrower than their own intervals are on average.
    """
    known = [interval for interval in intervals if interval is not None]
    if len(values) == 1:
        return known[0] if known else None
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    reach = student_quantile(0.975, len(values) - 1) * math.sqrt(variance / len(values))
    below, above = reach, reach
    if len(known) == len(values):
        below = max(below, mean - math.fsum(low for low, _ in known) / len(known))
        above = max(above, math.fsum(high for _, high in known) / len(known) - mean)
    return mean - below, mean + above


def _why_no_energy(valid: Examined) -> str:
    for _, measurement in valid:
        for entry in measurement["unavailable"]:
            if entry["what"] == "energy":
                return clean_text(f"{entry['reason']}; {entry['fix']}", 500)
    return "the measurements hold no energy and no reason for it"

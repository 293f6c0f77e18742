"""What was measured over time, as short series that pictures are drawn from: latency, power, temperatures, clocks.

A run has as many samples as it likes; what is kept of them here is bounded, and computed from all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edge_dendrite.report import fields
from edge_dendrite.report.power_series import PowerTrace, read_power
from edge_dendrite.report.runs import Measurement, Run
from edge_dendrite.report.watch_series import WatchTrace, read_throttling, read_watch

# Of one network; more runs cannot be told apart in a picture.
MAX_RUNS = 8
# Points over time of one network over all of its runs, and of one run at least.
_MAX_BINS, _FEWEST_BINS = 140, 15
_LONGEST_S = 1e9
Item = TypeVar("Item")


@dataclass(frozen=True)
class LatencyTrace:
    """Latency over the seconds of its phase: `bands` are (time, p10, median, p90, slowest) of a bin of `bin_s`.

    Without a period, time is the sum of the latencies: what the loop itself took between two inferences is not in it.
    """

    num_samples: int
    duration_s: float
    bin_s: float
    is_paced: bool
    bands: tuple[tuple[float, float, float, float, float], ...]


@dataclass(frozen=True)
class RunTrace:
    """One run. `reasons`: why it enters no figure. `throttling`: what the board counted between before and after.

    `dropped`: what of its series made no sense and is therefore not drawn.
    """

    round: int
    started_at: str
    reasons: tuple[str, ...]
    latency: LatencyTrace | None
    power: PowerTrace | None
    watch: WatchTrace | None
    hottest_before_c: float | None
    hottest_after_c: float | None
    throttling: tuple[str, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True)
class Traces:
    """The series of a network: of at most MAX_RUNS of its `num_runs`, evenly chosen in the order of their start.

    `histogram`: (bin, samples in it) over all samples of all valid runs; bin n reaches from 10**(n / 1000) s to
    10**((n + 1) / 1000) s.
    """

    runs: tuple[RunTrace, ...] = ()
    num_runs: int = 0
    histogram: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the windows and marks of each run, and the histogram; the series stay in the measurements."""
        return {"num_runs": self.num_runs, "runs": [_marks(run) for run in self.runs], "histogram": self.histogram}


def build_traces(examined: Sequence[tuple[Run, Measurement]]) -> Traces:
    """From all runs of one network, also those that are left out of its figures; one given twice counts once.

    A run that failed did not do the work of the network: how long that took is no latency of it.
    """
    known = [(run, made) for run, made in examined if run.status != "failed" and not _is_repeated(run)]
    chosen = evenly(known, MAX_RUNS)
    max_bins = max(_FEWEST_BINS, _MAX_BINS // max(1, len(chosen)))
    return Traces(tuple(_read_run(run, made, max_bins) for run, made in chosen), len(known), _histogram(known))


def evenly(items: Sequence[Item], most: int) -> tuple[Item, ...]:
    """At most `most` (two or more) of the items, at even distances, the first and the last among them."""
    if len(items) <= most:
        return tuple(items)
    return tuple(items[round(index * (len(items) - 1) / (most - 1))] for index in range(most))


def _is_repeated(run: Run) -> bool:
    return "the same measurement was given twice" in run.reasons


def _read_run(run: Run, measurement: Measurement, max_bins: int) -> RunTrace:
    dropped: list[str] = []
    return RunTrace(
        round=run.round,
        started_at=run.started_at,
        reasons=run.reasons,
        latency=_read_latency(measurement, max_bins, dropped),
        power=read_power(fields.mapping(measurement, "energy"), dropped),
        watch=read_watch(measurement, max_bins, dropped),
        hottest_before_c=run.hottest_before_c,
        hottest_after_c=run.hottest_after_c,
        throttling=read_throttling(measurement),
        dropped=tuple(dropped),
    )


def _read_latency(measurement: Measurement, max_bins: int, dropped: list[str]) -> LatencyTrace | None:
    from edge_dendrite.report import binning

    record = fields.mapping(measurement, "latency")
    samples_s = record.get("samples_s")
    if not samples_s:
        return None
    starts_s = _release_times(measurement["settings"], record, len(samples_s), dropped)
    if not max(samples_s) < _LONGEST_S / len(samples_s) or (starts_s and starts_s[-1] > _LONGEST_S):
        dropped.append("latency over time: the phase would have taken more than thirty years")
        return None
    bands, bin_s, end_s = binning.latency_bands(starts_s, samples_s, max_bins)
    return LatencyTrace(len(samples_s), end_s, bin_s, starts_s is not None, tuple(bands))


def _release_times(
    settings: Mapping[str, Any], record: Mapping[str, Any], size: int, dropped: list[str]
) -> list[float] | None:
    """When each inference was released, where there was a period; None where one followed the other."""
    from edge_dendrite.report import binning

    period_s = fields.number(settings, "period_s")
    if period_s is None:
        return None
    responses_s = fields.series(record, "response_samples_s")
    known = [response_s for response_s in responses_s if response_s is not None and response_s > 0]
    if len(known) != size or len(responses_s) != size or period_s <= 0 or max(known) / period_s > 1e12:
        dropped.append("release times: not as many answers as samples; time is the sum of the latencies")
        return None
    return binning.release_times(known, period_s)


def _histogram(examined: Sequence[tuple[Run, Measurement]]) -> tuple[tuple[int, int], ...]:
    from edge_dendrite.report import binning

    samples_s = [sample for run, made in examined if not run.reasons for sample in made["latency"]["samples_s"]]
    return tuple(binning.log_histogram(samples_s)) if samples_s else ()


def _marks(run: RunTrace) -> dict[str, Any]:
    power, watch = run.power, run.watch
    marks: dict[str, Any] = {
        "round": run.round,
        "started_at": run.started_at,
        "is_left_out": bool(run.reasons),
        "throttling": list(run.throttling),
        "dropped": list(run.dropped),
    }
    if run.latency:
        marks["latency"] = {"num_samples": run.latency.num_samples, "duration_s": run.latency.duration_s}
    if power:
        keys = ("idle_window_s", "load_window_s", "energy_window_s", "idle_power_w", "load_power_w", "num_readings")
        marks["power"] = {key: getattr(power, key) for key in keys}
    if watch:
        marks["watch"] = {"duration_s": watch.duration_s, "low_clock_s": watch.low_s}
    return marks

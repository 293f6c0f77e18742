"""The latency phase: nothing runs in it but the network, and a look at the clock.

Slices of a quarter of a second lie between two looks at anything else (progress, the journal), which are outside of
what is timed. No sampler runs, and garbage is not collected.
"""

import gc
import time
from typing import Any, Callable, Dict, List, Optional

from edge_bench import schema, summary
from edge_bench.backends.base import Backend
from edge_bench.measure.journal import Journal
from edge_bench.measure.other_load import OtherLoad
from edge_bench.measure.settings import Settings

MIN_SAMPLES = 10
# Without --runs a slow model may take this long to collect the samples that its 99th percentile needs.
MAX_PHASE_S = 60.0
MIN_WARMUP_RUNS = 10
# What is slow warms up no longer than this, with as many runs as fit in; one run of a command may take minutes.
MAX_WARMUP_S = 10.0
SLICE_S = 0.25


class Samples:
    """What the phase has so far. response_s: from the moment of its release to its end, where there is a period."""

    def __init__(self) -> None:
        self.latency_s: List[float] = []
        self.response_s: List[float] = []
        self.num_skipped = 0


def warm_up(backend: Backend, settings: Settings, min_runs: int) -> int:
    """Run until the warm-up time has passed and `min_runs` were made, or MAX_WARMUP_S have; returns how many."""
    if backend.in_bulk:
        return 0  # it warms up by itself
    began, num_runs = time.perf_counter(), 0
    while True:
        elapsed_s = time.perf_counter() - began
        if num_runs and elapsed_s >= settings.warmup_s and num_runs >= min_runs:
            return num_runs
        if num_runs and elapsed_s >= max(settings.warmup_s, MAX_WARMUP_S):
            return num_runs
        backend.infer()
        num_runs += 1


class Pacer:
    """Inferences that are released every so often, as a camera releases frames; what comes too late for its release
    waits for the next one, and the releases in between count as skipped.

    The releases go on from slice to slice. Only where our own work between two slices took longer than what was left
    of the period do they start anew: that is no delay of the network.
    """

    def __init__(self) -> None:
        self._next_release: Optional[float] = None

    def run(self, infer: Callable[[], Any], period_s: float, num_runs: int, samples: Samples) -> None:
        """One slice, with at least one inference."""
        clock = time.perf_counter
        release = max(clock(), self._next_release or 0.0)
        deadline = release + max(SLICE_S, period_s)
        while num_runs > 0 and release < deadline:
            _sleep_until(release)
            began = clock()
            infer()
            ended = clock()
            samples.latency_s.append(ended - began)
            samples.response_s.append(ended - release)
            num_runs -= 1
            periods = max(1, int((ended - release) / period_s) + (1 if (ended - release) % period_s else 0))
            samples.num_skipped += periods - 1
            release += periods * period_s
        self._next_release = release


class LatencyPhase:
    """Collects `samples` from a backend; `measure` returns the measurement's `latency`."""

    def __init__(self, backend: Backend, settings: Settings, journal: Journal, progress: Callable[[float], None]):
        self.samples = Samples()
        self._backend = backend
        self._settings = settings
        self._journal = journal
        self._progress = progress
        self._min_samples = MIN_SAMPLES
        self._pacer = Pacer()

    def measure(self, min_samples: int = MIN_SAMPLES) -> Dict[str, Any]:
        """All of the phase. What an interrupt or an error leaves is in `samples`."""
        self._min_samples = min_samples
        self._backend.device_samples_s = []
        gc.collect()
        gc.disable()
        other_load, began = OtherLoad(), time.perf_counter()
        try:
            while not self._enough(time.perf_counter() - began):
                self._slice()
                if self._backend.in_bulk:
                    break
                self._journal.add(self.samples.latency_s)
                self._progress(self._share_done(time.perf_counter() - began))
        finally:
            gc.enable()
        duration_s = time.perf_counter() - began
        other_share = other_load.share()
        record = latency_record(self.samples, self._settings, self._backend)
        record["duration_s"] = duration_s
        # Everything that is not inference: the loop, the clock, progress, the journal.
        if self._settings.period_s is None and not self._backend.in_bulk:
            record["overhead_share"] = max(0.0, 1.0 - sum(self.samples.latency_s) / duration_s)
        if other_share is not None:
            record["other_load"] = other_share
        return record

    def _slice(self) -> None:
        num_runs = self._slice_runs()
        if self._backend.in_bulk:
            self._backend.time_slice(self.samples.latency_s, self._settings.num_runs, self._settings.duration_s)
        elif self._settings.period_s is None:
            self._backend.time_slice(self.samples.latency_s, num_runs, SLICE_S)
        else:
            self._pacer.run(self._backend.infer, self._settings.period_s, num_runs, self.samples)

    def _slice_runs(self) -> int:
        wanted = schema.MAX_SAMPLES if self._settings.num_runs is None else self._settings.num_runs
        return wanted - len(self.samples.latency_s)

    def _enough(self, elapsed_s: float) -> bool:
        num_samples = len(self.samples.latency_s)
        if self._settings.num_runs is not None:
            return num_samples >= self._settings.num_runs
        if num_samples >= schema.MAX_SAMPLES:
            return True  # a reader takes no more
        if num_samples < self._min_samples or elapsed_s < self._settings.duration_s:
            return False
        return num_samples >= summary.MIN_SAMPLES[99.0] or elapsed_s >= MAX_PHASE_S or self._min_samples == 1

    def _share_done(self, elapsed_s: float) -> float:
        num_samples = len(self.samples.latency_s)
        if self._settings.num_runs is not None:
            return min(1.0, num_samples / float(self._settings.num_runs))
        by_time = elapsed_s / max(self._settings.duration_s, 1e-9)
        by_samples = max(num_samples / float(summary.MIN_SAMPLES[99.0]), elapsed_s / MAX_PHASE_S)
        return min(1.0, by_time if self._min_samples == 1 else min(by_time, by_samples))


def few_samples(latency: Dict[str, Any], settings: Settings) -> Optional[Dict[str, str]]:
    """A warning where a phase that was limited by time has too few samples for its p99; None where it has enough.

    `--runs` says how many are wanted: then nobody has to be told.
    """
    count = len(latency["samples_s"])
    if settings.num_runs is not None or count >= summary.MIN_SAMPLES[99.0]:
        return None
    missing = ["p%g (%d)" % (percent, fewest) for percent, fewest in sorted(summary.MIN_SAMPLES.items())]
    missing = [words for words, fewest in zip(missing, sorted(summary.MIN_SAMPLES.values())) if count < fewest]
    wanted = summary.MIN_SAMPLES[99.0]
    return schema.warning(
        "few-samples",
        "the latency phase gave %d samples in %.3g s, so these percentiles are missing: %s"
        % (count, latency["duration_s"], ", ".join(missing)),
        "give --runs %d for p99, about %.2g minutes here" % (wanted, wanted * latency["duration_s"] / count / 60.0),
    )


def latency_record(samples: Samples, settings: Settings, backend: Optional[Backend]) -> Dict[str, Any]:
    """The measurement's `latency`, as far as samples tell; there is at least one."""
    record = {"samples_s": samples.latency_s, "summary": summary.summarise(samples.latency_s)}  # type: Dict[str, Any]
    counted = samples.latency_s
    if settings.period_s is not None:
        counted = samples.response_s
        record["response_samples_s"] = samples.response_s
        record["num_skipped"] = samples.num_skipped
    if settings.deadline_s is not None:
        num_missed = sum(1 for seconds in counted if seconds > settings.deadline_s)
        # A release that was skipped never had its answer in time.
        skipped = samples.num_skipped if settings.period_s is not None else 0
        record["deadline_s"] = settings.deadline_s
        record["num_missed"] = num_missed + skipped
        record["miss_ratio"] = (num_missed + skipped) / float(len(counted) + skipped)
    if backend is not None and backend.device_samples_s:
        device_s = list(backend.device_samples_s)
        record["device_samples_s"], record["device_summary"] = device_s, summary.summarise(device_s)
    return record


def _sleep_until(moment: float) -> None:
    """Without watching the clock at the end: a processor that dozes off and wakes up late is part of the answer."""
    while True:
        left = moment - time.perf_counter()
        if left <= 0:
            return
        time.sleep(left)

"""One measurement: verify the outputs, warm up, latency phase, energy phase, with the board's state around them."""

import array
import datetime
import gc
import math
import os
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from edge_bench import __version__, schema, stats
from edge_bench.backends.onnxrt import OnnxRuntimeBackend
from edge_bench.board.describe import describe_board
from edge_bench.board.load import busy_seconds
from edge_bench.board.memory import process_memory
from edge_bench.board.state import missing_state, read_state, state_changes
from edge_bench.bundle import Bundle
from edge_bench.errors import EdgeBenchError
from edge_bench.manifest import DTYPES
from edge_bench.power import meter as power
from edge_bench.power.energy import energy_record

MIN_LATENCY_SAMPLES = 10
# Without --runs a slow model may take this long to collect the samples that its 99th percentile needs.
MAX_LATENCY_PHASE_S = 60.0
MIN_WARMUP_RUNS = 10

Progress = Callable[[str, float], None]


class Settings:
    """What the user asked for. Times in seconds; `num_runs` None means: by duration."""

    def __init__(
        self,
        num_runs: Optional[int] = None,
        duration_s: float = 3.0,
        warmup_s: float = 0.5,
        num_threads: int = 1,
        provider: Optional[str] = None,
        idle_s: float = 3.0,
        energy_s: float = 10.0,
        max_other_load: float = 0.5,
    ):
        self.num_runs = num_runs
        self.duration_s = duration_s
        self.warmup_s = warmup_s
        self.num_threads = num_threads
        self.provider = provider
        self.idle_s = idle_s
        self.energy_s = energy_s
        self.max_other_load = max_other_load


class Run:
    """A measurement in the making. `record` is what a reader of the file sees; it is saved after every phase.

    An interrupt (KeyboardInterrupt) saves what was measured so far with status "partial" and goes on upwards.
    """

    def __init__(self, bundle: Bundle, settings: Settings, save: Callable[[Dict[str, Any]], None], progress: Progress):
        self._bundle = bundle
        self._settings = settings
        self._save = save
        self._progress = progress
        self._samples: List[float] = []
        self._meter, no_energy = power.find_meter()
        before = read_state()
        self.record = {
            "schema": schema.SCHEMA,
            "version": schema.VERSION,
            "status": "partial",
            "invalid": [],
            "started_at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "bundle": schema.bundle_summary(bundle.id, bundle.manifest),
            "agent": {"version": __version__, "python": sys.version.split()[0]},
            "board": describe_board(),
            "settings": dict(vars(settings)),
            "state_before": before,
            "warnings": [],
            "unavailable": schema.merge_unavailable([no_energy, missing_state(before)]),
        }  # type: Dict[str, Any]

    def measure(self) -> Dict[str, Any]:
        """Run all phases and return the record.

        Raises BackendError when the model cannot be loaded or run (the record is then saved as failed, with the
        reason), KeyboardInterrupt after saving a partial record,
        OSError when the record cannot be saved.
        """
        self._save(self.record)  # a wrong output path or a full disk shows before minutes of measuring
        try:
            self._measure()
        except KeyboardInterrupt:
            if self._samples and "latency" not in self.record:
                self.record["latency"] = {
                    "samples_s": self._samples,
                    "summary": stats.summarise(self._samples),
                }
            self._save(self.record)
            raise
        except EdgeBenchError as error:
            self.record["status"] = "failed"
            self.record["invalid"].append(str(error))
            self._save(self.record)
            raise
        self._save(self.record)
        return self.record

    def _measure(self) -> None:
        backend = self._load()
        if not self._check_outputs(backend):
            self.record["status"] = "failed"
            return
        self._warm_up(backend)
        self._latency_phase(backend)
        self._save(self.record)
        if self._meter is not None:
            self._energy_phase(backend)
        self._finish()

    def _load(self) -> OnnxRuntimeBackend:
        self._progress("load", 0.0)
        rss_before = process_memory().get("VmRSS")
        model = self._bundle.read(self._bundle.manifest["model"]["path"])
        began = time.perf_counter()
        backend = OnnxRuntimeBackend(model, self._settings.num_threads, self._settings.provider)
        backend.bind(self._bundle.manifest["model"]["inputs"], self._bundle.manifest["model"]["outputs"])
        self.record["load_s"] = time.perf_counter() - began
        self.record["backend"] = {
            "name": backend.name,
            "version": backend.version,
            "providers": backend.providers,
            "num_threads": self._settings.num_threads,
        }
        self.record["memory"] = {"process_rss_before_load_bytes": rss_before}
        self._progress("load", 1.0)
        return backend

    def _check_outputs(self, backend: OnnxRuntimeBackend) -> bool:
        """Compare with the bundle's reference before anything is timed: a fast wrong model is no result."""
        manifest, reference = self._bundle.manifest, self._bundle.manifest["reference"]
        largest, passed = 0.0, True
        # Backwards, so that the first case is the one that stays set and is timed.
        for number, case in reversed(list(enumerate(reference["cases"]))):
            backend.set_inputs([self._bundle.read(name) for name in case["inputs"]])
            began = time.perf_counter()
            backend.infer()
            self.record.setdefault("first_inference_s", time.perf_counter() - began)
            for output, name, tensor in zip(backend.read_outputs(), case["outputs"], manifest["model"]["outputs"]):
                expected = read_numbers(self._bundle.read(name), tensor["dtype"])
                error, close = compare_outputs(output, expected, reference["atol"], reference["rtol"])
                largest, passed = max(largest, error), passed and close
            self._progress("check", 1.0 - float(number) / len(reference["cases"]))
        self.record["check"] = {
            "passed": passed,
            "max_abs_error": largest if math.isfinite(largest) else None,
            "atol": reference["atol"],
            "rtol": reference["rtol"],
            "num_cases": len(reference["cases"]),
        }
        return passed

    def _warm_up(self, backend: OnnxRuntimeBackend) -> None:
        began = time.perf_counter()
        num_runs = 0
        while num_runs < MIN_WARMUP_RUNS or time.perf_counter() - began < self._settings.warmup_s:
            backend.infer()
            num_runs += 1
        self.record["num_warmup_runs"] = num_runs

    def _latency_phase(self, backend: OnnxRuntimeBackend) -> None:
        busy_before, own_before, began = busy_seconds(), time.process_time(), time.perf_counter()
        gc.collect()
        gc.disable()
        try:
            while not self._enough(time.perf_counter() - began):
                # In slices, so that drawing the progress stays outside of what is timed.
                backend.time_slice(self._samples, self._slice_runs(), 0.25)
                self._progress("latency", self._share_done(time.perf_counter() - began))
        finally:
            gc.enable()
        duration_s = time.perf_counter() - began
        own_s, busy_after = time.process_time() - own_before, busy_seconds()
        latency = {
            "samples_s": self._samples,
            "duration_s": duration_s,
            "summary": stats.summarise(self._samples),
        }
        if busy_before is not None and busy_after is not None:
            num_cpus = os.cpu_count() or 1
            latency["other_load"] = max(0.0, busy_after - busy_before - own_s) / (duration_s * num_cpus)
        self.record["latency"] = latency
        self.record["memory"]["process_peak_rss_bytes"] = process_memory().get("VmHWM")

    def _slice_runs(self) -> int:
        num_runs = schema.MAX_SAMPLES if self._settings.num_runs is None else self._settings.num_runs
        return num_runs - len(self._samples)

    def _enough(self, elapsed_s: float) -> bool:
        num_samples = len(self._samples)
        if self._settings.num_runs is not None:
            return num_samples >= self._settings.num_runs
        if num_samples >= schema.MAX_SAMPLES:
            return True  # a reader takes no more
        if num_samples < MIN_LATENCY_SAMPLES or elapsed_s < self._settings.duration_s:
            return False
        return num_samples >= stats.MIN_SAMPLES[99.0] or elapsed_s >= MAX_LATENCY_PHASE_S

    def _share_done(self, elapsed_s: float) -> float:
        if self._settings.num_runs is not None:
            return min(1.0, len(self._samples) / float(self._settings.num_runs))
        by_time = elapsed_s / max(self._settings.duration_s, 1e-9)
        return min(
            1.0, by_time, max(len(self._samples) / float(stats.MIN_SAMPLES[99.0]), elapsed_s / MAX_LATENCY_PHASE_S)
        )

    def _energy_phase(self, backend: OnnxRuntimeBackend) -> None:
        """Idle power first, then the same inference for `energy_s`; apart from the latency phase: sampling slows it."""
        assert self._meter is not None
        idle_window = self._meter.open_window()
        idle_window.start()
        self._sleep("idle power", self._settings.idle_s)
        idle = idle_window.stop()
        samples: List[float] = []
        window = self._meter.open_window()
        window.start()
        began = time.perf_counter()
        marks = [(began, 0)]
        while not samples or time.perf_counter() - began < self._settings.energy_s:
            backend.time_slice(samples, None, 0.25)
            marks.append((time.perf_counter(), len(samples)))
            self._progress("energy", min(1.0, (marks[-1][0] - began) / self._settings.energy_s))
        load = window.stop()
        energy = None if idle is None or load is None else energy_record(self._meter, idle, load, marks)
        if energy is None:
            reason = "the power sensor stopped answering: %s" % (idle_window.problem or window.problem)
            self.record["unavailable"].append(schema.unavailable("energy", reason, "run again; check the sensor"))
            return
        self.record["warnings"].extend(energy.pop("warnings"))
        self.record["energy"] = energy
        slow_down = stats.median(samples) / self.record["latency"]["summary"]["median_s"]
        self.record["energy"]["latency_ratio_while_sampling"] = slow_down

    def _sleep(self, phase: str, duration_s: float) -> None:
        began = time.perf_counter()
        while time.perf_counter() - began < duration_s:
            time.sleep(min(0.25, duration_s))
            self._progress(phase, min(1.0, (time.perf_counter() - began) / duration_s))

    def _finish(self) -> None:
        self.record["state_after"] = read_state()
        self.record["invalid"] = state_changes(self.record["state_before"], self.record["state_after"])
        other_load = self.record["latency"].get("other_load")
        if other_load is not None and other_load > self._settings.max_other_load:
            self.record["invalid"].append(
                "other programs used %.0f %% of all processor time (allowed: %.0f %%)"
                % (100 * other_load, 100 * self._settings.max_other_load)
            )
        elif other_load is not None and other_load > 0.1:
            self.record["warnings"].append(
                schema.warning(
                    "other-load",
                    "other programs used %.0f %% of all processor time during the latency phase" % (100 * other_load),
                    "end them and run again",
                )
            )
        self.record["status"] = "complete"


def read_numbers(content: bytes, dtype: str) -> Sequence[float]:
    """The numbers of a tensor as it lies in a bundle: little-endian, of a type that manifests know."""
    numbers = array.array(DTYPES[dtype][0])
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def compare_outputs(output: Sequence[float], expected: Sequence[float], atol: float, rtol: float) -> Tuple[float, bool]:
    """(largest absolute error, whether every value is within atol + rtol * |expected|).

    NaN and infinity are never close, on either side.
    """
    if len(expected) != len(output):
        return math.inf, False
    largest, close = 0.0, True
    for value, wanted in zip(output, expected):
        error = abs(value - wanted)
        # An infinite reference has an infinite tolerance: without the second condition anything would pass.
        if not (error <= atol + rtol * abs(wanted) and error < math.inf):
            close = False
        largest = max(largest, error) if error == error else math.inf
    return largest, close

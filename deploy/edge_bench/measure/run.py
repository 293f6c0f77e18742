"""One measurement: check the outputs, warm up, latency phase, energy phase, with the board's state around them."""

import datetime
import secrets
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from edge_bench import __version__, schema
from edge_bench.backends import choose
from edge_bench.backends.base import Backend
from edge_bench.backends.profile import NoProfile
from edge_bench.board.describe import describe_board
from edge_bench.board.memory import MemoryFigures
from edge_bench.board.state import missing_state, read_state, state_changes, throttling_now
from edge_bench.board.watch import Watch
from edge_bench.board.watch_findings import findings, summarise
from edge_bench.errors import BackendError, EdgeBenchError
from edge_bench.measure import latency, other_load
from edge_bench.measure.check import check_outputs
from edge_bench.measure.journal import Journal
from edge_bench.measure.settings import Progress, Settings
from edge_bench.measure.source import COMMAND, Source, random_inputs
from edge_bench.summary import median

# Share by which the latency may move over the phase without a word.
MAX_TREND = 0.05
# A sensor that says more than this, or nothing at all under load, is not one of a board.
MAX_POWER_W = 1e4
# Stands in the file until the layers are profiled: the process may be ended there, where memory is short.
_NO_LAYERS = ("the run ended while they were profiled; all else was measured before", "run it again with --layers")
# Without a sensor of power clocks are watched for as long: enough samples to judge a droop by.
WATCH_S = 6.0


class Run:
    """A measurement in the making. `record` is what a reader of the file sees; it is saved after every phase.

    An interrupt (KeyboardInterrupt) saves what was measured so far with status "partial" and goes on upwards; what a
    killed run leaves is in its journal. While layers are profiled all else is complete, and says so.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        save: Callable[[Dict[str, Any]], None],
        progress: Progress,
        journal_path: Optional[str] = None,
    ):
        self._source = source
        self._settings = settings
        self._save = save
        self._progress = progress
        self._phase: Optional[latency.LatencyPhase] = None
        self._memory = MemoryFigures(settings.root)
        self._pacer = latency.Pacer()
        self._meter: Optional[Any] = None
        before = read_state(settings.root)
        self.record: Dict[str, Any] = {
            "schema": schema.SCHEMA,
            "version": schema.VERSION,
            "run_id": secrets.token_hex(16),
            "status": "partial",
            "invalid": [],
            "started_at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "source": {"kind": source.kind, "words": source.words},
            "bundle": source.summary,
            "agent": {"version": __version__, "python": sys.version.split()[0]},
            "board": describe_board(settings.root),
            "settings": settings.to_dict(),
            "state_before": before,
            "warnings": [],
            "unavailable": missing_state(before),
        }
        self._journal = Journal(journal_path, self.record["run_id"])
        if self.record["board"]["emulated"]:
            self._warn(
                "emulated",
                "the processor is emulated (%s): not a board's speed, energy or memory"
                % self.record["board"]["emulated"],
                "use it to try things out; measure on a real board",
            )

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
            self._keep_samples()
            raise
        except EdgeBenchError as error:
            self.record["status"] = "failed"
            self.record["invalid"].append(str(error))
            self._keep_samples()
            raise
        self._save(self.record)
        return self.record

    def _keep_samples(self) -> None:
        if self._phase is not None and self._phase.samples.latency_s and "latency" not in self.record:
            self.record["latency"] = latency.latency_record(self._phase.samples, self._settings, None)
        self._save(self.record)
        self._journal.remove()

    def _measure(self) -> None:
        backend = self._load()
        try:
            if backend.in_bulk and self._settings.period_s is not None:
                raise BackendError("%s cannot be given a period; leave out --period-ms" % backend.name)
            self._say_batch(backend)
            if not self._check_outputs(backend):
                self.record["status"] = "failed"
                return
            self._find_meter()
            is_command = self._source.kind == COMMAND
            min_warmup = 1 if is_command else latency.MIN_WARMUP_RUNS
            self.record["num_warmup_runs"] = latency.warm_up(backend, self._settings, min_warmup)
            self._measure_latency(backend, 1 if is_command else latency.MIN_SAMPLES)
            if self._meter is not None:
                self._energy_phase(backend)
            elif not backend.in_bulk and not is_command:
                self._watch_phase(backend)
            self._finish(backend)
            if self._settings.layers:
                self._layers_phase(backend)
        finally:
            backend.close()

    def _load(self) -> Backend:
        self._progress("load", 0.0)
        self._memory.begin()
        began = time.perf_counter()
        opened = choose.open_backend(self._source, self._settings)
        self.record["load_s"] = time.perf_counter() - began
        backend = opened.backend
        self._memory.is_another_process = backend.is_another_process
        self.record["backend"] = {
            "name": backend.name,
            "version": backend.version,
            "providers": backend.providers,
            "num_threads": backend.num_threads,
            "batch": backend.num_examples(),
            "timed_by": backend.timed_by,
            "engine_sha256": backend.engine_sha256,
            "notes": opened.notes,
        }
        self._memory.look()
        self._progress("load", 1.0)
        return backend

    def _say_batch(self, backend: Backend) -> None:
        """Of a fixed batch nothing but the shapes tells: who reads a figure per example must know what was counted."""
        count = backend.num_examples()
        if count != backend.batch:
            text = "the first dimension of all its inputs and outputs is %d: taken as a fixed batch of %d examples"
            self.record["backend"]["notes"].append(text % (count, count))

    def _check_outputs(self, backend: Backend) -> bool:
        if self._source.cases:
            checked = check_outputs(backend, self._source, lambda share: self._progress("check", share))
            self.record["check"] = checked.record
            self._set_first(backend, checked.first_inference_s)
            return bool(checked.record["passed"])
        if self._source.kind != COMMAND:
            backend.set_inputs(random_inputs(backend.inputs))
            self._warn(
                "outputs-not-checked",
                "nothing says what the outputs of a bare model or engine should be: it was timed on made-up inputs",
                "measure a bundle: edge-dendrite export FILE.onnx",
            )
        began = time.perf_counter()
        backend.infer()
        self._set_first(backend, time.perf_counter() - began)
        return True

    def _set_first(self, backend: Backend, seconds: float) -> None:
        if not backend.in_bulk:  # that was the start of a program
            self.record["first_inference_s"] = seconds

    def _find_meter(self) -> None:
        """After the first inference: some sensors are programs that take their time to answer."""
        from edge_bench.power import meter
        from edge_bench.power.choice import PowerChoice

        settings = self._settings
        choice = PowerChoice(settings.power, settings.power_command, settings.power_interval_s)
        self._meter, no_energy = meter.find_meter(choice, settings.root)
        if self._meter is None and (choice.command is not None or choice.source not in ("auto", "none")):
            reasons = "; ".join("%s; %s" % (entry["reason"], entry["fix"]) for entry in no_energy)
            raise EdgeBenchError("the power sensor that was asked for gives nothing: %s" % reasons)
        self.record["unavailable"] = no_energy + self.record["unavailable"]

    def _measure_latency(self, backend: Backend, min_samples: int) -> None:
        self._phase = latency.LatencyPhase(
            backend, self._settings, self._journal, lambda share: self._progress("latency", share)
        )
        self.record["latency"] = self._phase.measure(min_samples)
        from edge_bench import stats  # as above: it is not needed before

        too_few = latency.few_samples(self.record["latency"], self._settings)
        self.record["warnings"].extend([too_few] if too_few else [])
        trend = stats.trend(self.record["latency"]["samples_s"])
        if trend is not None:
            self.record["latency"]["trend"] = trend
        self._note_memory(backend)
        self._save(self.record)
        self._journal.remove()

    def _note_memory(self, backend: Backend, lowest_available_bytes: Optional[int] = None) -> None:
        self._memory.look(lowest_available_bytes)
        figures = self._memory.figures()
        self.record["memory"] = dict(figures, **backend.memory())

    def _energy_phase(self, backend: Backend) -> None:
        """Idle power first, then the same inference for `energy_s`; apart from the latency phase: sampling slows it."""
        assert self._meter is not None
        from edge_bench.power.energy import energy_record

        # From before the sensor's start to behind its end: where it is a program it counts as ours once it is gone.
        idle_load = other_load.OtherLoad()
        idle_window = self._meter.open_window()
        idle_window.start()
        try:
            self._sleep("idle power", self._settings.idle_s)
        finally:  # also of an interrupt: the sensor may be a program
            idle = idle_window.stop()
        idle_share, busy_load = idle_load.share(), other_load.OtherLoad()
        window = self._meter.open_window()
        window.start()
        watch = Watch(self._settings.root)
        watch.start()
        try:
            samples, marks = self._busy(backend)
        finally:
            series, load = watch.stop(), window.stop()
        busy_share = busy_load.share()
        self._judge_watch(series)
        energy = None if idle is None or load is None else energy_record(self._meter, idle, load, marks)
        if energy is None:
            reason = "the power sensor stopped answering: %s" % (idle_window.problem or window.problem)
            if not marks:
                reason = "%s did not say when it ran its inferences" % backend.name
            self.record["unavailable"].append(schema.unavailable("energy", reason, "run again; check the sensor"))
            return
        self.record["warnings"].extend(energy.pop("warnings"))
        if not 0.0 < energy["load_power_w"] < MAX_POWER_W or not 0.0 <= energy["idle_power_w"] < MAX_POWER_W:
            reason = "the sensor gives %.4g W idle and %.4g W under load, which no board takes" % (
                energy["idle_power_w"],
                energy["load_power_w"],
            )
            self.record["unavailable"].append(schema.unavailable("energy", reason, "check the sensor, and its sign"))
            return
        slow_down = median(samples) / self.record["latency"]["summary"]["median_s"]
        energy.update(latency_ratio_while_sampling=slow_down, other_load=busy_share, idle_other_load=idle_share)
        self.record["energy"] = energy

    def _busy(self, backend: Backend) -> Tuple[List[float], List[Tuple[float, int]]]:
        """The latencies of the energy phase, and how many inferences were done by when; those of a batch count each.

        No marks where a program does not say when it ran them: its start and its loading are no inferences.
        """
        samples: List[float] = []
        began = time.perf_counter()
        marks = [(began, 0)]
        if backend.in_bulk:
            backend.time_slice(samples, None, self._settings.energy_s)
            if backend.window_s is None:
                return samples, []
            start, end = backend.window_s
            return samples, [(start, 0), (end, len(samples) * backend.num_examples())]
        while not samples or time.perf_counter() - began < self._settings.energy_s:
            self._load_slice(backend, samples)
            now = time.perf_counter()
            marks.append((now, len(samples) * backend.num_examples()))
            self._progress("energy", min(1.0, (now - began) / self._settings.energy_s))
        return samples, marks

    def _load_slice(self, backend: Backend, samples: List[float]) -> None:
        """The load of the latency phase: one after another, or with its period."""
        if self._settings.period_s is None:
            backend.time_slice(samples, None, latency.SLICE_S)
            return
        paced = latency.Samples()
        self._pacer.run(backend.infer, self._settings.period_s, schema.MAX_SAMPLES, paced)
        samples.extend(paced.latency_s)

    def _watch_phase(self, backend: Backend) -> None:
        """Without a sensor of power: the same load for a while, to see whether clocks droop under it."""
        state = self.record["state_before"]
        if not state["cpu_clocks_hz"] and not state["temperatures_c"]:
            return  # there is nothing to see
        samples: List[float] = []
        began = time.perf_counter()
        watch = Watch(self._settings.root)
        watch.start()
        try:
            while time.perf_counter() - began < WATCH_S:
                self._load_slice(backend, samples)
                self._progress("clocks", min(1.0, (time.perf_counter() - began) / WATCH_S))
        finally:
            series = watch.stop()
        self._judge_watch(series)

    def _sleep(self, phase: str, duration_s: float) -> None:
        began = time.perf_counter()
        while time.perf_counter() - began < duration_s:
            time.sleep(min(0.25, duration_s))
            self._progress(phase, min(1.0, (time.perf_counter() - began) / duration_s))

    def _finish(self, backend: Backend) -> None:
        self._memory.quiet()
        watched = self.record.get("watch", {})
        self._note_memory(backend, watched.get("memory_available_min_bytes"))
        self.record["unavailable"].extend(self._memory.missing(self.record["memory"]))
        after = read_state(self._settings.root)
        self.record["state_after"] = after
        self.record["invalid"].extend(state_changes(self.record["state_before"], after))
        slow = sorted(set(throttling_now(self.record["state_before"]) + throttling_now(after)))
        if slow:
            self.record["invalid"].append("the board is throttled: %s; cool it, or feed it better" % ", ".join(slow))
        self._judge_trend()
        self._judge_other_load()
        self.record["status"] = "complete"

    def _layers_phase(self, backend: Backend) -> None:
        """After all else, on a record that is complete and saved: what goes wrong here costs no measurement."""
        from edge_bench.measure.layers import layers_record

        self.record["unavailable"].append(schema.unavailable("layers", *_NO_LAYERS))
        self._save(self.record)
        self._progress("layers", 0.0)
        reason, fix = "", "run it again with --layers; all else was measured before"
        try:
            profile = backend.profile_layers(self._source.read_model)
            self.record["layers"] = layers_record(profile, self.record["latency"])
        except NoProfile as error:
            reason, fix = str(error), error.fix
        except EdgeBenchError as error:
            reason = str(error)
        except MemoryError:
            reason, fix = "there is not enough memory to profile", "end other programs, or profile a smaller batch"
        self.record["unavailable"].pop()
        if reason:
            self.record["unavailable"].append(schema.unavailable("layers", reason, fix))
        self._progress("layers", 1.0)

    def _judge_other_load(self) -> None:
        """In each phase by itself: the latency phase may have been quiet, and the sensor have measured others."""
        energy = self.record.get("energy", {})
        invalid, warnings = other_load.judge(
            [
                ("latency phase", self.record["latency"].get("other_load")),
                ("energy phase", energy.get("other_load")),
                ("measuring of idle power", energy.get("idle_other_load")),
            ],
            self._settings.max_other_load,
        )
        self.record["invalid"].extend(invalid)
        self.record["warnings"].extend(warnings)

    def _judge_watch(self, series: Dict[str, Any]) -> None:
        """What was seen beside the energy phase: clocks that drooped make all of the run doubtful."""
        watched = summarise(series, self.record["state_before"])
        self.record["watch"] = watched
        invalid, warnings = findings(watched)
        self.record["invalid"].extend(invalid)
        self.record["warnings"].extend(warnings)

    def _judge_trend(self) -> None:
        """Latencies that move over the phase by more than MAX_TREND: the median depends on how long one looks."""
        trend = self.record["latency"].get("trend")
        if trend is None or trend["low_ratio"] <= 1.0 + MAX_TREND and trend["high_ratio"] >= 1.0 - MAX_TREND:
            return
        self._warn(
            "latency-trend",
            "latency changed by %+.1f %% from the first to the last quarter of the phase (95 %%: %+.1f to %+.1f)"
            % tuple(100.0 * (trend[key] - 1.0) for key in ("ratio", "low_ratio", "high_ratio")),
            "warm up longer (--warmup), and let the board cool or pin its clocks",
        )

    def _warn(self, code: str, message: str, fix: str) -> None:
        self.record["warnings"].append(schema.warning(code, message, fix))

"""Runs of real models with whatever onnxruntime is here, and of a pretended one whose times are known."""

import array
import gc
import json
import math
import types

import pytest

from edge_bench import atomic, render, schema, stats
from edge_bench.backends import base, choose
from edge_bench.backends import profile as profiles
from edge_bench.backends.onnxrt import OnnxRuntimeBackend
from edge_bench.backends.tensors import to_numbers
from edge_bench.board import state as board
from edge_bench.bundle import open_bundle
from edge_bench.errors import BackendError, BundleError
from edge_bench.measure import check, latency, other_load
from edge_bench.measure import run as run_module
from edge_bench.measure.check import compare_outputs
from edge_bench.measure.layers import layers_record
from edge_bench.measure.run import Run
from edge_bench.measure.settings import Settings
from edge_bench.measure.source import open_command, open_source
from edge_bench.power import meter as power
from edge_bench.verdict import figures, records, requirements

NO_METER = (None, [schema.unavailable("energy", "none in this test", "none")])


def floats(*values):
    """Raw little-endian float32, whatever this machine's order is."""
    packed = array.array("f", values)
    if array.array("H", [1]).tobytes() == b"\0\1":
        packed.byteswap()
    return packed.tobytes()


def settings(**changes):
    """Short, and indifferent to what else runs on this machine."""
    values = {"num_runs": 50, "warmup_s": 0.01, "max_other_load": 1e9}
    values.update(changes)
    return Settings(**values)


class Saver:
    """Keeps what a run saves, as a reader of the file would see it at that moment."""

    def __init__(self):
        self.records = []

    def __call__(self, record):
        self.records.append(json.loads(atomic.canonical_json(record).decode("ascii")))

    @property
    def last(self):
        return self.records[-1]


@pytest.fixture
def saver():
    return Saver()


@pytest.fixture
def no_meter(monkeypatch):
    """This machine's own power sensors stay out of it."""
    monkeypatch.setattr(power, "find_meter", lambda *_: NO_METER)


def silent(_phase, _share):
    pass


def start(path, saver, **changes):
    return Run(open_source(path), settings(**changes), saver, silent)


# --- real runs


@pytest.mark.parametrize("pack", [False, True])
def test_a_real_run_is_complete_and_follows_the_schema(maker, no_meter, saver, pack):
    path = maker.tar() if pack else maker.folder()
    record = start(path, saver).measure()
    assert schema.measurement_problem(record) == ""
    assert saver.last == json.loads(json.dumps(record))
    assert record["status"] == "complete" and record["invalid"] == []
    assert record["bundle"]["id"] == open_bundle(path).id
    assert record["check"]["passed"] is True
    assert 0 <= record["check"]["max_abs_error"] < 1e-6  # the reference was computed without any runtime
    assert len(record["latency"]["samples_s"]) == 50
    assert record["latency"]["summary"] == stats.summarise(record["latency"]["samples_s"])
    assert record["latency"]["summary"]["p90_s"] is None
    assert record["backend"]["providers"] == ["CPUExecutionProvider"]
    assert record["num_warmup_runs"] >= 10
    assert record["memory"]["process_peak_rss_bytes"] > 0
    assert record["settings"]["num_runs"] == 50
    assert {"what": "energy", "reason": "none in this test", "fix": "none"} in record["unavailable"]
    assert set(record["state_before"]) == set(record["state_after"])


def test_layers_are_profiled_when_asked_for(maker, no_meter, saver):
    record = start(maker.folder(), saver, layers=True).measure()
    assert schema.measurement_problem(record) == ""
    assert record["status"] == "complete" and record["settings"]["layers"] is True
    layers = record["layers"]
    assert {entry["kind"] for entry in layers["entries"]} >= {"Conv", "Flatten"}
    known = [entry for entry in layers["entries"] if entry["time_s"] is not None]
    assert sum(entry["time_s"] for entry in known) == pytest.approx(layers["sum_s"], abs=1e-6)
    assert layers["compared_s"] == record["latency"]["summary"]["median_s"]
    assert layers["unattributed_share"] == pytest.approx(1 - layers["sum_s"] / layers["compared_s"])
    assert [entry["what"] for entry in record["unavailable"]].count("layers") == 0
    # When all else was complete and saved: what is measured knows nothing of it.
    before = saver.records[-2]
    assert before["status"] == "complete" and "layers" not in before
    assert {key: value for key, value in record.items() if key not in ("layers", "unavailable")} == {
        key: value for key, value in before.items() if key != "unavailable"
    }


def test_layers_are_not_profiled_when_not_asked_for(maker, no_meter, saver):
    record = start(maker.folder(), saver).measure()
    assert "layers" not in record and record["settings"]["layers"] is False
    assert [entry["what"] for entry in record["unavailable"]].count("layers") == 0


@pytest.mark.parametrize(
    "error, reason",
    [
        (BackendError("it cannot"), "it cannot"),
        (MemoryError(), "there is not enough memory to profile"),
        (None, "fake has no profiler of layers that is known here"),
    ],
)
def test_layers_that_cannot_be_profiled_cost_nothing_else(pretend, saver, monkeypatch, error, reason):
    run, backend = pretend(0.001, layers=True)

    def fails(_read_model):
        raise error

    if error is not None:
        backend.profile_layers = fails
    record = run.measure()
    assert record["status"] == "complete" and record["invalid"] == [] and "layers" not in record
    found = [entry for entry in record["unavailable"] if entry["what"] == "layers"]
    assert [entry["reason"] for entry in found] == [reason] and found[0]["fix"]
    assert saver.last["unavailable"] == record["unavailable"]


def test_an_interrupt_while_layers_are_profiled_leaves_a_complete_run(pretend, saver):
    run, backend = pretend(0.001, layers=True)

    def interrupted(_read_model):
        raise KeyboardInterrupt

    backend.profile_layers = interrupted
    with pytest.raises(KeyboardInterrupt):
        run.measure()
    assert saver.last["status"] == "complete" and "layers" not in saver.last
    assert any("ended while they were profiled" in entry["reason"] for entry in saver.last["unavailable"])


def profile_of(*times_s, **changes):
    layers = [profiles.Layer("layer %d" % number, "Conv", None, [], [time_s]) for number, time_s in enumerate(times_s)]
    return profiles.Profile("fake", layers, 1, 1e-6, [4e-3], "a note")._replace(**changes)


LATENCY = {"summary": {"median_s": 2e-3}}


def test_what_a_record_of_layers_says():
    record = layers_record(profile_of(1e-3, 0.0, 5e-4), LATENCY)
    assert [entry["time_s"] for entry in record["entries"]] == [1e-3, None, 5e-4]  # a time is never a zero
    assert record["sum_s"] == pytest.approx(1.5e-3)
    assert record["unattributed_share"] == pytest.approx(0.25)
    assert record["latency_ratio_while_profiling"] == pytest.approx(2.0)
    assert record["entries"][0]["share"] == pytest.approx(2 / 3)


def test_times_on_a_device_are_held_against_those_of_the_device():
    record = layers_record(profile_of(1e-3, latencies_s=[]), dict(LATENCY, device_summary={"median_s": 1.25e-3}))
    assert record["compared_with"] == "median on the device" and record["unattributed_share"] == pytest.approx(0.2)
    assert record["latency_ratio_while_profiling"] is None


def test_of_very_many_layers_the_slowest_are_kept_in_their_order(monkeypatch):
    monkeypatch.setattr(schema, "MAX_LAYERS", 2)
    record = layers_record(profile_of(1e-3, 3e-3, 2e-3), LATENCY)
    assert [entry["name"] for entry in record["entries"]] == ["layer 1", "layer 2"]
    assert record["num_left_out"] == 1 and record["sum_s"] == pytest.approx(6e-3)
    assert record["unattributed_share"] == pytest.approx(-2.0)


def test_names_of_layers_are_printable_and_short():
    hostile = profiles.Layer("\x1b[31m\n\ud800" + "x" * 5000, "\0", "\u202e", ["\r"] * 100, [1e-3])
    (entry,) = layers_record(profile_of(layers=[hostile]), LATENCY)["entries"]
    for text in [entry["name"], entry["kind"], entry["provider"]] + entry["nodes"]:
        assert text.isprintable() and 0 < len(text) <= 300
    assert len(entry["nodes"]) <= 8


def test_the_file_exists_before_anything_is_measured(maker, no_meter, saver):
    start(maker.folder(), saver).measure()
    assert saver.records[0]["status"] == "partial"
    assert "latency" not in saver.records[0] and "backend" not in saver.records[0]
    assert [record["status"] for record in saver.records] == ["partial"] * (len(saver.records) - 1) + ["complete"]
    assert all(schema.measurement_problem(record) == "" for record in saver.records)


def test_a_run_by_duration_collects_what_the_99th_percentile_needs(maker, no_meter, saver):
    record = start(maker.folder(), saver, num_runs=None, duration_s=0.001).measure()
    assert record["latency"]["summary"]["num_samples"] >= 662
    assert record["latency"]["summary"]["p99_s"] is not None


def test_progress_goes_through_the_phases_and_never_backwards(maker, no_meter, saver):
    seen = []
    Run(open_source(maker.folder()), settings(), saver, lambda phase, share: seen.append((phase, share))).measure()
    assert list(dict(seen)) == ["load", "check", "latency"]
    for phase in dict(seen):
        shares = [share for name, share in seen if name == phase]
        assert shares == sorted(shares) and shares[-1] == 1.0 and shares[0] >= 0.0


def test_an_unwritable_output_is_known_before_the_measurement(maker, no_meter):
    def full(_record):
        raise OSError(28, "No space left on device")

    run = Run(open_source(maker.folder()), settings(), full, silent)
    with pytest.raises(OSError, match="No space"):
        run.measure()
    assert "backend" not in run.record


# --- outputs against the reference


def wrong_reference(maker, *values):
    files = maker.files()
    expected = array.array("f")
    expected.frombytes(files["reference/output.bin"])
    for place, value in enumerate(values):
        expected[place] = value
    files["reference/output.bin"] = expected.tobytes()
    return maker.folder(files)


@pytest.mark.parametrize("value", [1e-3, 1e30, math.nan, math.inf, -math.inf])
def test_wrong_outputs_fail_and_nothing_is_timed(maker, no_meter, saver, value):
    record = start(wrong_reference(maker, value), saver).measure()
    assert record["status"] == "failed"
    assert record["check"]["passed"] is False
    assert "latency" not in record and "energy" not in record
    assert saver.last == json.loads(json.dumps(record))
    assert schema.measurement_problem(record) == ""


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_every_reference_case_is_checked(maker, no_meter, saver, wrong):
    files = maker.files()
    manifest = maker.manifest(files)
    right = manifest["reference"]["cases"][0]
    files["reference/other.bin"] = bytes(40)
    manifest["files"]["reference/other.bin"] = maker.entry(bytes(40))
    cases = [dict(right) for _ in range(3)]
    cases[wrong]["outputs"] = ["reference/other.bin"]
    manifest["reference"]["cases"] = cases
    record = start(maker.folder(files, manifest), saver).measure()
    assert record["status"] == "failed"
    assert record["check"]["num_cases"] == 3
    # The largest output is -0.331, and the wrong reference 0: the figure is the worst case's, whichever that is.
    assert record["check"]["max_abs_error"] == pytest.approx(0.331, abs=1e-3)


def test_tolerances_are_the_bundles_own(maker, no_meter, saver):
    path = wrong_reference(maker, 0.0)  # off by 0.17
    files = {name: open_bundle(path).read(name) for name in maker.files()}
    manifest = maker.manifest(files)
    manifest["reference"]["atol"] = 0.2
    record = start(maker.folder(files, manifest), saver).measure()
    assert record["status"] == "complete"
    assert record["check"]["max_abs_error"] == pytest.approx(0.168, abs=1e-3)


TWO = {"x": ([1, 2], floats(1, 2)), "doubled": ([1, 2], floats(2, 4)), "negated": ([1, 2], floats(-1, -2))}


def two_outputs(maker, *names):
    outputs = [(name, TWO.get(name, TWO["doubled"])) for name in names]
    return maker.folder(*maker.other_model("two_outputs.onnx", [("x", TWO["x"])], outputs))


@pytest.mark.parametrize("names", [("doubled", "negated"), ("negated", "doubled")])
def test_outputs_are_compared_by_name_and_not_by_place(maker, no_meter, saver, names):
    record = start(two_outputs(maker, *names), saver).measure()
    assert record["status"] == "complete"


def test_swapped_references_fail(maker, no_meter, saver):
    outputs = [("doubled", TWO["negated"]), ("negated", TWO["doubled"])]
    path = maker.folder(*maker.other_model("two_outputs.onnx", [("x", TWO["x"])], outputs))
    assert start(path, saver).measure()["status"] == "failed"


@pytest.mark.parametrize("names", [("doubled",), ("negated",), ("doubled", "absent"), ("doubled", "negated", "more")])
def test_outputs_that_are_not_the_models_are_refused(maker, no_meter, saver, names):
    """An output that the manifest leaves out would go unchecked."""
    with pytest.raises(BackendError, match="outputs"):
        start(two_outputs(maker, *names), saver).measure()
    assert saver.last["status"] == "failed" and "latency" not in saver.last


@pytest.mark.parametrize("name", ["y", "", "X"])
def test_inputs_that_are_not_the_models_are_refused(maker, no_meter, saver, name):
    outputs = [(output, TWO[output]) for output in ("doubled", "negated")]
    files, manifest = maker.other_model("two_outputs.onnx", [("x", TWO["x"])], outputs)
    manifest["model"]["inputs"][0]["name"] = name
    with pytest.raises(BackendError, match="inputs"):
        start(maker.folder(files, manifest), saver).measure()


def test_an_output_that_is_not_float32_is_refused(maker, no_meter, saver):
    outputs = [("whole", ([1, 2], floats(1, 2)))]
    path = maker.folder(*maker.other_model("int_output.onnx", [("x", TWO["x"])], outputs))
    with pytest.raises(BackendError, match="int64"):
        start(path, saver).measure()


def test_an_input_of_the_wrong_shape_is_refused(maker, no_meter, saver):
    outputs = [(output, TWO[output]) for output in ("doubled", "negated")]
    path = maker.folder(*maker.other_model("two_outputs.onnx", [("x", ([2, 1], floats(1, 2)))], outputs))
    with pytest.raises(BackendError):
        start(path, saver).measure()


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated", "text"])
def test_a_model_that_is_no_model_is_refused(maker, no_meter, saver, damage):
    """The bundle is whole: its author put the nonsense in."""
    model = maker.files()["model.onnx"]
    content = {"empty": b"", "garbage": b"\xff" * 500, "truncated": model[:3000], "text": b"hello"}[damage]
    with pytest.raises(BackendError, match="onnxruntime"):
        start(maker.folder(dict(maker.files(), **{"model.onnx": content})), saver).measure()
    assert saver.last["status"] == "failed"


def test_a_bundle_that_changes_after_the_check_is_not_measured(maker, no_meter, saver):
    path = maker.folder()
    run = start(path, saver)
    maker.write(path + "/model.onnx", maker.files()["model.onnx"][::-1])
    with pytest.raises(BundleError, match="changed"):
        run.measure()


def with_first_dimension(model, size):
    """A stored model with another size in front of its tensors: dim_value 1 is the varint 08 01."""
    return model.replace(b"\x0a\x02\x08\x01", b"\x0a\x02\x08" + bytes([size]))


def test_a_fixed_batch_counts_each_of_its_examples(maker, no_meter, saver):
    ones, factors = floats(*[1.0] * 16), (("doubled", 2.0), ("negated", -1.0))
    outputs = [(name, ([8, 2], floats(*[factor] * 16))) for name, factor in factors]
    files, manifest = maker.other_model("two_outputs.onnx", [("x", ([8, 2], ones))], outputs)
    files["model.onnx"] = with_first_dimension(files["model.onnx"], 8)
    manifest["files"]["model.onnx"] = maker.entry(files["model.onnx"])
    path = maker.folder(files, manifest)
    for source in (path, maker.write(maker.path("model.onnx"), files["model.onnx"])):
        for batch in (None, 8):
            record = start(source, saver, batch=batch).measure()
            assert record["backend"]["batch"] == 8 and record["status"] == "complete"
            assert any("taken as a fixed batch of 8 examples" in note for note in record["backend"]["notes"])
            prepared = records.prepare(record, "m.json")
            mean_s = prepared["latency"]["summary"]["mean_s"]
            assert figures.throughput(prepared).value == pytest.approx(8 / mean_s)
        with pytest.raises(BackendError, match="takes a batch of 8 and no other"):
            start(source, saver, batch=4).measure()


@pytest.mark.parametrize(
    "shapes, count",
    [
        ([[8, 3], [8, 10]], 8),
        ([[1, 3], [1, 10]], 1),
        ([[8, 3], [1, 10]], 1),  # a sequence, perhaps
        ([[8], [8]], 1),
        ([[8, 3], [8]], 1),
        ([[], [8, 3]], 1),
        ([[-1, 3], [-1, 10]], 1),
        ([[0, 3], [0, 3]], 1),
    ],
)
def test_what_counts_as_a_fixed_batch(shapes, count):
    backend = base.Backend()
    backend.inputs, backend.outputs = ([{"name": "x", "dtype": "float32", "shape": shape}] for shape in shapes)
    assert backend.num_examples() == count
    backend.batch = 3
    assert backend.num_examples() == 3


def test_energy_of_a_fixed_batch_is_that_of_an_example(pretend):
    run, backend = pretend(0.001, FakeMeter())
    backend.inputs = backend.outputs = [{"name": "x", "dtype": "float32", "shape": [8, 2]}]
    record = run.measure()
    assert record["energy"]["gross_energy_j"] == pytest.approx(0.006 / 8)
    text = render.render_measurement(record)
    assert "gross, per example of the batch of 8" in text
    assert "sampling     the latency was 1 times that of the latency phase" in text


def test_a_command_is_measured_and_our_own_memory_is_not_taken_for_its_own(no_meter, saver):
    record = Run(open_command("true"), settings(num_runs=3), saver, silent).measure()
    assert record["status"] == "complete" and len(record["latency"]["samples_s"]) == 3
    assert record["memory"]["process_peak_rss_bytes"] is None and record["memory"]["process_pss_bytes"] is None
    assert record["memory"]["system_available_dip_bytes"] >= 0
    (entry,) = [entry for entry in record["unavailable"] if entry["what"] == "memory of the process"]
    assert "program of its own" in entry["reason"]
    assert schema.measurement_problem(saver.last) == ""


def test_a_provider_that_is_not_there_is_refused_with_those_that_are(maker, no_meter, saver):
    with pytest.raises(BackendError, match="no NoSuchProvider; it has .*CPUExecutionProvider"):
        start(maker.folder(), saver, provider="NoSuchProvider").measure()


def test_a_named_provider_is_the_one_that_runs(maker, no_meter, saver):
    record = start(maker.folder(), saver, provider="CPUExecutionProvider", num_threads=2).measure()
    assert record["backend"]["providers"] == ["CPUExecutionProvider"]
    assert record["backend"]["num_threads"] == 2


@pytest.mark.parametrize(
    "output, expected, atol, rtol, largest, close",
    [
        ([1.0, 2.0], [1.0, 2.0], 0, 0, 0.0, True),
        ([1.5], [1.0], 0.5, 0, 0.5, True),
        ([1.5], [1.0], 0.49, 0, 0.5, False),
        ([110.0], [100.0], 0, 0.1, 10.0, True),
        ([110.0], [100.0], 0, 0.09, 10.0, False),
        ([90.0], [-100.0], 0, 0.1, 190.0, False),
        ([1.0, 5.0, 2.0], [1.0, 2.0, 2.0], 1, 0, 3.0, False),
        ([math.nan], [1.0], 1e9, 1e9, math.inf, False),
        ([1.0], [math.nan], 1e9, 1e9, math.inf, False),
        ([math.nan], [math.nan], 1e9, 1e9, math.inf, False),
        ([math.inf], [1.0], 1e9, 1e9, math.inf, False),
        ([1.0], [math.inf], 0, 0.1, math.inf, False),
        ([math.inf], [math.inf], 0, 0.1, math.inf, False),
        ([-math.inf], [math.inf], 0, 0.1, math.inf, False),
        ([1.0], [1.0, 2.0], 9, 9, math.inf, False),
        ([1.0, 2.0], [1.0], 9, 9, math.inf, False),
        ([], [], 0, 0, 0.0, True),
    ],
)
def test_compare_outputs_by_hand(output, expected, atol, rtol, largest, close):
    assert compare_outputs(output, to_numbers(floats(*expected), "float32"), atol, rtol) == (largest, close)


# --- a pretended runtime on a pretended clock


class FakeClock:
    """Stands in for the `time` module; moves when told to, and by `tick` whenever it is read."""

    def __init__(self):
        self.now = 1000.0
        self.tick = 0.0

    def perf_counter(self):
        self.now += self.tick
        return self.now

    def process_time(self):
        return 0.0

    def sleep(self, seconds):
        self.now += seconds


class FakeBackend(base.Backend):
    """Gives the tiny model's reference output after a set time of the fake clock."""

    name, version = "fake", "0"

    def __init__(self, clock, output, seconds):
        super().__init__(clock.perf_counter)
        self.providers = ["FakeProvider"]
        self.clock = clock
        self.output = output
        self.seconds = seconds
        self.num_calls = 0
        self.interrupt_at = None

    def bind(self, _inputs, _outputs):
        pass

    def set_inputs(self, _contents):
        pass

    def infer(self):
        if self.num_calls == self.interrupt_at:
            raise KeyboardInterrupt
        self.num_calls += 1
        self.clock.now += self.seconds

    def read_outputs(self):
        return [self.output]


class FakeMeter:
    """Windows of 2 W while the machine sleeps and 6 W from then on; `dead` names windows that give nothing."""

    source, rails, scope = "fake", ("RAIL",), "module input"

    def __init__(self, dead=()):
        self._watts = [2.0, 6.0]
        self._dead = dead

    def open_window(self):
        watts = self._watts.pop(0)
        result = None if watts in self._dead else {"mean_power_w": watts, "duration_s": 1.0}
        return types.SimpleNamespace(start=lambda: None, stop=lambda: result, problem="")


@pytest.fixture
def pretend(maker, monkeypatch, saver):
    """A function that gives (run, backend) with a runtime that takes `seconds` for an inference."""
    clock = FakeClock()
    for module in (run_module, latency, check, other_load):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(other_load, "busy_seconds", lambda: None)
    output = array.array("f")
    output.frombytes(maker.files()["reference/output.bin"])

    def make(seconds, meter=None, **changes):
        backend = FakeBackend(clock, output, seconds)
        monkeypatch.setattr(choose, "open_backend", lambda *_arguments: choose.Opened(backend, []))
        monkeypatch.setattr(power, "find_meter", lambda *_: (meter, []) if meter else NO_METER)
        values = {"num_runs": None, "warmup_s": 0.5}
        values.update(changes)
        return start(maker.folder(), saver, **values), backend

    return make


@pytest.mark.parametrize(
    "seconds, num_samples, why",
    [
        (0.001, 3000, "the duration of 3 s"),
        (0.01, 662, "as many as p99 needs, beyond the duration"),
        (0.5, 120, "no more than 60 s"),
        (30.0, 10, "never fewer than 10"),
    ],
)
def test_how_long_the_latency_phase_lasts(pretend, seconds, num_samples, why):
    record = pretend(seconds)[0].measure()
    # Slices end at their first sample past a quarter of a second, so a few more may come in.
    assert num_samples <= len(record["latency"]["samples_s"]) <= num_samples + 0.3 / seconds + 1, why
    assert record["latency"]["summary"]["median_s"] == pytest.approx(seconds)
    assert record["first_inference_s"] == pytest.approx(seconds)


@pytest.mark.parametrize(
    "seconds, changes, words",
    [
        (0.5, {}, "gave 120 samples in 60 s, so these percentiles are missing: p95 (130), p99 (662), p99.9 (6636)"),
        (2.0, {}, "gave 30 samples in 60 s, so these percentiles are missing: p90 (64), p95"),
        (0.01, {}, None),
        (0.5, {"num_runs": 120}, None),
    ],
)
def test_too_few_samples_for_p99_are_said_with_the_fix(pretend, seconds, changes, words):
    record = pretend(seconds, **changes)[0].measure()
    found = [entry for entry in record["warnings"] if entry["code"] == "few-samples"]
    assert len(found) == (1 if words else 0)
    if words:
        assert words in found[0]["message"]
        assert found[0]["fix"].startswith("give --runs 662 for p99, about %.2g minutes" % (662 * seconds / 60))


@pytest.mark.parametrize("num_runs", [1, 9, 64, 1000])
def test_runs_are_exactly_as_many_as_asked_for(pretend, num_runs):
    record = pretend(0.07, num_runs=num_runs)[0].measure()
    assert len(record["latency"]["samples_s"]) == num_runs
    assert (record["latency"]["summary"]["p90_s"] is None) == (num_runs < 64)


@pytest.mark.parametrize("seconds, num_warmup_runs", [(0.001, 500), (0.2, 10)])
def test_warm_up_lasts_its_time_and_ten_runs(pretend, seconds, num_warmup_runs):
    record = pretend(seconds)[0].measure()
    assert abs(record["num_warmup_runs"] - num_warmup_runs) <= 1


def test_a_run_keeps_no_more_samples_than_a_reader_takes(pretend, monkeypatch):
    monkeypatch.setattr(schema, "MAX_SAMPLES", 700)
    record = pretend(0.001, duration_s=1000.0)[0].measure()
    assert len(record["latency"]["samples_s"]) == 700
    assert schema.measurement_problem(record) == ""


def test_energy_per_inference_by_hand(pretend):
    """1 ms at 6 W is 6 mJ; above the 2 W of idling, 4 mJ."""
    energy = pretend(0.001, FakeMeter(), energy_s=10.0)[0].measure()["energy"]
    assert energy["gross_energy_j"] == pytest.approx(0.006)
    assert energy["net_energy_j"] == pytest.approx(0.004)
    assert energy["idle_power_w"] == 2.0 and energy["load_power_w"] == 6.0
    assert energy["num_inferences"] * 0.001 == pytest.approx(energy["duration_s"]) == pytest.approx(10.0, abs=0.3)
    assert energy["latency_ratio_while_sampling"] == pytest.approx(1.0)
    assert (energy["source"], energy["rails"], energy["scope"]) == ("fake", ["RAIL"], "module input")


def test_the_shortest_energy_phase_has_an_inference(pretend):
    run, backend = pretend(0.5, FakeMeter(), energy_s=1e-12, idle_s=1e-12, num_runs=5)
    backend.clock.tick = 1e-6
    energy = run.measure()["energy"]
    assert energy["num_inferences"] == 1
    assert energy["gross_energy_j"] == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("dead", [(2.0,), (6.0,), (2.0, 6.0)])
def test_a_sensor_that_stops_leaves_no_energy_and_a_reason(pretend, saver, dead):
    record = pretend(0.001, FakeMeter(dead))[0].measure()
    assert record["status"] == "complete" and "energy" not in record
    assert [entry["what"] for entry in record["unavailable"] if "sensor" in entry["reason"]] == ["energy"]
    assert schema.measurement_problem(saver.last) == ""


@pytest.mark.parametrize("window_s, energy_j", [((1000.0, 1010.0), 0.06), (None, None)])
def test_energy_of_a_program_is_that_of_the_time_in_which_it_says_it_ran_inferences(pretend, window_s, energy_j):
    run, backend = pretend(0.001, FakeMeter())
    backend.in_bulk, backend.window_s = True, window_s
    backend.time_slice = lambda samples, _num_runs, _slice_s: samples.extend([0.001] * 1000)
    record = run.measure()
    if window_s:
        assert record["energy"]["gross_energy_j"] == pytest.approx(energy_j)
    else:
        assert "energy" not in record
        assert "did not say when" in str(record["unavailable"])


@pytest.mark.parametrize("calls", [0, 1, 5, 11, 12, 40])
def test_an_interrupt_saves_what_there_is_and_goes_on_upwards(pretend, saver, calls):
    """The first call checks the outputs, ten warm up, the rest are timed."""
    run, backend = pretend(0.1, warmup_s=1e-9)
    backend.interrupt_at = calls
    with pytest.raises(KeyboardInterrupt):
        run.measure()
    assert saver.last["status"] == "partial"
    assert len(saver.last.get("latency", {}).get("samples_s", [])) == max(0, calls - 11)
    assert schema.measurement_problem(saver.last) == ""
    assert gc.isenabled()


def test_an_interrupt_of_the_energy_phase_keeps_the_latencies(pretend, saver):
    run, backend = pretend(0.1, FakeMeter(), num_runs=20, warmup_s=1e-9)
    backend.interrupt_at = 1 + 10 + 20 + 3
    with pytest.raises(KeyboardInterrupt):
        run.measure()
    assert saver.last["status"] == "partial" and "energy" not in saver.last
    assert len(saver.last["latency"]["samples_s"]) == 20
    assert "duration_s" in saver.last["latency"]


def test_a_failure_in_the_middle_leaves_a_valid_failed_file(pretend, saver):
    run, backend = pretend(0.1, warmup_s=1e-9)
    infer = backend.infer

    def fail_later():
        if backend.num_calls == 15:
            raise BackendError("the runtime failed")
        return infer()

    backend.infer = fail_later
    with pytest.raises(BackendError):
        run.measure()
    assert saver.last["status"] == "failed"
    assert schema.measurement_problem(saver.last) == ""
    assert gc.isenabled()


def test_a_change_of_the_boards_state_makes_the_run_invalid(pretend, monkeypatch):
    run, _backend = pretend(0.01)
    after = dict(board.read_state(), power_mode="5W", throttle_counts={"oc3_event_cnt": 9})
    run.record["state_before"] = dict(after, power_mode="MAXN", throttle_counts={"oc3_event_cnt": 2})
    monkeypatch.setattr(run_module, "read_state", lambda _root: after)
    record = run.measure()
    assert record["status"] == "complete"
    assert len(record["invalid"]) == 2
    assert record["invalid"][0].startswith("the power mode changed during the run: MAXN -> 5W; ")
    assert record["invalid"][1].startswith("throttled during the run: oc3_event_cnt rose from 2 to 9; ")


@pytest.mark.parametrize(
    "share, invalid, warnings", [(0.0, 0, 0), (0.09, 0, 0), (0.2, 0, 1), (0.49, 0, 1), (0.51, 1, 0), (3.0, 1, 0)]
)
def test_the_load_of_other_programs(pretend, monkeypatch, share, invalid, warnings):
    """Shares of all processors: with 4 of them, 0.2 of a phase of 10 s are 8 busy seconds."""
    monkeypatch.setattr(other_load.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(other_load, "_own_seconds", lambda: 0.0)
    busy = iter([100.0, 100.0 + share * 4 * 10.0])
    run, _backend = pretend(0.1, num_runs=100, max_other_load=0.5)
    monkeypatch.setattr(other_load, "busy_seconds", lambda: next(busy))
    record = run.measure()
    assert record["latency"]["other_load"] == pytest.approx(share)
    assert len(record["invalid"]) == invalid
    assert [entry["code"] for entry in record["warnings"]] == ["other-load"] * warnings


@pytest.mark.parametrize(
    "idle, load, invalid, warnings",
    [
        (0.0, 0.0, [], []),
        (0.0, 0.2, [], ["energy phase"]),
        (0.2, 0.0, [], ["measuring of idle power"]),
        (0.0, 0.6, ["energy phase"], []),
        (0.6, 0.0, ["measuring of idle power"], []),
        (0.6, 0.7, ["energy phase", "measuring of idle power"], []),
    ],
)
def test_the_load_of_other_programs_while_energy_is_measured(pretend, monkeypatch, idle, load, invalid, warnings):
    """The latency phase was quiet: only what the sensor saw is not ours."""
    monkeypatch.setattr(other_load.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(other_load, "_own_seconds", lambda: 0.0)
    run, backend = pretend(0.1, FakeMeter(), num_runs=700, max_other_load=0.5, idle_s=10.0, energy_s=10.0)
    busy = {"s": 0.0, "asked": 0}
    shares = {2: idle, 4: load}  # the second look ends a phase, and so does every other

    def busy_seconds():
        busy["asked"] += 1
        if busy["asked"] % 2 == 0:
            busy["s"] += 4 * 10.0 * shares.get(busy["asked"] - 2, 0.0)
        return busy["s"]

    monkeypatch.setattr(other_load, "busy_seconds", busy_seconds)
    record = run.measure()
    assert record["latency"]["other_load"] == 0.0
    assert record["energy"]["idle_other_load"] == pytest.approx(idle, rel=0.1)
    assert record["energy"]["other_load"] == pytest.approx(load, rel=0.1)
    assert [text.partition("during the ")[2].partition(" (")[0] for text in record["invalid"]] == invalid
    found = [entry for entry in record["warnings"] if entry["code"].startswith("other-load")]
    assert [entry["message"].partition("during the ")[2] for entry in found] == warnings
    assert {entry["code"] for entry in found} <= {"other-load-energy"}
    verdict = requirements.judge(records.prepare(record, "m.json"), "m.json", {"median_ms": 1000.0})["verdict"]
    assert verdict == (requirements.INCONCLUSIVE if invalid else requirements.PASS)


def test_an_unreadable_load_is_absent_and_not_zero(pretend):
    assert "other_load" not in pretend(0.1, num_runs=20)[0].measure()["latency"]


# --- the backend by itself


def test_the_backend_gives_plain_arrays_again_and_again(maker):
    files, model = maker.files(), maker.manifest(maker.files())["model"]
    backend = OnnxRuntimeBackend(files["model.onnx"], 1)
    backend.bind(model["inputs"], model["outputs"])
    backend.set_inputs([files["reference/input.bin"]])
    first, second = (backend.infer(), backend.read_outputs())[1], (backend.infer(), backend.read_outputs())[1]
    assert len(first) == 1 and len(first[0]) == 10
    assert first == second
    largest, close = compare_outputs(first[0], to_numbers(files["reference/output.bin"], "float32"), 1e-6, 0)
    assert close and largest < 1e-6


def test_new_inputs_replace_the_old_ones(maker):
    files, model = maker.files(), maker.manifest(maker.files())["model"]
    backend = OnnxRuntimeBackend(files["model.onnx"], 1)
    backend.bind(model["inputs"], model["outputs"])
    backend.set_inputs([files["reference/input.bin"]])
    backend.infer()
    first = backend.read_outputs()
    backend.set_inputs([bytes(256)])
    backend.infer()
    assert backend.read_outputs() != first


@pytest.mark.parametrize("watts", [[-1.0, -5.0], [2.0, -5.0], [2.0, 5e17], [0.0, 0.0]])
def test_a_power_that_no_board_takes_is_no_energy(pretend, saver, watts):
    meter = FakeMeter()
    meter._watts = list(watts)
    record = pretend(0.001, meter)[0].measure()
    assert "energy" not in record
    assert any("which no board takes" in entry["reason"] for entry in record["unavailable"])


def test_a_board_that_is_throttled_all_through_gives_an_invalid_run(pretend, monkeypatch):
    state = dict(board.read_state(), cooling_states={"gpu-throttle": 7})
    monkeypatch.setattr(run_module, "read_state", lambda _root: state)
    record = pretend(0.01)[0].measure()
    assert any("the board is throttled: cooling device gpu-throttle is at 7" in text for text in record["invalid"])

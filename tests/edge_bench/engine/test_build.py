"""Engines built by the fake of TensorRT, shaped after 8.2, 8.6 and 10.3, and by a program like trtexec: in children,
as on a board. None of it ran on a GPU."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from edge_bench.cuda import driver
from edge_bench.engine import build as engine
from edge_bench.engine import sidecar
from edge_bench.errors import BackendError

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
INPUTS = [{"name": "input", "dtype": "float32", "shape": [1, 4]}]
OUTPUTS = [{"name": "output", "dtype": "float32", "shape": [1, 4]}]
PROFILE = {"min": [1, 4], "opt": [4, 4], "max": [16, 4]}


def read(name):
    with open(os.path.join(DATA, name), "rb") as stream:
        return stream.read()


class Place:
    """A folder to build into, and what was said."""

    def __init__(self, tmp_path):
        self.folder, self.log = tmp_path / "engines", tmp_path / "build.log"
        self.cache, self.said = tmp_path / "timing.cache", []

    def build(self, model="qdq.onnx", inputs=INPUTS, outputs=OUTPUTS, timing_cache=None, **settings):
        builder, reason = engine.find_builder()
        assert reason == ""
        return engine.build_engine(
            builder,
            read(model),
            inputs,
            outputs,
            engine.EngineSettings(**dict({"timeout_s": 120.0}, **settings)),
            str(self.folder),
            str(self.log),
            timing_cache,
            self.said.append,
        )

    def told(self):
        """What the fake was told: the content of its plan, without the tensors."""
        plan = json.loads((self.folder / "model.engine").read_text())
        return {key: value for key, value in plan.items() if key not in ("inputs", "outputs")}

    def names(self):
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture
def place(tmp_path, with_driver):
    return Place(tmp_path)


def test_without_a_driver_nothing_of_tensorrt_is_touched(with_tensorrt, monkeypatch):
    with_tensorrt("8.6", "crash")
    monkeypatch.setattr(driver, "probe_driver", lambda: {"reason": "no NVIDIA driver here", "devices": []})
    monkeypatch.setattr(engine, "probe_tensorrt", lambda: pytest.fail("TensorRT was touched"))
    assert engine.find_builder() == (None, "no NVIDIA driver here")


def test_a_driver_without_tensorrt_names_both_ways_and_the_remedy(place, with_tensorrt):
    with_tensorrt("8.6", "no-import")
    builder, reason = engine.find_builder()
    assert builder is None
    assert "libnvinfer.so.8: cannot open shared object file" in reason
    assert "trtexec is not on the PATH" in reason
    assert "sudo apt-get install python3-libnvinfer" in reason


@pytest.mark.parametrize("release, full", [("8.2", "8.2.1.8"), ("8.6", "8.6.0"), ("10.3", "10.3.0")])
def test_the_sidecar_says_all_of_it(place, with_tensorrt, release, full):
    with_tensorrt(release)
    record = place.build(precision="int8", workspace_bytes=64 << 20)
    content = (place.folder / "model.engine").read_bytes()
    assert sidecar.open_engine(str(place.folder)) == (record, str(place.folder / "model.engine"))
    assert record["tensorrt_version"] == full
    assert record["gpu"] == {"name": "Orin", "compute_capability": "8.7", "memory_bytes": 8 << 30}
    assert record["cuda_version"] == "12.6"
    assert record["precision"] == "int8"
    assert record["sha256"] == hashlib.sha256(content).hexdigest()
    assert record["onnx_sha256"] == hashlib.sha256(read("qdq.onnx")).hexdigest()
    assert record["inputs"] == INPUTS and record["outputs"] == OUTPUTS
    assert record["built_with"]["way"] == "python" and record["built_with"]["num_seconds"] > 0
    assert place.names() == ["model.engine", "model.engine.json"]
    assert [line for line in place.said if line in ("parsing", "building", "writing")] == [
        "parsing",
        "building",
        "writing",
    ]
    assert "Total Activation Memory" in place.log.read_text()


def test_a_folder_is_named_from_where_one_is(place, with_tensorrt, tmp_path, monkeypatch):
    with_tensorrt("8.6")
    monkeypatch.chdir(tmp_path)
    place.folder, place.log = type(tmp_path)("engines"), type(tmp_path)("build.log")
    record = place.build(precision="int8", timing_cache="timing.cache")
    assert sidecar.open_engine(str(tmp_path / "engines"))[0] == record
    assert (tmp_path / "build.log").exists() and (tmp_path / "timing.cache").exists()


def test_a_place_that_cannot_be_written_is_said(place, with_tensorrt):
    with_tensorrt("8.6")
    place.folder = type(place.log)("/proc/self/engines")
    with pytest.raises(BackendError, match="the engine cannot be written into /proc/self/engines"):
        place.build(precision="int8")


def test_what_8_2_is_told(place, with_tensorrt):
    with_tensorrt("8.2")
    record = place.build(precision="int8", workspace_bytes=64 << 20, version_compatible=True)
    assert place.told() == {
        "flags": ["INT8"],
        "network_flags": 1,
        "pools": {"MAX": 64 << 20},
        "profiles": [],
        "cached": False,
    }
    assert record["version_compatible"] is False
    assert any("makes no version-compatible engines" in note for note in record["notes"])
    assert any("no fast int8" in note for note in record["notes"])


def test_what_8_6_is_told(place, with_tensorrt):
    with_tensorrt("8.6")
    record = place.build(precision="int8", workspace_bytes=64 << 20, version_compatible=True)
    told = place.told()
    assert told["flags"] == ["INT8", "VERSION_COMPATIBLE"]
    assert told["pools"] == {"WORKSPACE": 64 << 20}
    assert record["version_compatible"] is True


def test_what_10_3_is_told(place, with_tensorrt):
    with_tensorrt("10.3")
    place.build(precision="int8")
    told = place.told()
    assert told["flags"] == []  # the types are those of the file
    assert told["network_flags"] == 3
    assert told["pools"] == {}


def test_float16_is_allowed_where_the_file_has_it(place, with_tensorrt):
    with_tensorrt("8.6")
    place.build(model="dynamic_batch.onnx", precision="fp16", batch=(1, 4, 16), allow_tf32=True)
    assert place.told()["flags"] == ["FP16", "TF32"]


@pytest.mark.parametrize("release", ["8.2", "8.6", "10.3"])
def test_a_profile_for_a_batch_of_any_size(place, with_tensorrt, release):
    with_tensorrt(release)
    record = place.build(model="dynamic_batch.onnx", batch=(1, 4, 16))
    assert place.told()["profiles"] == [{"input": [[1, 4], [4, 4], [16, 4]]}]
    assert record["inputs"] == [{"name": "input", "dtype": "float32", "shape": [-1, 4], "profile": PROFILE}]
    assert record["outputs"][0]["shape"] == [-1, 4]
    assert record["settings"]["batch"] == [1, 4, 16]


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"model": "dynamic_batch.onnx"}, "input 'input' has a batch of any size; say its smallest"),
        ({"batch": (1, 2, 4), "precision": "int8"}, "the file has a fixed batch"),
        ({"model": "refused_node.onnx"}, "node '/block/Unique' (Unique): No importer registered for op: Unique"),
        ({"inputs": [dict(INPUTS[0], name="other")]}, "the network has the inputs input, its manifest names other"),
        ({"precision": "fp32"}, "could not build the network"),  # 8.x wants INT8 allowed for QDQ
    ],
)
def test_what_cannot_be_built_is_said_and_leaves_nothing(place, with_tensorrt, arguments, words):
    with_tensorrt("8.6")
    with pytest.raises(BackendError) as caught:
        place.build(**arguments)
    assert words in str(caught.value) and str(place.log) in str(caught.value)
    assert place.names() == []
    assert place.log.stat().st_size > 0


def test_release_10_names_the_node_itself(place, with_tensorrt):
    with_tensorrt("10.3")
    with pytest.raises(BackendError, match="node 'node 1 as TensorRT 10 calls it'"):
        place.build(model="refused_node.onnx")


@pytest.mark.parametrize(
    "mode, words",
    [
        ("crash", "TensorRT ended the build with signal 11"),
        ("out-of-memory", "signal 9, as where memory runs out; say a smaller workspace"),
        ("no-builder", "gives no builder"),
        ("no-plan", "could not build the network"),
    ],
)
def test_tensorrt_that_dies_or_refuses_is_an_error_that_keeps_what_was_there(place, with_tensorrt, mode, words):
    with_tensorrt("8.6")
    before = place.build(precision="int8")
    with_tensorrt("8.6", mode)
    with pytest.raises(BackendError, match=words):
        place.build(precision="int8")
    assert sidecar.open_engine(str(place.folder))[0] == before
    assert place.names() == ["model.engine", "model.engine.json"]


def test_the_time_limit_names_itself_and_the_log(place, with_tensorrt):
    with_tensorrt("8.6", "hang")
    with pytest.raises(BackendError, match="took more than 5 s and was ended; its log: .*build.log"):
        place.build(precision="int8", timeout_s=5.0)
    assert place.names() == []
    assert "hangs as process" in place.log.read_text()


def test_the_timing_cache_is_read_and_written(place, with_tensorrt, monkeypatch):
    with_tensorrt("8.6")
    cache = str(place.cache)
    first = place.build(precision="int8", timing_cache=cache)
    assert place.told()["cached"] is True and first["notes"] == ["this GPU has no fast int8: the engine may be slower "
                                                                 "than that of float32"]  # fmt: skip
    assert place.cache.read_bytes() == b"timings of a fake GPU, and of this build"
    place.build(precision="int8", timing_cache=cache)
    assert place.cache.read_bytes() == b"timings of a fake GPU, and of this build, and of this build"
    monkeypatch.setenv("FAKE_DEVICE", "another GPU")
    third = place.build(precision="int8", timing_cache=cache)
    assert any("timing cache is another device's" in note for note in third["notes"])
    assert place.cache.read_bytes() == b"timings of another GPU, and of this build"


@pytest.mark.parametrize("release, version", [("8.2", "8.2.1"), ("10.3", "10.3.0")])
def test_trtexec_is_the_second_way(place, with_tensorrt, with_trtexec, release, version):
    with_tensorrt("8.6", "no-import")
    with_trtexec(release)
    record = place.build(model="dynamic_batch.onnx", batch=(1, 4, 16), timing_cache=str(place.cache))
    told = place.told()
    assert told["onnx_bytes"] == len(read("dynamic_batch.onnx"))
    assert told["optShapes"] == "input:4x4"
    assert record["tensorrt_version"] == version
    assert record["built_with"]["way"] == "trtexec"
    assert record["inputs"] == [{"name": "input", "dtype": "float32", "shape": [-1, 4], "profile": PROFILE}]
    assert record["outputs"] == [{"name": "output", "dtype": "float32", "shape": [-1, 4]}]
    assert place.cache.read_text() == "timings"
    assert sidecar.open_engine(str(place.folder))[0] == record
    assert "--saveEngine" in place.log.read_text().splitlines()[0]


@pytest.mark.parametrize(
    "mode, words", [("fails", "While parsing node number 3 .Unique -> "), ("empty", "no engine was built: trtexec: ")]
)
def test_trtexec_that_fails_is_told_with_its_own_words(place, with_tensorrt, with_trtexec, mode, words):
    with_tensorrt("8.6", "no-import")
    with_trtexec("8.2", mode)
    with pytest.raises(BackendError, match=words) as caught:
        place.build()
    assert len(str(caught.value)) < 1500
    assert place.names() == []


@pytest.mark.parametrize("way", ["python", "trtexec"])
def test_an_interrupt_ends_the_build_and_leaves_nothing(place, with_tensorrt, with_trtexec, way, tmp_path):
    with_tensorrt("8.6", "hang" if way == "python" else "no-import")
    if way == "trtexec":
        with_trtexec("8.2", "hangs")
    program = (
        "import signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored below a shell's background job
        "from edge_bench.engine import build as engine\n"
        "builder, _ = engine.find_builder()\n"
        "tensors = [{'name': 'input', 'dtype': 'float32', 'shape': [1, 4]}], [dict(name='output', dtype='float32',"
        " shape=[1, 4])]\n"
        "settings = engine.EngineSettings(precision='int8')\n"
        "engine.build_engine(builder, open(sys.argv[2], 'rb').read(), *tensors, settings, sys.argv[3], sys.argv[4])\n"
    )
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(engine.__file__))))
    model = os.path.join(DATA, "qdq.onnx")
    command = [sys.executable, "-c", program, package, model, str(place.folder), str(place.log)]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    found = None
    while found is None and time.monotonic() < deadline:
        text = place.log.read_text() if place.log.exists() else ""
        found = re.search(r"hangs as process (\d+)\n", text)
        time.sleep(0.05)
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    assert place.names() == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(found.group(1)), 0)


def test_a_key_of_the_cache_is_equal_exactly_for_equal_builds():
    device = {"index": 0, "name": "Orin", "compute_capability": "8.7", "memory_bytes": 1}
    builder = engine.Builder(engine.PYTHON, "8.6.0", device, "12.6")
    settings = engine.EngineSettings()
    key = engine.cache_key("0" * 64, builder, settings)
    assert key == engine.cache_key("0" * 64, builder._replace(way=engine.TRTEXEC), settings._replace(timeout_s=1.0))
    others = [
        engine.cache_key("1" * 64, builder, settings),
        engine.cache_key("0" * 64, builder._replace(tensorrt_version="8.6.1"), settings),
        engine.cache_key("0" * 64, builder._replace(device=dict(device, name="Orin Nano")), settings),
        engine.cache_key("0" * 64, builder, settings._replace(workspace_bytes=1)),
        engine.cache_key("0" * 64, builder, settings._replace(allow_tf32=True)),
    ]
    assert len({key, *others}) == 6


def test_a_build_that_says_nothing_is_said_to_go_on(monkeypatch):
    said, now = [], [0.0]
    monkeypatch.setattr(engine.time, "monotonic", lambda: now[0])
    sayer = engine._Sayer(said.append)
    sayer("edge-bench: building")
    for now[0] in (5.0, 19.0, 21.0, 25.0, 42.0):
        sayer.wait()
    assert said == ["building", "21 s: still building", "42 s: still building"]

"""Which backend is taken, and what is said of the others: with fakes of driver, TensorRT and trtexec."""

import array
import hashlib
import json
import os
import types

import pytest

from edge_bench import atomic
from edge_bench.backends import choose
from edge_bench.cuda import driver
from edge_bench.engine import build, cache, sidecar
from edge_bench.engine.folder import cache_folder
from edge_bench.errors import BackendError

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
TENSORS = (
    [{"name": "input", "dtype": "float32", "shape": [1, 4]}],
    [{"name": "output", "dtype": "float32", "shape": [1, 4]}],
)


@pytest.fixture
def here(with_driver, cudart, tmp_path, monkeypatch):
    """A board with a driver, and a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def opened():
    kept = []

    def open_it(source, **options):
        found = choose.open_backend(source, choose.Options(**options))
        kept.append(found.backend)
        return found

    yield open_it
    for one in kept:
        one.close()


@pytest.fixture
def tensorrt(with_tensorrt, tensorrt_here):
    """The fake of TensorRT, for children and for this process."""

    def choose_both(release, mode="", mode_here=""):
        tensorrt_here(release, mode_here)
        with_tensorrt(release, mode)

    return choose_both


def source(name="dynamic_batch.onnx", kind="bundle", **more):
    path = os.path.join(DATA, name)

    def read():
        with open(path, "rb") as stream:
            return stream.read()

    values = {"inputs": TENSORS[0], "outputs": TENSORS[1], "engine_folder": None, "words": []}
    return types.SimpleNamespace(kind=kind, path=path, read_model=read, **dict(values, **more))


def build_into_cache(name="dynamic_batch.onnx", **settings):
    builder, reason = build.find_builder()
    assert reason == ""
    folder = cache_folder()
    with open(os.path.join(DATA, name), "rb") as stream:
        onnx = stream.read()
    values = build.EngineSettings(**dict({"batch": (1, 2, 4)}, **settings))
    log = cache.new_log(folder, "0" * 64)
    return cache.build_into(folder, builder, onnx, TENSORS[0], TENSORS[1], values, log, None, lambda line: None)


def outputs(backend):
    backend.set_inputs([array.array("f", [1, 2, 3, 4]).tobytes()])
    backend.infer()
    return [list(one) for one in backend.read_outputs()]


def test_without_an_engine_onnxruntime_runs_it_and_no_library_is_asked(here, opened, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(driver, "probe_driver", lambda: pytest.fail("the driver was asked"))
    backend, notes = opened(source())
    assert backend.name == "onnxruntime"
    (note,) = notes
    assert note.startswith("TensorRT: no engine of it is here; `edge-bench build ")


@pytest.mark.parametrize("release", ["8.2", "10.3"])
def test_an_engine_that_was_built_here_comes_first(here, opened, tensorrt, release):
    tensorrt(release)
    build_into_cache()
    backend, notes = opened(source(), batch=2)
    assert (backend.name, notes) == ("tensorrt", [])
    assert outputs(backend) == [[3.0, 5.0, 7.0, 9.0] * 2]


def test_the_newest_engine_that_loads_is_taken(here, opened, tensorrt):
    tensorrt("8.6")
    old, _ = build_into_cache()
    os.utime(os.path.join(old, sidecar.SIDECAR), (1, 1))
    new, _ = build_into_cache(workspace_bytes=1 << 20)
    assert [folder for folder, _ in cache.find_engines(cache_folder(), digest())] == [new, old]
    described = json.loads(atomic_read(os.path.join(new, sidecar.SIDECAR)).decode())
    described["gpu"]["compute_capability"] = "5.3"
    atomic.write_json(os.path.join(new, sidecar.SIDECAR), described)
    backend, notes = opened(source())
    assert backend.name == "tensorrt"
    (note,) = notes
    assert note.startswith(new) and "for sm_53; this board has 8.6.0, sm_87" in note


def digest(name="dynamic_batch.onnx"):
    with open(os.path.join(DATA, name), "rb") as stream:
        return hashlib.sha256(stream.read()).hexdigest()


def atomic_read(path):
    with open(path, "rb") as stream:
        return stream.read()


def test_an_engine_of_another_network_is_not_taken(here, opened, tensorrt):
    pytest.importorskip("onnxruntime")
    tensorrt("8.6")
    build_into_cache("qdq.onnx", batch=None, precision="int8")
    backend, notes = opened(source())
    assert backend.name == "onnxruntime" and "no engine of it" in notes[0]


def test_an_engine_that_does_not_load_after_all(here, opened, tensorrt):
    pytest.importorskip("onnxruntime")
    tensorrt("8.6")
    folder, _ = build_into_cache()
    tensorrt("8.6", "no-load", "no-load")
    backend, notes = opened(source())
    assert backend.name == "onnxruntime"
    assert notes[0].startswith(folder) and "TensorRT 8.6.0" in notes[0]
    assert notes[1].startswith("trtexec: trtexec is not on the PATH")


def test_a_damaged_engine_is_not_run(here, opened, tensorrt):
    pytest.importorskip("onnxruntime")
    tensorrt("8.6")
    folder, _ = build_into_cache()
    with open(os.path.join(folder, sidecar.ENGINE), "ab") as stream:
        stream.write(b"x")
    backend, notes = opened(source())
    assert backend.name == "onnxruntime" and "not the engine that model.engine.json describes" in notes[0]


def test_trtexec_where_python_has_no_tensorrt(here, opened, tensorrt, with_trtexec):
    tensorrt("8.6")
    build_into_cache()
    tensorrt("8.6", "no-import")
    with_trtexec("10.3")
    backend, notes = opened(source(), backend="auto")
    assert backend.name == "onnxruntime" and any("built with TensorRT 8.6.0" in note for note in notes)
    build_into_cache()  # by trtexec, so for its release
    backend, notes = opened(source())
    assert backend.name == "trtexec" and "Python has no tensorrt" in notes[0]
    assert outputs(backend) == [[3.0, 5.0, 7.0, 9.0]]


@pytest.mark.parametrize("name", ["tensorrt", "trtexec"])
def test_what_was_asked_for_by_name_is_never_replaced(here, opened, tensorrt, name):
    with pytest.raises(BackendError, match="no engine of it is here; .edge-bench build"):
        opened(source(), backend=name)
    tensorrt("8.6")
    build_into_cache()
    tensorrt("8.6", "no-import", "no-import")
    with pytest.raises(
        BackendError, match="Python has no tensorrt that works" if name == "tensorrt" else "not on the PATH"
    ):
        opened(source(), backend=name)


def test_a_driver_that_is_gone_is_said(here, opened, tensorrt, with_driver):
    pytest.importorskip("onnxruntime")
    tensorrt("8.6")
    build_into_cache()
    with_driver(cuda_init=139)
    backend, notes = opened(source())
    assert backend.name == "onnxruntime" and "crashed Python (signal 11)" in notes[0]


def test_a_provider_means_onnxruntime(here, opened, tensorrt):
    pytest.importorskip("onnxruntime")
    tensorrt("8.6")
    build_into_cache()
    backend, notes = opened(source(), provider="CPUExecutionProvider")
    assert backend.providers == ["CPUExecutionProvider"] and "provider of onnxruntime" in notes[0]
    with pytest.raises(BackendError, match="--provider chooses among onnxruntime's"):
        opened(source(), provider="CPUExecutionProvider", backend="tensorrt")


def test_a_bare_engine(here, opened, tensorrt, tmp_path):
    tensorrt("8.6")
    folder, _ = build_into_cache()
    path = os.path.join(folder, sidecar.ENGINE)
    bare = source(kind="engine", inputs=[], outputs=[])
    bare.path, bare.read_model = path, lambda: atomic_read(path)
    backend, notes = opened(bare)
    assert backend.name == "tensorrt" and backend.inputs == TENSORS[0]
    with pytest.raises(BackendError, match="onnxruntime runs no engines|onnxruntime does not run"):
        opened(bare, backend="onnxruntime")
    bare.read_model = lambda: b"no engine"
    with pytest.raises(BackendError, match="magicTag"):
        opened(bare)


def test_the_bundles_own_engine(here, opened, tensorrt, tmp_path):
    tensorrt("8.6")
    folder, _ = build_into_cache()
    own = str(tmp_path / "bundle")
    os.rename(folder, own)
    backend, _ = opened(source(engine_folder=own))
    assert backend.name == "tensorrt"


def test_the_manifests_tensors_are_bound(here, opened, tensorrt):
    tensorrt("8.6")
    build_into_cache()
    other = [dict(TENSORS[0][0], name="other")]
    with pytest.raises(BackendError, match="its manifest names other float32"):
        opened(source(inputs=other))


def test_a_command(opened):
    backend, notes = opened(source(kind="command", words=["true"]))
    assert (backend.name, notes) == ("command", [])
    backend.infer()
    with pytest.raises(BackendError, match="a command is run as it is"):
        opened(source(kind="command", words=["true"]), backend="tensorrt")


def test_a_batch_in_onnxruntime(here, opened):
    pytest.importorskip("onnxruntime")
    alone, many = opened(source()).backend, opened(source(), batch=3).backend
    assert outputs(many) == [outputs(alone)[0] * 3]
    assert many.batch == 3
    with pytest.raises(BackendError, match="takes a batch of 1 and no other; for 3 export it with --dynamic-batch"):
        opened(source("qdq.onnx"), batch=3)

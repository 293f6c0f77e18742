"""Engines that really compute on the memory of a compiled fake of libcudart, under fakes of TensorRT 8.2, 8.6, 10.3.

No GPU ran any of it. The stream of the fake waits as a real one does: a missing wait gives old numbers here too."""

import array
import json
import os
import subprocess
import sys

import pytest

from edge_bench.backends import tensorrt
from edge_bench.errors import BackendError

RELEASES = ["8.2", "8.6", "10.3"]
HERE = tensorrt.Here("8.6.0", {"index": 0, "name": "Orin", "compute_capability": "8.7", "memory_bytes": 8 << 30})
FIXED = [["input", "FLOAT", [1, 4]]], [["output", "FLOAT", [1, 4]]]
PROFILE = [{"input": [[1, 4], [2, 4], [8, 4]]}]


def plan(inputs=FIXED[0], outputs=FIXED[1], profiles=()):
    return json.dumps({"inputs": inputs, "outputs": outputs, "profiles": list(profiles)}).encode()


def any_batch():
    return plan([["input", "FLOAT", [-1, 4]]], [["output", "FLOAT", [-1, 4]]], PROFILE)


def floats(*values):
    return array.array("f", values).tobytes()


def tensor(name, shape, dtype="float32"):
    return {"name": name, "dtype": dtype, "shape": shape}


@pytest.fixture
def opened(cudart, tensorrt_here):
    """A function that opens an engine; all that it opened is closed at the end."""
    kept = []

    def open_it(engine, release="8.6", **options):
        tensorrt_here(release)
        kept.append(tensorrt.TensorRtBackend(engine, HERE, **options))
        return kept[-1]

    yield open_it
    for one in kept:
        one.close()


def numbers(backend):
    return [list(one) for one in backend.read_outputs()]


@pytest.mark.parametrize("release", RELEASES)
def test_an_engine_computes_and_its_outputs_come_back(opened, release):
    backend = opened(plan(), release)
    assert backend.inputs == [tensor("input", [1, 4])] and backend.outputs == [tensor("output", [1, 4])]
    backend.set_inputs([floats(1, 2, 3, 4)])
    backend.infer()
    assert numbers(backend) == [[3.0, 5.0, 7.0, 9.0]]
    backend.set_inputs([floats(0, 0, 0, 10)])
    assert numbers(backend) == [[3.0, 5.0, 7.0, 9.0]]  # not yet
    backend.infer()
    assert numbers(backend) == [[1.0, 1.0, 1.0, 21.0]]
    assert backend.version.startswith(release)
    assert (backend.name, backend.providers, backend.num_threads) == ("tensorrt", ["Orin"], None)


@pytest.mark.parametrize("release", RELEASES)
def test_a_batch_takes_the_input_once_for_each_example(opened, release):
    backend = opened(any_batch(), release, batch=3)
    assert backend.inputs == [tensor("input", [1, 4])]
    backend.set_inputs([floats(1, 2, 3, 4)])
    backend.infer()
    assert numbers(backend) == [[3.0, 5.0, 7.0, 9.0] * 3]
    assert backend.batch == 3


@pytest.mark.parametrize("release", RELEASES)
def test_a_batch_that_the_engine_does_not_take_is_said(opened, release):
    with pytest.raises(BackendError, match="takes batches from 1 to 8, not 9; build one: .edge-bench build --batch 9"):
        opened(any_batch(), release, batch=9)
    with pytest.raises(BackendError, match="fixed batch of 1; for 4"):
        opened(plan(), release, batch=4)


@pytest.mark.parametrize("release", RELEASES)
def test_tensors_come_in_the_order_of_the_manifest(opened, release):
    engine = plan(
        [["b", "FLOAT", [1, 2]], ["a", "FLOAT", [1, 2]]],
        [["y", "FLOAT", [1, 2]], ["x", "INT32", [1, 3]]],
    )
    backend = opened(engine, release)
    inputs = [tensor("a", [1, 2]), tensor("b", [1, 2])]
    outputs = [tensor("x", [1, 3], "int64"), tensor("y", [1, 2])]
    backend.bind(inputs, outputs)
    assert (backend.inputs, backend.outputs) == (inputs, outputs)
    backend.set_inputs([floats(1, 2), floats(10, 20)])
    backend.infer()
    assert [list(one) for one in backend.read_outputs()][1] == [23.0, 45.0]
    assert len(backend.read_outputs()[0]) == 3


def test_other_tensors_than_the_manifests_are_refused(opened):
    backend = opened(plan())
    for inputs, outputs in (
        ([tensor("other", [1, 4])], [tensor("output", [1, 4])]),
        ([tensor("input", [1, 4], "int32")], [tensor("output", [1, 4])]),
        ([tensor("input", [1, 4])], [tensor("output", [1, 4]), tensor("more", [1])]),
    ):
        with pytest.raises(BackendError, match="its manifest names .*export it again"):
            backend.bind(inputs, outputs)


def test_whole_numbers_of_64_bits_become_those_of_32_that_tensorrt_8_has(opened):
    backend = opened(plan([["ids", "INT32", [1, 2]]], [["sum", "INT32", [1, 2]]]))
    backend.bind([tensor("ids", [1, 2], "int64")], [tensor("sum", [1, 2], "int64")])
    backend.set_inputs([array.array("q", [5, -7]).tobytes()])
    backend.infer()
    assert numbers(backend) == [[11, -13]]
    with pytest.raises(BackendError, match="'ids' has numbers beyond 32 bits"):
        backend.set_inputs([array.array("q", [5, 1 << 40]).tobytes()])


def test_an_input_of_another_size_is_refused(opened):
    backend = opened(plan())
    for content in (b"", floats(1, 2, 3), floats(1, 2, 3, 4, 5)):
        with pytest.raises(BackendError, match="input 'input' has %d bytes, the network takes 16" % len(content)):
            backend.set_inputs([content])


@pytest.mark.parametrize("release", RELEASES)
def test_both_clocks_time_every_run(opened, release):
    backend = opened(plan(), release)
    backend.set_inputs([floats(1, 2, 3, 4)])
    samples = []
    backend.time_slice(samples, 20, 60.0)
    backend.time_slice(samples, 5, 60.0)
    backend.time_slice(samples, None, 0.0)
    assert len(samples) == len(backend.device_samples_s) == 26
    # The engine is a part of what the host waits for.
    assert all(0 < device < host for device, host in zip(backend.device_samples_s, samples))


def test_reading_the_events_is_not_timed(opened, cudart, tmp_path, monkeypatch):
    """Between two readings of the clock there is one inference and nothing else."""
    backend = opened(plan())
    backend.set_inputs([floats(1, 2, 3, 4)])
    log = tmp_path / "calls"
    monkeypatch.setenv("FAKE_CUDART_LOG", str(log))
    seen = []

    def clock():
        seen.append(log.read_text().split()[::2] if log.exists() else [])
        return float(len(seen))

    backend._clock = clock
    backend.time_slice([], 2, 60.0)
    began, ended = seen[1], seen[2]
    inside = ended[len(began) :]
    assert inside == [
        "cudaMemcpyAsync",
        "cudaEventRecord",
        "cudaEventRecord",
        "cudaMemcpyAsync",
        "cudaStreamSynchronize",
    ]
    assert seen[3][len(ended) :] == ["cudaEventElapsedTime"]


@pytest.mark.parametrize("release, scratch", [("8.2", 4096), ("8.6", 4096), ("10.3", 8192)])
def test_memory_has_names(opened, release, scratch):
    engine = plan()
    # Two tensors of 16 bytes, each on the device and pinned: the fake counts both, as a Tegra's one memory does.
    assert opened(engine, release).memory() == {
        "cuda_used_bytes": 64,
        "engine_scratch_bytes": scratch,
        "engine_file_bytes": len(engine),
    }


def test_memory_that_others_gave_back_is_no_figure(opened, monkeypatch):
    backend = opened(plan())
    backend._free_bytes_before = 0
    assert "cuda_used_bytes" not in backend.memory()


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    "mode, words",
    [
        ("no-load", "cannot load the engine: 6: The engine plan file is generated on an incompatible device"),
        ("no-context", "has no memory for the engine's context: .*OutOfMemory"),
    ],
)
def test_an_engine_that_does_not_load_is_told_in_tensorrts_words(cudart, tensorrt_here, release, mode, words):
    tensorrt_here(release, mode)
    with pytest.raises(BackendError, match=words):
        tensorrt.TensorRtBackend(plan(), HERE)


def test_bytes_that_are_no_engine(opened):
    with pytest.raises(BackendError, match="magicTag"):
        opened(b"no engine at all")


@pytest.mark.parametrize("release", RELEASES)
def test_a_run_that_is_refused_is_an_error(cudart, tensorrt_here, release):
    tensorrt_here(release, "no-run")
    backend = tensorrt.TensorRtBackend(plan(), HERE)
    with pytest.raises(BackendError, match="refused to run: 1: .*Cuda Runtime"):
        backend.infer()
    backend.close()


@pytest.mark.parametrize("release", RELEASES)
def test_wherever_cuda_fails_it_is_an_error_and_nothing_is_left(cudart, tensorrt_here, release, monkeypatch):
    """Every call of loading, running and timing fails once."""
    tensorrt_here(release)

    def whole():
        backend = tensorrt.TensorRtBackend(plan(), HERE)
        try:
            backend.set_inputs([floats(1, 2, 3, 4)])
            backend.time_slice([], 2, 60.0)
            backend.memory()
        finally:
            calls.append(cudart.fake_calls())
            backend.close()

    calls = []
    whole()
    assert calls[0] > 15
    for number in range(1, calls[0] + 1):
        cudart.fake_reset()
        monkeypatch.setenv("FAKE_CUDART_FAIL_AT", str(number))
        with pytest.raises(BackendError, match="failed with CUDA error 2 .out of memory."):
            whole()
        assert cudart.fake_live() == 0, "call %d" % number


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("when", ["never", "load", "infer"])
def test_an_interrupt_leaves_nothing_and_the_order_of_letting_go_is_kept(
    cudart, tensorrt_here, release, when, monkeypatch, tmp_path
):
    log = tmp_path / "objects"
    monkeypatch.setenv("FAKE_TENSORRT_LOG", str(log))
    monkeypatch.setenv("FAKE_CUDART_LOG", str(log))
    tensorrt_here(release)

    def interrupt(*_, **__):
        raise KeyboardInterrupt()

    if when == "load":
        monkeypatch.setattr("edge_bench.backends.tensorrt_engine.LoadedEngine.connect", interrupt)
        with pytest.raises(KeyboardInterrupt):
            tensorrt.TensorRtBackend(plan(), HERE)
    else:
        backend = tensorrt.TensorRtBackend(plan(), HERE)
        backend.set_inputs([floats(1, 2, 3, 4)])
        if when == "infer":
            monkeypatch.setattr(backend._api, "synchronize_stream", interrupt)  # copies and engine are on the stream
            with pytest.raises(KeyboardInterrupt):
                backend.infer()
            monkeypatch.undo()
            monkeypatch.setenv("FAKE_TENSORRT_LOG", str(log))
            monkeypatch.setenv("FAKE_CUDART_LOG", str(log))
        backend.close()
    lines = log.read_text().splitlines()
    assert [line for line in lines if line.startswith("make")] == [
        "make Runtime",
        "make ICudaEngine",
        "make IExecutionContext",
    ]
    dropped = [number for number, line in enumerate(lines) if line.startswith("drop")]
    assert [lines[number] for number in dropped] == ["drop IExecutionContext", "drop ICudaEngine", "drop Runtime"]
    freed = [number for number, line in enumerate(lines) if line.startswith(("cudaFree", "cudaStreamDestroy"))]
    assert len(freed) == 5 and max(freed) < min(dropped)
    assert lines.index("cudaStreamSynchronize 0") < min(freed)
    assert not [line for line in lines if line.startswith("cuda") and not line.endswith(" 0")]


def test_a_tensorrt_that_crashes_when_it_makes_a_runtime_is_a_reason(with_driver, with_tensorrt):
    with_tensorrt("8.6", "crash-at-load")
    assert tensorrt.probe_runtime() == ("", "making its runtime crashed Python (signal 11)")


@pytest.mark.parametrize("way", ["cuda-python 12", "cuda-python 13", "pycuda"])
def test_the_same_numbers_by_the_other_ways_of_buffers(opened, way, cuda_package):
    name, _, release = way.partition(" ")
    if name == "pycuda":
        pytest.importorskip("numpy")
    cuda_package(*(["fake_pycuda"] if name == "pycuda" else ["fake_cuda_python", release]))
    backend = opened(plan(), buffers=name)
    backend.set_inputs([floats(1, 2, 3, 4)])
    samples = []
    backend.time_slice(samples, 3, 60.0)
    assert numbers(backend) == [[3.0, 5.0, 7.0, 9.0]]
    assert len(samples) == len(backend.device_samples_s) == 3
    backend.close()


def test_the_runtime_is_found_in_a_child(with_driver, with_tensorrt):
    with_tensorrt("8.2")
    assert tensorrt.probe_runtime() == ("8.2.1.8", "")


def test_a_tensorrt_that_is_broken_is_a_reason(with_driver, with_tensorrt):
    with_tensorrt("8.6", "no-import")
    version, reason = tensorrt.probe_runtime()
    assert version == "" and "libnvinfer.so.8: cannot open shared object file" in reason


def test_nothing_of_it_is_imported_before_it_is_used():
    code = (
        "import sys; from edge_bench.backends import tensorrt; "
        "print([name for name in ('tensorrt', 'cuda', 'pycuda', 'numpy') if name in sys.modules])"
    )
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(tensorrt.__file__))))
    environment = dict(os.environ, PYTHONPATH=package)
    assert subprocess.check_output([sys.executable, "-c", code], env=environment).strip() == b"[]"

"""Times of layers: by the real onnxruntime that is here, by fakes of TensorRT and trtexec. No test asserts a time."""

import array
import io
import json
import os
import random
import tempfile

import pytest

from edge_bench.backends import onnxrt_profile, profile, tensorrt, trtexec
from edge_bench.backends.onnxrt import OnnxRuntimeBackend
from edge_bench.backends.onnxrt_profile import read_inferences
from edge_bench.engine.trtexec import find_trtexec
from edge_bench.errors import BackendError
from edge_bench.summary import median

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
PLAN = {"inputs": [["input", "FLOAT", [1, 4]]], "outputs": [["output", "FLOAT", [1, 4]]], "profiles": []}
TENSORS = {"input": [{"name": "input", "dtype": "float32", "shape": [1, 4]}]}
VALUES = array.array("f", [1, 2, 3, 4]).tobytes()


def read(name):
    with open(os.path.join(DATA, name), "rb") as stream:
        return stream.read()


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made; what is left in it at the end is a fault."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert os.listdir(str(folder)) == []


def profiled(content, value=1.0, batch=1):
    backend = OnnxRuntimeBackend(content, 1, batch=batch)
    backend.set_inputs([array.array("f", [value] * (8 * 64 * 64)).tobytes()])
    return backend.profile_layers(lambda: content)


def by_node(found):
    """The median of each layer, by the file's nodes that it computes, or its own name."""
    return {" + ".join(layer.nodes) or layer.name: median(layer.times_s) for layer in found.layers}


# --- onnxruntime


def test_the_big_layer_comes_before_the_small_one(scratch):
    """The one is a thousand times the work of the other; what is fused with it is told with it."""
    found = profiled(read("layers.onnx"))
    times = by_node(found)
    big = [name for name in times if "/big/Conv" in name]
    assert len(big) == 1 and "/small/Conv" in times
    assert times[big[0]] > 3 * times["/small/Conv"]
    assert times[big[0]] == max(times.values())
    kinds = {layer.nodes[0]: layer.kind for layer in found.layers if layer.nodes}
    assert kinds["/small/Conv"] == "Conv" and kinds["/pool/GlobalAveragePool"] == "GlobalAveragePool"
    assert {layer.provider for layer in found.layers} == {"CPUExecutionProvider"}


def test_all_layers_together_take_less_than_the_inference_that_was_profiled(scratch):
    found = profiled(read("layers.onnx"))
    assert len(found.latencies_s) == found.num_inferences > 1
    assert all(len(layer.times_s) == found.num_inferences for layer in found.layers)
    for number, whole_s in enumerate(found.latencies_s):
        assert 0 < sum(layer.times_s[number] for layer in found.layers) <= whole_s


def test_what_a_branch_holds_is_not_counted_twice(scratch):
    taken = by_node(profiled(read("branches.onnx"), 1.0))
    assert taken["/deep/Conv"] > 3 * taken["/branch/If"]
    other = by_node(profiled(read("branches.onnx"), -1.0))
    assert "/deep/Conv" not in other and "/branch/If" in other


def test_a_loop_runs_its_body_often_and_is_profiled_a_few_times(scratch):
    found = profiled(read("branches.onnx"))
    assert 1 <= found.num_inferences <= onnxrt_profile._MAX_LOOPED_RUNS
    assert [layer.name for layer in found.layers].count("/body/Neg") == 1  # seven times in each inference


def test_names_that_break_the_profile_cost_their_own_lines_only(scratch):
    content = read("layers.onnx").replace(b"logits", b'x"}\n]\r')
    assert len(content) == len(read("layers.onnx"))
    found = profiled(content)
    assert any("/big/Conv" in layer.nodes for layer in found.layers)
    told = [layer.nodes for layer in found.layers if layer.name.startswith("x")]
    assert told == [["/small/Conv"]] or "could not be read" in found.note


def test_a_big_network_is_profiled_less_often(scratch, monkeypatch):
    monkeypatch.setattr(onnxrt_profile, "_MAX_EVENTS", 12)
    assert profiled(read("layers.onnx")).num_inferences <= 3


def test_an_interrupt_leaves_no_files(scratch, monkeypatch):
    def interrupted(infer, _max_runs):
        infer()
        raise KeyboardInterrupt

    monkeypatch.setattr(profile, "repeat", interrupted)
    with pytest.raises(KeyboardInterrupt):
        profiled(read("layers.onnx"))


def test_a_model_that_no_longer_loads_is_an_error(scratch):
    backend = OnnxRuntimeBackend(read("layers.onnx"), 1)
    with pytest.raises(BackendError, match="cannot load the model"):
        backend.profile_layers(lambda: b"not a model")


def test_no_place_for_the_profile_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "not" / "there"))
    with pytest.raises(BackendError, match="no place for the profile"):
        profiled(read("layers.onnx"))


@pytest.mark.parametrize("left", ["", "[\n", '[\n{"cat" : "Node","dur" :5,"ts" :'])
def test_a_file_that_a_full_disk_cut_is_an_error(scratch, left):
    """onnxruntime says nothing of it."""

    class Session:
        def end_profiling(self):
            path = os.path.join(str(folder), "profile.json")
            with open(path, "w") as stream:
                stream.write(left)
            return path

    folder = tempfile.mkdtemp()
    try:
        with pytest.raises(BackendError, match="was cut short"):
            onnxrt_profile.profile_session(b"", lambda _prefix: Session(), lambda _session: None)
    finally:
        os.unlink(os.path.join(folder, "profile.json"))
        os.rmdir(folder)


# --- the file of onnxruntime


def event(name, ts, dur, operator="Conv", **changes):
    arguments = {"op_name": operator, "provider": "CPUExecutionProvider", "node_index": "1"}
    entry = {"cat": "Node", "pid": 1, "tid": 1, "dur": dur, "ts": ts, "ph": "X", "name": name, "args": arguments}
    entry.update(changes)
    return json.dumps(entry)


def lines(*events):
    return io.BytesIO(("[\n" + ",\n".join(events) + "\n]\n").encode())


def run_of(dur, ts=0):
    return event("model_run", ts, dur, cat="Session", args={})


def test_fences_of_old_releases_and_the_session_are_no_layers():
    found, unread = read_inferences(
        lines(
            event("session_initialization", 0, 900, cat="Session", args={}),
            event("a_fence_before", 10, 1),
            event("a_kernel_time", 11, 5),
            event("a_fence_after", 16, 1),
            event("SequentialExecutor::Execute", 9, 9, cat="Session", args={}),
            run_of(10, 9),
        )
    )
    assert unread == 0
    assert [[(key[0], round(1e6 * seconds)) for key, seconds in one] for one in found] == [[("a", 5)]]


def test_only_what_has_a_graph_inside_holds_others():
    """Conv ends where the next begins; the If holds its Conv, and that holds nothing."""
    found, _ = read_inferences(
        lines(
            event("inner_kernel_time", 12, 6),
            event("if_kernel_time", 10, 10, "If"),
            event("next_kernel_time", 20, 0),
            event("last_kernel_time", 20, 4),
            run_of(20, 9),
        )
    )
    assert {key[0]: round(1e6 * seconds) for key, seconds in found[0]} == {"if": 4, "inner": 6, "next": 0, "last": 4}


def test_inferences_are_told_apart_and_an_unfinished_one_is_dropped():
    found, _ = read_inferences(
        lines(
            event("a_kernel_time", 1, 5),
            run_of(6),
            event("a_kernel_time", 11, 7),
            run_of(8),
            event("a_kernel_time", 9, 1),
        )  # fmt: skip
    )
    assert [[round(1e6 * seconds) for _, seconds in one] for one in found] == [[5], [7]]


@pytest.mark.parametrize(
    "line",
    [
        '{"name": "x_kernel_time"}',
        '{"name": "x_kernel_time", "ts": 1, "dur": 1, "args": []}',
        event("x_kernel_time", "1", 2),
        event("x_kernel_time", 1, -2),
        event("x_kernel_time", 1, 1 << 80),
        event("x_kernel_time", 1.5, 1),
        event("x_kernel_time", True, 1),
        '"x_kernel_time"',
        "[" * 30000 + '"x_kernel_time"',
        '{"name": "' + "x" * (1 << 17) + '_kernel_time"}',
    ],
)
def test_a_line_that_is_no_event_is_counted(line):
    found, unread = read_inferences(lines(event("a_kernel_time", 1, 5), line, run_of(9)))
    assert unread >= 1
    assert [[key[0] for key, _ in one] for one in found] == [["a"]]


def test_bytes_of_any_kind_are_read_or_refused():
    whole = lines(event("a_kernel_time", 1, 5), event("b_kernel_time", 7, 5, "If"), run_of(20)).getvalue()
    generator = random.Random(0)
    for _ in range(2000):
        changed = bytearray(whole[: generator.randrange(len(whole) + 1)])
        for _ in range(generator.randrange(5)):
            if changed:
                changed[generator.randrange(len(changed))] = generator.randrange(256)
        try:
            found, _ = read_inferences(io.BytesIO(bytes(changed)))
        except BackendError:
            continue
        assert all(seconds >= 0 for one in found for _, seconds in one)


def test_of_an_endless_file_only_so_much_is_read(monkeypatch):
    monkeypatch.setattr(onnxrt_profile, "_MAX_BYTES", 10000)
    one = event("a_kernel_time", 1, 5) + ",\n" + run_of(9) + ",\n"
    stream = io.BytesIO(b"[\n" + 1000 * one.encode())
    found, _ = read_inferences(stream)
    assert 0 < len(found) < 100 and stream.tell() < 20000


# --- how often


def test_a_slow_network_is_run_once(monkeypatch):
    monkeypatch.setattr(profile, "MAX_S", 0.0)
    calls = []
    assert len(profile.repeat(lambda: calls.append(1), 100)) == len(calls) == 1


def test_the_first_inferences_do_not_count(monkeypatch):
    calls = []
    assert len(profile.repeat(lambda: calls.append(1), 8)) == 4
    assert len(profile.repeat(lambda: None, 1)) == 1
    monkeypatch.setattr(profile, "MAX_S", 60.0)
    assert len(profile.repeat(lambda: None, profile.MAX_RUNS)) == profile.MAX_RUNS - profile.NUM_WARMUP


def test_a_part_that_did_not_run_took_no_time():
    found = profile.collect([[("a", 1.0), ("b", 2.0), ("a", 3.0)], [("b", 5.0)]])
    assert found == {"a": [4.0, 0.0], "b": [2.0, 5.0]}
    assert list(found) == ["a", "b"]


# --- TensorRT

RELEASES = ["8.2", "8.6", "10.3"]
HERE = tensorrt.Here("8.6.0", {"index": 0, "name": "Orin", "compute_capability": "8.7", "memory_bytes": 8 << 30})


@pytest.fixture
def engine(cudart, tensorrt_here):
    kept = []

    def open_it(release="8.6", mode=""):
        tensorrt_here(release)
        kept.append(tensorrt.TensorRtBackend(json.dumps(PLAN).encode(), HERE))
        kept[-1].set_inputs([VALUES])
        kept[-1].infer()
        return kept[-1]

    yield open_it
    for one in kept:
        one.close()


@pytest.mark.parametrize("release", RELEASES)
def test_tensorrt_tells_its_layers(engine, release):
    backend = engine(release)
    found = backend.profile_layers(lambda: b"")
    medians = [(layer.name, layer.nodes, round(1e6 * median(layer.times_s))) for layer in found.layers]
    assert medians == [
        ("/conv1/Conv + /Relu", ["/conv1/Conv", "/Relu"], 500),
        ("Reformatting CopyNode", ["Reformatting CopyNode"], 10),
        ("/fc/Gemm", ["/fc/Gemm"], 125),
        ("Reformatting CopyNode", ["Reformatting CopyNode"], 30),
    ]
    assert found.source == "TensorRT" and found.resolution_s is None and found.num_inferences > 1
    # On the inputs that lie there, by the addresses in the order of the engine.
    assert [list(one) for one in backend.read_outputs()] == [[3.0, 5.0, 7.0, 9.0]]


def test_tensorrt_without_a_profiler_says_so(engine, monkeypatch):
    backend = engine()
    import tensorrt as module

    monkeypatch.delattr(module, "IProfiler")
    with pytest.raises(BackendError, match="no IProfiler"):
        backend.profile_layers(lambda: b"")


def test_tensorrt_that_tells_no_layer_or_does_not_run(engine, monkeypatch):
    backend = engine()
    import tensorrt as module

    for mode, words in (("no-layers", "told its profiler no layer"), ("no-run", "refused to run.*invalid argument")):
        monkeypatch.setattr(module, "_MODE", mode)
        with pytest.raises(BackendError, match=words):
            backend.profile_layers(lambda: b"")


# --- trtexec


@pytest.fixture
def program(with_trtexec, scratch):
    kept = []

    def open_it(release="10.3", mode=""):
        with_trtexec(release, mode)
        found, _ = find_trtexec()
        kept.append(trtexec.TrtexecBackend(json.dumps(PLAN).encode(), found, "Orin", TENSORS["input"], []))
        return kept[-1]

    yield open_it
    for one in kept:
        one.close()


@pytest.mark.parametrize("release, first, words", [("8.2", 500, "means"), ("10.3", 450, "medians")])
def test_trtexec_tells_its_layers(program, release, first, words):
    found = program(release).profile_layers(lambda: b"")
    assert [(layer.nodes, round(1e6 * layer.times_s[0])) for layer in found.layers][0] == (
        ["/conv1/Conv", "/Relu"],
        first,
    )
    assert len(found.layers) == 2 and found.num_inferences == profile.MAX_RUNS
    assert words in found.note


@pytest.mark.parametrize(
    "mode, words",
    [
        ("no-profile", "no --exportProfile"),
        ("broken-profile", "its profile: not the JSON"),
        ("fails", "Failed to parse"),
    ],  # fmt: skip
)
def test_trtexec_that_cannot(program, mode, words):
    with pytest.raises(BackendError, match=words):
        program("8.2", mode).profile_layers(lambda: b"")

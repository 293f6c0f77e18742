"""`edge-bench build` as a user calls it: a child process, on fakes of the driver and of TensorRT."""

import json
import os
import re
import signal

import pytest

import fakes
from edge_bench.commands.build import batch_sizes
from edge_bench.engine import sidecar
from waiting import has_ended, wait_until

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
RECIPE = {
    "version": 1,
    "precision": "fp32",
    "workspace_bytes": 32 << 20,
    "batch": None,
    "version_compatible": False,
    "allow_tf32": False,
    "timing_cache": True,
    "min_tensorrt": "8.0",
    "needs": {},
    "unsupported": [],
}


@pytest.fixture
def board(agent, fake_cuda, tmp_path):
    """A function that runs `edge-bench build` on a board with a driver and a TensorRT of this release."""

    def build(*arguments, **options):
        release, mode = options.pop("release", "8.6"), options.pop("mode", "")
        environment = {
            "LD_LIBRARY_PATH": fake_cuda if options.pop("driver", True) else "",
            "FAKE_TENSORRT": mode,
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C",
            "FAKE_TRTEXEC_MODE": options.pop("trtexec_mode", ""),
        }
        environment.update(options.pop("environment", {}))
        path = [fakes.tensorrt_path(release)] if release else []
        start = agent.start if options.pop("start", False) else agent.run
        return start("build", *arguments, environment=environment, path=path, **options)

    build.cache = str(tmp_path / "cache" / "edge-bench" / "engines")
    return build


def bundle(maker, **recipe):
    manifest = maker.manifest(maker.files())
    manifest["engine_recipe"] = dict(RECIPE, **recipe)
    return maker.folder(manifest=manifest)


def plan(result):
    with open(result["engine"], "rb") as stream:
        return json.loads(stream.read().decode())


def test_an_engine_is_built_by_the_recipe_and_found_the_second_time(board, maker):
    path = bundle(maker)
    first = board(path, "--json")
    assert first.code == 0, first.err
    result = json.loads(first.out)
    assert result["built"] is True and result["engine"] == os.path.join(board.cache, result["key"], "model.engine")
    assert sidecar.open_engine(os.path.dirname(result["engine"]))[0] == result["sidecar"]
    assert list(plan(result)["pools"].values()) == [32 << 20] and plan(result)["cached"] is True
    for step in ("asking the NVIDIA driver", "parsing", "building", "writing", "built in", "log: " + result["log"]):
        assert step in first.err
    assert os.path.isfile(result["log"])
    second = json.loads(board(path, "--json").out)
    assert second["built"] is False and second["log"] is None and second["sidecar"] == result["sidecar"]
    third = json.loads(board(path, "--json", "--force").out)
    assert third["built"] is True and third["key"] == result["key"]


def test_what_a_person_reads(board, maker):
    result = board(bundle(maker))
    assert result.code == 0
    for words in ("engine       /", "TensorRT     8.6.0, by python", "for          Orin, sm_87", "precision    fp32",
                  "built        now, in ", "log          /"):  # fmt: skip
        assert words in result.out
    result.out.encode("ascii")


def test_a_damaged_engine_is_built_again_and_that_is_said(board, maker):
    path = bundle(maker)
    engine = json.loads(board(path, "--json").out)["engine"]
    with open(engine, "ab") as stream:
        stream.write(b"x")
    again = board(path, "--json")
    assert json.loads(again.out)["built"] is True
    assert "built again: " in again.err and "not the engine that model.engine.json describes" in again.err


def test_into_a_folder(board, maker, agent):
    path = bundle(maker)
    result = json.loads(board(path, "--json", "--out", "here").out)
    assert result["engine"] == agent.path(os.path.join("here", "model.engine"))
    assert sorted(os.listdir(agent.path("here"))) == ["model.engine", "model.engine.json"]
    other = json.loads(board(path, "--json", "--out", "here", "--workspace-mib", "8").out)
    assert other["built"] is True and plan(other)["pools"] == {"WORKSPACE": 8 << 20}
    kept = json.loads(board(path, "--json", "--cache", "kept").out)
    assert kept["engine"].startswith(agent.path("kept"))


def test_an_onnx_file(board):
    result = json.loads(board(os.path.join(DATA, "qdq.onnx"), "--precision", "int8", "--json").out)
    assert result["sidecar"]["precision"] == "int8"
    assert result["sidecar"]["inputs"] == [{"name": "input", "dtype": "float32", "shape": [1, 4]}]
    dynamic = os.path.join(DATA, "dynamic_batch.onnx")
    refused = board(dynamic)
    assert refused.code == 1 and "batch of any size; say its smallest, usual and largest" in refused.err
    result = json.loads(board(dynamic, "--batch", "1,4,16", "--json").out)
    assert result["sidecar"]["settings"]["batch"] == [1, 4, 16]


def test_without_a_driver_or_tensorrt_it_says_so(board, maker):
    path = bundle(maker)
    result = board(path, driver=False)
    assert result.code == 1 and "no engine can be built here: no NVIDIA driver here" in result.err
    result = board(path, mode="no-import")
    assert result.code == 1
    assert "libnvinfer.so.8" in result.err and "sudo apt-get install python3-libnvinfer" in result.err
    assert "Traceback" not in result.err
    assert not os.path.exists(board.cache)


def test_a_network_that_this_release_cannot_read_is_refused_before_the_build(board, maker):
    path = bundle(maker, min_tensorrt="8.6", needs={"LayerNormalization": "8.6"})
    result = board(path, release="8.2")
    assert result.code == 1 and "the network needs TensorRT 8.6 (LayerNormalization), this board has 8.2" in result.err


def test_a_bundle_without_a_recipe_is_built_at_its_precision(board, maker):
    assert json.loads(board(maker.folder(), "--json").out)["sidecar"]["precision"] == "fp32"


@pytest.mark.parametrize(
    "mode, words",
    [("crash", "ended the build with signal 11")],
)
def test_a_build_that_fails_names_its_log(board, maker, mode, words):
    result = board(bundle(maker), mode=mode)
    assert result.code == 1 and words in result.err and "; its log: " in result.err
    assert os.path.isfile(result.err.strip().rpartition("its log: ")[2])


def wait_for_hang(board):
    """The process number that a build that hangs has written into its log."""
    logs = os.path.join(board.cache, "logs")

    def numbers():
        for name in os.listdir(logs) if os.path.isdir(logs) else []:
            with open(os.path.join(logs, name), encoding="utf-8") as stream:
                found = re.search("hangs as process ([0-9]+)\n", stream.read())
            if found:
                yield int(found.group(1))

    wait_until(lambda: any(numbers()), "a build that hangs")
    return next(numbers())


@pytest.mark.parametrize("way", ["python", "trtexec"])
def test_a_kill_takes_the_build_along_and_the_next_one_clears_up(board, maker, agent, tmp_path, way):
    by_program = {"release": None, "environment": {"PATH": str(tmp_path / "bin") + ":/usr/bin:/bin"}}
    options = by_program if way == "trtexec" else {}
    fakes.write_trtexec(tmp_path / "bin")
    path = bundle(maker)
    child = board(path, "--json", start=True, mode="hang", trtexec_mode="hangs", **options)
    number = wait_for_hang(board)
    child.kill()
    assert agent.finish(child).code == -signal.SIGKILL
    wait_until(lambda: has_ended(number))
    left = [name for name in os.listdir(board.cache) if name.startswith(".building-")]
    assert len(left) == 1
    result = board(path, "--json", **options)
    assert result.code == 0, result.err
    assert not [name for name in os.listdir(board.cache) if name.startswith(".")]


def test_an_interrupt_leaves_no_engine(board, maker, agent):
    child = board(bundle(maker), mode="hang", start=True)
    wait_for_hang(board)
    child.send_signal(signal.SIGTERM)
    result = agent.finish(child)
    assert result.code == 130 and "interrupted" in result.err
    assert os.listdir(board.cache) == ["logs"]


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["nowhere.onnx"], 1, "no such file or folder"),
        (["--batch", "4,2,1", "x.onnx"], 2, "not one size, nor smallest,usual,largest"),
    ],
)
def test_mistakes_are_told_in_one_line(board, arguments, code, words):
    result = board(*arguments)
    assert result.code == code and words in result.err and "Traceback" not in result.err


def test_nothing_is_put_into_the_bundle(board, maker):
    path = bundle(maker)
    result = board(path, "--out", os.path.join(path, "engine"))
    assert result.code == 1 and "--out" in result.err and "lies in" in result.err
    assert not os.path.exists(os.path.join(path, "engine"))


def test_a_precision_is_the_bundles_own_matter(board, maker):
    result = board(bundle(maker), "--precision", "fp16")
    assert result.code == 2 and "a bundle says its precision itself" in result.err


def test_a_file_that_is_no_onnx(board, agent):
    with open(agent.path("x.onnx"), "wb") as stream:
        stream.write(b"no ONNX")
    result = board("x.onnx")
    assert result.code == 1 and "not an ONNX file" in result.err


@pytest.mark.parametrize("text, sizes", [("8", (8, 8, 8)), ("1,4,16", (1, 4, 16))])
def test_batches(text, sizes):
    assert batch_sizes(text) == sizes

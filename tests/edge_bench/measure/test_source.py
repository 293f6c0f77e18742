"""What can be measured, and what is known of it before anything runs."""

import hashlib
import json
import struct

import pytest

from edge_bench import schema
from edge_bench.errors import BackendError, BundleError, EdgeBenchError
from edge_bench.measure.source import open_command, open_source, random_inputs

TENSOR = {"name": "x", "dtype": "float32", "shape": [1, 3]}


def test_a_bundle_brings_its_reference(maker):
    source = open_source(maker.folder())
    assert source.kind == "bundle"
    assert [tensor["name"] for tensor in source.inputs + source.outputs] == ["input", "logits"]
    assert source.read(source.cases[0].inputs[0]) == maker.files()["reference/input.bin"]
    assert source.read_model() == maker.files()["model.onnx"]
    assert (source.atol, source.rtol) == (1e-5, 1e-4)


def test_an_onnx_file_is_known_by_its_hash(maker):
    path = maker.write(maker.path("tiny.onnx"), maker.files()["model.onnx"])
    source = open_source(path)
    assert (source.kind, source.cases, source.inputs) == ("onnx", [], [])
    assert source.summary["id"] == hashlib.sha256(maker.files()["model.onnx"]).hexdigest()
    assert source.summary["role"] == "onnx file"
    maker.write(path, b"another")
    with pytest.raises(BackendError, match="changed while it was opened"):
        source.read_model()


def sidecar(content):
    return {
        "schema": "edge-dendrite.engine",
        "version": 1,
        "tensorrt_version": "8.2.1",
        "gpu": {"name": "NVIDIA Tegra X1", "compute_capability": "5.3"},
        "platform": "linux-aarch64",
        "precision": "fp16",
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_bytes": len(content),
        "onnx_sha256": "0" * 64,
        "inputs": [TENSOR],
        "outputs": [dict(TENSOR, name="y")],
        "version_compatible": False,
        "settings": {},
        "built_with": {},
    }


def test_an_engine_with_its_sidecar(maker):
    path = maker.write(maker.path("model.engine"), b"plan")
    maker.write(path + ".json", json.dumps(sidecar(b"plan")).encode())
    source = open_source(path)
    assert source.kind == "engine"
    assert (source.inputs, source.outputs[0]["name"]) == ([TENSOR], "y")
    assert source.summary["id"] == hashlib.sha256(b"plan").hexdigest()


def test_an_engine_of_trtexec_has_none(maker):
    source = open_source(maker.write(maker.path("model.engine"), b"plan"))
    assert (source.kind, source.inputs) == ("engine", [])


def test_an_engine_that_is_not_its_sidecars_is_refused(maker):
    path = maker.write(maker.path("model.engine"), b"plan")
    maker.write(path + ".json", json.dumps(sidecar(b"nalp")).encode())
    with pytest.raises(BundleError, match="not the engine that"):
        open_source(path)


@pytest.mark.parametrize("name", ["missing", "missing.onnx", "missing.engine"])
def test_what_is_not_there_is_said(tmp_path, name):
    with pytest.raises(BundleError, match=name):
        open_source(str(tmp_path / name))


def test_a_command_is_split_and_never_given_to_a_shell():
    source = open_command("python3 -c 'print(1); x' \"a b\" $HOME *")
    assert source.words == ["python3", "-c", "print(1); x", "a b", "$HOME", "*"]
    assert source.kind == "command" and source.summary["name"] == "python3"
    assert open_command("python3 -c y").summary["id"] != source.summary["id"]


@pytest.mark.parametrize("text", ["", "   ", "a 'b"])
def test_what_is_no_command_is_refused(text):
    with pytest.raises(EdgeBenchError, match="--cmd"):
        open_command(text)


def test_made_up_inputs_are_the_same_every_time():
    (first,), (second,) = random_inputs([TENSOR]), random_inputs([TENSOR])
    values = struct.unpack("<3f", first)
    assert first == second and len(set(values)) == 3
    assert all(-1.0 <= value < 1.0 for value in values)


def test_made_up_inputs_are_those_of_one_example():
    tensor = dict(TENSOR, shape=[-1, 3])
    assert len(random_inputs([tensor])[0]) == 12
    assert random_inputs([dict(TENSOR, dtype="int64")]) == [bytes(24)]


@pytest.mark.parametrize("changes", [{"shape": [1, -1]}, {"dtype": "tensor(float16)"}, {"shape": [1 << 30, 1 << 30]}])
def test_inputs_that_cannot_be_made_up_say_what_to_do(changes):
    with pytest.raises(BackendError, match="edge-dendrite export"):
        random_inputs([dict(TENSOR, **changes)])


def test_every_source_gives_what_a_measurement_must_hold(maker, measurement):
    onnx = maker.write(maker.path("tiny.onnx"), maker.files()["model.onnx"])
    for source in (open_source(maker.folder()), open_source(onnx), open_command("true")):
        assert schema.measurement_problem(dict(measurement, bundle=source.summary)) == ""

"""ONNX files and inputs that no exporter of ours writes: each is refused in words, or bundled as what it is."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edge_dendrite.config import ExportConfig, PrecisionConfig
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.export.from_file import export_file, read_inputs

VECTOR = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
RESULT = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
WEIGHT = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])


@pytest.fixture
def written(tmp_path):
    """A function that writes a file of these nodes and gives its path."""

    def write(nodes, inputs=(VECTOR,), outputs=(RESULT,), weights=(WEIGHT,), domains=(), functions=()):
        graph = helper.make_graph(nodes, "g", list(inputs), list(outputs), list(weights))
        opsets = [helper.make_opsetid("", 13), *(helper.make_opsetid(one, 1) for one in domains)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=7, functions=list(functions))
        place = tmp_path / "given.onnx"
        place.write_bytes(model.SerializeToString())
        return place

    return write


@pytest.mark.parametrize(
    "nodes, weights, message",
    [
        ([helper.make_node("RandomNormalLike", ["x"], ["y"])], [], "differs from run to run"),
        ([helper.make_node("Div", ["x", "z"], ["y"])], [("z", np.zeros((1, 4), np.float32))], "y is not finite"),
        (
            [helper.make_node("Gather", ["w", "at"], ["y"])],
            [("at", np.array([9]))],
            "cannot run the file on its inputs",
        ),
    ],
)
def test_a_file_by_which_no_board_could_be_checked_is_refused(nodes, weights, message, written, tmp_path):
    made = [numpy_helper.from_array(array, name) for name, array in weights]
    with pytest.raises(ExportError, match=message):
        export_file(written(nodes, weights=[WEIGHT, *made]), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_an_output_of_another_shape_than_the_file_says_is_named(written, tmp_path):
    wrong = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])
    with pytest.raises(ExportError, match=r"y has shape \(1, 5\), and gives \(1, 4\)"):
        export_file(written([PRODUCT], outputs=[wrong]), tmp_path / "b")


@pytest.mark.parametrize("target", ["jetson-nano", "jetson-agx-orin"])
def test_an_operator_of_another_domain_is_refused_for_tensorrt(target, written, tmp_path):
    file = written([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")], domains=["com.microsoft"])
    with pytest.raises(ExportError, match="com.microsoft"):
        export_file(file, tmp_path / "b", ExportConfig(target=target))
    bundle = export_file(file, tmp_path / "b", ExportConfig(target="generic-arm64"))
    assert bundle.manifest["engine_recipe"]["unsupported"] == ["com.microsoft.Gelu"]


def test_a_domain_that_is_named_and_not_used_is_no_reason_against_fp16(written, tmp_path):
    config = ExportConfig(precision=PrecisionConfig("fp16", timing_s=0.05))
    bundle = export_file(written([PRODUCT], domains=["com.microsoft"]), tmp_path / "b", config)
    assert bundle.manifest["model"]["precision"] == "fp16"


def test_inputs_too_large_to_make_are_refused(written, tmp_path):
    huge = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1 << 20, 1 << 20])
    mean = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1])
    file = written([helper.make_node("ReduceMean", ["x"], ["y"])], [huge], [mean], [])
    with pytest.raises(ExportError, match="x has 1,099,511,627,776 values"):
        export_file(file, tmp_path / "b")


def test_too_many_samples_for_a_bundle_are_said_before_it_is_made(written, tmp_path):
    with pytest.raises(ExportError, match=r"3000 samples .* more than 4096 files; give fewer"):
        export_file(written([PRODUCT]), tmp_path / "b", inputs=np.ones((3000, 4), np.float32))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(make, tmp_path):
    make(tmp_path / "x.onnx")
    with pytest.raises(ExportError, match="a folder or a device"):
        export_file(tmp_path / "x.onnx", tmp_path / "b")


def test_inputs_mean_the_same_in_any_byte_order_and_with_a_batch_of_one(written, tmp_path):
    file, array = written([PRODUCT]), np.arange(8, dtype=np.float32).reshape(2, 4)
    forms = [array, array.astype(">f4"), np.asfortranarray(array), array[:, None]]
    ids = {export_file(file, tmp_path / f"b{at}", inputs=one).id for at, one in enumerate(forms)}
    assert len(ids) == 1


def archive(place, content, name="x.npy"):
    with zipfile.ZipFile(place, "w") as made:
        made.writestr(name, content)
    return place


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_damaged_archives_are_one_error(tmp_path):
    good = npy(np.ones((2, 4), np.float32))
    claims = good.replace(b"(2, 4)", b"(9000000000000, 4)").replace(b" " * 12, b"", 1)
    claims = claims[:8] + (len(claims) - 10 - 32).to_bytes(2, "little") + claims[10:]
    for content, name in ((b"hello", "x.npy"), (b"hello", "x.txt"), (claims, "x.npy")):
        with pytest.raises(ConfigError, match="cannot be read as inputs"):
            read_inputs(archive(tmp_path / "a.npz", content, name))
    place = archive(tmp_path / "a.npz", good)
    whole = place.read_bytes()
    central = whole.find(b"PK\x01\x02")
    for local, entry, value in ((8, 10, 99), (6, 8, 1)):  # an unknown kind of compression; a password
        broken = bytearray(whole)
        broken[local] = broken[central + entry] = value
        place.write_bytes(bytes(broken))
        with pytest.raises(ConfigError, match="cannot be read as inputs"):
            read_inputs(place)


def test_a_local_function_is_part_of_the_file(written, tmp_path):
    opsets = [helper.make_opsetid("", 13)]
    twice = helper.make_function("local", "Twice", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opsets)
    node = helper.make_node("Twice", ["x"], ["y"], domain="local")
    file = written([node], domains=["local"], functions=[twice])
    model = onnx.load(file)
    model.ir_version = 8
    onnx.save(model, file)
    with pytest.raises(ExportError, match="domain 'local' is no part of ONNX"):
        export_file(file, tmp_path / "b", ExportConfig(target="jetson-agx-orin"))
    assert export_file(file, tmp_path / "b").manifest["model"]["outputs"][0]["shape"] == [1, 4]


def test_arguments_of_another_kind_are_refused_in_words(written, tmp_path):
    file = written([PRODUCT])
    for change in ({"config": {"opset": 13}}, {"data": "digits"}, {"labels": "abc"}, {"labels": [1]}):
        with pytest.raises(ConfigError, match="needed, not"):
            export_file(file, tmp_path / "b", **change)
    with pytest.raises(ConfigError, match="a CompressedModel is exported, not a Linear"):
        export_bundle(torch.nn.Linear(4, 4), tmp_path / "b")


def test_inputs_may_be_tensors_and_lists_that_fit(written, tmp_path):
    file, array = written([PRODUCT]), np.arange(8, dtype=np.float32).reshape(2, 4)
    ids = [export_file(file, tmp_path / "a", inputs=array).id]
    ids.append(export_file(file, tmp_path / "t", inputs=torch.from_numpy(array)).id)
    assert ids[0] == ids[1]
    with pytest.raises(ExportError, match="float64 .* do not fit"):
        export_file(file, tmp_path / "l", inputs=array.tolist())


@pytest.mark.parametrize("program", ["edge_dendrite.export.session", "edge_bench.backends.onnxrt"])
def test_the_runtime_keeps_no_number_of_this_machine(program, written, tmp_path):
    """It would send it: no file of it in an empty home means that its events are off."""
    opened = {
        "edge_dendrite.export.session": "session.open_session(content)",
        "edge_bench.backends.onnxrt": "session.OnnxRuntimeBackend(content, 1)",
    }
    code = f"import {program} as session\ncontent = open({str(written([PRODUCT]))!r}, 'rb').read()\n{opened[program]}"
    home = tmp_path / "home"
    home.mkdir()
    keep = {key: value for key, value in os.environ.items() if key not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    done = subprocess.run([sys.executable, "-c", code], env={**keep, "HOME": str(home)}, check=False, timeout=120)
    assert done.returncode == 0
    assert [str(one) for one in home.rglob("*") if one.is_file()] == []

"""Recipes of real exports, and bundles with an engine. TensorRT is a fake in a child process: none of it on a GPU."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from edge_bench.engine import sidecar
from edge_bench.engine.recipe import PRECISIONS, settings_of
from edge_dendrite.boards import load_board
from edge_dendrite.config import FILE_PRECISIONS, EngineConfig, ExportConfig
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.export.bundle_files import Bundle
from edge_dendrite.export.from_file import export_file
from edge_dendrite.export.onnx import check_onnx, export_onnx
from edge_dendrite.export.tensorrt import build_recipe, find_build


def recipe_of(module, shape, opset, config=None):
    made = build_recipe(export_onnx(module.eval(), shape, opset), config or EngineConfig())
    settings_of(made)  # the board's reader takes it
    return made


class Causal(nn.Module):
    def forward(self, x):
        return x + torch.tril(torch.ones_like(x))


def test_a_plain_convnet_at_opset_13_builds_everywhere(bundle13):
    made = bundle13.manifest["engine_recipe"]
    assert made == {
        "version": 1,
        "precision": "fp32",
        "workspace_bytes": None,
        "batch": None,
        "version_compatible": False,
        "allow_tf32": False,
        "timing_cache": True,
        "min_tensorrt": "8.0",
        "needs": {},
        "unsupported": [],
    }


@pytest.mark.parametrize(
    "module, shape, opset, needs, least",
    [
        (nn.LayerNorm(8), (3, 8), 17, {"LayerNormalization": "8.6", "opset 17": "8.4"}, "8.6"),
        (nn.LayerNorm(8), (3, 8), 13, {}, "8.0"),  # written out as simpler operators
        (Causal(), (4, 4), 17, {"Trilu": "8.5", "opset 17": "8.4"}, "8.5"),
        (nn.ReLU(), (3,), 20, {"opset 20": "10.0"}, "10.0"),
        (nn.ReLU(), (3,), 23, {"opset 23": "10.15"}, "10.15"),
    ],
)
def test_operators_and_opset_say_the_oldest_release(module, shape, opset, needs, least):
    made = recipe_of(module, shape, opset)
    assert made["needs"] == needs
    assert made["min_tensorrt"] == least


def quantized(zero_point: int, operator: str = "QuantizeLinear"):
    points = [numpy_helper.from_array(np.float32(0.1), "scale"), numpy_helper.from_array(np.int8(zero_point), "zero")]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "quantized", tensors[:1], tensors[1:], initializer=points)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def test_precision_and_zero_points_are_those_of_the_file():
    symmetric = build_recipe(check_onnx(quantized(0)), EngineConfig())
    assert symmetric["precision"] == "int8" and symmetric["unsupported"] == []
    shifted = build_recipe(check_onnx(quantized(3)), EngineConfig())
    assert shifted["unsupported"] == [
        "DequantizeLinear with a zero point that is not 0",
        "QuantizeLinear with a zero point that is not 0",
    ]


def test_operators_that_no_release_reads_are_named_also_inside_of_branches():
    inner = [helper.make_node("Unique", ["x"], ["then"])]
    other = [helper.make_node("Identity", ["x"], ["else"])]
    graphs = [
        helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])
        for name, nodes in (("then", inner), ("else", other))
    ]
    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.bool_(True))),
        helper.make_node("If", ["yes"], ["y"], then_branch=graphs[0], else_branch=graphs[1]),
    ]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    model = helper.make_model(
        helper.make_graph(nodes, "g", tensors[:1], tensors[1:]), opset_imports=[helper.make_opsetid("", 13)]
    )
    assert build_recipe(check_onnx(model.SerializeToString()), EngineConfig())["unsupported"] == ["Unique"]


def test_host_and_agent_know_the_same_precisions():
    assert PRECISIONS == FILE_PRECISIONS


def test_settings_of_the_user_reach_the_recipe():
    config = EngineConfig(batch=(1, 4, 16), workspace_bytes=1 << 28, version_compatible=True, allow_tf32=True)
    settings = settings_of(recipe_of(nn.ReLU(), (3,), 17, config))
    assert settings._replace(timeout_s=0.0) == ("fp32", 1 << 28, (1, 4, 16), True, True, 0.0)
    assert ExportConfig.from_dict(ExportConfig(engine=config).to_dict()) == ExportConfig(engine=config)


@pytest.mark.parametrize("batch", [(1, 2), (0, 1, 1), (2, 1, 4), (1, 1, 70_000), (1, 1, 1.0), [1, 1, 1], "abc"])
def test_a_batch_that_makes_no_profile_is_refused(batch):
    with pytest.raises(ConfigError, match="batch must be three whole numbers"):
        EngineConfig(batch=batch)


def test_without_a_driver_there_is_no_build_but_a_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    (tmp_path / "libcuda.so.1").write_bytes(b"no library")
    build, reason = find_build(tmp_path / "log")
    assert build is None
    assert "no NVIDIA driver here" in reason


def test_no_engine_is_built_here_for_a_board_with_another_gpu(with_tensorrt, tmp_path):
    """The stand-in of a driver has an Orin, 8.7."""
    with_tensorrt("8.6")
    assert find_build(tmp_path / "log", board=load_board("jetson-orin-nano@5.1"))[0] is not None
    build, reason = find_build(tmp_path / "log", board=load_board("jetson-nano"))
    assert build is None
    assert reason == "an engine of this GPU (8.7) does not load on jetson-nano (5.3)"


@pytest.mark.parametrize("release", ["8.2", "8.6", "10.3"])
def test_a_bundle_with_an_engine(saved_baseline, with_tensorrt, tmp_path, release):
    with_tensorrt(release)
    said = []
    build, reason = find_build(tmp_path / "b.engine.log", tmp_path / "timing.cache", said.append)
    assert reason == ""
    bundle = export_bundle(saved_baseline, tmp_path / "b", ExportConfig(opset=13), engine=build)
    assert {"model.engine", "model.engine.json"} <= set(bundle.manifest["files"])
    described, path = sidecar.open_engine(str(tmp_path / "b"))
    assert described["onnx_sha256"] == bundle.manifest["files"]["model.onnx"]["sha256"]
    assert described["sha256"] == bundle.manifest["files"]["model.engine"]["sha256"]
    assert described["inputs"] == bundle.manifest["model"]["inputs"]
    assert described["outputs"] == bundle.manifest["model"]["outputs"]
    assert "building" in said
    assert (tmp_path / "timing.cache").exists()
    assert bundle.write_tar(tmp_path / "b.tar").is_file() and Bundle.read(tmp_path / "b.tar").id == bundle.id
    # One changed byte of the engine is found by the bundle's own check.
    content = bytearray((tmp_path / "b/model.engine").read_bytes())
    content[0] ^= 1
    (tmp_path / "b/model.engine").write_bytes(bytes(content))
    with pytest.raises(ExportError, match=r"model\.engine"):
        Bundle.read(tmp_path / "b")


def test_an_engine_for_batches_is_of_the_bundles_own_file(saved_baseline, digits, with_tensorrt, tmp_path):
    with_tensorrt("8.6")
    build, _ = find_build(tmp_path / "b.engine.log")
    config = ExportConfig(opset=13, engine=EngineConfig(batch=(1, 4, 16)))
    bundle = export_bundle(saved_baseline, tmp_path / "b", config, data=digits, engine=build)
    described, path = sidecar.open_engine(str(tmp_path / "b"))
    with open(path) as stream:
        assert json.load(stream)["profiles"] == [{"input": [[n, 1, 8, 8] for n in (1, 4, 16)]}]
    assert described["inputs"][0]["shape"] == [-1, 1, 8, 8]
    # The bundle is measured with one input at a time, as any other.
    assert bundle.manifest["model"]["inputs"][0]["shape"] == [1, 1, 8, 8]
    assert bundle.manifest["accuracy"]["value"] > 0.8
    shape = onnx.load(str(tmp_path / "b/model.onnx")).graph.input[0].type.tensor_type.shape
    assert shape.dim[0].dim_param == "batch"


def test_a_users_own_file_gets_its_engine_too(bundle13, with_tensorrt, tmp_path):
    with_tensorrt("10.3")
    build, _ = find_build(tmp_path / "b.engine.log")
    export_file(bundle13.path / "model.onnx", tmp_path / "b", engine=build)
    described, _ = sidecar.open_engine(str(tmp_path / "b"))
    assert described["tensorrt_version"] == "10.3.0"


@pytest.mark.parametrize(
    "release, mode, opset, words",
    [
        ("8.6", "crash", 13, "ended the build with signal 11"),
        ("8.6", "no-plan", 13, "could not build the network"),
        ("8.2", "", 17, r"the network needs TensorRT 8\.4 \(opset 17\), this board has 8\.2\.1"),
    ],
)
def test_where_the_engine_fails_no_bundle_is_left(saved_baseline, with_tensorrt, tmp_path, release, mode, opset, words):
    with_tensorrt(release, mode)
    build, _ = find_build(tmp_path / "b.engine.log")
    with pytest.raises(ExportError, match=words):
        export_bundle(saved_baseline, tmp_path / "b", ExportConfig(opset=opset), engine=build)
    assert {path.name for path in tmp_path.iterdir()} <= {"b.engine.log"}

"""The board's side on the software of JetPack 4.6: Python 3.6 with onnxruntime 1.10, really run."""

from __future__ import annotations

import json
import subprocess

import pytest
import zoo
from onnx import TensorProto, helper

from edge_dendrite.boards import load_board
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig, PrecisionConfig
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.ship.agent import build_agent
from parts import ROOT

pytestmark = pytest.mark.needs("python3.6 + onnxruntime 1.10")


def run(*command, **options):
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600, **options)


def test_the_one_file_measures_a_bundle_that_was_copied_over(python36, bundle13, tmp_path):
    build_agent(tmp_path / "edge-bench.pyz")
    bundle13.write_tar(tmp_path / "b.tar")
    result = run(
        python36, "edge-bench.pyz", "run", "b.tar", "--runs", 700, "--max-other-load", 1000, "--output", "m.json",
        cwd=tmp_path, env={"LC_ALL": "C"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "m.json").read_text())
    assert record["agent"]["python"].startswith("3.6.")
    assert record["backend"]["version"] == "1.10.0"
    assert record["check"]["passed"] is True
    assert record["latency"]["summary"]["p99_s"] >= record["latency"]["summary"]["median_s"] > 0
    shown = run(python36, "edge-bench.pyz", "show", "m.json", cwd=tmp_path)
    assert shown.returncode == 0
    assert "onnxruntime 1.10.0" in shown.stdout


# What the agent does before it times anything, for many bundles in one process.
CHECK = """
import sys
from edge_bench.bundle import open_bundle
from edge_bench.backends.onnxrt import OnnxRuntimeBackend
from edge_bench.backends.tensors import to_numbers
from edge_bench.measure.check import compare_outputs

for path in sys.argv[1:]:
    bundle = open_bundle(path)
    model, reference = bundle.manifest["model"], bundle.manifest["reference"]
    backend = OnnxRuntimeBackend(bundle.read(model["path"]), 1)
    backend.bind(model["inputs"], model["outputs"])
    for case in reference["cases"]:
        backend.set_inputs([bundle.read(name) for name in case["inputs"]])
        backend.infer()
        for output, name, tensor in zip(backend.read_outputs(), case["outputs"], model["outputs"]):
            expected = to_numbers(bundle.read(name), tensor["dtype"])
            error, close = compare_outputs(output, expected, reference["atol"], reference["rtol"])
            assert close, "%s: %g" % (path, error)
    print(path, model["opset"], model["ir_version"])
"""


def test_what_is_exported_for_the_nano_loads_there_and_agrees(python36, tmp_path):
    """Recurrent layers, attention, layer norms and gates, at the opset and IR version that the target gives them."""
    paths = []
    for name in ("plain CNN", "GRU", "LSTM stacked bidirectional", "ViT with fused qkv", "ConvNeXt", "GroupNorm"):
        network = zoo.NETWORKS[name]
        (sample,) = network.sample(1)
        model = CompressedModel(network.build(), name, name, "as given", tuple(sample.shape[1:]))
        for precision in ("fp32", "fp16"):
            paths.append(tmp_path / f"{len(paths)}")
            config = ExportConfig(target="jetson-nano", precision=PrecisionConfig(precision=precision))
            export_bundle(model, paths[-1], config)
    made = run(python36, "-B", "-c", CHECK, *paths, env={"PYTHONPATH": str(ROOT / "deploy"), "LC_ALL": "C"})
    assert made.returncode == 0, made.stderr
    versions = [tuple(map(int, line.split()[-2:])) for line in made.stdout.splitlines()]
    assert len(versions) == len(paths) and all(opset == 13 and ir <= 8 for opset, ir in versions)


@pytest.mark.parametrize(("opset", "ir", "loads"), [(15, 8, True), (16, 8, False), (13, 9, False)])
def test_the_limits_of_the_profile_are_those_of_the_runtime(python36, opset, ir, loads, tmp_path):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    code = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"
    assert (run(python36, "-c", code, tmp_path / "m.onnx").returncode == 0) is loads
    figures = load_board("jetson-nano").figures
    assert ir <= figures["max_ir_version"]["value"] or not loads


def test_opset_17_is_refused_there_in_one_line(python36, saved_baseline, tmp_path):
    build_agent(tmp_path / "edge-bench.pyz")
    bundle = export_bundle(saved_baseline, tmp_path / "b17", ExportConfig(opset=17))
    result = run(python36, tmp_path / "edge-bench.pyz", "run", bundle.path, cwd=tmp_path)
    assert result.returncode == 1
    assert "onnxruntime 1.10.0 cannot load the model" in result.stderr
    assert "Traceback" not in result.stderr

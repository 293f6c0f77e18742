from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edge_bench import bundle as reader
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig
from edge_dendrite.errors import ExportError
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.export.bundle_files import Bundle
from edge_dendrite.export.from_file import export_file
from edge_dendrite.train.evaluate import evaluate


def test_the_bundle_says_what_it_holds(bundle13, saved_baseline, digits):
    manifest = bundle13.manifest
    assert manifest["labels"] == [str(number) for number in range(10)]
    assert manifest["preprocessing"] == digits.preprocessing.to_dict()
    assert manifest["model"]["opset"] == 13
    assert manifest["stats"]["num_parameters"] == 13_706
    assert manifest["stats"]["onnx_bytes"] == (bundle13.path / "model.onnx").stat().st_size
    in_torch = evaluate(saved_baseline.module, digits, digits.read_test())
    assert manifest["accuracy"]["num_samples"] == 359
    # Rounding may flip one of the 359 at most, where two logits are equal to the last digits.
    assert abs(manifest["accuracy"]["value"] - in_torch) <= 1 / 359


def test_reference_files_are_what_pytorch_computes(bundle13, saved_baseline):
    for case in bundle13.manifest["reference"]["cases"]:
        inputs = np.frombuffer((bundle13.path / case["inputs"][0]).read_bytes(), "<f4").reshape(1, 1, 8, 8)
        outputs = np.frombuffer((bundle13.path / case["outputs"][0]).read_bytes(), "<f4")
        with torch.no_grad():
            wanted = saved_baseline.module(torch.from_numpy(inputs.copy()))
        assert np.allclose(outputs, wanted.numpy().ravel(), atol=1e-4)


def test_preprocessing_in_the_manifest_is_enough_to_rebuild_an_input(bundle13, digits):
    rules = bundle13.manifest["preprocessing"]
    raw = digits.validation.inputs[0].numpy().astype(np.float32)
    rebuilt = (raw * rules["scale"] - np.float32(rules["mean"])) / np.float32(rules["std"])
    stored = np.frombuffer((bundle13.path / "reference/0_input.bin").read_bytes(), "<f4").reshape(1, 8, 8)
    assert rules["layout"] == "NCHW"
    assert np.allclose(rebuilt, stored, atol=1e-5)


def test_tar_is_the_same_bytes_and_the_same_bundle(bundle13, tmp_path):
    first, second = bundle13.write_tar(tmp_path / "a.tar"), bundle13.write_tar(tmp_path / "b.tar")
    assert first.read_bytes() == second.read_bytes()
    assert Bundle.read(first).id == bundle13.id


def test_one_changed_byte_in_any_file_is_refused_by_name(bundle13, tmp_path):
    for path in sorted(bundle13.path.rglob("*")):
        if path.is_dir():
            continue
        copy = tmp_path / "copy"
        shutil.copytree(bundle13.path, copy)
        name = path.relative_to(bundle13.path).as_posix()
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 0x10
        (copy / name).write_bytes(bytes(content))
        with pytest.raises(ExportError, match="manifest" if name.startswith("manifest") else name):
            Bundle.read(copy)
        shutil.rmtree(copy)


def test_nothing_is_left_where_the_export_failed(tmp_path, saved_baseline, digits):
    class Unsound(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x.flatten(1) * float(self.calls)

    model = CompressedModel(Unsound(), "unsound", "mine:make", "as given", (1, 2, 2))
    with pytest.raises(ExportError, match="differs from PyTorch"):
        export_bundle(model, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_place_is_never_overwritten(bundle13, saved_baseline, tmp_path):
    (tmp_path / "b").write_text("precious")
    with pytest.raises(ExportError, match="exists already"):
        export_bundle(saved_baseline, tmp_path / "b", ExportConfig())
    assert (tmp_path / "b").read_text() == "precious"


def test_without_data_there_is_no_accuracy_rather_than_a_zero(saved_baseline, tmp_path):
    bundle = export_bundle(saved_baseline, tmp_path / "b", ExportConfig(opset=17))
    assert "accuracy" not in bundle.manifest
    assert len(bundle.manifest["reference"]["cases"]) == 4


def test_a_users_own_onnx_file(bundle13, tmp_path):
    bundle = export_file(bundle13.path / "model.onnx", tmp_path / "b")
    assert bundle.manifest["model"]["opset"] == 13
    assert "num_parameters" not in bundle.manifest["stats"]
    for name in ("absent.onnx", "garbage.onnx"):
        (tmp_path / "garbage.onnx").write_bytes(b"garbage")
        with pytest.raises(ExportError):
            export_file(tmp_path / name, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_a_target_has_its_opset_and_is_in_the_manifest(saved_baseline, tmp_path):
    manifest = export_bundle(saved_baseline, tmp_path / "b", ExportConfig(target="jetson-nano")).manifest
    assert (manifest["model"]["opset"], manifest["target"], manifest["notices"]) == (13, "jetson-nano", [])
    with pytest.raises(ExportError, match="opset 17: jetson-nano reads at most opset 13"):
        export_bundle(saved_baseline, tmp_path / "c", ExportConfig(opset=17, target="jetson-nano"))
    assert not (tmp_path / "c").exists()


def test_an_operator_that_a_target_lacks_is_written_at_an_older_opset(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2)).eval()
    model = CompressedModel(module, "norm", "norm", "as given", (4,))
    at = {}
    for target in (None, "jetson-xavier-nx", "jetson-agx-orin"):
        bundle = export_bundle(model, tmp_path / str(target), ExportConfig(target=target))
        graph = onnx.load(bundle.path / "model.onnx").graph
        at[target] = (bundle.manifest["model"]["opset"], "LayerNormalization" in {node.op_type for node in graph.node})
    assert at == {None: (17, True), "jetson-xavier-nx": (16, False), "jetson-agx-orin": (17, True)}
    with pytest.raises(ExportError, match=r"LayerNormalization .*TensorRT 8\.5\.2 .*8\.6 is the first"):
        export_bundle(model, tmp_path / "fixed", ExportConfig(opset=17, target="jetson-xavier-nx"))


def test_a_dynamic_batch_is_compared_at_two_sizes_and_said(saved_baseline, digits, tmp_path):
    bundle = export_bundle(saved_baseline, tmp_path / "b", ExportConfig(dynamic_batch=True), data=digits)
    assert bundle.manifest["model"]["dynamic_batch"] is True
    assert bundle.manifest["parity"]["batches"] == [1, 4]
    assert bundle.manifest["model"]["inputs"][0]["shape"][0] == 1
    session = onnxruntime.InferenceSession(str(bundle.path / "model.onnx"))
    assert session.run(None, {"input": np.zeros((7, 1, 8, 8), np.float32)})[0].shape == (7, 10)


def test_manifest_is_canonical_json(bundle13):
    text = (bundle13.path / reader.MANIFEST).read_text("ascii")
    assert json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n" == text

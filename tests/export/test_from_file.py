"""A user's own ONNX file: what it may be, what it is given, and that the agent runs the bundle."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edge_dendrite.config import EngineConfig, ExportConfig, PrecisionConfig
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.bundle_files import Bundle
from edge_dendrite.export.from_file import export_file, read_inputs
from edge_dendrite.export.onnx import export_onnx


class Answer(nn.Module):
    """Token numbers and a mask in; logits and the best class, a whole number, out."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 6), nn.Linear(6, 3)

    def forward(self, tokens, mask):
        logits = self.head((self.embed(tokens) * mask.unsqueeze(-1)).sum(1))
        return logits, logits.argmax(1)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.manual_seed(0)
    example = {"tokens": torch.zeros(1, 5, dtype=torch.long), "mask": torch.ones(1, 5)}
    path = tmp_path_factory.mktemp("f") / "answer.onnx"
    path.write_bytes(export_onnx(Answer().eval(), example, 13).content)
    return path


@pytest.fixture
def inputs():
    generator = np.random.default_rng(1)
    return {"tokens": generator.integers(0, 11, (3, 5)), "mask": generator.random((3, 5)).astype(np.float32)}


def measured(bundle, tmp_path):
    out = tmp_path / "m.json"
    command = [sys.executable, "-m", "edge_bench", "run", str(bundle.path), "--runs", "5", "--output", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert out.exists(), done.stderr
    return json.loads(out.read_text())


def test_several_tensors_of_several_types_reach_the_agent(file, inputs, tmp_path):
    bundle = export_file(file, tmp_path / "b", inputs=inputs)
    model = bundle.manifest["model"]
    assert [(one["name"], one["dtype"]) for one in model["inputs"]] == [("tokens", "int64"), ("mask", "float32")]
    assert [one["dtype"] for one in model["outputs"]] == ["float32", "int64"]
    first = bundle.manifest["reference"]["cases"][0]
    assert bundle.read_bytes(first["inputs"][0]) == inputs["tokens"][0].astype("<i8").tobytes()
    check = measured(bundle, tmp_path)["check"]
    assert (check["passed"], check["num_cases"], check["max_abs_error"]) == (True, 3, 0.0)


def test_without_inputs_whole_numbers_are_ones_that_every_table_has(file, tmp_path):
    bundle = export_file(file, tmp_path / "b", ExportConfig(num_reference_cases=2))
    tokens = bundle.read_bytes(bundle.manifest["reference"]["cases"][0]["inputs"][0])
    assert set(np.frombuffer(tokens, "<i8")) <= {0, 1}
    assert len(bundle.manifest["reference"]["cases"]) == 2
    assert export_file(file, tmp_path / "c", ExportConfig(num_reference_cases=2)).id == bundle.id


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given.pop("mask"),
        lambda given: given.update(extra=np.zeros((3, 5))),
        lambda given: given.update(tokens=given["tokens"].astype(np.int32)),
        lambda given: given.update(tokens=given["tokens"][:2]),
        lambda given: given.update(mask=given["mask"][:, :4]),
        lambda given: given.update({name: one[:0] for name, one in given.items()}),
        lambda given: given.update(mask=np.float32(1.0)),
    ],
    ids=["missing", "unknown", "type", "count", "shape", "none", "scalar"],
)
def test_inputs_that_do_not_fit_are_refused_with_what_fits(file, inputs, change, tmp_path):
    change(inputs)
    with pytest.raises(ExportError, match=r"tokens int64 \(n, 5,?\), mask float32 \(n, 5,?\)"):
        export_file(file, tmp_path / "b", inputs=inputs)
    assert not (tmp_path / "b").exists()


def test_what_is_for_one_tensor_is_refused_by_flag(file, digits, tmp_path):
    for settings, flag in (
        ({"config": ExportConfig(precision=PrecisionConfig(precision="fp16"))}, "--precision"),
        ({"config": ExportConfig(engine=EngineConfig((1, 2, 4)))}, "--engine-batch"),
        ({"config": ExportConfig(dynamic_batch=True)}, "--dynamic-batch"),
        ({"data": digits}, "--data"),
    ):
        with pytest.raises(ConfigError, match=f"answer.onnx: {flag} is for files with one float32"):
            export_file(file, tmp_path / "b", **settings)
    with pytest.raises(ExportError, match="by name: tokens int64"):
        export_file(file, tmp_path / "b", inputs=np.zeros((3, 5)))


def test_inputs_come_from_an_npz_file_without_pickles(inputs, tmp_path):
    np.savez(tmp_path / "good.npz", **inputs)
    found = read_inputs(tmp_path / "good.npz")
    assert all(np.array_equal(found[name], inputs[name]) for name in inputs)
    np.savez(tmp_path / "pickle.npz", tokens=np.array([{}], dtype=object))
    np.save(tmp_path / "one.npy", inputs["mask"])
    (tmp_path / "garbage.npz").write_bytes(b"PK\x03\x04garbage")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("pickle.npz", "one.npy", "garbage.npz", "empty.npz", "absent.npz"):
        with pytest.raises(ConfigError, match=name):
            read_inputs(tmp_path / name)


def test_a_written_bundle_is_read_again(file, inputs, tmp_path):
    bundle = export_file(file, tmp_path / "b.tar", inputs=inputs)
    assert Bundle.read(tmp_path / "b.tar").id == bundle.id


def test_a_batch_is_left_open_in_a_users_file_and_its_opset_is_kept(bundle13, tmp_path):
    model = bundle13.path / "model.onnx"
    bundle = export_file(model, tmp_path / "b", ExportConfig(dynamic_batch=True))
    assert bundle.manifest["model"]["dynamic_batch"] is True
    shape = onnx.load(bundle.path / "model.onnx").graph.input[0].type.tensor_type.shape
    assert shape.dim[0].dim_param == "batch"
    with pytest.raises(ConfigError, match="keeps opset 13"):
        export_file(model, tmp_path / "c", ExportConfig(opset=17))

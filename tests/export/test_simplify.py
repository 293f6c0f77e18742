"""A simplified file has fewer nodes and the same values, or the one that came is written."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig
from edge_dendrite.export import simplify
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.export.simplify import simplified
from edge_dendrite.export.subgraphs import all_nodes


class Grouped(nn.Module):
    """Reshapes by sizes that the tracer writes out as a dozen nodes on shapes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 4))

    def forward(self, x):
        parts = x.unflatten(1, (6, x.shape[1] // 6))
        return (parts * self.weight).sum(-1).unflatten(-1, (2, -1)).flatten(1)


def inputs(*shape):
    return np.random.default_rng(0).standard_normal((3, *shape), np.float32)


def num_nodes(content):
    return len(list(all_nodes(onnx.load_model_from_string(content).graph)))


@pytest.mark.parametrize("opset", [13, 17])  # from 18 on the exporter folds by itself
def test_constants_are_folded_and_values_stay(opset):
    torch.manual_seed(0)
    made = export_onnx(Grouped().eval(), (24,), opset)
    smaller = simplified(made)
    assert num_nodes(smaller.content) < num_nodes(made.content)
    wanted, seen = (run_onnx(open_session(one.content), inputs(24)) for one in (made, smaller))
    assert np.allclose(seen, wanted, atol=1e-6)
    assert (smaller.ir_version, smaller.opset) == (made.ir_version, opset)


def test_a_dynamic_batch_stays_dynamic():
    made = export_onnx(Grouped().eval(), (24,), 17, dynamic_batch=True)
    session = open_session(simplified(made).content)
    assert session.run(None, {"input": inputs(24)})[0].shape == (3, 6)


def test_a_file_whose_values_would_change_is_written_as_it_came(monkeypatch, tmp_path):
    module = Grouped().eval()

    def wrong(model):
        for one in model.graph.initializer:
            if one.data_type == onnx.TensorProto.FLOAT:
                one.CopyFrom(onnx.numpy_helper.from_array(2.0 * onnx.numpy_helper.to_array(one), one.name))
        return real(model)

    real = simplify.onnxslim.slim
    monkeypatch.setattr(simplify.onnxslim, "slim", wrong)
    made = export_onnx(module, (24,), 17)
    assert simplified(made) is not None
    model = CompressedModel(module, "grouped", "mine", "as given", (24,))
    bundle = export_bundle(model, tmp_path / "b", ExportConfig(opset=17))
    assert num_nodes((tmp_path / "b/model.onnx").read_bytes()) == num_nodes(made.content)
    assert bundle.manifest["parity"]["max_abs_error"] < 1e-4


@pytest.mark.parametrize("broken", [lambda model: 1 / 0, lambda model: onnx.ModelProto()])
def test_a_simplifier_that_fails_costs_nothing(monkeypatch, broken):
    made = export_onnx(Grouped().eval(), (24,), 17)
    monkeypatch.setattr(simplify.onnxslim, "slim", broken)
    assert simplified(made) is None


def test_notes_on_shapes_do_not_count_against_a_small_network():
    """The exporter leaves sizes of attention as nodes that TensorRT 8.2 does not have; folding adds notes on shapes."""
    torch.manual_seed(0)
    network = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    made = export_onnx(network, (8, 8), 13)
    kinds = [
        {node.op_type for node in all_nodes(onnx.load_model_from_string(one.content).graph)}
        for one in (made, simplified(made))
    ]
    assert "Mod" in kinds[0]
    assert "Mod" not in kinds[1]

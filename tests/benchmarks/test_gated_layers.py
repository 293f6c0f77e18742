"""What the benchmark of gates and branches compares; never how long it takes."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import nn

from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.export.subgraphs import all_initializers
from edge_dendrite.models.convnets import ResNet8
from scripts.benchmarks import gated_layers
from scripts.benchmarks.gated_table import table


def test_weights_outside_are_the_same_weights():
    torch.manual_seed(0)
    block = gated_block(nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.ReLU()), 2, 2, 1, 2, 0, 4)
    content = export_onnx(nn.Sequential(block), (2, 6, 6), 17).content
    moved = gated_layers._weights_outside(content)
    graphs = [onnx.load_model_from_string(one).graph for one in (content, moved)]
    assert (
        len(graphs[1].initializer) == len(list(all_initializers(graphs[1]))) == len(list(all_initializers(graphs[0])))
    )
    assert len(graphs[0].initializer) < len(graphs[1].initializer)
    x = np.random.default_rng(0).standard_normal((3, 2, 6, 6)).astype(np.float32)
    assert np.allclose(run_onnx(open_session(content), x), run_onnx(open_session(moved), x), atol=1e-6)


def test_gates_go_the_way_that_the_row_says():
    dense = gated_layers._random(ResNet8())
    x = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        for bias, is_open in ((100.0, True), (-100.0, False)):
            module = gated_layers._gated(dense, bias)
            assert torch.allclose(module(x), dense(x), rtol=1e-4, atol=1e-4) is is_open
            for block in module.blocks:
                assert bool((block.gate(torch.randn(4, block.gate.hidden.in_features)) > 0).all()) is is_open


def test_every_form_of_branches_has_the_shape_of_its_dense_layer():
    for name, _, dense, forms, shape in gated_layers._layers(32):
        x = torch.randn(1, *shape)
        assert {one(x).shape for one in forms.values()} == {dense(x).shape}, name


def test_the_table_leaves_a_cell_empty_that_was_not_measured():
    machine = {"processor": "x", "onnxruntime": "1", "torch": "2", "load_before": 0.1, "load_after": 1.2}
    row = {"dense_median_s": 2e-6, "num_rounds": 20}
    branches = [
        {"case": "a", "width": 1, **row, "ratios": {"one": 0.5}},
        {"case": "b", "width": 2, **row, "ratios": {"one": 0.25, "two": 3.0}},
    ]
    gates = [{"opset": 17, **row, "ratios": {"open": 1.5}}]
    text = table({"machine": machine, "gates": gates, "branches": branches})
    assert "| a, width 1 | 2 | 0.50 |  |" in text
    assert "| b, width 2 | 2 | 0.25 | 3.00 |" in text
    assert "| opset 17 | 2 | 1.50 |" in text
    assert "quiet" in text
    assert "busy" in table({"machine": {**machine, "load_after": 2.0}, "gates": gates, "branches": branches})

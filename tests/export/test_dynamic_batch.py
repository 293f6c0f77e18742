from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.errors import ExportError
from edge_dendrite.export.dynamic_batch import with_any_batch
from edge_dendrite.export.onnx import check_parity, export_onnx
from edge_dendrite.models.convnets import DigitsCNN


class FixedView(nn.Module):
    """A reshape whose sizes the exporter writes down, the batch of 1 among them."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x.reshape(self.sizes))


class OverTheBatch(nn.Module):
    """Runs for any batch, and computes something else for each."""

    def forward(self, x):
        return x - x.mean(dim=0, keepdim=True)


def inputs_for(*shape):
    return np.random.default_rng(0).standard_normal((5, *shape)).astype(np.float32)


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize(
    "make, shape",
    [
        (DigitsCNN, (1, 8, 8)),
        (lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(12), nn.Linear(12, 3)), (3, 4)),
        (lambda: FixedView((-1, 4)), (2, 2)),
    ],
)
def test_any_batch_computes_what_single_inputs_do(make, shape, opset):
    torch.manual_seed(0)
    module = make().eval()
    model = export_onnx(module, shape, opset)
    content = with_any_batch(model, inputs_for(*shape), 16, 1e-5, 1e-4)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for size in (1, 3, 16, 40):
        x = np.random.default_rng(size).standard_normal((size, *shape)).astype(np.float32)
        with torch.no_grad():
            wanted = module(torch.from_numpy(x)).numpy()
        assert np.allclose(session.run(None, {"input": x})[0], wanted, atol=1e-5)
    assert check_parity(model, module, torch.from_numpy(inputs_for(*shape)), 1e-4, 1e-4).max_abs_error < 1e-4


@pytest.mark.parametrize("module", [FixedView((1, 4)), OverTheBatch()])
def test_a_file_that_holds_for_one_input_only_is_refused(module):
    shape = (2, 2) if isinstance(module, FixedView) else (6,)
    model = export_onnx(module.eval(), shape, 13)
    with pytest.raises(ExportError, match="cannot take a batch of 2, it was written for 1"):
        with_any_batch(model, inputs_for(*shape), 8, 1e-5, 1e-4)


def test_gates_decide_for_one_input():
    block = gated_block(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()), 4, 4, 1, 2, 0, 4)
    model = export_onnx(nn.Sequential(nn.Conv2d(2, 4, 1), block).eval(), (2, 6, 6), 13)
    with pytest.raises(ExportError, match="a network with gates decides for one input"):
        with_any_batch(model, inputs_for(2, 6, 6), 8, 1e-5, 1e-4)

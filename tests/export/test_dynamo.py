"""Files of the exporter behind torch.export: what is in them beside the values, which test_gates.py compares."""

from __future__ import annotations

import logging
import os
import warnings

import onnx
import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.errors import ExportError
from edge_dendrite.export.dynamo import export_dynamo
from edge_dendrite.export.onnx import check_onnx, check_parity, export_onnx
from edge_dendrite.models.convnets import DigitsCNN


@pytest.mark.parametrize(("opset", "ir"), [(18, 8), (20, 9), (23, 11)])
def test_a_plain_network_has_the_opset_that_was_asked_for(opset, ir):
    torch.manual_seed(0)
    module = DigitsCNN()
    exported = export_onnx(module, (1, 8, 8), opset)
    assert (exported.opset, exported.ir_version) == (opset, ir)
    assert check_parity(exported, module, 3.0 * torch.randn(4, 1, 8, 8), 1e-5, 1e-5).max_abs_error < 1e-5
    assert module.training


def test_what_this_exporter_cannot_write_never_passes(caplog):
    """It answers 17 by a file of opset 18 and a line in a log."""
    with caplog.at_level(logging.CRITICAL), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = export_dynamo(nn.Sequential(nn.Linear(4, 2), nn.LayerNorm(2)), torch.zeros(1, 4), 13, ("x", "y"))
    with pytest.raises(ExportError, match=r"asked for opset 13, the file has \{'ai.onnx': 18\}"):
        check_onnx(content, 13)


def test_the_file_says_nothing_of_this_machine():
    torch.manual_seed(0)
    block = gated_block(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), 4, 4, 1, 0, 0, 2)
    content = export_onnx(nn.Sequential(block), (4,), 18).content
    folder = os.path.dirname(os.path.dirname(nn.__file__)).encode()
    assert folder not in content
    assert b"Sequential" not in content
    assert not onnx.load_model_from_string(content).functions


def test_the_same_network_gives_the_same_bytes():
    torch.manual_seed(0)
    module = nn.Sequential(gated_block(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), 4, 4, 1, 0, 0, 2))
    first, second = (export_onnx(module, (4,), 18).content for _ in range(2))
    assert first == second


def test_what_cannot_be_exported_is_said_in_one_line_that_names_it():
    class Sorting(nn.Module):
        def forward(self, x):
            return torch.linalg.svd(x)[1]

    with pytest.raises(ExportError, match="cannot be exported at opset 18: .*_linalg_svd") as caught:
        export_onnx(Sorting(), (3, 3), 18)
    assert "\n" not in str(caught.value)


def test_a_decision_by_values_is_refused():
    class ByValue(nn.Module):
        def forward(self, x):
            return x * 2.0 if x.sum() > 0 else x - 1.0

    with pytest.raises(ExportError, match="decides by the values of its input"):
        export_onnx(ByValue(), (4,), 18)

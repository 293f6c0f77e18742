"""How far a board's outputs may be off: of every output, and never so far that anything would pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edge_dendrite.config import PrecisionConfig
from edge_dendrite.errors import ExportError
from edge_dendrite.export.half import to_half
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.quantize import Quantizer
from edge_dendrite.export.session import open_session, run_named
from edge_dendrite.export.tolerance import measure_tolerance


class Ends(nn.Module):
    """Numbers of the size of one, of the size of ten thousand, and a truth value."""

    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        small = self.small(x)
        return small, self.large(x) * 1e4, small > 0


class Scaled(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.linear, self.before, self.after = nn.Linear(16, 4), before, after

    def forward(self, x):
        return self.linear(x * self.before) * self.after


def to_int8(fp32, inputs):
    return Quantizer(fp32, inputs, PrecisionConfig("int8")).quantize().model


def measured(module, make=lambda fp32, inputs: to_half(fp32)):
    torch.manual_seed(0)
    inputs = np.random.default_rng(0).standard_normal((16, 16), np.float32)
    fp32 = export_onnx(module.eval(), (16,), 13)
    half = make(fp32, inputs)
    return measure_tolerance(fp32, half, inputs, 1e-4, 1e-4), fp32, half, inputs


def test_every_output_of_real_numbers_counts():
    tolerance, fp32, half, inputs = measured(Ends())
    sessions = open_session(fp32.content), open_session(half.content)
    error = 0.0
    for one in inputs:
        wanted, seen = (run_named(session, {"input": one[None]}) for session in sessions)
        error = max(error, *(float(np.abs(a - b).max()) for a, b in zip(wanted[:2], seen[:2], strict=True)))
    assert error > 0.1, "the second output is that far off"
    assert tolerance.max_abs_error == pytest.approx(error)
    assert tolerance.atol == pytest.approx(4 * error)
    assert tolerance.share_of_range > 0.1, "said of the first output, for which so much is a lot"


@pytest.mark.filterwarnings("ignore::UserWarning")  # the converter's own, of numbers that it cuts off
def test_what_passes_anything_is_refused():
    with pytest.raises(ExportError, match="no check on a board could tell it from noise|not finite"):
        measured(Scaled(1e6, 1e-6))


def test_a_tolerance_that_no_bundle_carries_is_refused_with_what_to_do():
    with pytest.raises(ExportError, match="a bundle allows less than 1000: let the network give smaller numbers"):
        measured(Scaled(1.0, 1e6), to_int8)

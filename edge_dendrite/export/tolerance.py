"""How far the outputs of an fp16 or int8 file may be from ours on other hardware."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_dendrite.config import FP16
from edge_dendrite.export.onnx import OnnxModel
from edge_dendrite.export.session import open_session, run_onnx


@dataclass(frozen=True)
class Tolerance:
    """max_abs_error: against the fp32 file. kernels_differ: between two ways of ONNX Runtime to compute the same file.

    share_of_range: atol over the range of the fp32 outputs; where it is large, a check on a board says little.
    """

    atol: float
    rtol: float
    max_abs_error: float
    kernels_differ: float
    share_of_range: float

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return asdict(self)


def measure_tolerance(fp32: OnnxModel, model: OnnxModel, inputs: np.ndarray, atol: float, rtol: float) -> Tolerance:
    """From outputs on `inputs` (n, ...).

    Kernels that round otherwise move a value to the next step of its scale, and what follows with it. How much that can
    be is seen here between fused integer kernels and the same graph computed node by node in float. Other hardware may
    differ by more than these two: four times that for int8, but at least the root mean square of the error against
    fp32, since moving a few values does less than rounding all of them did. fp16 is computed in float on most CPUs,
    with weights alone rounded, so a device that also adds in fp16 gets four times our error.
    """
    wanted = run_onnx(open_session(fp32.content), inputs)
    seen = run_onnx(open_session(model.content), inputs)
    plain = run_onnx(open_session(model.content, is_optimized=False), inputs)
    error, kernels = float(np.abs(seen - wanted).max()), float(np.abs(seen - plain).max())
    spread = float(np.sqrt(np.mean((seen.astype(np.float64) - wanted) ** 2)))
    allowed = 4.0 * error if model.precision == FP16 else max(spread, 4.0 * kernels)
    allowed = max(atol, allowed)
    return Tolerance(allowed, rtol, error, kernels, allowed / max(float(np.ptp(wanted)), 1e-30))

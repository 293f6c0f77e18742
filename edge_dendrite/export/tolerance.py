"""How far the outputs of an fp16 or int8 file may be from ours on other hardware."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime

from edge_dendrite.config import FP16
from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import OnnxModel
from edge_dendrite.export.session import open_session, run_named

_MAX_ATOL = 1e3  # edge_bench.manifest reads no larger one


@dataclass(frozen=True)
class Tolerance:
    """max_abs_error: against the fp32 file. kernels_differ: between two ways of ONNX Runtime to compute the same file.

    share_of_range: atol over the range of the fp32 outputs; where it is large, a check on a board says little. Of
    several outputs each is the largest, since one atol is for all of them; those of whole numbers do not count.
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

    Raises ExportError for outputs that are not finite, or so far from those of fp32 that any output would pass.
    """
    sessions = [
        open_session(fp32.content),
        open_session(model.content),
        open_session(model.content, is_optimized=False),
    ]
    allowed, error, kernels, least_range = atol, 0.0, 0.0, np.inf
    for one, *outputs in zip(fp32.outputs, *(_all_outputs(session, inputs) for session in sessions), strict=True):
        if one.dtype != "float32":
            continue
        here = _of_output(one.name, model.precision, *outputs)
        if here[0] > max(atol, here[3]):
            raise ExportError(
                f"{one.name} is up to {here[1]:.3g} off in {model.precision}, and its range is {here[3]:.3g}: no check "
                "on a board could tell it from noise; take another precision, or give the network smaller numbers"
            )
        allowed, error, kernels = max(allowed, here[0]), max(error, here[1]), max(kernels, here[2])
        least_range = min(least_range, here[3])
    if allowed >= _MAX_ATOL:
        raise ExportError(
            f"outputs in {model.precision} may be {allowed:.3g} off, and a bundle allows less than {_MAX_ATOL:g}: let "
            "the network give smaller numbers, in another unit"
        )
    return Tolerance(allowed, rtol, error, kernels, allowed / max(least_range, 1e-30))


def _of_output(
    name: str, precision: str, wanted: np.ndarray, seen: np.ndarray, plain: np.ndarray
) -> tuple[float, float, float, float]:
    """(what is allowed, error, difference of kernels, range of fp32) of one output."""
    if not all(np.isfinite(one).all() for one in (wanted, seen, plain)):
        raise ExportError(
            f"{name} is not finite in {precision}: numbers of the network are too large for it; take fp32"
        )
    error, kernels = float(np.abs(seen - wanted).max()), float(np.abs(seen - plain).max())
    spread = float(np.sqrt(np.mean((seen.astype(np.float64) - wanted) ** 2)))
    allowed = 4.0 * error if precision == FP16 else max(spread, 4.0 * kernels)
    return allowed, error, kernels, float(np.ptp(wanted))


def _all_outputs(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> list[np.ndarray]:
    """Each output (n, ...), of one input at a time."""
    name = session.get_inputs()[0].name
    return [
        np.stack(outputs) for outputs in zip(*(run_named(session, {name: one[None]}) for one in inputs), strict=True)
    ]

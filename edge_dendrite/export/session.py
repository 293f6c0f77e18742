"""ONNX Runtime on the workstation's CPU, one thread."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime

from edge_dendrite.errors import ExportError


def open_session(content: bytes, is_optimized: bool = True) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU with one thread. Raises ExportError when the runtime refuses the file.

    is_optimized: nodes are fused; without, each is computed as it stands in the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not is_optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's classes have no common base
        raise ExportError(f"ONNX Runtime {onnxruntime.__version__} cannot load the file: {error}") from error


def run_onnx(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """Outputs (n, ...) for inputs (n, ...), one at a time: most files have batch 1."""
    return np.concatenate([run_batch(session, one[None]) for one in inputs])


def run_named(session: onnxruntime.InferenceSession, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs, in the file's order, for inputs by name. Raises ExportError when the runtime fails."""
    try:
        outputs: list[np.ndarray] = session.run(None, dict(feed))
    except Exception as error:  # onnxruntime's classes have no common base
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ExportError(f"ONNX Runtime cannot run the file on its inputs: {reason}") from error
    return outputs


def run_batch(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """Outputs (n, ...) for inputs (n, ...) in one call."""
    return run_named(session, {session.get_inputs()[0].name: inputs})[0]

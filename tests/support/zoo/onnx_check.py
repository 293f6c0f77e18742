"""A network through an ONNX exporter and ONNX Runtime."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnxruntime
import torch
from torch import nn

from zoo.base import DYNAMO, Inputs


def onnx_outputs(module: nn.Module, inputs: Inputs, exporter: str, opset: int = 17) -> list[np.ndarray]:
    """Floating-point outputs of ONNX Runtime for `inputs`, in the order of the network's."""
    content = _export(module, inputs, exporter, opset)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # The exporter drops inputs that nothing reads, and keeps the order of the others.
    named = inputs if isinstance(inputs, dict) else {f"in{at}": one for at, one in enumerate(inputs)}
    feed = {one.name: named[one.name].numpy() for one in session.get_inputs()}
    return [one for one in session.run(None, feed) if one.dtype.kind == "f"]


def _export(module: nn.Module, inputs: Inputs, exporter: str, opset: int) -> bytes:
    buffer = io.BytesIO()
    names = list(inputs) if isinstance(inputs, dict) else [f"in{at}" for at in range(len(inputs))]
    arguments = ((), inputs) if isinstance(inputs, dict) else (inputs, None)
    # Without gradients torch's encoder layers take a fused operator that no exporter knows.
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # both exporters warn of what does not matter here
        if exporter == DYNAMO:
            program = torch.onnx.export(
                module, arguments[0], kwargs=arguments[1], dynamo=True, input_names=names, verbose=False
            )
            return program.model_proto.SerializeToString()
        torch.onnx.export(
            module, arguments[0], buffer, kwargs=arguments[1], dynamo=False, opset_version=opset, input_names=names
        )
    return buffer.getvalue()


def largest_error(seen: list[np.ndarray], wanted: tuple[torch.Tensor, ...]) -> float:
    """The largest difference relative to max(1, |value|); infinite when shapes differ."""
    if [one.shape for one in seen] != [tuple(one.shape) for one in wanted]:
        return float("inf")
    pairs = zip(seen, (one.numpy() for one in wanted), strict=True)
    return max(float((np.abs(a - b) / np.maximum(1, np.abs(b))).max()) for a, b in pairs)

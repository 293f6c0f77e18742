"""A user's ONNX file with batch 1 as one that takes batches of any size.

A PyTorch network needs none of this: its exporter is told that the batch is open (`export_onnx(dynamic_batch=True)`).
"""

from __future__ import annotations

import numpy as np
import onnx

from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import OnnxModel, is_deciding
from edge_dendrite.export.session import open_session

_NAME = "batch"
_REMEDY = "leave --engine-batch and --dynamic-batch out"


def with_any_batch(model: OnnxModel, inputs: np.ndarray, largest: int, atol: float, rtol: float) -> bytes:
    """The file's content with a batch of any size, which computes for a batch what it does for each input alone.

    Shapes inside of it are left to the runtime. What the exporter wrote down for a batch of 1, a reshape for
    instance, shows in the comparison on `inputs` (n, ...), as batches of two and of `largest`. Raises ExportError.
    """
    proto = onnx.load_model_from_string(model.content)
    if is_deciding(model.content):
        raise ExportError(f"a network with gates decides for one input at a time; {_REMEDY}")
    del proto.graph.value_info[:]
    for value in (*proto.graph.input, *proto.graph.output):
        if value.name not in {one.name for one in proto.graph.initializer}:
            value.type.tensor_type.shape.dim[0].dim_param = _NAME
    content: bytes = proto.SerializeToString()
    _check(model, content, inputs, largest, atol, rtol)
    return content


def _check(model: OnnxModel, content: bytes, inputs: np.ndarray, largest: int, atol: float, rtol: float) -> None:
    alone, session = open_session(model.content), open_session(content)
    name = session.get_inputs()[0].name
    wanted = np.concatenate([alone.run(None, {name: one[None]})[0] for one in inputs])
    for size in sorted({2, largest}):
        order: np.ndarray = np.arange(size) % len(inputs)
        try:
            seen = session.run(None, {name: inputs[order]})[0]
        except Exception as error:  # onnxruntime's classes have no common base
            raise ExportError(_explain(size, str(error).splitlines()[0])) from error
        if seen.shape != wanted[order].shape or not np.allclose(seen, wanted[order], rtol=rtol, atol=atol):
            raise ExportError(_explain(size, f"its output has shape {seen.shape}, or other values"))


def _explain(size: int, reason: str) -> str:
    return (
        f"the file cannot take a batch of {size}, it was written for 1 ({reason}); {_REMEDY}, or use "
        "x.flatten(1) in place of views with fixed sizes"
    )

"""Export to ONNX with the exporter that writes the opset, and the checks without which no file leaves this module."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.layers.group_masks import without_masks
from edge_dendrite.errors import ExportError
from edge_dendrite.export.dynamo import FIRST_OPSET as FIRST_OF_DYNAMO
from edge_dendrite.export.dynamo import export_dynamo
from edge_dendrite.export.gates import check_every_gate, with_open_gates
from edge_dendrite.export.subgraphs import all_initializers
from edge_dendrite.export.torchscript import export_torchscript
from edge_dendrite.train.evaluate import evaluating

INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class OnnxModel:
    """A checked ONNX file in memory. Shapes include the batch of 1."""

    content: bytes
    opset: int
    ir_version: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    precision: str


def export_onnx(module: nn.Module, input_shape: tuple[int, ...], opset: int) -> OnnxModel:
    """Export for one input of `input_shape` (without batch), float32, batch 1, as one file without external data.

    Raises ExportError when the exporter fails, or wrote another opset than was asked for.
    """
    example = torch.zeros(1, *input_shape)
    module = without_masks(module)  # or the file would choose inputs at every run
    gated = has_gates(module)
    write = export_dynamo if opset >= FIRST_OF_DYNAMO else export_torchscript
    try:
        with evaluating(module), _plain_attention(), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")  # recorded, not shown: both exporters announce what their users cannot help
            content = write(module, example, opset, (INPUT, OUTPUT))
    except ExportError:
        raise
    except GuardOnDataDependentSymNode as error:  # by torch.export; the other exporter does not notice
        raise ExportError(f"the network decides by the values of its input: {_first_line(error)}") from error
    except Exception as error:  # torch.onnx raises many kinds; the first line of what lies below names the operator
        raise ExportError(f"the network cannot be exported at opset {opset}: {_first_line(error)}") from error
    if any(issubclass(one.category, torch.jit.TracerWarning) for one in seen):
        _check_control_flow(with_open_gates(module) if gated else module, example)
    if gated:
        check_every_gate(content, module)
    return check_onnx(content, opset)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """No exporter has a symbol for the fused kernel that torch takes for attention in evaluation."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _check_control_flow(module: nn.Module, example: torch.Tensor) -> None:
    """Tracing keeps one branch of an `if` on values and drops the other without a word; torch.export refuses it."""
    try:
        with evaluating(module), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a recurrent layer does to its own weights
            torch.export.export(module, (example,))
    except Exception as error:  # torch.export raises many kinds
        raise ExportError(
            f"the network decides by the values of its input, and a traced file would keep one way only: "
            f"{_first_line(error)}"
        ) from error


def _first_line(error: BaseException) -> str:
    """Of the error that caused it all."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def check_onnx(content: bytes, opset: int | None = None) -> OnnxModel:
    """Check an ONNX file with one float32 input and output of fixed shape and batch 1.

    Raises ExportError when it is no valid ONNX, has external data, another opset than `opset`, or other tensors.
    """
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model)
    except Exception as error:  # the checker and protobuf raise several kinds
        raise ExportError(f"not a valid ONNX file: {error}") from error
    opsets = {one.domain or "ai.onnx": one.version for one in model.opset_import}
    if opset is not None and opsets != {"ai.onnx": opset}:
        raise ExportError(f"asked for opset {opset}, the file has {opsets}: the exporter does not support it here")
    for tensor in all_initializers(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ExportError("the file keeps its weights in a second file; save it as one file below 2 GB")
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [_shape(one) for one in model.graph.input if one.name not in initializers]
    outputs = [_shape(one) for one in model.graph.output]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"the file has {len(inputs)} inputs and {len(outputs)} outputs; so far one of each is supported"
        )
    if inputs[0][0] != 1 or outputs[0][0] != 1:
        raise ExportError(f"the file has input {inputs[0]} and output {outputs[0]}: export it with batch 1")
    return OnnxModel(content, opsets.get("ai.onnx", 0), model.ir_version, inputs[0], outputs[0], _precision(model))


def _precision(model: onnx.ModelProto) -> str:
    """int8 where the graph quantizes, fp16 where it keeps weights in half precision, else fp32."""
    if any("Quantize" in node.op_type or "QLinear" in node.op_type for node in model.graph.node):
        return "int8"
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in all_initializers(model.graph))
    return "fp16" if halves else "fp32"


def is_deciding(content: bytes) -> bool:
    """Whether the input decides what a file computes."""
    return any(node.op_type == "If" for node in onnx.load_model_from_string(content).graph.node)


def tensor_names(content: bytes) -> tuple[str, str]:
    """(input name, output name) of a checked file."""
    session = open_session(content)
    return session.get_inputs()[0].name, session.get_outputs()[0].name


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        raise ExportError(
            f"{value.name}: its type is not float32; so far only float32 inputs and outputs are supported"
        )
    shape = tuple(one.dim_value for one in tensor.shape.dim)
    if not shape or any(size <= 0 for size in shape):
        raise ExportError(f"{value.name}: its shape {shape} is not fixed; export it with batch 1 and fixed sizes")
    return shape


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session on the CPU with one thread. Raises ExportError when the runtime refuses the file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's classes have no common base
        raise ExportError(f"ONNX Runtime {onnxruntime.__version__} cannot load the file: {error}") from error


def run_onnx(session: onnxruntime.InferenceSession, inputs: np.ndarray) -> np.ndarray:
    """Outputs (n, ...) for inputs (n, ...), one at a time: the file has batch 1."""
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: one[None]})[0] for one in inputs])


def check_parity(model: OnnxModel, module: nn.Module, inputs: torch.Tensor, atol: float, rtol: float) -> float:
    """Largest absolute error of ONNX Runtime against PyTorch over `inputs` (n, ...).

    Raises ExportError when any value is further off than atol + rtol * |PyTorch's value|.
    """
    with evaluating(module), torch.no_grad():
        wanted = torch.cat([module(one[None]) for one in inputs]).numpy()
    seen = run_onnx(open_session(model.content), inputs.numpy())
    error = float(np.abs(seen - wanted).max())
    if not np.allclose(seen, wanted, rtol=rtol, atol=atol):
        raise ExportError(
            f"the exported file differs from PyTorch by {error:.3g} (allowed {atol:g} + {rtol:g} relative): not written"
        )
    return error

"""Export to ONNX with the exporter that writes the opset, and the checks without which no file leaves this module."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.layers.group_masks import without_masks
from edge_dendrite.errors import ExportError
from edge_dendrite.export.dynamo import FIRST_OPSET as FIRST_OF_DYNAMO
from edge_dendrite.export.dynamo import export_dynamo
from edge_dendrite.export.gates import check_every_gate, with_open_gates
from edge_dendrite.export.session import open_session, run_batch, run_onnx
from edge_dendrite.export.subgraphs import all_initializers
from edge_dendrite.export.torchscript import export_torchscript
from edge_dendrite.train.evaluate import evaluating

INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class OnnxModel:
    """A checked ONNX file in memory. Shapes include the batch: 1, as which a dynamic one counts."""

    content: bytes
    opset: int
    ir_version: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    precision: str
    has_dynamic_batch: bool = False


def export_onnx(
    module: nn.Module, input_shape: tuple[int, ...], opset: int, *, dynamic_batch: bool = False
) -> OnnxModel:
    """Export for one input of `input_shape` (without batch), float32, batch 1, as one file without external data.

    dynamic_batch: the file takes any number of inputs at once. Raises ExportError when the exporter fails, or wrote
    another opset than was asked for, and for gates with a dynamic batch: an `If` decides once for a whole batch.
    """
    example = torch.zeros(1, *input_shape)
    module = without_masks(module)  # or the file would choose inputs at every run
    gated = has_gates(module)
    if gated and dynamic_batch:
        raise ExportError("a network with gates decides for one input at a time; export it without a dynamic batch")
    write = export_dynamo if opset >= FIRST_OF_DYNAMO else export_torchscript
    try:
        with evaluating(module), _plain_attention(), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")  # recorded, not shown: both exporters announce what their users cannot help
            content = write(module, example, opset, (INPUT, OUTPUT), dynamic_batch)
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
    made = check_onnx(content, opset)
    if dynamic_batch and not made.has_dynamic_batch:
        raise ExportError("the network fixes its batch: the exported file would take one input only")
    return made


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
    """Check an ONNX file with one float32 input and output of fixed shape and batch 1, or any batch.

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
    ends = [[one for one in model.graph.input if one.name not in initializers], list(model.graph.output)]
    if len(ends[0]) != 1 or len(ends[1]) != 1:
        raise ExportError(
            f"the file has {len(ends[0])} inputs and {len(ends[1])} outputs; so far one of each is supported"
        )
    (is_dynamic, before), (is_dynamic_after, after) = (_batch_and_shape(one[0]) for one in ends)
    if before[0] != 1 or after[0] != 1 or is_dynamic != is_dynamic_after:
        raise ExportError(f"the file has input {before} and output {after}: export it with batch 1, or a dynamic one")
    opset = opsets.get("ai.onnx", 0)
    return OnnxModel(content, opset, model.ir_version, before, after, _precision(model), is_dynamic)


def _precision(model: onnx.ModelProto) -> str:
    """int8 where the graph quantizes, fp16 where it keeps weights in half precision, else fp32."""
    if any("Quantize" in node.op_type or "QLinear" in node.op_type for node in model.graph.node):
        return "int8"
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in all_initializers(model.graph))
    return "fp16" if halves else "fp32"


def _batch_and_shape(value: onnx.ValueInfoProto) -> tuple[bool, tuple[int, ...]]:
    """Whether the batch is left open, and the shape with 1 in its place."""
    tensor = value.type.tensor_type
    if tensor.elem_type != onnx.TensorProto.FLOAT:
        raise ExportError(
            f"{value.name}: its type is not float32; so far only float32 inputs and outputs are supported"
        )
    shape = tuple(one.dim_value for one in tensor.shape.dim)
    is_dynamic = len(shape) > 1 and not tensor.shape.dim[0].HasField("dim_value")
    if is_dynamic:
        shape = (1, *shape[1:])
    if not shape or any(size <= 0 for size in shape):
        raise ExportError(f"{value.name}: its shape {shape} is not fixed; export it with batch 1 and fixed sizes")
    return is_dynamic, shape


def check_parity(model: OnnxModel, module: nn.Module, inputs: torch.Tensor, atol: float, rtol: float) -> float:
    """Largest absolute error of ONNX Runtime against PyTorch over `inputs` (n, ...), at batch 1, and where the batch is
    dynamic with all of them at once too.

    Raises ExportError when any value is further off than atol + rtol * |PyTorch's value|.
    """
    with evaluating(module), torch.no_grad():
        wanted = torch.cat([module(one[None]) for one in inputs]).numpy()
    session, errors = open_session(model.content), []
    for run in (run_onnx, run_batch) if model.has_dynamic_batch else (run_onnx,):
        seen = run(session, inputs.numpy())
        if seen.shape != wanted.shape:
            raise ExportError(f"the exported file gives {seen.shape} for {len(inputs)} inputs, PyTorch {wanted.shape}")
        errors.append(float(np.abs(seen - wanted).max()))
        if not np.allclose(seen, wanted, rtol=rtol, atol=atol):
            batch = f" at batch {len(inputs)}" if run is run_batch else ""
            raise ExportError(
                f"the exported file differs from PyTorch by {errors[-1]:.3g}{batch} (allowed {atol:g} + {rtol:g} "
                "relative): not written"
            )
    return max(errors)

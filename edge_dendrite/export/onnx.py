"""Export to ONNX with the exporter that writes the opset, and the checks without which no file leaves this module."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import onnx
import torch
from torch import nn
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree

from edge_dendrite.compress.coupling.find import trace
from edge_dendrite.compress.forward import Inputs, arguments, batch_size, first_samples, forward, tensors_of
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.layers.group_masks import without_masks
from edge_dendrite.errors import ExportError, PruneError
from edge_dendrite.export.dynamo import FIRST_OPSET as FIRST_OF_DYNAMO
from edge_dendrite.export.dynamo import export_dynamo
from edge_dendrite.export.gates import check_every_gate, with_open_gates
from edge_dendrite.export.session import open_session, run_named
from edge_dendrite.export.subgraphs import all_initializers, all_nodes
from edge_dendrite.export.torchscript import Names, export_torchscript
from edge_dendrite.train.evaluate import evaluating

# The types of numbers that a bundle carries and its readers know.
DTYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.BOOL: "bool",
}


@dataclass(frozen=True)
class TensorInfo:
    """An input or output; its shape includes the batch: 1, as which a dynamic one counts."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class OnnxModel:
    """A checked ONNX file in memory."""

    content: bytes
    opset: int
    ir_version: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    precision: str
    has_dynamic_batch: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the first input."""
        return self.inputs[0].shape


def export_onnx(
    module: nn.Module, inputs: tuple[int, ...] | Inputs, opset: int, *, dynamic_batch: bool = False
) -> OnnxModel:
    """Export for batch 1, as one file without external data.

    inputs: the shape of one float32 input without its batch, or tensors with a batch of 1, by position or by keyword,
    of which the file has those that the network reads. dynamic_batch: the file takes any number of inputs at once.
    Raises ExportError when the exporter fails, or wrote another opset than was asked for, and for gates with a dynamic
    batch: an `If` decides once for a whole batch.
    """
    example = torch.zeros(1, *inputs) if _is_shape(inputs) else inputs
    module = without_masks(module)  # or the file would choose inputs at every run
    gated = has_gates(module)
    if gated and dynamic_batch:
        raise ExportError("a network with gates decides for one input at a time; export it without a dynamic batch")
    write = export_dynamo if opset >= FIRST_OF_DYNAMO else export_torchscript
    try:
        with evaluating(module), _plain_attention(), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")  # recorded, not shown: both exporters announce what their users cannot help
            content = write(module, example, opset, _names(module, example), dynamic_batch)
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
    if dynamic_batch and not (made.has_dynamic_batch and _takes_two(made, example)):
        raise ExportError("the network fixes its batch: the exported file would take one input only")
    return made


def _takes_two(model: OnnxModel, example: Inputs) -> bool:
    """Whether a file that says that its batch is open takes two inputs at once, and gives two outputs."""
    try:
        outputs = run_named(open_session(model.content), named_inputs(model, first_samples(example, 2)))
    except ExportError:
        return False
    return all(len(one) == 2 for one in outputs)


def _is_shape(inputs: Any) -> TypeGuard[tuple[int, ...]]:
    return isinstance(inputs, tuple) and all(isinstance(one, int) for one in inputs)


def _names(module: nn.Module, example: Inputs) -> Names:
    """One input is "input", one output "output"; several have numbers, and those by keyword their own names."""
    positional, keywords = arguments(example)
    inputs = tuple(keywords) or (("input",) if len(positional) == 1 else _numbered("input", len(positional)))
    with torch.no_grad():
        count = len(tensors_of(forward(module, example)))
    return inputs, ("output",) if count == 1 else _numbered("output", count)


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in range(count))


@contextmanager
def _plain_attention() -> Iterator[None]:
    """No exporter has a symbol for the fused kernel that torch takes for attention in evaluation."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _check_control_flow(module: nn.Module, example: Inputs) -> None:
    """Tracing keeps one branch of an `if` on values and drops the other without a word; torch.export refuses it."""
    try:
        trace(module, example)
    except PruneError as error:
        raise ExportError(
            f"the network decides by the values of its input, and a traced file would keep one way only: {error}"
        ) from error


def _first_line(error: BaseException) -> str:
    """Of the error that caused it all."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def check_onnx(content: bytes, opset: int | None = None) -> OnnxModel:
    """Check an ONNX file whose inputs and outputs have fixed shapes, and batch 1 or any batch.

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
    inputs = [_tensor(one) for one in model.graph.input if one.name not in initializers]
    outputs = [_tensor(one) for one in model.graph.output]
    if not inputs or not outputs:
        raise ExportError(
            f"the file has {len(inputs)} inputs and {len(outputs)} outputs; it needs one of each at least"
        )
    is_dynamic = inputs[0][0]
    # Other inputs may have no batch: a mask for all samples, a number.
    if any(one[0] != is_dynamic for one in outputs) or inputs[0][1].shape[:1] != (1,):
        shapes = ", ".join(f"{one.name} {one.shape}" for _, one in (*inputs, *outputs))
        raise ExportError(f"the file has {shapes}: export it with batch 1, or with a dynamic batch in all of them")
    ends = (tuple(one for _, one in inputs), tuple(one for _, one in outputs))
    return OnnxModel(content, opsets.get("ai.onnx", 0), model.ir_version, *ends, _precision(model), is_dynamic)


def _precision(model: onnx.ModelProto) -> str:
    """int8 where the graph quantizes, fp16 where it keeps weights in half precision, else fp32."""
    if any("Quantize" in node.op_type or "QLinear" in node.op_type for node in all_nodes(model.graph)):
        return "int8"
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in all_initializers(model.graph))
    return "fp16" if halves else "fp32"


def is_deciding(content: bytes) -> bool:
    """Whether the input decides what a file computes."""
    return any(node.op_type == "If" for node in onnx.load_model_from_string(content).graph.node)


def _tensor(value: onnx.ValueInfoProto) -> tuple[bool, TensorInfo]:
    """Whether the batch is left open, and the tensor with 1 in its place."""
    tensor = value.type.tensor_type
    if tensor.elem_type not in DTYPES:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        raise ExportError(f"{value.name}: its type is {kind}; supported are {', '.join(DTYPES.values())}")
    shape = tuple(one.dim_value for one in tensor.shape.dim)
    is_dynamic = len(shape) > 1 and not tensor.shape.dim[0].HasField("dim_value")
    if is_dynamic:
        shape = (1, *shape[1:])
    if any(size <= 0 for size in shape):
        raise ExportError(f"{value.name}: its shape {shape} is not fixed; export it with batch 1 and fixed sizes")
    return is_dynamic, TensorInfo(value.name, DTYPES[tensor.elem_type], shape)


def check_parity(model: OnnxModel, module: nn.Module, inputs: Inputs, atol: float, rtol: float) -> float:
    """Largest absolute error of ONNX Runtime against PyTorch over all samples of `inputs` (n, ...), at batch 1, and
    where the batch is dynamic with all of them at once too.

    Raises ExportError when any value is further off than atol + rtol * |PyTorch's value|.
    """
    session, count = open_session(model.content), batch_size(inputs)
    parts = [_one(inputs, number, count) for number in range(count)]
    errors = []
    for part in [*parts, inputs] if model.has_dynamic_batch and count > 1 else parts:
        wanted = _outputs(module, part)
        seen = run_named(session, named_inputs(model, part))
        if [one.shape for one in seen] != [one.shape for one in wanted]:
            shapes = [[one.shape for one in all_of] for all_of in (seen, wanted)]
            raise ExportError(f"the exported file gives outputs of {shapes[0]}, PyTorch of {shapes[1]}")
        errors += [float(np.abs(a.astype(np.float64) - b).max()) for a, b in zip(seen, wanted, strict=True)]
        if not all(np.allclose(a, b, rtol=rtol, atol=atol) for a, b in zip(seen, wanted, strict=True)):
            raise ExportError(
                f"the exported file differs from PyTorch by {max(errors):.3g} at batch {batch_size(part)} (allowed "
                f"{atol:g} + {rtol:g} relative): not written"
            )
    return max(errors)


def _outputs(module: nn.Module, inputs: Inputs) -> list[np.ndarray]:
    try:
        with evaluating(module), torch.no_grad():
            return [one.numpy() for one in tensors_of(forward(module, inputs))]
    except Exception as error:  # whatever the user's forward raises: one that fixes its batch, for instance
        raise ExportError(
            f"the network itself fails at batch {batch_size(inputs)} ({_first_line(error)}); mend its forward, or "
            "leave a dynamic batch out"
        ) from error


def named_inputs(model: OnnxModel, inputs: Inputs) -> dict[str, np.ndarray]:
    """What a file is fed: of inputs by keyword those that it has, else all in their order."""
    positional, keywords = arguments(inputs)
    if keywords:
        return {one.name: keywords[one.name].numpy() for one in model.inputs}
    if len(positional) == 1:
        return {model.inputs[0].name: positional[0].numpy()}
    numbered = dict(zip(_numbered("input", len(positional)), positional, strict=True))
    return {one.name: numbered[one.name].numpy() for one in model.inputs}


def _one(inputs: Inputs, number: int, count: int) -> Inputs:
    """Sample `number` of `count` as a batch of one; a tensor without a batch stays whole."""

    def take(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[number : number + 1] if tensor.dim() and len(tensor) == count else tensor

    return _pytree.tree_map_only(torch.Tensor, take, inputs)

"""The TorchScript exporter, the only one that writes opset 13 to 17.

Its trace would keep the way of a gate that the example took, and drop the other without a word. So each way of a gated
block is exported by itself, as the network of its own that it is, while the trace of the whole has one node in the
place of the block. Scripting the block instead loses the shapes inside of it, and with them all attention.
"""

from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import onnx
import torch
from torch import nn

from edge_dendrite.compress.forward import Inputs, arguments
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.plan import put_in_place_
from edge_dendrite.errors import ExportError
from edge_dendrite.export.gates import inputs_of_blocks
from edge_dendrite.export.subgraphs import GATE, GATE_DOMAIN, NAME, ifs_for_gates
from edge_dendrite.export.symbols import missing_symbols

BATCH = "batch"  # the name of a dimension that is left open
Names: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]  # of inputs, of outputs


def export_torchscript(
    module: nn.Module, example: Inputs, opset: int, names: Names, dynamic_batch: bool = False
) -> bytes:
    """The ONNX file of `module`, which is unchanged; example (1, ...), names of the inputs and of the outputs.

    Raises whatever the exporter raises, and ExportError for gates that cannot be exported.
    """
    with _quiet(), missing_symbols(opset):
        if not has_gates(module):
            return _export(module, example, opset, names, dynamic_batch)
        if not isinstance(example, torch.Tensor):
            raise ExportError("a network with gates is exported for one input tensor only")
        copied = copy.deepcopy(module).eval()
        ways = {}
        for name, x in inputs_of_blocks(copied, example).items():
            part: Any = copied.get_submodule(name)
            ways[name] = (_graph(part.block, x, opset), _graph(part.bypass, x, opset))
            put_in_place_(copied, part, _Decision(name, part.gate, tuple(_output(part.block, x).shape)))
        return ifs_for_gates(_export(copied, example, opset, names), ways)


def _export(module: nn.Module, example: Inputs, opset: int, names: Names, dynamic_batch: bool = False) -> bytes:
    buffer = io.BytesIO()
    positional, keywords = arguments(example)
    torch.onnx.export(
        _ByPosition(module, tuple(keywords)).eval() if keywords or _takes_more(module, len(positional)) else module,
        positional or tuple(keywords.values()),
        buffer,
        dynamo=False,
        opset_version=opset,
        input_names=list(names[0]),
        output_names=list(names[1]),
        dynamic_axes=_axes(example, names) if dynamic_batch else None,
    )
    return buffer.getvalue()


def _takes_more(module: nn.Module, count: int) -> bool:
    """Whether the forward has arguments beside the first `count`, or any number of them."""
    return len(inspect.signature(module.forward).parameters) > count


class _ByPosition(nn.Module):
    """A network that is given its inputs in order, keywords too: the exporter would make tensors of its other default
    arguments, which many a forward does not take."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.network(**dict(zip(self.names, tensors, strict=True))) if self.names else self.network(*tensors)


def _axes(example: Inputs, names: Names) -> dict[str, dict[int, str]]:
    """What of a batch of one is as long as the batch: scalars, and masks for all samples, are not."""
    positional, keywords = arguments(example)
    tensors = dict(zip(names[0], (*positional, *keywords.values()), strict=True))
    batched = [name for name, one in tensors.items() if one.dim() and len(one) == 1]
    return {name: {0: BATCH} for name in (*batched, *names[1])}


def _graph(module: nn.Module, example: torch.Tensor, opset: int) -> onnx.GraphProto:
    alone = nn.Sequential(module)  # the exporter would give a forward its default arguments as tensors
    return onnx.load_model_from_string(_export(alone, example, opset, (("x",), ("y",)))).graph


@torch.no_grad()
def _output(module: nn.Module, example: torch.Tensor) -> torch.Tensor:
    return module(example)


class _Decision(nn.Module):
    """In place of a gated block: its gate, and one node for both ways."""

    def __init__(self, name: str, gate: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.name, self.gate, self.shape = name, gate, shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _GateNode.apply(x, self.gate(x)[0] > 0, self.name, self.shape)


class _GateNode(torch.autograd.Function):
    """A value of the right shape in the trace, and the node Gate(x, decision) in the file."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, decision: torch.Tensor, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return x.new_zeros(shape)

    @staticmethod
    def symbolic(g: Any, x: Any, decision: Any, name: str, shape: tuple[int, ...]) -> Any:
        """Called by the exporter for its own graph."""
        y = g.op(f"{GATE_DOMAIN}::{GATE}", x, decision, **{f"{NAME}_s": name})
        y.setType(torch._C.TensorType.get().with_dtype(torch.float32).with_sizes(list(shape)))
        return y


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints the whole graph of a network that it cannot write, and turns its own log on to do so."""
    before = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *parts: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = before

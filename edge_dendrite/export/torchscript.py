"""The TorchScript exporter, the only one that writes opset 13 to 17.

Its trace would keep the way of a gate that the example took, and drop the other without a word. So each way of a gated
block is exported by itself, as the network of its own that it is, while the trace of the whole has one node in the
place of the block. Scripting the block instead loses the shapes inside of it, and with them all attention.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import nn

from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.plan import put_in_place_
from edge_dendrite.errors import ExportError
from edge_dendrite.export.gates import inputs_of_blocks
from edge_dendrite.export.subgraphs import GATE, GATE_DOMAIN, NAME, ifs_for_gates

BATCH = "batch"  # the name of a dimension that is left open
_ATTENTION = "aten::scaled_dot_product_attention"


def export_torchscript(
    module: nn.Module, example: torch.Tensor, opset: int, names: tuple[str, str], dynamic_batch: bool = False
) -> bytes:
    """The ONNX file of `module`, which is unchanged; example (1, ...), names of the input and of the output.

    Raises whatever the exporter raises, and ExportError for gates that cannot be exported.
    """
    with _attention_at_13(opset):
        if not has_gates(module):
            return _export(module, example, opset, names, dynamic_batch)
        copied = copy.deepcopy(module).eval()
        ways = {}
        for name, x in inputs_of_blocks(copied, example).items():
            part: Any = copied.get_submodule(name)
            ways[name] = (_graph(part.block, x, opset), _graph(part.bypass, x, opset))
            put_in_place_(copied, part, _Decision(name, part.gate, tuple(_output(part.block, x).shape)))
        return ifs_for_gates(_export(copied, example, opset, names), ways)


def _export(
    module: nn.Module, example: torch.Tensor, opset: int, names: tuple[str, str], dynamic_batch: bool = False
) -> bytes:
    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        (example,),
        buffer,
        dynamo=False,
        opset_version=opset,
        input_names=[names[0]],
        output_names=[names[1]],
        dynamic_axes={name: {0: BATCH} for name in names} if dynamic_batch else None,
    )
    return buffer.getvalue()


def _graph(module: nn.Module, example: torch.Tensor, opset: int) -> onnx.GraphProto:
    alone = nn.Sequential(module)  # the exporter would give a forward its default arguments as tensors
    return onnx.load_model_from_string(_export(alone, example, opset, ("x", "y"))).graph


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
def _attention_at_13(opset: int) -> Iterator[None]:
    """The exporter knows attention from opset 14 on, though all that it is made of is there at 13."""
    if opset != 13:
        yield
        return
    torch.onnx.register_custom_op_symbolic(_ATTENTION, _attention, 13)
    try:
        yield
    finally:
        torch.onnx.unregister_custom_op_symbolic(_ATTENTION, 13)


def _attention(
    g: Any, q: Any, k: Any, v: Any, mask: Any, dropout: Any, is_causal: Any, scale: Any, enable_gqa: Any = None
) -> Any:
    """softmax(q k^T * scale + mask) v in the exporter's graph (Vaswani et al. 2017, section 3.2.1).

    q (..., t, d), k (..., s, d), v (..., s, e), all of fixed shape. A causal mask lets position i see the first i + 1.
    """
    if _constant(enable_gqa):
        raise ExportError("attention whose heads share keys cannot be exported at opset 13; take 14 or more")
    *_, num_queries, width = q.type().sizes()
    order = list(range(len(k.type().sizes())))
    k = g.op("Transpose", k, perm_i=[*order[:-2], order[-1], order[-2]])
    factor = _constant(scale)
    factor = width**-0.5 if factor is None else factor
    scores = g.op("Mul", g.op("MatMul", q, k), g.op("Constant", value_t=torch.tensor(float(factor))))
    if _constant(is_causal):
        num_keys = v.type().sizes()[-2]
        hidden = torch.full((num_queries, num_keys), float("-inf")).triu(1)
        scores = g.op("Add", scores, g.op("Constant", value_t=hidden))
    elif not mask.node().mustBeNone():
        if mask.type().dtype() == torch.bool:
            seen, unseen = (g.op("Constant", value_t=torch.tensor(one)) for one in (0.0, float("-inf")))
            mask = g.op("Where", mask, seen, unseen)
        scores = g.op("Add", scores, mask)
    return g.op("MatMul", g.op("Softmax", scores, axis_i=-1), v)


def _constant(value: Any) -> Any:
    """A number that is written into the exporter's graph; None where there is none."""
    return None if value is None or value.node().mustBeNone() else value.node().t("value").item()

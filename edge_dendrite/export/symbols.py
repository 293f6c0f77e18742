"""Operators that the TorchScript exporter has no ONNX for, though all that they are made of is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from edge_dendrite.errors import ExportError

_INT_MAX = 2**63 - 1
_FLOAT = 1  # onnx.TensorProto.FLOAT


@contextmanager
def missing_symbols(opset: int) -> Iterator[None]:
    """Inside, the exporter can write attention at opset 13 (by itself from 14 on), and at any opset: differences, and
    sums of truth values, along a dimension, of which causal masks of language models are made; RMS norms; and the
    products of spectral norms.
    """
    symbols: dict[str, Callable[..., Any]] = {
        "aten::diff": _diff,
        "aten::cumsum": _cumsum,
        "aten::rms_norm": _rms_norm,
        "aten::vdot": _dot,
        "aten::dot": _dot,
    }
    if opset == 13:
        symbols["aten::scaled_dot_product_attention"] = _attention
    for name, symbol in symbols.items():
        torch.onnx.register_custom_op_symbolic(name, symbol, opset)
    try:
        yield
    finally:
        for name in symbols:
            torch.onnx.unregister_custom_op_symbolic(name, opset)


def _diff(g: Any, x: Any, n: Any, dim: Any, prepend: Any = None, append: Any = None) -> Any:
    """What follows less what is before, `n` times along a dimension, in the exporter's graph."""
    dim, n = _constant(dim), _constant(n)
    parts = [one for one in (prepend, x, append) if one is not None and not one.node().mustBeNone()]
    y = g.op("Concat", *parts, axis_i=dim) if len(parts) > 1 else x
    for _ in range(n):
        y = g.op("Sub", _slice(g, y, dim, 1, _INT_MAX), _slice(g, y, dim, 0, -1))
    return y


def _cumsum(g: Any, x: Any, dim: Any, dtype: Any = None) -> Any:
    """As the exporter's own, which gives CumSum truth values that no runtime adds up."""
    wanted = _constant(dtype)
    if wanted is not None:
        kind = torch.onnx.JitScalarType(wanted)
    else:
        kind = torch.onnx.JitScalarType.from_value(x)
        if kind.dtype() in (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32):
            kind = torch.onnx.JitScalarType.INT64
    y = g.op("Cast", x, to_i=kind.onnx_type())
    return g.op("CumSum", y, g.op("Constant", value_t=torch.tensor(_constant(dim))))


def _rms_norm(g: Any, x: Any, shape: Any, weight: Any, eps: Any = None) -> Any:
    """x / sqrt(mean(x**2) + eps) * weight over the last dimensions (Zhang and Sennrich 2019, equation 4)."""
    num_dims = len(torch.onnx.symbolic_helper._maybe_get_const(shape, "is"))
    least = _constant(eps)
    least = torch.finfo(torch.float32).eps if least is None else least
    mean = g.op("ReduceMean", g.op("Mul", x, x), axes_i=list(range(-num_dims, 0)), keepdims_i=1)
    root = g.op("Sqrt", g.op("Add", mean, g.op("Constant", value_t=torch.tensor(least, dtype=torch.float32))))
    y = g.op("Div", x, root)
    return y if weight.node().mustBeNone() else g.op("Mul", y, weight)


def _dot(g: Any, a: Any, b: Any) -> Any:
    """The product of two real vectors, a scalar."""
    axes = g.op("Constant", value_t=torch.tensor([0]))
    return g.op("ReduceSum", g.op("Mul", a, b), axes, keepdims_i=0)


def _slice(g: Any, x: Any, dim: int, start: int, end: int) -> Any:
    numbers = (g.op("Constant", value_t=torch.tensor([one])) for one in (start, end, dim))
    return g.op("Slice", x, *numbers)


def _attention(
    g: Any, q: Any, k: Any, v: Any, mask: Any, dropout: Any, is_causal: Any, scale: Any, enable_gqa: Any = None
) -> Any:
    """softmax(q k^T * scale + mask) v in the exporter's graph (Vaswani et al. 2017, section 3.2.1).

    q (..., t, d), k (..., s, d), v (..., s, e). A causal mask lets position i see the first i + 1; that needs t and s.
    """
    if _constant(enable_gqa):
        raise ExportError("attention whose heads share keys cannot be exported at opset 13; take 14 or more")
    if k.type().dim() is None:
        raise ExportError("attention on tensors of unknown rank cannot be exported at opset 13; take 14 or more")
    order = list(range(k.type().dim()))
    k = g.op("Transpose", k, perm_i=[*order[:-2], order[-1], order[-2]])
    scores = g.op("Mul", g.op("MatMul", q, k), _factor(g, q, _constant(scale)))
    if _constant(is_causal):
        num_queries, num_keys = (one.type().varyingSizes()[-2] for one in (q, v))
        if num_queries is None or num_keys is None:
            raise ExportError(
                "causal attention with a dynamic batch cannot be exported at opset 13; leave the dynamic batch out, or "
                "take opset 14 or more"
            )
        hidden = torch.full((num_queries, num_keys), float("-inf")).triu(1)
        scores = g.op("Add", scores, g.op("Constant", value_t=hidden))
    elif not mask.node().mustBeNone():
        if mask.type().dtype() == torch.bool:
            seen, unseen = (g.op("Constant", value_t=torch.tensor(one)) for one in (0.0, float("-inf")))
            mask = g.op("Where", mask, seen, unseen)
        scores = g.op("Add", scores, mask)
    return g.op("MatMul", g.op("Softmax", scores, axis_i=-1), v)


def _factor(g: Any, q: Any, scale: float | None) -> Any:
    """What products of queries and keys are multiplied by: 1 / sqrt(d), which a dynamic batch hides from the tracer."""
    width = q.type().varyingSizes()[-1]
    if scale is not None or width is not None:
        factor = scale if scale is not None else width**-0.5
        return g.op("Constant", value_t=torch.tensor(float(factor)))
    width = g.op("Gather", g.op("Shape", q), g.op("Constant", value_t=torch.tensor(-1)), axis_i=0)
    return g.op("Reciprocal", g.op("Sqrt", g.op("Cast", width, to_i=_FLOAT)))


def _constant(value: Any) -> Any:
    """A number that is written into the exporter's graph; None where there is none."""
    return None if value is None or value.node().mustBeNone() else value.node().t("value").item()

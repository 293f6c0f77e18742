"""How ATen operators carry units from their inputs to their outputs.

A rule sees the labels of an operator's tensor arguments (per dimension a vector of atoms, see atoms.py), says which
must be equal, and returns the labels of the output. An operator without a rule fixes everything that it touches:
what is not understood stays as it is, with the operator named as the reason.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edge_dendrite.compress.atoms import FIXED, Atoms

# Per dimension, the atom of every index.
Labels = tuple[np.ndarray, ...]


@dataclass
class Roles:
    """What operators do with parameters: the dimensions that make units, those that are summed over, and those of
    depthwise convolutions (whose `groups` follow the number of units)."""

    # The label vectors of parameters and buffers themselves, by identity: what was computed from them has others.
    own: set[int] = field(default_factory=set)
    produced: list[np.ndarray] = field(default_factory=list)
    contracted: list[np.ndarray] = field(default_factory=list)
    depthwise: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """One operator call: its name, its arguments (tensors as Labels), and the shape of its output."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]
    atoms: Atoms
    roles: Roles

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """A positional or keyword argument."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    def fix(self, labels: Sequence[np.ndarray], what: str) -> None:
        """The units in these dimensions stay, because of this operator."""
        for dim in labels:
            self.atoms.fix(dim, f"{self.name}: {what}")

    def is_parameter(self, labels: Labels) -> bool:
        """Whether a tensor is a parameter as it is stored, at most transposed: the only kind that can be masked."""
        return all(id(dim) in self.roles.own for dim in labels)

    def unify(self, first: np.ndarray, second: np.ndarray) -> None:
        """These dimensions are cut together."""
        self.atoms.unify(first, second, f"{self.name}: joins a dimension that must stay")


def is_labels(value: Any) -> bool:
    """Whether an argument is a tracked tensor."""
    return isinstance(value, tuple) and all(isinstance(one, np.ndarray) for one in value)


def fixed_labels(shape: Sequence[int]) -> Labels:
    """Labels of a tensor of which nothing can be cut."""
    return tuple(np.full(size, FIXED, np.int64) for size in shape)


def is_tracked(dim: np.ndarray) -> bool:
    """Whether a dimension holds units."""
    return bool(np.any(dim != FIXED))


def apply_operator(call: Call) -> Labels:
    """Labels of the output of a call; the atoms and roles learn what the operator implies."""
    plain = call.name.rstrip("_")  # in-place forms couple as the others do
    if plain in _UNCHANGED:
        return tuple(call.arg(0, "self"))
    if plain in _ELEMENTWISE:
        return _elementwise(call)
    return _RULES.get(plain, not_understood)(call)


def not_understood(call: Call) -> Labels:
    """The rule of every operator that has none."""
    for value in (*call.args, *call.kwargs.values()):
        for one in value if isinstance(value, list) else [value]:
            if is_labels(one):
                call.fix(one, "this operator is not understood")
    return fixed_labels(call.shape)


_UNCHANGED = frozenset(("alias", "clone", "contiguous", "detach", "lift_fresh_copy", "to"))

# fmt: off
_ELEMENTWISE = frozenset((
    "abs", "add", "celu", "clamp", "clamp_max", "clamp_min", "cos", "div",
    "dropout", "elu", "erf", "exp", "feature_dropout", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu",
    "log1p", "maximum", "minimum", "mish", "mul", "neg", "pow", "reciprocal", "relu", "relu6",
    "rsqrt", "selu", "sigmoid", "silu", "sin", "softplus", "sqrt", "square", "sub", "tanh", "type_as", "where",
))
# fmt: on


def _elementwise(call: Call) -> Labels:
    """Any number of tensors, broadcast against each other. What acts on each value alone couples nothing else."""
    tensors = [value for value in (*call.args, *call.kwargs.values()) if is_labels(value)]
    result = []
    for at, size in enumerate(call.shape):
        from_end = len(call.shape) - at
        present = [tensor[-from_end] for tensor in tensors if len(tensor) >= from_end]
        full = [dim for dim in present if len(dim) == size]
        for dim in full[1:]:
            call.unify(full[0], dim)
        call.fix([dim for dim in present if len(dim) != size], "spreads a single unit over others")
        # A copy: the values are no longer those of the parameter that the labels may come from.
        result.append(full[0].copy() if full else np.full(size, FIXED, np.int64))
    return tuple(result)


def _convolution(call: Call) -> Labels:
    x, weight, bias = call.arg(0, "input"), call.arg(1, "weight"), call.arg(2, "bias")
    groups = call.arg(6, "groups", 1)
    if len(x) != len(weight) or not call.is_parameter(weight):
        return not_understood(call)
    if groups == 1:
        call.unify(x[1], weight[1])
        call.roles.contracted.append(weight[1])
        call.roles.produced.append(weight[0])
    elif groups == len(x[1]) == len(weight[0]):
        call.unify(x[1], weight[0])
        call.fix([weight[1]], "one input for each unit")
        call.roles.depthwise.append(weight[0])
    else:
        call.fix([x[1], weight[0], weight[1]], f"{groups} groups of several channels")
    call.fix(weight[2:], "kernel positions")
    if bias is not None:
        call.unify(weight[0], bias[0])
    return (x[0], weight[0], *fixed_labels(call.shape[2:]))


def _linear(call: Call) -> Labels:
    x, weight, bias = call.arg(0, "input"), call.arg(1, "weight"), call.arg(2, "bias")
    if not call.is_parameter(weight):
        return not_understood(call)
    call.unify(x[-1], weight[1])
    call.roles.contracted.append(weight[1])
    call.roles.produced.append(weight[0])
    if bias is not None:
        call.unify(weight[0], bias[0])
    return (*x[:-1], weight[0])


def _matmul(call: Call) -> Labels:
    first, second = call.arg(0, "self"), call.arg(1, "mat2", call.kwargs.get("other"))
    return _product(call, first, second)


def _addmm(call: Call) -> Labels:
    result = _product(call, call.arg(1, "mat1"), call.arg(2, "mat2"))
    bias = call.arg(0, "self")
    return _elementwise(replace(call, args=(bias, result), kwargs={}))


def _product(call: Call, first: Labels, second: Labels) -> Labels:
    """first @ second, one of which is a matrix of parameters."""
    if len(second) == 2 and len(first) >= 2 and call.is_parameter(second):
        contracted, produced = second
    elif len(first) == len(second) == 2 and call.is_parameter(first):
        produced, contracted = first
    else:
        return not_understood(call)
    call.unify(first[-1], second[-2])
    call.roles.contracted.append(contracted)
    call.roles.produced.append(produced)
    return (*first[:-1], second[-1])


def _batch_norm(call: Call) -> Labels:
    x = call.arg(0, "input")
    for index, name in ((1, "weight"), (2, "bias"), (3, "running_mean"), (4, "running_var")):
        per_unit = call.arg(index, name)
        if per_unit is not None:
            call.unify(x[1], per_unit[0])
    return x


def _pool(spatial_dims: int) -> Callable[[Call], Labels]:
    def rule(call: Call) -> Labels:
        x = call.arg(0, "self")
        call.fix(x[-spatial_dims:], "pools over units")
        kept = len(call.shape) - spatial_dims
        return (*x[:kept], *fixed_labels(call.shape[kept:]))

    return rule


def _reduce(call: Call) -> Labels:
    """mean, sum, amax, amin over given dimensions; over all of them without."""
    x = call.arg(0, "self")
    dims = call.arg(1, "dim")
    if not isinstance(dims, (int, list)) or dims == []:
        call.fix(x, "reduces over units")
        return fixed_labels(call.shape)
    reduced = {dim % len(x) for dim in ([dims] if isinstance(dims, int) else dims)}
    call.fix([x[dim] for dim in reduced], "reduces over units")
    if len(call.shape) == len(x):
        return tuple(np.full(1, FIXED, np.int64) if at in reduced else dim for at, dim in enumerate(x))
    return tuple(dim for at, dim in enumerate(x) if at not in reduced)


def _normalise_along(call: Call) -> Labels:
    """softmax and its like: every value depends on all others along one dimension."""
    x = call.arg(0, "self")
    call.fix([x[call.arg(1, "dim")]], "normalises over units")
    return x


def _cat(call: Call) -> Labels:
    tensors = call.arg(0, "tensors")
    at = call.arg(1, "dim", 0) % len(call.shape)
    if any(not is_labels(tensor) or len(tensor) != len(call.shape) for tensor in tensors):
        return not_understood(call)
    result = []
    for dim in range(len(call.shape)):
        parts = [tensor[dim] for tensor in tensors]
        if dim != at:
            for part in parts[1:]:
                call.unify(parts[0], part)
        result.append(np.concatenate(parts) if dim == at else parts[0])
    return tuple(result)


def _permute(call: Call) -> Labels:
    x = call.arg(0, "self")
    return tuple(x[dim] for dim in call.arg(1, "dims"))


def _transpose(call: Call) -> Labels:
    x = list(call.arg(0, "self"))
    first, second = (call.arg(1, "dim0"), call.arg(2, "dim1")) if call.name.rstrip("_") != "t" else (0, len(x) - 1)
    x[first], x[second] = x[second], x[first]
    return tuple(x)


def _view(call: Call) -> Labels:
    wanted = call.arg(1, "size", call.kwargs.get("shape"))
    if not isinstance(wanted, list):  # view(dtype) reads the bytes anew
        return not_understood(call)
    return _reshape(call, [-1 if size == -1 else size for size in wanted])


def _flatten(call: Call) -> Labels:
    return _reshape(call, [-1] * len(call.shape))


def _reshape(call: Call, wanted: list[int]) -> Labels:
    """Merge and split dimensions. `wanted` has -1 where the size follows from the tensor, else the written size."""
    x = call.arg(0, "self")
    result: list[np.ndarray] = []
    for olds, news in _matching_groups([len(dim) for dim in x], list(call.shape)):
        result.extend(_reshape_group(call, [x[dim] for dim in olds], [call.shape[dim] for dim in news]))
    for at, dim in enumerate(result):
        if wanted[at] != -1 and is_tracked(dim):
            call.fix(
                [dim], f"the size {wanted[at]} is fixed in the graph, by a number or x.size(); write -1 or flatten(1)"
            )
    return tuple(result)


def _reshape_group(call: Call, olds: list[np.ndarray], sizes: list[int]) -> list[np.ndarray]:
    tracked = [at for at, dim in enumerate(olds) if is_tracked(dim)]
    if not tracked:
        return list(fixed_labels(sizes))
    if len(sizes) == 1 and len(tracked) == 1:
        at = tracked[0]
        inner = math.prod(len(dim) for dim in olds[at + 1 :])
        outer = math.prod(len(dim) for dim in olds[:at])
        return [np.tile(np.repeat(olds[at], inner), outer)]
    whole = [dim for dim in olds if len(dim) > 1]
    if [len(dim) for dim in whole] == [size for size in sizes if size > 1]:
        remaining = iter(whole)
        return [next(remaining) if size > 1 else np.full(1, FIXED, np.int64) for size in sizes]
    call.fix(olds, "splits or mixes a dimension of units")
    return list(fixed_labels(sizes))


def _matching_groups(olds: list[int], news: list[int]) -> list[tuple[range, range]]:
    """Shortest runs of old and new dimensions with equal products."""
    groups, i, j = [], 0, 0
    while i < len(olds) or j < len(news):
        first_i, first_j, left, right = i, j, 1, 1
        if i < len(olds):
            left, i = olds[i], i + 1
        if j < len(news):
            right, j = news[j], j + 1
        while left != right:
            if left < right:
                left, i = left * olds[i], i + 1
            else:
                right, j = right * news[j], j + 1
        groups.append((range(first_i, i), range(first_j, j)))
    return groups


def _squeeze(call: Call) -> Labels:
    return _reshape(call, [-1] * len(call.shape))


_RULES: dict[str, Callable[[Call], Labels]] = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "conv3d": _convolution,
    "linear": _linear,
    "matmul": _matmul,
    "mm": _matmul,
    "addmm": _addmm,
    "batch_norm": _batch_norm,
    "max_pool1d": _pool(1),
    "max_pool2d": _pool(2),
    "max_pool3d": _pool(3),
    "avg_pool1d": _pool(1),
    "avg_pool2d": _pool(2),
    "avg_pool3d": _pool(3),
    "adaptive_avg_pool1d": _pool(1),
    "adaptive_avg_pool2d": _pool(2),
    "adaptive_avg_pool3d": _pool(3),
    "mean": _reduce,
    "sum": _reduce,
    "amax": _reduce,
    "amin": _reduce,
    "softmax": _normalise_along,
    "log_softmax": _normalise_along,
    "cat": _cat,
    "permute": _permute,
    "transpose": _transpose,
    "t": _transpose,
    "view": _view,
    "reshape": _view,
    "flatten": _flatten,
    "squeeze": _squeeze,
    "unsqueeze": _squeeze,
}

"""How ATen operators carry units from their inputs to their outputs: calls, element by element, and what has no rule.

A rule sees the labels of an operator's tensor arguments (per dimension a vector of atoms, see atoms.py), says which
must be equal, and returns the labels of the output (a list of them where the operator has several outputs). An operator
without a rule fixes everything that it touches: what is not understood stays as it is, with the operator as the reason.
The other rules are in layer_rules.py (what holds parameters or mixes units) and shape_rules.py (what moves them).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from edge_dendrite.compress.coupling.atoms import FIXED, Atoms
from edge_dendrite.compress.coupling.sizes import Attribute, Size, WrittenSizes

# Per dimension, the atom of every index.
Labels = tuple[np.ndarray, ...]
Rule = Callable[["Call"], Any]


@dataclass(frozen=True)
class Binding:
    """A size computed from attributes that must become the number of labels that stay."""

    size: Size
    labels: np.ndarray
    reason: str


@dataclass(frozen=True)
class Statistic:
    """A call that takes a mean (or its like) over units: without a unit it gives other values for all that stay."""

    node: str
    arguments: tuple[Any, ...]
    results: Any


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates of a call: `constant` times the number of labels in each of `dims`."""

    constant: int
    dims: tuple[np.ndarray, ...]


@dataclass
class Roles:
    """What operators do with parameters: the dimensions that make units, those that are summed over, and those of
    depthwise convolutions (whose `groups` follow the number of units). Also what they ask of sizes and statistics."""

    # The label vectors of parameters and buffers themselves, by identity: what was computed from them has others.
    own: set[int] = field(default_factory=set)
    produced: list[np.ndarray] = field(default_factory=list)
    contracted: list[np.ndarray] = field(default_factory=list)
    depthwise: list[np.ndarray] = field(default_factory=list)
    normalised: list[np.ndarray] = field(default_factory=list)
    statistics: list[Statistic] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
    # Dimensions along which a new tensor or a spread one repeats the same value.
    repeated: list[np.ndarray] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """One operator call: its name, its arguments (tensors as Labels), and the shape of its output or outputs."""

    name: str
    node: torch.fx.Node
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    atoms: Atoms
    roles: Roles
    written: WrittenSizes
    module: nn.Module
    # Inside a branch of torch.cond.
    nested: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the (first) output."""
        return self.shapes[0]

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """A positional or keyword argument."""
        return self.args[index] if index < len(self.args) else self.kwargs.get(name, default)

    def fix(self, labels: Sequence[np.ndarray], what: str) -> None:
        """The units in these dimensions stay, because of this operator."""
        for dim in labels:
            self.atoms.fix(dim, f"{self.name}: {what}")

    def is_parameter(self, labels: Any) -> bool:
        """Whether a tensor is a parameter as it is stored, at most transposed: the only kind that can be masked."""
        return is_labels(labels) and all(id(dim) in self.roles.own for dim in labels)

    def unify(self, first: np.ndarray, second: np.ndarray) -> None:
        """These dimensions are cut together, index by index."""
        if first is not second:
            self.atoms.unify(first, second, f"{self.name}: joins a dimension that must stay")

    def tie(self, parts: Sequence[np.ndarray]) -> None:
        """These parts of a dimension must keep equal sizes."""
        self.atoms.tie(parts, f"{self.name}: needs parts of equal size")

    def bind(self, size: Any, labels: np.ndarray) -> None:
        """A written size must become the number of labels that stay; a number in the code makes all of them stay."""
        if isinstance(size, Size) and size.sources:
            self.roles.bindings.append(Binding(size, labels, f"{self.name}: the size {size} cannot follow a cut"))
        elif size != -1 and not (isinstance(size, Size) and size.follows) and is_tracked(labels):
            self.fix([labels], f"the size {size} is a number in the code; write -1, flatten(1), or an attribute")

    def bind_attribute(self, name: str, labels: np.ndarray) -> None:
        """An attribute of the layer that makes this call, which holds the size of a dimension and is checked there."""
        stack = self.node.meta.get("nn_module_stack") or {}
        fqn = next(reversed(stack.values()))[0] if stack else ""
        layer = self.module.get_submodule(fqn)
        value = getattr(layer, name, None)
        if type(value) is int and value == len(labels) and not list(layer.children()):
            self.bind(Size.of_attribute(value, Attribute(fqn, name)), labels)

    def works(self, *dims: np.ndarray) -> None:
        """This operator does one multiply-accumulate for each combination of indices of these dimensions."""
        tracked = tuple(dim for dim in dims if is_tracked(dim))
        constant = math.prod(len(dim) for dim in dims if not is_tracked(dim))
        self.roles.work.append(Work(constant, tracked))

    def takes_statistic(self, over: Sequence[np.ndarray], results: Any) -> None:
        """This operator takes a mean, a norm or an extreme over these dimensions."""
        over = [dim for dim in over if is_tracked(dim)]
        if self.nested:
            self.fix(over, "takes a mean or extreme over units inside a branch")
        elif over:
            self.roles.normalised.extend(over)
            self.roles.statistics.append(Statistic(self.node.name, (self.args, self.kwargs), results))


def is_labels(value: Any) -> bool:
    """Whether an argument is a tracked tensor."""
    return isinstance(value, tuple) and all(isinstance(one, np.ndarray) for one in value)


def fixed_labels(shape: Sequence[int]) -> Labels:
    """Labels of a tensor of which nothing can be cut."""
    return tuple(np.full(size, FIXED, np.int64) for size in shape)


def is_tracked(dim: np.ndarray) -> bool:
    """Whether a dimension holds units."""
    return bool(np.any(dim != FIXED))


def tensors_in(values: Sequence[Any]) -> list[Labels]:
    """The tracked tensors among arguments, also in lists."""
    found: list[Labels] = []
    for value in values:
        if is_labels(value):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(tensors_in(value))
    return found


def not_understood(call: Call) -> Any:
    """The rule of every operator that has none."""
    for tensor in tensors_in([*call.args, *call.kwargs.values()]):
        call.fix(tensor, "this operator is not understood")
    return outputs(call, [fixed_labels(shape) for shape in call.shapes])


def outputs(call: Call, labels: list[Labels]) -> Any:
    """Labels in the form in which the operator returns its outputs."""
    return labels if isinstance(call.node.meta.get("val"), (list, tuple)) else labels[0]


def unchanged(call: Call) -> Labels:
    """Copies and views of the same shape: still the parameter where the argument is one."""
    return tuple(call.arg(0, "self"))


def elementwise(call: Call) -> Labels:
    """Any number of tensors, broadcast against each other. What acts on each value alone couples nothing else."""
    return broadcast(call, tensors_in([*call.args, *call.kwargs.values()]), call.shape)


def broadcast(call: Call, tensors: Sequence[Labels], shape: Sequence[int]) -> Labels:
    """Labels of tensors broadcast to `shape`, with equal indices unified."""
    result = []
    for at, size in enumerate(shape):
        from_end = len(shape) - at
        present = [tensor[-from_end] for tensor in tensors if len(tensor) >= from_end]
        full = [dim for dim in present if len(dim) == size]
        for dim in full[1:]:
            call.unify(full[0], dim)
        call.fix([dim for dim in present if len(dim) != size], "spreads a single unit over others")
        # A copy: the values are no longer those of the parameter that the labels may come from.
        result.append(full[0].copy() if full else np.full(size, FIXED, np.int64))
    return tuple(result)


UNCHANGED = frozenset(("alias", "clone", "contiguous", "detach", "lift_fresh_copy", "to", "_to_copy", "positive"))

# fmt: off
ELEMENTWISE = frozenset((
    "abs", "acos", "add", "addcdiv", "addcmul", "alpha_dropout", "asin", "atan", "atan2", "bernoulli", "bitwise_and",
    "bitwise_not", "bitwise_or", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "copy", "cos", "cosh", "deg2rad",
    "div", "divide", "dropout", "elu", "empty_like", "eq", "erf", "erfc", "exp", "exp2", "expm1", "feature_dropout",
    "fill", "floor", "floor_divide", "fmod", "frac", "full_like", "ge", "gelu", "gt", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "heaviside", "isfinite", "isinf", "isnan", "le", "leaky_relu", "lerp", "log", "log10",
    "log1p", "log2", "log_sigmoid", "logical_and", "logical_not", "logical_or", "logical_xor", "logit", "lt",
    "masked_fill", "maximum", "minimum", "mish", "mul", "multiply", "nan_to_num", "ne", "neg", "negative", "ones_like",
    "pow", "rand_like", "randn_like", "reciprocal", "relu", "relu6", "remainder", "round", "rsqrt", "rsub", "selu",
    "sgn", "sigmoid", "sign", "silu", "sin", "sinh", "softplus", "softshrink", "softsign", "sqrt", "square", "sub",
    "subtract", "tan", "tanh", "tanhshrink", "threshold", "true_divide", "trunc", "type_as", "where", "xlogy",
    "zeros_like", "__and__", "__or__", "__xor__",
))
# fmt: on

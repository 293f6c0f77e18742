"""Calling a network: one tensor, several, or keywords; and the tensors in whatever it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils import _pytree

from edge_dendrite.errors import PruneError

# A tensor (b, ...), a tuple of positional ones, or a dict of keyword ones.
Inputs: TypeAlias = torch.Tensor | tuple[torch.Tensor, ...] | Mapping[str, torch.Tensor]


def forward(module: nn.Module, inputs: Inputs) -> Any:
    """The outputs of `module`, as it returns them."""
    args, kwargs = arguments(inputs)
    return module(*args, **kwargs)


def arguments(inputs: Inputs) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """(positional, keyword) arguments of a forward."""
    if isinstance(inputs, torch.Tensor):
        return (inputs,), {}
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return tuple(inputs), {}


def first_samples(inputs: Inputs, count: int) -> Inputs:
    """`count` samples of the batch, repeated when there are fewer. Tensors of another length (a mask) stay whole."""
    batch = batch_size(inputs)

    def take(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == 0 or len(tensor) != batch:
            return tensor
        repeats = -(-count // max(len(tensor), 1))
        return tensor[:count] if repeats <= 1 else tensor.repeat(repeats, *[1] * (tensor.dim() - 1))[:count]

    return _pytree.tree_map_only(torch.Tensor, take, inputs)


def batch_size(inputs: Inputs) -> int:
    """Samples in a batch: the first dimension of its first tensor."""
    return next((len(one) for one in _pytree.tree_leaves(inputs) if isinstance(one, torch.Tensor) and one.dim()), 0)


def check_weights(module: nn.Module) -> None:
    """Raise PruneError, naming the tensor, when a parameter of `module` is not finite, or a buffer is NaN.

    Buffers may be infinite: masks of attention are.
    """
    broken = [(name, torch.isfinite(one).logical_not()) for name, one in module.named_parameters()]
    broken += [(name, torch.isnan(one)) for name, one in module.named_buffers()]
    for name, wrong in broken:
        if bool(wrong.any()):
            raise PruneError(
                f"{name} is not finite: a training before this went wrong; take weights from before it, and lower its "
                "learning rate"
            )


def tensors_of(outputs: Any) -> list[torch.Tensor]:
    """All tensors in what a network returned, in a fixed order."""
    return [one for one in _pytree.tree_leaves(outputs) if isinstance(one, torch.Tensor)]


def flat(values: Sequence[Any]) -> list[Any]:
    """What nested lists and tuples hold, in order."""
    found: list[Any] = []
    for value in values:
        found.extend(flat(value) if isinstance(value, (list, tuple)) else [value])
    return found

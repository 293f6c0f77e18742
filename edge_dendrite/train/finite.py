"""Where NaN and infinity come from."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from edge_dendrite.train.tensors import learned_tensors


class _Found(Exception):
    """Ends a forward pass at the first layer that is not finite; the text says which."""


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite."""
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def weight_not_finite(module: nn.Module) -> str:
    """Words for the first parameter or running statistic that is not finite; "" when all are."""
    for name, value in learned_tensors(module).items():
        if not is_finite(value):
            layer, _, own = name.rpartition(".")
            return f"{own} of layer {layer!r} holds NaN or infinity"
    return ""


@torch.no_grad()
def first_not_finite(module: nn.Module, inputs: torch.Tensor) -> str:
    """Words for the first layer, in the order of computation, whose weight or output is not finite; "" when none is.

    Runs the network once on `inputs` in its present mode.
    """
    if not is_finite(inputs):
        return "the inputs of this batch hold NaN or infinity; look into the data"
    handles = [part.register_forward_hook(functools.partial(_look, name)) for name, part in module.named_modules()]
    try:
        module(inputs)
    except _Found as found:
        return str(found)
    finally:
        for handle in handles:
            handle.remove()
    return ""


def _look(name: str, part: nn.Module, inputs: Any, output: Any) -> None:
    layer = f"layer {name!r} ({type(part).__name__})" if name else f"the network itself ({type(part).__name__})"
    for own, value in learned_tensors(part, recurse=False).items():
        if not is_finite(value):
            raise _Found(f"{own} of {layer} holds NaN or infinity")
    if not all(is_finite(tensor) for tensor in _tensors_in(output)):
        raise _Found(f"the output of {layer} is the first that holds NaN or infinity")


def _tensors_in(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(one)

"""The tensors of a network by name, and copies of them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import nn


def all_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Every parameter and buffer by name; a shared one once."""
    return dict(itertools.chain(module.named_parameters(), module.named_buffers()))


def learned_tensors(module: nn.Module, *, recurse: bool = True) -> dict[str, torch.Tensor]:
    """Parameters and the running statistics of normalisation layers: what training changes and data decide.

    Other buffers are not among them: masks (which may hold -inf), tables, counters.
    """
    buffers = module.named_buffers(recurse=recurse)
    statistics = ((name, one) for name, one in buffers if name.split(".")[-1] in ("running_mean", "running_var"))
    named = itertools.chain(module.named_parameters(recurse=recurse), statistics)
    return {name: one for name, one in named if one.is_floating_point()}


def copies(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Detached copies with memory of their own."""
    return {name: one.detach().clone() for name, one in tensors.items()}


@torch.no_grad()
def write(source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor]) -> None:
    """Copy the values of `source` into the tensors of the same names in `target`.

    Raises KeyError for a name that is not there, ValueError for another shape.
    """
    for name, value in source.items():
        if target[name].shape != value.shape:
            raise ValueError(f"{name} has the shape {tuple(target[name].shape)}, not {tuple(value.shape)}")
        target[name].copy_(value)

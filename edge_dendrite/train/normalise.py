"""Batch norms that are there while a network is trained, and part of its layers afterwards.

A layer without a norm of its own learns faster, and to a better end where it is narrow, with one behind it (Ioffe and
Szegedy 2015, "Batch Normalization", section 3). In evaluation a batch norm is a scale and a shift, so it goes into the
weight and bias of its layer, and the network has the shape that it had.

Shape suffixes: b batch, c channels or features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from edge_dendrite.train.evaluate import evaluating

_EPS, _MOMENTUM = 1e-5, 0.1
_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Norm(nn.Module):
    """Batch norm of a layer's output, (b, c, ...) or (..., c)."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, num_channels: int, channel_dim: int, like: torch.Tensor) -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.weight = nn.Parameter(torch.ones(num_channels, device=like.device, dtype=like.dtype))
        self.bias = nn.Parameter(torch.zeros(num_channels, device=like.device, dtype=like.dtype))
        self.register_buffer("mean", torch.zeros_like(self.weight.detach()))
        self.register_buffer("variance", torch.ones_like(self.weight.detach()))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        y_bc = y.movedim(self.channel_dim, 1) if y.dim() > 2 else y
        if self.training and y_bc.numel() == y_bc.shape[1]:
            raise ValueError("a norm of a single value per channel")  # as torch's own batch norm
        y_bc = functional.batch_norm(
            y_bc, self.mean, self.variance, self.weight, self.bias, self.training, _MOMENTUM, _EPS
        )
        return y_bc.movedim(1, self.channel_dim) if y.dim() > 2 else y_bc

    @torch.no_grad()
    def start_from(self, y: torch.Tensor) -> None:
        """Take the statistics of `y`, with a scale and shift that undo them: the network computes what it did."""
        values_cn = y.movedim(self.channel_dim if y.dim() > 2 else 1, 0).flatten(1).float()
        self.mean.copy_(values_cn.mean(1))
        self.variance.copy_(values_cn.var(1, unbiased=False))
        self.weight.copy_((self.variance + _EPS).sqrt())
        self.bias.copy_(self.mean)

    @torch.no_grad()
    def fold_into_(self, layer: Any) -> None:
        """Give `layer` the scale and shift of evaluation."""
        scale_c = self.weight / (self.variance + _EPS).sqrt()
        layer.weight.mul_(scale_c.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.copy_((layer.bias - self.mean) * scale_c + self.bias)


@contextlib.contextmanager
def normalised(module: nn.Module, inputs: torch.Tensor, *, is_new: bool = False) -> Iterator[None]:
    """Every layer of `module` that can have a norm has one for a while; they start without any effect.

    inputs: a batch for the network. is_new: its weights are random, and the norms start as norms do. Layers with a norm
    behind them, without a bias, with parametrised or shared weights, or that are called more than once, are left alone.
    Afterwards the norms are part of their layers, in the weights that the network has then.
    """
    outputs = _seen_outputs(module, inputs)
    norms: list[tuple[nn.Module, _Norm, Any]] = []
    for layer, y in outputs:
        norm = _Norm(y.shape[_channel_dim(layer)], _channel_dim(layer), y)
        if not is_new:
            norm.start_from(y)
        norm.train(layer.training)
        layer.add_module("transient_norm", norm)
        norms.append((layer, norm, layer.register_forward_hook(lambda part, args, y, norm=norm: norm(y))))
    try:
        yield
    finally:
        for layer, norm, handle in norms:
            handle.remove()
            del layer._modules["transient_norm"]
            norm.fold_into_(layer)


def _channel_dim(layer: nn.Module) -> int:
    return 1 if isinstance(layer, _CONVOLUTIONS) else -1


def _seen_outputs(module: nn.Module, inputs: torch.Tensor) -> list[tuple[nn.Module, torch.Tensor]]:
    """(layer, its output (b, c, ...) or (..., c)) of the layers that can have a norm, in the order of their calls."""
    made: list[tuple[nn.Module, torch.Tensor]] = []
    normed: list[Any] = []  # the tensors themselves: an id can be used again
    calls: dict[nn.Module, int] = {}

    def after(part: nn.Module, args: Any, y: Any) -> None:
        calls[part] = calls.get(part, 0) + 1
        made.append((part, y))

    def before(part: nn.Module, args: Any) -> None:
        normed.extend(args)

    handles = [part.register_forward_hook(after) for part in _candidates(module)]
    handles += [part.register_forward_pre_hook(before) for part in module.modules() if isinstance(part, _NORMS)]
    try:
        with torch.no_grad(), evaluating(module):
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return [
        (part, y)
        for part, y in made
        if calls[part] == 1 and y.dim() > 1 and len(y) == len(inputs) and not any(y is one for one in normed)
    ]


def _candidates(module: nn.Module) -> Sequence[nn.Module]:
    """Layers that compute weight . x + bias with an output for each row of the weight, alone with their tensors."""
    owners: dict[int, int] = {}
    for part in module.modules():
        for parameter in part._parameters.values():
            if parameter is not None:
                owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    found = []
    for part in module.modules():
        linear: Any = part
        if not isinstance(part, (nn.Linear, *_CONVOLUTIONS)) and not getattr(part, "has_linear_rows", False):
            continue
        if parametrize.is_parametrized(part) or linear.bias is None or len(linear.weight) < 2:
            continue
        if any(owners[id(one)] > 1 or not one.requires_grad for one in (linear.weight, linear.bias)):
            continue
        found.append(part)
    return found

"""Batch norms that are there while a network is trained, and part of its layers afterwards.

A layer without a norm of its own learns faster, and to a better end where it is narrow, with one behind it (Ioffe and
Szegedy 2015, "Batch Normalization", section 3). In evaluation a batch norm is a scale and a shift, so it goes into the
weight and bias of its layer, and the network has the shape that it had.

Shape suffixes: b batch, c channels or features.
"""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from edge_dendrite.train.evaluate import evaluating

_EPS, _MOMENTUM = 1e-5, 0.1
# Largest difference that folding may make, relative to the largest output.
_TOLERANCE, _TOLERANCE_OF_HALF = 1e-3, 5e-2
_NORMS = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class _Norm(nn.Module):
    """Batch norm of a layer's output, (b, c, ...) or (..., c)."""

    running_mean: torch.Tensor  # by these names averages of weights know statistics
    running_var: torch.Tensor

    def __init__(self, num_channels: int, channel_dim: int, like: torch.Tensor) -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.weight = nn.Parameter(torch.ones(num_channels, device=like.device, dtype=like.dtype))
        self.bias = nn.Parameter(torch.zeros(num_channels, device=like.device, dtype=like.dtype))
        self.register_buffer("running_mean", torch.zeros_like(self.weight.detach()))
        self.register_buffer("running_var", torch.ones_like(self.weight.detach()))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        y_bc = y.movedim(self.channel_dim, 1) if y.dim() > 2 else y
        if self.training and y_bc.numel() == y_bc.shape[1]:
            raise ValueError("a norm of a single value per channel")  # as torch's own batch norm
        y_bc = functional.batch_norm(
            y_bc, self.running_mean, self.running_var, self.weight, self.bias, self.training, _MOMENTUM, _EPS
        )
        return y_bc.movedim(1, self.channel_dim) if y.dim() > 2 else y_bc

    @torch.no_grad()
    def start_from(self, y: torch.Tensor) -> None:
        """Take the statistics of `y`, with a scale and shift that undo them: the network computes what it did."""
        values_cn = y.movedim(self.channel_dim if y.dim() > 2 else 1, 0).flatten(1).float()
        self.running_mean.copy_(values_cn.mean(1))
        self.running_var.copy_(values_cn.var(1, unbiased=False))
        self.weight.copy_((self.running_var + _EPS).sqrt())
        self.bias.copy_(self.running_mean)

    @torch.no_grad()
    def fold_into_(self, layer: Any) -> None:
        """Give `layer` the scale and shift of evaluation."""
        scale_c = self.weight / (self.running_var + _EPS).sqrt()
        layer.weight.mul_(scale_c.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.copy_((layer.bias - self.running_mean) * scale_c + self.bias)


@contextlib.contextmanager
def normalised(module: nn.Module, inputs: torch.Tensor, *, is_new: bool = False) -> Iterator[None]:
    """Every layer of `module` that can have a norm has one for a while; they start without any effect.

    inputs: a batch for the network. is_new: its weights are random, and the norms start as norms do. Layers with a norm
    behind them, without a bias, with parametrised or shared weights, that are called more than once, or of which a copy
    shows that they could not take a norm in by value, are left alone. Afterwards the norms are part of their layers, in
    the weights that the network has then.
    """
    norms = _with_norms(module, _that_fold(module, inputs), is_new=is_new)
    try:
        yield
    finally:
        _fold_(norms)


@dataclass(frozen=True)
class _Normed:
    layer: nn.Module
    norm: _Norm
    handle: Any


def _with_norms(module: nn.Module, outputs: Mapping[str, torch.Tensor], *, is_new: bool) -> list[_Normed]:
    """Give each layer that `outputs` name a norm, which starts from what the layer made."""
    norms = []
    for name, y in outputs.items():
        layer = module.get_submodule(name)
        norm = _Norm(y.shape[_channel_dim(layer)], _channel_dim(layer), y)
        if not is_new:
            norm.start_from(y)
        norm.train(layer.training)
        layer.add_module("transient_norm", norm)
        handle = layer.register_forward_hook(lambda part, args, y, norm=norm: norm(y))
        norms.append(_Normed(layer, norm, handle))
    return norms


def _fold_(norms: Sequence[_Normed]) -> None:
    for one in norms:
        one.handle.remove()
        del one.layer._modules["transient_norm"]
        one.norm.fold_into_(one.layer)


@torch.no_grad()
def _that_fold(module: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """Layers whose norm can become a part of them, with their outputs: shown by value, on copies with random norms.

    A layer that scales its output, is read by its weight elsewhere, or has a hook of the user looks like any other.
    """
    outputs = _seen_outputs(module, inputs)
    if _folds(module, outputs, inputs):
        return outputs
    return {name: y for name, y in outputs.items() if _folds(module, {name: y}, inputs)}


def _folds(module: nn.Module, outputs: Mapping[str, torch.Tensor], inputs: torch.Tensor) -> bool:
    copied = copy.deepcopy(module).eval()
    norms = _with_norms(copied, outputs, is_new=False)
    generator = torch.Generator().manual_seed(0)
    for one in norms:
        for parameter in (one.norm.weight, one.norm.bias):
            random = torch.rand(len(parameter), generator=generator).to(parameter)
            parameter.mul_(0.5 + random)
    wanted = copied(inputs)
    _fold_(norms)
    seen = copied(inputs)
    tolerance = _TOLERANCE if wanted.dtype in (torch.float32, torch.float64) else _TOLERANCE_OF_HALF
    return bool(((wanted - seen).abs().max() <= tolerance * wanted.abs().max()).item())


def _channel_dim(layer: nn.Module) -> int:
    return 1 if isinstance(layer, _CONVOLUTIONS) else -1


def _seen_outputs(module: nn.Module, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """The output, (b, c, ...) or (..., c), of each layer that may have a norm, in the order of their calls."""
    made: list[tuple[str, torch.Tensor]] = []
    normed: list[Any] = []  # the tensors themselves: an id can be used again

    def before(part: nn.Module, args: Any) -> None:
        normed.extend(args)

    handles = [
        module.get_submodule(name).register_forward_hook(lambda part, args, y, name=name: made.append((name, y)))
        for name in _candidates(module)
    ]
    handles += [part.register_forward_pre_hook(before) for part in module.modules() if isinstance(part, _NORMS)]
    try:
        with evaluating(module):
            module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    calls = Counter(name for name, _ in made)
    return {
        name: y
        for name, y in made
        if calls[name] == 1 and y.dim() > 1 and len(y) == len(inputs) and not any(y is one for one in normed)
    }


def _candidates(module: nn.Module) -> list[str]:
    """Names of layers that look as if they computed weight . x + bias with an output for each row of the weight, alone
    with their tensors."""
    owners = Counter(id(one) for part in module.modules() for one in part._parameters.values() if one is not None)
    found = []
    for name, part in module.named_modules():
        if not isinstance(part, (nn.Linear, *_CONVOLUTIONS)) and not getattr(part, "has_linear_rows", False):
            continue
        # Older forms of weight norm and of pruning keep the weight as something that is made at every call.
        own = [part._parameters.get(one) for one in ("weight", "bias")]
        if any(one is None or owners[id(one)] > 1 or not one.requires_grad or len(one) < 2 for one in own):
            continue
        if not parametrize.is_parametrized(part):
            found.append(name)
    return found

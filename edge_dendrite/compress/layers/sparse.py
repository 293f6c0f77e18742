"""Layers that stand where a dense one was: fewer inputs for the whole layer, or own inputs for each group of neurons.

SegmentedLayer  gather + the same kind of layer with fewer inputs
GroupedLayer    gather + grouped convolution (for a linear layer: a block-diagonal one) + order of the neurons

Both hold one plain torch layer in `layer`, so initialisation, counting and quantization see what they know. Shape
suffixes: b batch, c channels, f features, t positions, n neurons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from edge_dendrite.compress.layers.branches import CONVOLUTIONS
from edge_dendrite.errors import PruneError

_KINDS = (*CONVOLUTIONS.values(), nn.Linear)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class SegmentedLayer(nn.Module):
    """A convolution or linear layer that reads only some of its inputs; in and out as the dense layer had them.

    inputs: ascending indices of the channels or features that `layer` reads, of `num_inputs`. For a linear layer they
    are gathered in blocks as large as possible, else with positions along the last dimension: a gather of single
    features made it slower than the dense layer in ONNX Runtime on x86 (scripts/benchmarks/grouped_layers.py).
    """

    inputs: torch.Tensor

    def __init__(self, layer: nn.Module, inputs: torch.Tensor, num_inputs: int) -> None:
        super().__init__()
        self.layer = layer
        self.is_linear = isinstance(layer, nn.Linear)
        self.block_size = _block_size(inputs, num_inputs) if self.is_linear else 1
        # Of each block only its number: what is gathered are blocks.
        self.register_buffer("inputs", (inputs[:: self.block_size] // self.block_size).to(layer.weight.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c, ...) or (..., f) to what `layer` makes of the kept channels or features."""
        return self.layer(self._features(x) if self.is_linear else x.index_select(_input_dim(self.layer), self.inputs))

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        if self.block_size > 1:
            return x.unflatten(-1, (-1, self.block_size)).index_select(-2, self.inputs).flatten(-2)
        if x.dim() > 2:
            return x.transpose(-1, -2).index_select(-2, self.inputs).transpose(-1, -2)
        return x.index_select(-1, self.inputs)

    def reset_parameters(self) -> None:
        """New random weights, scaled for the inputs that are left."""
        self.layer.reset_parameters()


class GroupedLayer(nn.Module):
    """Groups of neurons, each with inputs of its own, as one grouped convolution.

    inputs: (num_groups * inputs per group,), may name an input several times. order: (n,) where each neuron of the
    dense layer is among the grouped ones, or None when they are in its order. Source: CondenseNet (Huang et al. 2018,
    section 3), whose index layer is this gather.

    A linear layer becomes a convolution with a kernel of 1 too: in ONNX Runtime on x86 that was as fast as a batched
    matrix product for one position, and for 64 positions two to eight times as fast once they lie along the last
    dimension (`scripts/benchmarks/grouped_layers.py` repeats it); hence the transpositions.
    """

    inputs: torch.Tensor
    order: torch.Tensor | None

    def __init__(
        self, layer: nn.Module, inputs: torch.Tensor, order: torch.Tensor | None, *, is_linear: bool = False
    ) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("inputs", inputs)
        self.register_buffer("order", order)
        self.is_linear = is_linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c, ...) to (b, n, ...), or (..., f) to (..., n) where a linear layer was."""
        if not self.is_linear:
            return self._grouped(x)
        if x.dim() < 3:  # (f,) or (b, f)
            return self._grouped(x.unsqueeze(-1)).squeeze(-1)
        h_bft = (x.flatten(0, -3) if x.dim() > 3 else x).transpose(-1, -2)
        return self._grouped(h_bft).transpose(-1, -2).reshape(*x.shape[:-1], -1)

    def _grouped(self, x: torch.Tensor) -> torch.Tensor:
        dim = _input_dim(self.layer)
        y = self.layer(x.index_select(dim, self.inputs))
        return y if self.order is None else y.index_select(dim, self.order)

    def reset_parameters(self) -> None:
        """New random weights, scaled for the inputs of a group."""
        self.layer.reset_parameters()


def reason_against(layer: nn.Module) -> str | None:
    """Why a layer cannot be replaced, or None when it can."""
    base = _base_of(layer)
    if base is None:
        return f"{type(layer).__name__} is not a plain convolution or linear layer"
    if getattr(layer, "groups", 1) != 1:
        return "its inputs are in groups already"
    if parametrize.is_parametrized(layer) or set(dict(layer.named_parameters())) - {"weight", "bias"}:
        return "its weight is parametrised"
    if not isinstance(layer._parameters.get("weight"), nn.Parameter):
        return "its weight is not a parameter of its own"
    if any(getattr(layer, hooks, None) for hooks in _HOOKS):
        return "it has hooks, which would be lost"
    return None


def kept_connections(settings: Mapping[str, Any], shape: Sequence[int]) -> torch.Tensor:
    """Which (neuron, input) pairs of the dense weight stay, (shape[0], shape[1]) of bool."""
    inputs_gk = _checked_inputs(settings["inputs"], settings.get("num_groups", 1), shape[1])
    neurons_gm = _checked_neurons(settings.get("neurons", list(range(shape[0]))), len(inputs_gk), shape[0])
    kept = torch.zeros(shape[0], shape[1], dtype=torch.bool)
    for inputs, neurons in zip(inputs_gk, neurons_gm, strict=True):
        kept[neurons.unsqueeze(1), inputs] = True
    return kept


def _checked_inputs(indices: Sequence[int], num_groups: int, size: int) -> torch.Tensor:
    """(num_groups, inputs per group), ascending without repetition in each group, in all at most as many as before.

    The last bound keeps what is gathered no larger than the dense layer's input, whatever a plan says.
    """
    if num_groups < 1 or not 0 < len(indices) <= size or len(indices) % num_groups or max(indices) >= size:
        raise PruneError(f"the plan has {len(indices)} inputs in {num_groups} groups for a layer of {size} inputs")
    inputs_gk = torch.tensor(list(indices)).view(num_groups, -1)
    if not bool((inputs_gk.diff(dim=1) > 0).all()):
        raise PruneError("the plan names the inputs of a layer out of order, or one of them twice in a group")
    return inputs_gk


def _checked_neurons(indices: Sequence[int], num_groups: int, size: int) -> torch.Tensor:
    """(num_groups, neurons per group), every neuron once."""
    if size % num_groups or sorted(indices) != list(range(size)):
        raise PruneError(f"the plan does not put each of the {size} neurons of a layer in one of {num_groups} groups")
    return torch.tensor(list(indices)).view(num_groups, -1)


def _block_size(inputs: torch.Tensor, num_inputs: int) -> int:
    """The largest size for which `inputs` are whole blocks, when all inputs are divided into such blocks."""
    for size in range(len(inputs), 1, -1):
        if num_inputs % size == 0 and len(inputs) % size == 0:
            starts = inputs[::size]
            if bool((starts % size == 0).all()) and bool((inputs[size - 1 :: size] == starts + size - 1).all()):
                return size
    return 1


def segmented_layer(old: Any, inputs: Sequence[int]) -> SegmentedLayer:
    """`old` with only these of its inputs. Raises PruneError for indices that it does not have."""
    kept = _checked_inputs(inputs, 1, old.weight.shape[1])[0]
    if isinstance(old, nn.Linear):
        layer = nn.Linear(len(kept), old.out_features, bias=old.bias is not None, device="meta")
    else:
        layer = _convolution_like(old, len(kept), groups=1)
    _take_over_(layer, old, old.weight.detach().index_select(1, kept.to(old.weight.device)), None)
    return SegmentedLayer(layer, kept, old.weight.shape[1])


def grouped_layer(old: Any, num_groups: int, inputs: Sequence[int], neurons: Sequence[int]) -> GroupedLayer:
    """`old` in groups of neurons with inputs of their own. Raises PruneError for indices that do not fit it."""
    inputs_gk = _checked_inputs(inputs, num_groups, old.weight.shape[1])
    neurons_gm = _checked_neurons(neurons, num_groups, old.weight.shape[0])
    device, is_linear = old.weight.device, isinstance(old, nn.Linear)
    inputs_gk, neurons_gm = inputs_gk.to(device), neurons_gm.to(device)
    dense = old.weight.detach()
    weight = torch.cat([dense[one].index_select(1, kept) for one, kept in zip(neurons_gm, inputs_gk, strict=True)])
    if is_linear:
        weight, has_bias = weight.unsqueeze(-1), old.bias is not None
        layer = nn.Conv1d(inputs_gk.numel(), old.out_features, 1, groups=num_groups, bias=has_bias, device="meta")
    else:
        layer = _convolution_like(old, inputs_gk.numel(), groups=num_groups)
    flat = neurons_gm.flatten()
    _take_over_(layer, old, weight, flat)
    order = flat.argsort()
    in_order = torch.equal(order, torch.arange(len(order), device=device))
    return GroupedLayer(layer, inputs_gk.flatten(), None if in_order else order, is_linear=is_linear)


def _convolution_like(old: Any, num_inputs: int, groups: int) -> nn.Module:
    # On "meta" no random number is drawn: the caller's sequence must not depend on how many layers are replaced.
    return CONVOLUTIONS[old.weight.dim() - 2](
        num_inputs,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=old.padding,
        dilation=old.dilation,
        groups=groups,
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
        device="meta",
    )


def _take_over_(layer: Any, old: Any, weight: torch.Tensor, neurons: torch.Tensor | None) -> None:
    layer.weight = nn.Parameter(weight.clone(), requires_grad=old.weight.requires_grad)
    if old.bias is not None:
        bias = old.bias.detach().clone() if neurons is None else old.bias.detach().index_select(0, neurons)
        layer.bias = nn.Parameter(bias, requires_grad=old.bias.requires_grad)


def _input_dim(layer: nn.Module) -> int:
    """The dimension of a convolution's channels, from the end: inputs without a batch are possible too."""
    return 1 - layer.weight.dim()


def _base_of(layer: nn.Module) -> type[nn.Module] | None:
    """The torch class whose forward this layer has; a class that computes something else has none."""
    for base in _KINDS:
        if isinstance(layer, base) and type(layer).forward is base.forward:
            same = getattr(type(layer), "_conv_forward", None) is getattr(base, "_conv_forward", None)
            return base if same else None
    return None

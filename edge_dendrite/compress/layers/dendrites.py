"""A layer to which dendrites were added: y = layer(x) + soma(activation(dendrites(x))).

Shape suffixes as in branches.py; d dendrites.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.layers.branches import ACTIVATIONS, type_of
from edge_dendrite.errors import PruneError

# A plan from elsewhere must not fill the memory.
_MOST_SETS, _MOST_DENDRITES, _MOST_PER_NEURON = 256, 4_096, 16


class Dendrites(nn.Module):
    """Dendrites that were added together; (b, c, ...) or (..., f) to what they add to each neuron.

    branches: like the layer that they belong to, one output for every dendrite. soma: from dendrites to neurons.
    """

    def __init__(self, branches: nn.Module, activation: str, soma: nn.Module) -> None:
        super().__init__()
        self.branches, self.activation, self.soma = branches, ACTIVATIONS[activation](), soma
        self.activation_name = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.soma(self.activation(self.branches(x)))


class DendriticLayer(nn.Module):
    """The layer that was there, and sets of dendrites. Without a set it computes what the layer does."""

    def __init__(self, layer: nn.Module, sets: Sequence[Dendrites] = ()) -> None:
        super().__init__()
        self.layer, self.sets = layer, nn.ModuleList(sets)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        for one in self.sets:
            y = y + one(x)
        return y


def dendritic_layer(old: Any, sizes: Sequence[int], activation: str) -> DendriticLayer:
    """`old` with sets of so many dendrites that add nothing yet. Raises PruneError for a set without a dendrite, for no
    set, and for more than a plan can mean."""
    if not sizes or not all(size > 0 for size in sizes):
        raise PruneError("the plan adds a set without a dendrite")
    if len(sizes) > _MOST_SETS or sum(sizes) > max(_MOST_DENDRITES, _MOST_PER_NEURON * len(old.weight)):
        raise PruneError(
            f"the plan adds {sum(sizes):,} dendrites in {len(sizes):,} sets to {len(old.weight):,} neurons"
        )
    return DendriticLayer(old, [new_dendrites(old, size, activation) for size in sizes])


def new_dendrites(layer: Any, num_dendrites: int, activation: str) -> Dendrites:
    """Dendrites for a linear layer or convolution, of zeros, where and as it is."""
    if isinstance(layer, nn.Linear):
        branches: Any = nn.Linear(layer.in_features, num_dendrites, device="meta")
        soma: Any = nn.Linear(num_dendrites, layer.out_features, bias=False, device="meta")
    else:
        kind = type_of(layer)
        branches = kind(
            layer.in_channels,
            num_dendrites,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            padding_mode=layer.padding_mode,
            device="meta",
        )
        soma = kind(num_dendrites, layer.out_channels, 1, bias=False, device="meta")
    made = Dendrites(branches, activation, soma)
    made.to_empty(device=layer.weight.device).to(layer.weight.dtype)
    with torch.no_grad():
        for one in made.parameters():
            one.zero_()
    return made.train(layer.training)


@torch.no_grad()
def set_dendrites_(made: Any, weight_df: torch.Tensor, bias_d: torch.Tensor, soma_nd: torch.Tensor) -> None:
    """Dendrite i becomes activation(weight[i] . inputs + bias[i]) and adds soma[:, i] times that."""
    for parameter, values in (
        (made.branches.weight, weight_df),
        (made.branches.bias, bias_d),
        (made.soma.weight, soma_nd),
    ):
        parameter.copy_(values.reshape(parameter.shape))


@torch.no_grad()
def joined(layer: DendriticLayer, keep: Sequence[torch.Tensor]) -> DendriticLayer:
    """All sets as one, of the dendrites that `keep` names for each set (bool masks).

    Raises PruneError when the sets have different activations.
    """
    sets: list[Any] = list(layer.sets)
    activations = {one.activation_name for one in sets}
    if len(activations) > 1:
        raise PruneError(f"sets of dendrites with {' and '.join(sorted(activations))} cannot become one")
    parts = [
        (
            one.branches.weight[mask].flatten(1),
            one.branches.bias[mask],
            one.soma.weight.flatten(1)[:, mask],
        )
        for one, mask in zip(sets, keep, strict=True)
    ]
    weight_df, bias_d, soma_nd = (
        torch.cat(tensors, dim=at) for tensors, at in zip(zip(*parts, strict=True), (0, 0, 1), strict=True)
    )
    made = new_dendrites(layer.layer, len(bias_d), activations.pop())
    set_dendrites_(made, weight_df, bias_d, soma_nd)
    for one in made.branches.parameters():
        one.requires_grad_(all(other.branches.weight.requires_grad for other in sets))
    return DendriticLayer(layer.layer, [made]).train(layer.training)

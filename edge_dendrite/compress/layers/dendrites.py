"""A layer to which dendrites were added: y = layer(x) + soma(activation(dendrites(x))).

Shape suffixes as in branches.py; d dendrites.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.layers.branches import ACTIVATIONS, CONVOLUTIONS, type_of
from edge_dendrite.compress.layers.slots import Slot
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
        return self.soma(self.send(x))

    def send(self, x: torch.Tensor) -> torch.Tensor:
        """What leaves the dendrites, before the soma."""
        return self.activation(self.branches(x))


def has_dendrites(module: nn.Module) -> bool:
    """Whether dendrites were added to any layer of `module`."""
    return any(isinstance(part, Dendrites) for part in module.modules())


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


def is_transposed(layer: nn.Module) -> bool:
    """Whether it is the linear layer of transformers' GPT-2, called Conv1D, whose weight is (inputs, neurons)."""
    kind = type(layer)
    return (kind.__module__, kind.__name__) == ("transformers.pytorch_utils", "Conv1D")


def sizes_of(layer: Any) -> tuple[int, int]:
    """(inputs that one dendrite sees, neurons) of a layer or slot; of a convolution the inputs under its kernel."""
    if isinstance(layer, Slot):
        return layer.num_inputs, layer.num_neurons
    if is_transposed(layer):
        return layer.weight.shape[0], layer.weight.shape[1]
    return layer.weight[0].numel(), len(layer.weight)


def dendritic_layer(old: Any, sizes: Sequence[int], activation: str) -> DendriticLayer:
    """`old` with sets of so many dendrites that add nothing yet. Raises PruneError for a set without a dendrite, for no
    set, and for more than a plan can mean."""
    check_number(sizes, sizes_of(old)[1])
    return DendriticLayer(old, [new_dendrites(old, size, activation) for size in sizes])


def check_number(sizes: Sequence[int], num_neurons: int) -> None:
    """Raise PruneError for sets that a plan cannot mean: none, one without a dendrite, or too many."""
    if not sizes or not all(size > 0 for size in sizes):
        raise PruneError("the plan adds a set without a dendrite")
    if len(sizes) > _MOST_SETS or sum(sizes) > max(_MOST_DENDRITES, _MOST_PER_NEURON * num_neurons):
        raise PruneError(f"the plan adds {sum(sizes):,} dendrites in {len(sizes):,} sets to {num_neurons:,} neurons")


def new_dendrites(layer: Any, num_dendrites: int, activation: str) -> Dendrites:
    """Dendrites for a layer or slot, of zeros, where and as it is."""
    if any(isinstance(layer, kind) for kind in CONVOLUTIONS.values()):
        kind: Any = type_of(layer)
        branches: Any = kind(
            layer.in_channels,
            num_dendrites,
            layer.kernel_size,
            stride=layer.stride,
            padding=layer.padding,
            dilation=layer.dilation,
            padding_mode=layer.padding_mode,
            device="meta",
        )
        soma: Any = kind(num_dendrites, layer.out_channels, 1, bias=False, device="meta")
    else:
        num_inputs, num_neurons = sizes_of(layer)
        branches = nn.Linear(num_inputs, num_dendrites, device="meta")
        soma = nn.Linear(num_dendrites, num_neurons, bias=False, device="meta")
    made = Dendrites(branches, activation, soma)
    like = layer.place if isinstance(layer, Slot) else layer.weight
    made.to_empty(device=like.device).to(like.dtype)
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
def one_set(layer: nn.Module, sets: Sequence[Any], keep: Sequence[torch.Tensor]) -> Dendrites:
    """The sets of a layer or slot as one, of the dendrites that `keep` names for each set (bool masks).

    Raises PruneError when the sets have different activations.
    """
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
    made = new_dendrites(layer, len(bias_d), activations.pop())
    set_dendrites_(made, weight_df, bias_d, soma_nd)
    for one in made.branches.parameters():
        one.requires_grad_(all(other.branches.weight.requires_grad for other in sets))
    return made

"""Layers of dendritic branches: each branch sees a part of the inputs and has a nonlinearity of its own; a soma, which
is a dense layer, sums them.

SpatialBranches  a convolution's branches see one channel each: depthwise convolution, activation, pointwise soma
MapBranches      behind a flatten, each sees the whole map of one channel: products and sums, activation, linear soma
BlockBranches    elsewhere, each sees one block of inputs: gather, grouped convolution, activation, soma

With several branches for a field, the input is repeated and not the output multiplied: with a channel multiplier of 2
the layer took 1.5 to 3 times as long in ONNX Runtime on x86 as with a repeated input, for 32 channels longer than the
dense 3x3 convolution in its place (scripts/results/gated-layers.md).

Source of the form: Chavlis and Poirazi 2025, "Dendrites endow artificial neural networks with accurate, robust and
parameter-efficient learning", Nature Communications 16:943.

Shape suffixes: b batch, c channels, s positions of a field, m branches of a field, f features, t positions, n neurons.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import nn

from edge_dendrite.errors import PruneError

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Branches(nn.Module):
    """What the three layers share: `branches`, an activation, and a soma."""

    branches: Any

    def __init__(self, branches: nn.Module, activation: str, soma: nn.Module, num_branches: int) -> None:
        super().__init__()
        self.activation, self.soma = ACTIVATIONS[activation](), soma
        self.branches, self.num_branches = branches, num_branches

    @torch.no_grad()
    def set_weights_(
        self, filters_mgs: torch.Tensor, biases_mg: torch.Tensor, soma_nmg: torch.Tensor, soma_bias_n: torch.Tensor
    ) -> None:
        """Branch j of field g becomes activation(filters[j, g] . field + biases[j, g])."""
        filters, biases, soma = self._arranged(filters_mgs, biases_mg, soma_nmg)
        for parameter, values in (
            (self.branches.weight, filters),
            (self.branches.bias, biases),
            (self.soma.weight, soma),
            (self.soma.bias, soma_bias_n),
        ):
            parameter.copy_(values.reshape(parameter.shape))

    def _arranged(
        self, filters_mgs: torch.Tensor, biases_mg: torch.Tensor, soma_nmg: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """In the order in which the branches lie in memory: all fields of the first branch, then of the second."""
        return filters_mgs, biases_mg, soma_nmg


class SpatialBranches(Branches):
    """Branches that see one channel of a convolution's input each; (b, c, ...) to (b, n, ...) as the convolution.

    branches: a depthwise convolution over the input, repeated once for every branch of a channel. soma: a convolution
    with a kernel of 1.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.num_branches > 1:
            x = torch.cat([x] * self.num_branches, dim=1 - self.branches.weight.dim())  # there may be no batch
        return self.soma(self.activation(self.branches(x)))


class MapBranches(Branches):
    """Branches that see the flattened map of one channel each; (..., c * s) to (..., n) as the linear layer.

    branches: MapSums. soma: a linear layer over m * c branches.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.soma(self.activation(self.branches(x)))


class MapSums(nn.Module):
    """Weighted sums of flattened maps, m of each; (..., c * s) to (..., m * c). weight: (m * c, s). bias: (m * c,)."""

    has_linear_rows = True  # one row of the weight, and one bias, for each output (train/normalise.py)

    def __init__(self, num_maps: int, map_size: int, num_branches: int, like: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(like.new_empty(num_branches * num_maps, map_size))
        self.bias = nn.Parameter(like.new_empty(num_branches * num_maps))
        self.num_maps, self.map_size, self.num_branches = num_maps, map_size, num_branches

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Products and a sum, whatever the shape of the map was: a convolution would need its height and width.
        x = x.unflatten(-1, (self.num_maps, self.map_size))
        if self.num_branches > 1:
            x = torch.cat([x] * self.num_branches, dim=-2)
        return (x * self.weight).sum(-1) + self.bias

    def reset_parameters(self) -> None:
        """New random weights of the branches, scaled for the inputs that each sees."""
        bound = self.map_size**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)


class BlockBranches(Branches):
    """Branches that see one block of the inputs each; in and out as the convolution or linear layer had them.

    inputs: (f,) the order in which the inputs make blocks, or None when they lie so. branches: a grouped convolution
    with a kernel of 1, one group for every block. soma: a layer of the kind that was there.
    """

    inputs: torch.Tensor | None

    def __init__(
        self, inputs: torch.Tensor | None, branches: nn.Module, activation: str, soma: nn.Module, num_branches: int
    ) -> None:
        super().__init__(branches, activation, soma, num_branches)
        self.register_buffer("inputs", inputs)
        self.is_linear = isinstance(soma, nn.Linear)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.is_linear:
            return self.soma(self._send(x))
        if x.dim() < 3:  # (f,) or (b, f)
            return self.soma(self._send(x.unsqueeze(-1)).squeeze(-1))
        h_bft = (x.flatten(0, -3) if x.dim() > 3 else x).transpose(-1, -2)
        return self.soma(self._send(h_bft).transpose(-1, -2).reshape(*x.shape[:-1], -1))

    def _send(self, x: torch.Tensor) -> torch.Tensor:
        if self.inputs is not None:
            x = x.index_select(1 - self.branches.weight.dim(), self.inputs)
        return self.activation(self.branches(x))

    def _arranged(
        self, filters_mgs: torch.Tensor, biases_mg: torch.Tensor, soma_nmg: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        # A group's outputs lie together.
        return filters_mgs.transpose(0, 1), biases_mg.T, soma_nmg.transpose(1, 2)


def spatial_branches(old: Any, num_branches: int, activation: str) -> SpatialBranches:
    """In place of the convolution `old`, `num_branches` for each of its channels. Raises PruneError for numbers that
    do not fit it."""
    num_neurons, num_inputs, *kernel = old.weight.shape
    _check_number(num_branches, math.prod(kernel), "positions of a kernel")
    width = num_branches * num_inputs
    branches = type_of(old)(
        width,
        width,
        old.kernel_size,
        stride=old.stride,
        padding=old.padding,
        dilation=old.dilation,
        groups=width,
        padding_mode=old.padding_mode,
        device="meta",
    )
    soma = type_of(old)(width, num_neurons, 1, device="meta")
    return _filled(SpatialBranches(branches, activation, soma, num_branches), old)


def map_branches(old: Any, num_maps: int, num_branches: int, activation: str) -> MapBranches:
    """In place of the linear layer `old`, which reads `num_maps` flattened maps. Raises PruneError as
    `spatial_branches`."""
    if not isinstance(old, nn.Linear):
        raise PruneError("the plan gives branches of whole maps to a layer that is not linear")
    num_neurons, num_inputs = old.weight.shape
    if not 0 < num_maps <= num_inputs or num_inputs % num_maps:
        raise PruneError(f"the plan divides a layer of {num_inputs} inputs into {num_maps} maps")
    map_size = num_inputs // num_maps
    _check_number(num_branches, map_size, "features of a map")
    soma = nn.Linear(num_branches * num_maps, num_neurons, device="meta")
    sums = MapSums(num_maps, map_size, num_branches, soma.weight)
    return _filled(MapBranches(sums, activation, soma, num_branches), old)


def block_branches(
    old: Any, inputs: Sequence[int], num_blocks: int, num_branches: int, activation: str
) -> BlockBranches:
    """In place of a linear layer or a convolution with a kernel of 1: `inputs`, all of them in the order in which they
    make blocks of one size. Raises PruneError as `spatial_branches`."""
    num_neurons, num_inputs, *kernel = old.weight.shape
    if math.prod(kernel) != 1 or sorted(inputs) != list(range(num_inputs)):
        raise PruneError(f"the plan does not put each of the {num_inputs} inputs of a layer in one block")
    if not 0 < num_blocks <= num_inputs or num_inputs % num_blocks:
        raise PruneError(f"the plan divides a layer of {num_inputs} inputs into {num_blocks} blocks")
    _check_number(num_branches, num_inputs // num_blocks, "inputs of a block")
    width = num_blocks * num_branches
    if isinstance(old, nn.Linear):
        branches: nn.Module = nn.Conv1d(num_inputs, width, 1, groups=num_blocks, device="meta")
        soma: nn.Module = nn.Linear(width, num_neurons, device="meta")
    else:
        geometry = {"stride": old.stride, "padding": old.padding, "padding_mode": old.padding_mode}
        branches = type_of(old)(num_inputs, width, 1, groups=num_blocks, device="meta", **geometry)
        soma = type_of(old)(width, num_neurons, 1, device="meta")
    order = torch.tensor(list(inputs), device=old.weight.device)
    in_order = list(inputs) == list(range(num_inputs))
    layer = BlockBranches(None, branches, activation, soma, num_branches)
    _filled(layer, old)
    layer.inputs = None if in_order else order  # only now: tensors of a layer that is filled lose their values
    return layer


_BranchesType = TypeVar("_BranchesType", bound=Branches)


def _filled(layer: _BranchesType, old: Any) -> _BranchesType:
    """The layer, made on "meta" so that no random number is drawn, where and as `old` is: zeros, and its bias."""
    layer.to_empty(device=old.weight.device).to(old.weight.dtype).requires_grad_(old.weight.requires_grad)
    with torch.no_grad():
        for one in layer.parameters():
            one.zero_()
        if old.bias is not None:
            layer.soma.bias.copy_(old.bias)
    return layer


def type_of(convolution: Any) -> Any:
    """The torch class of a convolution, whatever the user's class is called."""
    return CONVOLUTIONS[convolution.weight.dim() - 2]


def _check_number(num_branches: int, field_size: int, what: str) -> None:
    if not 0 < num_branches <= field_size:
        raise PruneError(f"the plan has {num_branches} branches for {field_size} {what}")

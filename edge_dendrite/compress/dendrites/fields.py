"""Receptive fields: which inputs of a dense layer one branch sees.

Shape suffixes: n samples (positions of a layer's output), g fields, s inputs of a field, k neurons.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform
from torch import nn

from edge_dendrite.compress.connections.dense_layers import DenseLayer, find_dense_layers
from edge_dendrite.compress.forward import Inputs
from edge_dendrite.compress.layers.branches import CONVOLUTIONS, type_of
from edge_dendrite.compress.layers.build import BLOCK_BRANCHES, MAP_BRANCHES, SPATIAL_BRANCHES
from edge_dendrite.errors import PruneError

_CONVOLUTIONS = tuple(CONVOLUTIONS.values())
_MAX_IMAGES = 32  # of a batch, when all patches of a convolution are made at once


@dataclass(frozen=True)
class Fields:
    """The inputs of a layer in fields of one size: the kernel's positions in one channel, one map, or one block.

    kind: of layers/build.py. order: of the inputs, for blocks.
    """

    layer: DenseLayer
    kind: str
    num_fields: int
    field_size: int
    order: tuple[int, ...] = ()

    def num_parameters(self, num_branches: int) -> int:
        """Of the layer with that many branches for each field, biases too."""
        width = self.num_fields * num_branches
        return width * (self.field_size + 1) + (width + 1) * self.layer.num_neurons

    def settings(self, num_branches: int, activation: str) -> dict[str, Any]:
        """For the plan."""
        shared = {"num_branches": num_branches, "activation": activation}
        if self.kind == MAP_BRANCHES:
            return {"num_maps": self.num_fields, **shared}
        if self.kind == BLOCK_BRANCHES:
            return {"inputs": list(self.order), "num_blocks": self.num_fields, **shared}
        return shared

    def divide(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight of the dense layer as (k, g, s)."""
        flat = weight.detach().flatten(1)
        if self.order:
            flat = flat[:, list(self.order)]
        return flat.view(len(flat), self.num_fields, self.field_size)


def natural_fields(layer: DenseLayer) -> Fields | None:
    """The fields that the layout of the data gives: kernels or maps. None where the inputs have no such order."""
    if layer.kernel > 1:
        return Fields(layer, SPATIAL_BRANCHES, layer.num_inputs, layer.kernel)
    if layer.map_size > 1:
        return Fields(layer, MAP_BRANCHES, layer.num_inputs // layer.map_size, layer.map_size)
    return None


def layers_with_fields(module: nn.Module, inputs: Inputs) -> tuple[str, ...]:
    """Names of the dense layers whose inputs have fields by their layout."""
    found, _ = find_dense_layers(module, inputs)
    return tuple(one.name for one in found if natural_fields(one) is not None)


def blocks_of_inputs(layer: DenseLayer, inputs_nf: torch.Tensor, block_size: int) -> Fields | None:
    """Blocks of inputs that vary together in `inputs_nf`, of the divisor next to `block_size`; None if there is none.

    Inputs are ordered as the leaves of an average-linkage tree over 1 - |correlation|, and that order is divided.
    Source of the tree: Sokal and Michener 1958, "A statistical method for evaluating systematic relationships". Raises
    PruneError for inputs that are not finite.
    """
    if not bool(inputs_nf.isfinite().all()):
        raise PruneError(f"what {layer.name} sees is not finite; look for NaN in the data")
    divisors = [size for size in range(2, layer.num_inputs // 2 + 1) if layer.num_inputs % size == 0]
    if not divisors:
        return None
    size = min(divisors, key=lambda one: (abs(one - block_size), one))
    centred = inputs_nf.double() - inputs_nf.double().mean(0)
    scaled = centred / centred.norm(dim=0).clamp_min(1e-12)  # an input that never changes goes with no other
    distance = (1.0 - (scaled.T @ scaled).abs()).clamp_(0.0, 1.0).fill_diagonal_(0.0)
    tree = linkage(squareform(distance.cpu().numpy(), checks=False), "average")
    order = tuple(int(one) for one in leaves_list(tree))
    return Fields(layer, BLOCK_BRANCHES, layer.num_inputs // size, size, order)


def flat_inputs(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """(positions of the layer's output, f) of a linear layer's, a slot's or a 1x1 convolution's input."""
    if not isinstance(layer, _CONVOLUTIONS):
        return x.reshape(-1, x.shape[-1])
    x = _batched(layer, x)
    for dim, step in enumerate(layer.stride, start=2):
        x = x[(slice(None),) * dim + (slice(None, None, step),)]
    return x.movedim(1, -1).reshape(-1, x.shape[1])


def flat_outputs(layer: Any, y: torch.Tensor) -> torch.Tensor:
    """(positions, k) of what a layer made."""
    if not isinstance(layer, _CONVOLUTIONS):
        return y.reshape(-1, y.shape[-1])
    y = _batched(layer, y)
    return y.movedim(1, -1).reshape(-1, y.shape[1])


def _batched(convolution: Any, x: torch.Tensor) -> torch.Tensor:
    """(b, c, ...) of what a convolution takes or gives, which may have no batch."""
    return x if x.dim() == convolution.weight.dim() else x.unsqueeze(0)


def field_inputs(fields: Fields, layer: Any, x: torch.Tensor) -> torch.Tensor:
    """(positions of the layer's output, g, s): what each field sees."""
    if fields.kind == SPATIAL_BRANCHES:
        return _patches(layer, x)
    flat = flat_inputs(layer, x)
    if fields.order:
        flat = flat[:, list(fields.order)]
    return flat.view(len(flat), fields.num_fields, fields.field_size)


def some_samples(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """So few of a batch that patches of all positions fit into memory. x: what the layer takes or gives."""
    has_no_batch = isinstance(layer, _CONVOLUTIONS) and x.dim() < layer.weight.dim()
    return x if has_no_batch or x.dim() < 3 else x[:_MAX_IMAGES]


def _patches(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """By a depthwise convolution of the same geometry that copies one position each: any stride, padding, dilation."""
    num_channels, kernel = layer.weight.shape[1], layer.weight.shape[2:]
    size = math.prod(kernel)
    copying = type_of(layer)(
        num_channels,
        num_channels * size,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=num_channels,
        bias=False,
        padding_mode=layer.padding_mode,
        device="meta",
    )
    one_hot = torch.eye(size, device=x.device, dtype=x.dtype).repeat(num_channels, 1)
    copying.weight = nn.Parameter(one_hot.view(num_channels * size, 1, *kernel), requires_grad=False)
    return copying(_batched(layer, x)).movedim(1, -1).reshape(-1, num_channels, size)

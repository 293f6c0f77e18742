"""Dendrites at the four projections of an `nn.MultiheadAttention`, which keeps its parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from edge_dendrite.compress.layers.attention import PlainAttention
from edge_dendrite.compress.layers.slots import OpenBlock, Slot


class DendriticAttention(OpenBlock, PlainAttention):
    """In place of an `nn.MultiheadAttention`, with its signature. Slots q_proj, k_proj, v_proj and out_proj."""

    answers = (
        *("embed_dim", "kdim", "vdim", "num_heads", "head_dim", "dropout", "batch_first"),
        "in_proj_bias",  # an encoder layer asks whether there is one
    )

    def __init__(self, layer: Any) -> None:
        width, like = layer.embed_dim, layer.out_proj.weight
        sizes = {"q_proj": width, "k_proj": layer.kdim, "v_proj": layer.vdim, "out_proj": width}
        super().__init__(layer, {name: Slot(size, width, like) for name, size in sizes.items()})

    def forward(self, *args: Any, **settings: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(outputs, attention weights or None), as `nn.MultiheadAttention` takes and returns them."""
        return super().forward(*args, **settings) if self.is_open else self.layer(*args, **settings)

    def _projected(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self._weights(name)
        return self.slots[name](x, functional.linear(x, weight, bias))

    def _weights(self, name: str) -> tuple[torch.Tensor, torch.Tensor | None]:
        layer: Any = self.layer
        if name == "out_proj":
            return layer.out_proj.weight, layer.out_proj.bias
        at = ("q_proj", "k_proj", "v_proj").index(name)
        joint, bias = layer.in_proj_weight, layer.in_proj_bias
        weight = getattr(layer, f"{name}_weight") if joint is None else joint.chunk(3)[at]
        return weight, None if bias is None else bias.chunk(3)[at]

"""Projections inside of torch's blocks, which are no layers of their own, as places for dendrites.

Shape suffixes: b batch, t positions, f inputs, n neurons.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Slot(nn.Module):
    """Sets of dendrites of one projection; (b, t, f), (b, t, n) to (b, t, n): what it takes, and what it makes of that.

    is_watched: the block calls the slot even where it has no set, so that a hook sees what it takes and adds to.
    place: (0,), follows the block to its device and type.
    """

    place: torch.Tensor

    def __init__(self, num_inputs: int, num_neurons: int, like: torch.Tensor) -> None:
        super().__init__()
        self.num_inputs, self.num_neurons = num_inputs, num_neurons
        self.sets, self.is_watched = nn.ModuleList(), False
        self.register_buffer("place", like.detach().new_empty(0), persistent=False)

    @property
    def is_used(self) -> bool:
        """Whether the block has to call the slot."""
        return self.is_watched or len(self.sets) > 0

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for one in self.sets:
            y = y + one(x)
        return y


class OpenBlock(nn.Module):
    """A block of torch and slots for its projections. While no slot is used, it computes what the block does.

    layer: the block, whose parameters stay the ones that an optimizer knows. Its sizes can be read from outside, by the
    names in `answers`.
    """

    answers: tuple[str, ...] = ()

    def __init__(self, layer: nn.Module, slots: dict[str, Slot]) -> None:
        super().__init__()
        self.layer = layer
        for name, slot in slots.items():
            self.add_module(name, slot)
        self.train(layer.training)

    @property
    def slots(self) -> dict[str, Slot]:
        """The slots by name, in order."""
        return {name: part for name, part in self.named_children() if isinstance(part, Slot)}

    @property
    def is_open(self) -> bool:
        """Whether any slot is used."""
        return any(slot.is_used for slot in self.slots.values())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name) if name in type(self).answers else super().__getattr__(name)

"""The best weights that a network had while it grew, to which it returns."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from edge_dendrite.compress.dendrites.sites import close_unused_
from edge_dendrite.compress.layers.dendrites import DendriticLayer
from edge_dendrite.compress.layers.slots import Slot


class BestWeights:
    """All tensors of `module` and the number of sets at each layer and slot, as they were when last kept."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.keep()

    def keep(self) -> None:
        """What is there now is the best."""
        self._num_sets = {name: len(part.sets) for name, part in _with_sets(self._module)}
        self._tensors = {name: value.detach().clone() for name, value in _tensors(self._module)}

    @torch.no_grad()
    def bring_back(self) -> None:
        """The best weights again, without the dendrites that are younger: they had their time."""
        for name, part in list(_with_sets(self._module)):
            if len(part.sets) > self._num_sets.get(name, 0):
                part.sets = nn.ModuleList(list(part.sets)[: self._num_sets.get(name, 0)])
        close_unused_(self._module)
        for name, value in _tensors(self._module):
            if name in self._tensors:  # buffers can be made by a first forward
                value.copy_(self._tensors[name])


def _with_sets(module: nn.Module) -> Iterator[tuple[str, DendriticLayer | Slot]]:
    for name, part in module.named_modules():
        if isinstance(part, (DendriticLayer, Slot)):
            yield name, part


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()

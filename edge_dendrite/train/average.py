"""The moving average of a network's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from edge_dendrite.train.tensors import copies, learned_tensors, write


class Average:
    """An exponential moving average of all that `module` learns; evaluated, and kept, in place of the last weights.

    Running statistics of normalisation layers are averaged as the weights are, because they belong to them. Every
    other buffer is the live network's. The decay of update t is min(decay, (1 + t) / (10 + t)), so that the first,
    random weights are soon forgotten (TensorFlow's tf.train.ExponentialMovingAverage, argument num_updates).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module, self._decay = module, decay
        # At least float32: in half precision a decay near 1 would move nothing.
        self.tensors = {
            name: value.to(torch.promote_types(value.dtype, torch.float32))
            for name, value in copies(learned_tensors(module)).items()
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in learned_tensors(self._module).items():
            average = self.tensors[name]
            average.lerp_(value.to(average.dtype), 1.0 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The network holds the average for a while, then its own weights again."""
        own = copies(learned_tensors(self._module))
        write(self.tensors, learned_tensors(self._module))
        try:
            yield
        finally:
            write(own, learned_tensors(self._module))

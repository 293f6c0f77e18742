"""What a training leaves in the network whatever happens: the last good epoch, or the best one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from edge_dendrite.train.evaluate import modes_restored_on_error
from edge_dendrite.train.history import History, best_epoch
from edge_dendrite.train.tensors import all_tensors, copies, write


class Kept:
    """A copy of the weights that would stay if training ended now; before the first epoch those that were given."""

    def __init__(self, module: nn.Module, *, best_only: bool) -> None:
        self._module, self._best_only = module, best_only
        self.tensors = copies(all_tensors(module))

    def take(self, history: History) -> None:
        """Keep the present weights, those after the last epoch of `history`, unless an older one is better."""
        if not self._best_only or best_epoch(history) == len(history) - 1:
            write(all_tensors(self._module), self.tensors)

    def give_back(self) -> None:
        """Write the kept weights into the network."""
        write(self.tensors, all_tensors(self._module))


@contextlib.contextmanager
def keeping(module: nn.Module, *, best_only: bool) -> Iterator[Kept]:
    """Afterwards, also after an error, the network holds the kept weights."""
    kept = Kept(module, best_only=best_only)
    with modes_restored_on_error(module):
        try:
            yield kept
        finally:
            kept.give_back()

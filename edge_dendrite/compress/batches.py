"""Training batches as they are given: once, or read again from the start when they run out."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from edge_dendrite.compress.forward import Inputs
from edge_dendrite.errors import PruneError

# (inputs, targets): inputs as `forward` takes them, targets as the loss takes them.
Batch: TypeAlias = tuple[Inputs, Any]


def endless(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches again and again. Raises PruneError when there is none, or something else than pairs."""
    while True:
        yield from _one_pass(batches)


def once(batches: Iterable[Batch], count: int) -> list[Batch]:
    """The first `count`, or all where there are fewer: what is fitted to some samples is judged on others, and one that
    came twice would be on both sides. Raises PruneError as `endless`."""
    return list(itertools.islice(_one_pass(batches), count))


def _one_pass(batches: Iterable[Batch]) -> Iterator[Batch]:
    if not isinstance(batches, Iterable):
        raise PruneError(f"batches must be an iterable of (inputs, targets), not {type(batches).__name__}")
    empty = True
    for batch in batches:
        empty = False
        if not isinstance(batch, (tuple, list)) or len(batch) != 2 or batch[0] is None:
            raise PruneError(f"a batch must be a pair (inputs, targets); seen: {type(batch).__name__}")
        yield batch
    if empty:
        raise PruneError("no training batches were given (an iterator that is used up? give a list or a DataLoader)")

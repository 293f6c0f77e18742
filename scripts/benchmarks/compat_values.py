"""Whether a pruned network computes what its original does without the removed weights, whoever pruned it.

Random weights are nearly all different, so the values of a pruned tensor tell which indices of the original survive.
Everything else is set to zero in the original; means and variances over units are taken over the survivors.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np
import torch
from torch import nn


class NotComparable(ValueError):
    """A tensor of the pruned network is no block of the original's."""


def surviving_error(original: nn.Module, pruned: nn.Module, inputs: Any, tolerance: float) -> float:
    """Largest difference of the outputs, relative to max(1, |value|). Raises NotComparable.

    tolerance: only where the difference is larger, statistics are taken over the survivors.
    """
    zoo, oracle = importlib.import_module("zoo"), importlib.import_module("zoo.oracle")
    largest_error = importlib.import_module("zoo.onnx_check").largest_error
    silent = copy.deepcopy(original)
    seen = {name: one.detach() for name, one in pruned.named_parameters()}
    places = []
    for name, parameter in silent.named_parameters():
        if name not in seen:
            raise NotComparable(f"the pruned network has no {name}")
        if parameter.dim() == 0:
            continue
        kept = surviving(name, parameter.detach().numpy(), seen[name].numpy())
        block: np.ndarray = np.zeros(parameter.shape, bool)
        block[np.ix_(*kept)] = True
        parameter.data[torch.from_numpy(~block)] = 0
        for size, indices in zip(parameter.shape, kept, strict=True):
            if len(indices) < size:
                places.append((size, torch.from_numpy(np.setdiff1d(np.arange(size), indices))))
    with torch.no_grad():
        outputs = [one.numpy() for one in zoo.call(pruned, inputs)]
        error = float(largest_error(outputs, zoo.call(silent, inputs)))
        if error > tolerance:
            # Not before: torch.cond cannot run inside of what this uses.
            with oracle.statistics_without(places):
                error = float(largest_error(outputs, zoo.call(silent, inputs)))
    return error


def surviving(name: str, original: np.ndarray, pruned: np.ndarray) -> list[np.ndarray]:
    """For each dimension the indices of `original` of which `pruned` consists. Raises NotComparable."""
    if original.ndim != pruned.ndim:
        raise NotComparable(f"{name} has {pruned.ndim} dimensions instead of {original.ndim}")
    if original.shape == pruned.shape and np.array_equal(original, pruned):
        return [np.arange(size) for size in original.shape]
    values, first, counts = np.unique(original.ravel(), return_index=True, return_counts=True)
    at = np.minimum(np.searchsorted(values, pruned.ravel()), len(values) - 1)
    sure = (values[at] == pruned.ravel()) & (counts[at] == 1)
    if not sure.any():
        raise NotComparable(f"{name}: none of its values is the original's")
    kept = []
    for dim, coordinates in enumerate(np.unravel_index(first[at], original.shape)):
        if original.shape[dim] == pruned.shape[dim]:
            kept.append(np.arange(original.shape[dim]))
            continue
        rows = np.moveaxis(np.where(sure, coordinates, -1).reshape(pruned.shape), dim, 0).reshape(pruned.shape[dim], -1)
        kept.append(np.array([np.bincount(row[row >= 0], minlength=1).argmax() for row in rows]))
    if not np.array_equal(original[np.ix_(*kept)], pruned):
        raise NotComparable(f"{name} is no block of the original")
    return kept

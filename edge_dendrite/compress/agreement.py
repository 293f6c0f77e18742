"""Whether two networks compute the same."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# Largest difference between a cut network and the same network with its units masked, relative to its outputs.
VALUE_TOLERANCE = 1e-4


def difference(wanted: Sequence[torch.Tensor], seen: Sequence[torch.Tensor]) -> str | None:
    """In words, how two lists of outputs differ; None when they agree within VALUE_TOLERANCE of the largest value.

    Outputs that are not finite in the masked network prove nothing, and count as equal.
    """
    if len(wanted) != len(seen):
        return f"the pruned network returns {len(seen)} tensors instead of {len(wanted)}"
    for first, second in zip(wanted, seen, strict=True):
        if first.shape != second.shape:
            return f"the pruned network returns {tuple(second.shape)} instead of {tuple(first.shape)}"
        before, after = first.cpu().double(), second.cpu().double()
        if first.numel() == 0 or not bool(before.isfinite().all()):
            continue
        # Sums of many terms that cancel leave rounding of the terms' size; below this nothing can be told.
        allowed = max(VALUE_TOLERANCE * float(before.abs().max()), 1e-12)
        largest = float((before - after).abs().max())
        if not largest <= allowed:
            return (
                f"the pruned network differs by {largest:.3g} (allowed {allowed:.3g}) from the same network with "
                "masked units"
            )
    return None

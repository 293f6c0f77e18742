"""The learning rate over a training."""

from __future__ import annotations

import math


def one_cycle(step: int, num_steps: int, peak: float) -> float:
    """Learning rate of a step: a cosine from peak/25 up to peak over the first 30 %, then down to peak/10,000."""
    rise = 0.3 * num_steps
    if step < rise:
        low, high, share = peak / 25.0, peak, step / rise
    else:
        low, high, share = peak / 1e4, peak, 1.0 - (step - rise) / max(num_steps - rise, 1.0)
    return low + (high - low) * (1.0 - math.cos(math.pi * share)) / 2.0

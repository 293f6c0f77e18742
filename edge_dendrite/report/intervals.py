"""Intervals for shares: Wilson's for one, Newcombe's for a difference of two. 95 % both, unless asked otherwise."""

from __future__ import annotations

import math

# The 97.5 % quantile of the normal distribution.
_Z = 1.959963984540054


def wilson_interval(share: float, num_samples: int, z: float = _Z) -> tuple[float, float]:
    """Wilson's score interval of a share that was seen in `num_samples` samples (Wilson, JASA 22, 1927).

    z: the normal quantile; 95 % unless told. Raises ValueError when `share` is outside 0 to 1 or there are no samples.
    """
    if not 0 <= share <= 1 or num_samples <= 0:
        raise ValueError(f"no interval for a share of {share!r} in {num_samples!r} samples")
    weight = z * z / num_samples
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / num_samples + weight / (4 * num_samples))
    return max(0.0, centre - half), min(1.0, centre + half)


def difference_interval(
    share: float, num_samples: int, other: float, num_other: int, z: float = _Z
) -> tuple[float, float]:
    """Newcombe's hybrid score interval of `share - other` (Stat. Med. 17, 1998, method 10).

    It takes the two sets of samples as independent. Networks that are tested on the same samples mostly err on the
    same ones, which makes this interval too wide rather than too narrow.
    """
    low, high = wilson_interval(share, num_samples, z)
    other_low, other_high = wilson_interval(other, num_other, z)
    difference = share - other
    return (
        difference - math.hypot(share - low, other_high - other),
        difference + math.hypot(high - share, other - other_low),
    )

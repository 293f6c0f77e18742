"""95 % intervals: of a mean difference over pairs, and of a median."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, t

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A value, and the bounds of its interval; bounds are None where the values cannot tell."""

    value: float
    low: float | None
    high: float | None

    @property
    def is_above_zero(self) -> bool:
        return self.low is not None and self.low > 0

    @property
    def is_below_zero(self) -> bool:
        return self.high is not None and self.high < 0


def paired_difference(values: Sequence[float], others: Sequence[float]) -> Interval:
    """The mean of `values - others`, pair by pair, with Student's interval for paired samples.

    The pairs are seeds (accuracies), or test samples of one seed (1 where the network was right, else 0).
    No bounds from a single pair, or when all differences are the same: their spread is then not known.
    Raises ValueError when the lengths differ or there are none.
    """
    if len(values) != len(others) or len(values) == 0:
        raise ValueError(f"no pairs from {len(values)} and {len(others)} values")
    differences = np.asarray(values, dtype=float) - np.asarray(others, dtype=float)
    mean = float(differences.mean())
    if len(differences) < 2 or np.ptp(differences) < 1e-12:
        return Interval(mean, None, None)
    error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    half = float(t.ppf((1 + _CONFIDENCE) / 2, len(differences) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def median_interval(values: Sequence[float]) -> Interval:
    """The median with an interval between two order statistics: no assumption on the distribution.

    From the sign test (Conover, Practical Nonparametric Statistics, section 3.2): the k-th smallest and the k-th
    largest value, with the largest k for which both tails together have at most 5 %. No bounds below six values.
    """
    ordered = sorted(values)
    k = int(binom.ppf((1 - _CONFIDENCE) / 2, len(ordered), 0.5))
    if binom.cdf(k, len(ordered), 0.5) > (1 - _CONFIDENCE) / 2:
        k -= 1  # ppf gives the first count whose tail is large enough; the one before is the last that is not
    median = float(np.median(ordered))
    if k < 0:
        return Interval(median, None, None)
    return Interval(median, ordered[k], ordered[-1 - k])

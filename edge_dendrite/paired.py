"""Paired comparisons: what one network gained over another on the same samples, and over the same seeds.

Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, t

CONFIDENCE = 0.95


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

    @property
    def words(self) -> str:
        """better, worse or not distinguishable, for a difference of which more is better."""
        if self.is_above_zero:
            return "better"
        return "worse" if self.is_below_zero else "not distinguishable"


@dataclass(frozen=True)
class McNemar:
    """Samples that only the first network got right, samples that only the second did, and the two-sided p-value."""

    only_first: int
    only_second: int
    p_value: float


def paired_difference(values: Sequence[float], others: Sequence[float]) -> Interval:
    """The mean of `values - others`, pair by pair, with Student's 95 % interval for paired samples.

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
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(differences) - 1)) * error
    return Interval(mean, mean - half, mean + half)


def mcnemar(correct: Sequence[bool] | np.ndarray, others: Sequence[bool] | np.ndarray) -> McNemar:
    """The exact test of McNemar (1947) on which samples (n,) two networks get right: those where they differ are a
    fair coin if neither is better. Raises ValueError when the lengths differ or there are none."""
    first, second = np.asarray(correct, dtype=bool), np.asarray(others, dtype=bool)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"no pairs from samples of shapes {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    tail = float(binom.cdf(min(only_first, only_second), only_first + only_second, 0.5))
    return McNemar(only_first, only_second, min(1.0, 2.0 * tail))


def median_interval(values: Sequence[float]) -> Interval:
    """The median with an interval between two order statistics: no assumption on the distribution.

    From the sign test (Conover, Practical Nonparametric Statistics, section 3.2): the k-th smallest and the k-th
    largest value, with the largest k for which both tails together have at most 5 %. No bounds below six values.
    """
    ordered = sorted(values)
    k = int(binom.ppf((1 - CONFIDENCE) / 2, len(ordered), 0.5))
    if binom.cdf(k, len(ordered), 0.5) > (1 - CONFIDENCE) / 2:
        k -= 1  # ppf gives the first count whose tail is large enough; the one before is the last that is not
    median = float(np.median(ordered))
    if k < 0:
        return Interval(median, None, None)
    return Interval(median, ordered[k], ordered[-1 - k])

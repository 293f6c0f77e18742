"""The 95 % interval of a median; those of paired differences are the product's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from edge_dendrite.paired import CONFIDENCE, Interval


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

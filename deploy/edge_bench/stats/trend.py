"""Does a run get slower, or faster, from its beginning to its end?"""

import math
from typing import Dict, List, Optional, Sequence

from edge_bench.stats.distributions import student_quantile
from edge_bench.stats.intervals import CONFIDENCE, split
from edge_bench.summary import median

_NUM_BLOCKS = 5  # of each quarter
_MIN_SAMPLES = 100


def trend(samples_s: Sequence[float], confidence: float = CONFIDENCE) -> Optional[Dict[str, float]]:
    """The median of the last quarter less that of the first, with its interval; None with fewer than 100 samples.

    The interval is Welch's, from the medians of 5 blocks of each quarter: neighbours resemble each other, long blocks
    hardly do. It is too narrow where samples resemble others that are further away than a fortieth of the run.
    Keys: difference_s, low_s, high_s; ratio, low_ratio, high_ratio are last to first quarter.
    """
    quarter = len(samples_s) // 4
    if len(samples_s) < _MIN_SAMPLES:
        return None
    first, last = samples_s[:quarter], samples_s[len(samples_s) - quarter :]
    difference = median(last) - median(first)
    variances = [_variance_of_mean(_block_medians(part)) for part in (first, last)]
    total = math.fsum(variances)
    reach = 0.0
    if total > 0:
        freedom = total**2 / math.fsum(variance**2 / (_NUM_BLOCKS - 1) for variance in variances)
        reach = student_quantile((1.0 + confidence) / 2.0, freedom) * math.sqrt(total)
    start = median(first)
    return {
        "difference_s": difference,
        "low_s": difference - reach,
        "high_s": difference + reach,
        "ratio": 1.0 + difference / start,
        "low_ratio": 1.0 + (difference - reach) / start,
        "high_ratio": 1.0 + (difference + reach) / start,
    }


def _block_medians(samples: Sequence[float]) -> List[float]:
    return [median(samples[begin:end]) for begin, end in split(len(samples), _NUM_BLOCKS)]


def _variance_of_mean(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)

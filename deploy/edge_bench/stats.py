"""Order statistics of latency samples, with the sample counts that a percentile needs.

A percentile is given only when enough samples support it. The minimum counts follow MLPerf inference's early
stopping (confidence 0.99, tolerance 0): 64 for p90, 662 for p99, 6,636 for p99.9.
"""

import math
from typing import Dict, List, Optional, Sequence

MIN_SAMPLES = {90.0: 64, 99.0: 662, 99.9: 6636}


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle values. Raises ValueError on no values."""
    if not values:
        raise ValueError("median of no values")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[middle])
    return (ordered[middle - 1] + ordered[middle]) / 2.0


def median_absolute_deviation(values: Sequence[float]) -> float:
    """The median distance from the median, unscaled, in the unit of the values."""
    centre = median(values)
    return median([abs(value - centre) for value in values])


def percentile(values: Sequence[float], percent: float) -> Optional[float]:
    """The nearest-rank percentile, or None when there are too few samples to support it.

    Raises ValueError for a percentile whose minimum count is not in MIN_SAMPLES.
    """
    if percent not in MIN_SAMPLES:
        raise ValueError("percentile %r is not one of %s" % (percent, sorted(MIN_SAMPLES)))
    if len(values) < MIN_SAMPLES[percent]:
        return None
    # Multiplied before dividing: 0.99 * 1000 is a little above 990 in floating point.
    rank = int(math.ceil(round(percent * len(values) / 100.0, 9)))
    return float(sorted(values)[rank - 1])


def summarise(samples_s: List[float]) -> Dict[str, Optional[float]]:
    """Summary of latencies in seconds; a percentile without enough samples is None."""
    return {
        "num_samples": len(samples_s),
        "median_s": median(samples_s),
        "mean_s": math.fsum(samples_s) / len(samples_s),
        "min_s": min(samples_s),
        "max_s": max(samples_s),
        "mad_s": median_absolute_deviation(samples_s),
        "p90_s": percentile(samples_s, 90.0),
        "p99_s": percentile(samples_s, 99.0),
        "p99_9_s": percentile(samples_s, 99.9),
    }

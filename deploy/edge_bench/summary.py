"""Order statistics of latency samples, with the sample counts that a percentile needs.

A percentile is given only when enough samples support it. The minimum counts follow MLPerf inference's early
stopping (confidence 0.99, tolerance 0): 64 for p90, 130 for p95, 662 for p99, 6,636 for p99.9.
"""

import array
import math
from typing import Dict, Optional, Sequence

MIN_SAMPLES = {90.0: 64, 95.0: 130, 99.0: 662, 99.9: 6636}


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two middle values. Raises ValueError on no values."""
    if not values:
        raise ValueError("median of no values")
    return _middle(sorted(values))


def median_absolute_deviation(values: Sequence[float]) -> float:
    """The median distance from the median, unscaled, in the unit of the values."""
    if not values:
        raise ValueError("median of no values")
    return _middle_distance(sorted(values))


def percentile(values: Sequence[float], percent: float) -> Optional[float]:
    """The nearest-rank percentile, or None when there are too few samples to support it.

    Raises ValueError for a percentile whose minimum count is not in MIN_SAMPLES.
    """
    _require_known(percent)
    return _percentile(sorted(values), percent) if len(values) >= MIN_SAMPLES[percent] else None


def nearest_rank(num_samples: int, percent: float) -> int:
    """The rank, counted from 1, of the smallest sample that at least `percent` % of the samples do not exceed."""
    # Multiplied before dividing: 0.99 * 1000 is a little above 990 in floating point.
    return max(1, int(math.ceil(round(percent * num_samples / 100.0, 9))))


def summarise(samples_s: Sequence[float]) -> Dict[str, Optional[float]]:
    """Summary of latencies in seconds; a percentile without enough samples is None.

    The samples are sorted once, into eight bytes each: a run may hold millions on a board with little memory.
    """
    if not samples_s:
        raise ValueError("summary of no values")
    ordered = array.array("d", sorted(samples_s))
    return {
        "num_samples": len(ordered),
        "median_s": _middle(ordered),
        "mean_s": math.fsum(ordered) / len(ordered),
        "min_s": ordered[0],
        "max_s": ordered[-1],
        "mad_s": _middle_distance(ordered),
        "p90_s": _percentile(ordered, 90.0),
        "p99_s": _percentile(ordered, 99.0),
        "p99_9_s": _percentile(ordered, 99.9),
    }


def _require_known(percent: float) -> None:
    if percent not in MIN_SAMPLES:
        raise ValueError("percentile %r is not one of %s" % (percent, sorted(MIN_SAMPLES)))


def _percentile(ordered: Sequence[float], percent: float) -> Optional[float]:
    if len(ordered) < MIN_SAMPLES[percent]:
        return None
    return float(ordered[nearest_rank(len(ordered), percent) - 1])


def _middle(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return float(ordered[middle])
    return (ordered[middle - 1] + ordered[middle]) / 2.0


def _middle_distance(ordered: Sequence[float]) -> float:
    """The median distance from the median of sorted values, without a list of the distances."""
    centre, half = _middle(ordered), len(ordered) // 2
    if len(ordered) % 2:
        return _kth_distance(ordered, centre, half + 1)
    return (_kth_distance(ordered, centre, half) + _kth_distance(ordered, centre, half + 1)) / 2.0


def _kth_distance(ordered: Sequence[float], centre: float, count: int) -> float:
    """The `count`-th smallest distance from `centre`.

    The `count` values nearest to it stand side by side, so it is the smallest reach of any `count` neighbours. Their
    lower end comes nearer as they move up, and the upper end goes away: the best place is where the two cross.
    """
    first, last = 0, len(ordered) - count
    while first < last:
        place = (first + last) // 2
        if centre - ordered[place] > ordered[place + count - 1] - centre:
            first = place + 1
        else:
            last = place
    places = [first] if first == 0 else [first - 1, first]
    return float(min(max(centre - ordered[at], ordered[at + count - 1] - centre) for at in places))

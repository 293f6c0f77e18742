"""How far a mean power may be off, by its three causes; all as half-widths with about 95 % coverage.

* The sensor's step: a steady power lies anywhere within half a step of what is read, and no averaging helps. So half
  a step is taken in full, although power that moves over several steps averages out better.
* Sampling: between two values the power went its own way. If it changed at once, at any moment with equal chance, the
  trapezoid over h seconds with a difference d is wrong by up to d*h/2, evenly spread: a variance of (d*h)**2 / 12.
* Run to run: the spread over consecutive parts of the window, each with inferences of its own, by Student's t. Parts
  and not samples: samples that follow each other are not independent.

The sensor's own error of gain and offset (shunt tolerance, calibration) is in none of them: it is the same in every
run on one board, and is not to be found from the data.
"""

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

from edge_bench.stats.distributions import student_quantile
from edge_bench.summary import median

_NORMAL_95 = 1.96
MAX_PARTS = 10
MIN_PARTS = 3
_MIN_CHANGES = 5


def step_in_data(values: Sequence[float]) -> Optional[float]:
    """The step in which values move, or None where they do not show one.

    The smallest change between neighbours, without those far below the median change: a power is a product, and
    where the current moves by one step the voltage may flicker by its own. Power that varies widely gives a step that
    is too large rather than too small. A "step" above a tenth of the mean is a change of load.
    """
    changes = sorted(abs(later - earlier) for earlier, later in zip(values, values[1:]) if later != earlier)
    if len(changes) < _MIN_CHANGES:
        return None
    least = median(changes) / 5.0
    step = next(change for change in changes if change >= least)
    return step if step <= 0.1 * abs(math.fsum(values) / len(values)) else None


def refresh_s(window: Dict[str, Any]) -> float:
    """Seconds between two fresh values of the sensor: as seen, and never less than the sampling interval."""
    interval_s = float(window.get("median_interval_s") or 0.0)
    rate_hz = window.get("sensor_rate_hz") or 0.0
    # A steady power repeats its value; that is no slow sensor. A second is the slowest that is known of any.
    return max(interval_s, min(1.0 / rate_hz, 1.0)) if rate_hz > 0 else max(interval_s, 1.0)


def sampling_half_width_j(window: Dict[str, Any], begin_s: float, end_s: float) -> Optional[float]:
    """Joules by which the energy between two times of a window may be off because values came so seldom."""
    fresh_s = refresh_s(window)
    if window.get("energy_samples_s_j"):
        # Each end lies anywhere within the counter's last refresh.
        return _NORMAL_95 * math.sqrt(2.0 / 12.0) * fresh_s * float(window["mean_power_w"])
    samples = window.get("power_samples_s_w")
    if not samples:
        return None
    inside = [pair for pair in samples if begin_s <= pair[0] <= end_s]
    variance = 0.0
    for (earlier_s, before_w), (later_s, after_w) in zip(inside, inside[1:]):
        variance += ((after_w - before_w) * max(later_s - earlier_s, fresh_s)) ** 2 / 12.0
    half_width_j = _NORMAL_95 * math.sqrt(variance)
    if inside:
        # Held values at the ends: the power there may have been any that was seen.
        spread_w = _deviation([pair[1] for pair in inside])
        held_s = max(inside[0][0] - begin_s, 0.0) + max(end_s - inside[-1][0], 0.0)
        half_width_j += _NORMAL_95 * spread_w * held_s
    return half_width_j


def mean_half_width(parts: List[float]) -> Optional[float]:
    """Half-width of the 95 % interval of the mean of independent parts; None with fewer than MIN_PARTS."""
    if len(parts) < MIN_PARTS:
        return None
    return student_quantile(0.975, len(parts) - 1.0) * _deviation(parts) / math.sqrt(len(parts))


def split(times_s: Sequence[float], part_s: float) -> List[Tuple[int, int]]:
    """Index pairs that divide rising times into up to MAX_PARTS consecutive parts of at least `part_s` seconds."""
    span_s = times_s[-1] - times_s[0] if len(times_s) > 1 else 0.0
    count = min(MAX_PARTS, int(span_s / part_s * (1 + 1e-9)) if part_s > 0 else MAX_PARTS, len(times_s) - 1)
    if count < 1:
        return []
    ends, pairs = [times_s[0] + span_s * (i + 1) / count for i in range(count)], []
    begin = 0
    for end_s in ends:
        end = begin + 1
        while end < len(times_s) - 1 and times_s[end] < end_s - 1e-9 * span_s:
            end += 1
        if end >= len(times_s):
            break
        pairs.append((begin, end))
        begin = end
    return pairs


def _deviation(values: Sequence[float]) -> float:
    """The sample standard deviation."""
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))

"""Intervals that need no assumption about the shape of a distribution: exact order statistics and proportions.

Successive latencies resemble each other (caches, clocks, other programs), and an interval that takes them for
independent is too narrow. So every interval takes the dependence of the samples into account as one factor, by which
their number is divided: 1 is the exact interval for independent samples (Conover, Practical Nonparametric Statistics,
3.2; Clopper & Pearson 1934). An effective number need not be whole (Korn & Graubard 1998).
"""

import math
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from edge_bench.stats.distributions import binomial_cdf, bisect, incomplete_beta, student_quantile
from edge_bench.summary import MIN_SAMPLES

CONFIDENCE = 0.95
_NUM_BLOCKS = 20
# MLPerf inference: a percentile's bound holds with probability 0.99.
_EARLY_STOPPING_DOUBT = 0.01


class Interval(NamedTuple):
    """Bounds of a figure. None: the samples give no bound on this side."""

    low: Optional[float]
    high: Optional[float]


def median_interval(
    samples: Sequence[float], confidence: float = CONFIDENCE, factor: float = 1.0
) -> Optional[Interval]:
    """Order-statistic interval of the median; None with too few samples (fewer than 6 at 95 %)."""
    return _whole(percentile_interval(samples, 50.0, confidence, factor))


def percentile_interval(
    samples: Sequence[float], percent: float, confidence: float = CONFIDENCE, factor: float = 1.0
) -> Interval:
    """Order-statistic interval of a percentile; a bound that so few samples cannot give is None.

    `factor` is what `dependence` found.
    """
    low, high = percentile_ranks(len(samples), percent, confidence, factor)
    ordered = sorted(samples)
    return Interval(ordered[low - 1] if low else None, ordered[high - 1] if high else None)


def _whole(interval: Interval) -> Optional[Interval]:
    return None if interval.low is None or interval.high is None else interval


def percentile_ranks(
    num_samples: int, percent: float, confidence: float = CONFIDENCE, factor: float = 1.0
) -> Tuple[int, int]:
    """Ranks, counted from 1, of the bounds of a percentile; 0 where there is none.

    Fewer than `low` of n samples lie below the quantile, and fewer than `high` do not, each but for a chance of
    (1 - confidence) / 2.
    """
    count, share = int(num_samples / factor), percent / 100.0
    if count < 1:
        return 0, 0
    doubt = (1.0 - confidence) / 2.0
    low = _last(lambda rank: binomial_cdf(rank - 1, count, share) <= doubt, count)
    high = 1 + _last(lambda rank: 1.0 - binomial_cdf(rank - 1, count, share) > doubt, count)
    # From ranks among `count` to ranks among all, by the share of the distribution that lies below them.
    widened = (num_samples + 1.0) / (count + 1.0)
    return int(low * widened), int(math.ceil(high * widened)) if high <= count else 0


def _last(is_true: Callable[[int], bool], count: int) -> int:
    """The last rank from 1 to `count` for which a condition holds that ceases to hold once; 0 for none."""
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if is_true(middle):
            low = middle
        else:
            high = middle - 1
    return low


def early_stopping_percentile(samples: Sequence[float], percent: float) -> Optional[float]:
    """MLPerf inference's early-stopping estimate: an upper bound of the percentile that holds with probability 0.99.

    With n samples and the largest t for which n - t of them would lie below the percentile by chance with
    probability 0.01 at most, the t - 1 highest are discarded and the next one is the estimate (LoadGen's early
    stopping, tolerance 0). None with fewer samples than MIN_SAMPLES. Raises ValueError for another percentile.
    """
    if percent not in MIN_SAMPLES:
        raise ValueError("percentile %r is not one of %s" % (percent, sorted(MIN_SAMPLES)))
    num_samples, over = len(samples), 1.0 - percent / 100.0
    num_over = _last(lambda t: binomial_cdf(t, num_samples, over) <= _EARLY_STOPPING_DOUBT, num_samples)
    return float(sorted(samples)[num_samples - num_over]) if num_over else None


def proportion_interval(
    num_hits: float, num_trials: float, confidence: float = CONFIDENCE, factor: float = 1.0
) -> Interval:
    """Clopper and Pearson's exact interval of a proportion; (0, 1) without trials."""
    hits, misses, doubt = num_hits / factor, (num_trials - num_hits) / factor, (1.0 - confidence) / 2.0
    low, high = 0.0, 1.0
    if hits > 0:
        low = bisect(lambda share: incomplete_beta(share, hits, misses + 1.0) < doubt, 0.0, 1.0)
    if misses > 0:
        high = bisect(lambda share: incomplete_beta(share, hits + 1.0, misses) < 1.0 - doubt, 0.0, 1.0)
    return Interval(low, high)


def dependence(flags: Sequence[int]) -> float:
    """By how much resemblance of neighbours multiplies the variance of a share; at least 1.

    The shares in 20 blocks of the run, in the order of time, vary more than those of independent samples. Far fewer
    samples than that, or flags that are all the same, can tell nothing: 1.
    """
    blocks = split(len(flags), _NUM_BLOCKS)
    share = sum(flags) / float(max(1, len(flags)))
    if len(flags) < 2 * _NUM_BLOCKS or not 0.0 < share < 1.0:
        return 1.0
    surplus = math.fsum((sum(flags[begin:end]) - share * (end - begin)) ** 2 / (end - begin) for begin, end in blocks)
    return max(1.0, surplus / (len(blocks) - 1) / (share * (1.0 - share)))


def split(num_samples: int, num_blocks: int) -> List[Tuple[int, int]]:
    """Borders (begin, end) of blocks of nearly equal length that cover everything."""
    borders = [num_samples * number // num_blocks for number in range(num_blocks + 1)]
    return [(begin, end) for begin, end in zip(borders, borders[1:]) if end > begin]


def mean_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> Optional[Interval]:
    """Interval of the mean of a run from the means of its blocks (batch means, Student's t); None below 20 samples."""
    blocks = split(len(samples), _NUM_BLOCKS)
    if len(blocks) < _NUM_BLOCKS:
        return None
    means = [math.fsum(samples[begin:end]) / (end - begin) for begin, end in blocks]
    centre = math.fsum(samples) / len(samples)
    spread = math.fsum((mean - centre) ** 2 for mean in means) / (len(means) - 1)
    reach = student_quantile((1.0 + confidence) / 2.0, len(means) - 1) * math.sqrt(spread / len(means))
    return Interval(centre - reach, centre + reach)


def samples_to_decide(share: float, limit: float, factor: float, largest: int, fewest: int = 1) -> Optional[int]:
    """How many samples, if `share` of them hit, would put its interval on one side of `limit`; None: more than
    `largest`. At least `fewest` are needed in any case.
    """
    if share == limit:
        return None

    def decides(count: int) -> bool:
        hits, misses = share * count / factor, (1.0 - share) * count / factor
        if share < limit:
            return incomplete_beta(limit, hits + 1.0, misses) >= (1.0 + CONFIDENCE) / 2.0
        return incomplete_beta(limit, hits, misses + 1.0) < (1.0 - CONFIDENCE) / 2.0

    if not decides(largest):
        return None
    return max(fewest, 1 + _last(lambda count: not decides(count), largest))

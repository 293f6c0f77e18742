"""The difference between two sides that were measured in one or several runs each, with a bootstrap interval.

Hierarchical (Davison & Hinkley, Bootstrap Methods and their Application, 3.8): runs are drawn first, then blocks of
samples inside of each drawn run, since neighbours resemble each other and so do the samples of one run. The interval is
the estimate plus and minus Student's t times the bootstrap's standard error (Efron & Tibshirani, An Introduction to the
Bootstrap, chapters 6 and 12): with two to five runs a side plain percentiles of the bootstrap are far too narrow
(Hesterberg 2015). Degrees of freedom: Welch and Satterthwaite, from the runs of both sides and the blocks.

What it costs: a bootstrap that sorts the samples anew takes minutes on a board. Here a run is summarised once into the
shares of its blocks that lie below its own quantile. A draw of blocks moves that share, and the quantile moves along
the run's own distribution by as much in the other direction (Bahadur 1966): one look into the sorted samples.
"""

import array
import bisect
import math
import random
from typing import List, NamedTuple, Optional, Sequence, Union

from edge_bench.stats.distributions import student_quantile
from edge_bench.stats.intervals import CONFIDENCE, Interval, split
from edge_bench.summary import MIN_SAMPLES, median, nearest_rank

_NUM_REPLICATES = 1000
_NUM_BLOCKS = 25
_MIN_SAMPLES = 8


class Samples:
    """A run that was measured by many samples, in the order of time; `value` is their percentile (50: the median).

    Raises ValueError with too few samples: 8 for a median, MIN_SAMPLES for a percentile.
    """

    def __init__(self, samples: Sequence[float], percent: float = 50.0):
        count = len(samples)
        fewest = _MIN_SAMPLES if percent == 50.0 else MIN_SAMPLES[percent]
        if count < fewest:
            raise ValueError("%d samples; at least %d are needed" % (count, fewest))
        self._ordered = array.array("d", sorted(samples))
        self._share = percent / 100.0
        rank = nearest_rank(count, percent)
        self.value = median(self._ordered) if percent == 50.0 else self._ordered[rank - 1]
        # Short blocks resemble each other: of few samples rather few blocks than short ones.
        blocks = split(count, min(_NUM_BLOCKS, max(5, count // 30)))
        below = [sum(1 for at in range(begin, end) if samples[at] <= self.value) for begin, end in blocks]
        self._below = [number / float(end - begin) for number, (begin, end) in zip(below, blocks)]
        self._usual = bisect.bisect_right(self._ordered, self.value) / float(count)
        self.freedom = len(blocks) - 1

    def draw(self, rng: random.Random) -> float:
        """The value that another run of the same kind could have had."""
        blocks, count = self._below, len(self._below)
        # fsum: Python 3.12 adds floats differently from those before, and the same runs must give the same answer.
        drawn = math.fsum([blocks[int(rng.random() * count)] for _ in range(count)]) / count
        # Resampling k blocks gives a variance that is smaller by (k - 1) / k.
        moved = (self._usual - drawn) * math.sqrt(count / (count - 1.0))
        return self._at(self._share + moved) + self.value - self._at(self._share)

    def _at(self, share: float) -> float:
        """The quantile of the run's own distribution, interpolated."""
        place = min(max(share * len(self._ordered) - 0.5, 0.0), len(self._ordered) - 1.0)
        below = int(place)
        above = min(below + 1, len(self._ordered) - 1)
        return self._ordered[below] + (place - below) * (self._ordered[above] - self._ordered[below])


class Single:
    """A run that gave one value, with its standard error if it is known (else 0)."""

    def __init__(self, value: float, error: float = 0.0, freedom: int = 1000):
        self.value = value
        self.error = error
        self.freedom = freedom

    def draw(self, rng: random.Random) -> float:
        return rng.gauss(self.value, self.error) if self.error else self.value


Run = Union[Samples, Single]


class Comparison(NamedTuple):
    """Side b against side a: b - a and b / a, each with its interval; the ratio only where all is positive.

    `covers_runs`: both sides have several runs, so the intervals cover what differs from run to run. Otherwise they
    cover what varies within a run and nothing else. `freedom`: Student's degrees of freedom, for whoever asks the same
    of another confidence.
    """

    a: float
    b: float
    difference: float
    difference_interval: Interval
    ratio: Optional[float]
    ratio_interval: Optional[Interval]
    covers_runs: bool
    freedom: float

    @property
    def sign(self) -> int:
        """1 when b is above a, -1 when it is below, 0 when they are not distinguishable."""
        signs = {_side_of(self.difference_interval, 0.0)}
        if self.ratio_interval is not None:
            signs.add(_side_of(self.ratio_interval, 1.0))
        return signs.pop() if len(signs) == 1 else 0


def _side_of(interval: Interval, neutral: float) -> int:
    low, high = interval
    if low is None or high is None or low <= neutral <= high:
        return 0
    return 1 if low > neutral else -1


def compare_sides(a: Sequence[Run], b: Sequence[Run], confidence: float = CONFIDENCE, seed: int = 0) -> Comparison:
    """Compare the means of the runs' values. The same runs and the same seed give the same interval."""
    rng = random.Random(seed)
    value_a, value_b = (_mean([run.value for run in runs]) for runs in (a, b))
    drawn_a, drawn_b = (_draw_side(runs, value, rng) for runs, value in ((a, value_a), (b, value_b)))
    difference = value_b - value_a
    differences = [second - first for first, second in zip(drawn_a, drawn_b)]
    variance = _variance(differences)
    freedom = _freedom(a, b, variance)
    reach = student_quantile((1.0 + confidence) / 2.0, freedom)
    error = reach * math.sqrt(variance)
    ratio: Optional[float] = None
    ratio_interval: Optional[Interval] = None
    if min(value_a, value_b) > 0 and min(drawn_a) > 0 and min(drawn_b) > 0:
        ratio = value_b / value_a
        logarithms = [math.log(second) - math.log(first) for first, second in zip(drawn_a, drawn_b)]
        factor = math.exp(min(reach * math.sqrt(_variance(logarithms)), 600.0))
        ratio_interval = Interval(ratio / factor, ratio * factor)
    return Comparison(
        value_a,
        value_b,
        difference,
        Interval(difference - error, difference + error),
        ratio,
        ratio_interval,
        min(len(a), len(b)) > 1,
        freedom,
    )


def _draw_side(runs: Sequence[Run], value: float, rng: random.Random) -> List[float]:
    """Means of as many drawn runs as there are, again and again."""
    count = len(runs)
    # The values of k runs scatter around their own mean less than around the true one, by (k - 1) / k.
    widened = math.sqrt(count / (count - 1.0)) if count > 1 else 0.0
    replicates = []
    for _ in range(_NUM_REPLICATES):
        total = 0.0
        for _ in range(count):
            run = runs[int(rng.random() * count)]
            total += widened * (run.value - value) + run.draw(rng) - run.value
        replicates.append(value + total / count)
    return replicates


def _freedom(a: Sequence[Run], b: Sequence[Run], variance: float) -> float:
    """Satterthwaite's degrees of freedom: the runs of each side, and what varies within the runs."""
    parts = [(_variance([run.value for run in runs]) / len(runs), len(runs) - 1) for runs in (a, b) if len(runs) > 1]
    within = max(0.0, variance - math.fsum(part for part, _ in parts))
    parts.append((within, sum(run.freedom for runs in (a, b) for run in runs)))
    total = math.fsum(part for part, _ in parts)
    return total**2 / math.fsum(part**2 / freedom for part, freedom in parts) if total > 0 else 1.0


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)

import math
import random
import tracemalloc
from fractions import Fraction

import pytest

from edge_bench import stats


def binomial_terms(num_trials, share):
    """P(X = k) for all k, exactly."""
    row = [1]
    for _ in range(num_trials):
        row = [left + right for left, right in zip([0] + row, row + [0])]
    return [number * share**k * (1 - share) ** (num_trials - k) for k, number in enumerate(row)]


def ranks(count, percent):
    """The ranks of the bounds, read off samples that are their own ranks."""
    return tuple(stats.percentile_interval(list(range(1, count + 1)), percent))


@pytest.mark.parametrize(
    # Tables of the sign test's interval of the median, 95 %: e.g. Conover, Practical Nonparametric Statistics, A3.
    "count, expected",
    [
        (5, (None, None)),
        (6, (1, 6)),
        (8, (1, 8)),
        (9, (2, 8)),
        (10, (2, 9)),
        (12, (3, 10)),
        (20, (6, 15)),
        (25, (8, 18)),
    ],
)
def test_ranks_of_the_median(count, expected):
    assert ranks(count, 50.0) == expected


@pytest.mark.parametrize("percent", [50.0, 90.0, 95.0, 99.0])
@pytest.mark.parametrize("count", [6, 30, 101, 400])
def test_ranks_are_the_innermost_that_keep_the_doubt(count, percent):
    """Against sums of fractions: 2.5 % or less on each side, and one rank further in more than that."""
    share, doubt = Fraction(int(percent), 100), Fraction(25, 1000)
    terms = binomial_terms(count, share)
    low, high = ranks(count, percent)
    assert sum(terms[: low or 0]) <= doubt < sum(terms[: (low or 0) + 1])
    above = high or count + 1
    assert sum(terms[above:]) <= doubt < sum(terms[above - 1 :])
    assert (high is None) == (share**count > doubt)


def test_the_median_needs_six_samples():
    assert stats.median_interval([3, 1, 2, 5, 4]) is None
    assert stats.median_interval([3, 1, 2, 5, 4, 6]) == (1, 6)
    assert stats.median_interval([]) is None


def test_the_upper_bound_of_a_99th_percentile_needs_368_samples():
    # 0.99 ** 368 < 0.025 < 0.99 ** 367
    assert stats.percentile_interval(range(367), 99.0).high is None
    assert stats.percentile_interval(range(367), 99.0).low is not None
    assert stats.percentile_interval(range(368), 99.0).high == 367


@pytest.mark.parametrize("percent, fewest", sorted(stats.MIN_SAMPLES.items()))
def test_early_stopping_starts_at_the_minimum(percent, fewest):
    values = list(range(fewest))
    assert stats.early_stopping_percentile(values[1:], percent) is None
    assert stats.early_stopping_percentile(values, percent) == fewest - 1  # nothing is discarded: the maximum


def test_early_stopping_discards_as_mlperf_does():
    """Exactly: n - t below the percentile has a chance of 0.01 at most, n - (t + 1) has more."""
    for count in (64, 100, 250, 400):
        terms = binomial_terms(count, Fraction(9, 10))
        num_over = 1
        while sum(terms[count - num_over - 1 :]) <= Fraction(1, 100):
            num_over += 1
        values = list(range(1, count + 1))
        random.Random(count).shuffle(values)
        assert stats.early_stopping_percentile(values, 90.0) == count - num_over + 1


def test_early_stopping_is_at_least_the_percentile():
    rng = random.Random(3)
    values = [rng.expovariate(1.0) for _ in range(7000)]
    for percent in stats.MIN_SAMPLES:
        assert stats.early_stopping_percentile(values, percent) > stats.percentile(values, percent)
    with pytest.raises(ValueError, match="percentile"):
        stats.early_stopping_percentile(values, 50.0)


@pytest.mark.parametrize(
    "hits, trials, low, high",
    [
        # Clopper & Pearson, in closed form at the ends; in the middle from printed tables.
        (0, 10, 0.0, 1 - 0.025**0.1),
        (10, 10, 0.025**0.1, 1.0),
        (0, 1000, 0.0, 1 - 0.025**0.001),
        (1, 10, 0.0025, 0.4450),
        (5, 10, 0.1871, 0.8129),
        (4, 20, 0.0573, 0.4366),
        (0, 0, 0.0, 1.0),
    ],
)
def test_intervals_of_proportions(hits, trials, low, high):
    assert stats.proportion_interval(hits, trials) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_bounds_of_a_proportion_solve_their_equations():
    terms = binomial_terms
    for hits, trials in ((1, 30), (7, 50), (29, 30)):
        low, high = stats.proportion_interval(hits, trials)
        assert float(sum(terms(trials, Fraction(low))[hits:])) == pytest.approx(0.025, abs=1e-9)
        assert float(sum(terms(trials, Fraction(high))[: hits + 1])) == pytest.approx(0.025, abs=1e-9)


def test_dependence_counts_effective_samples():
    rng = random.Random(0)
    independent = [rng.random() < 0.5 for _ in range(4000)]
    assert 1.0 <= stats.dependence(independent) < 2.0
    # Each flag ten times in a row: as informative as a tenth of the samples.
    repeated = [flag for flag in independent[:400] for _ in range(10)]
    assert 4.0 < stats.dependence(repeated) < 20.0
    assert stats.dependence([True] * 1000) == stats.dependence([False] * 1000) == 1.0
    assert stats.dependence([]) == stats.dependence([True, False]) == 1.0


def test_dependence_widens_the_interval():
    values = [float(number) for number in range(1000)]
    low, high = stats.percentile_interval(values, 50.0)
    wide_low, wide_high = stats.percentile_interval(values, 50.0, factor=4.0)
    assert wide_high - wide_low == pytest.approx(2 * (high - low), rel=0.1)
    low, high = stats.proportion_interval(50, 1000, factor=4.0)
    assert (low, high) == stats.proportion_interval(12.5, 250)


def test_interval_of_a_mean():
    assert stats.mean_interval([1.0] * 19) is None
    assert stats.mean_interval([2.0] * 20) == (2.0, 2.0)
    low, high = stats.mean_interval([1.0, 3.0] * 10)
    # Twenty blocks of one sample: Student's interval; s^2 = 20/19, t(0.975, 19) = 2.093.
    assert (low, high) == (
        pytest.approx(2 - 2.093 * math.sqrt(20 / 19.0 / 20), abs=1e-4),
        pytest.approx(2 + 2.093 * math.sqrt(20 / 19.0 / 20), abs=1e-4),
    )


def test_how_many_samples_would_decide():
    # Without a hit: 1 - 0.025 ** (1 / n) <= 0.001 from n = 3688 on.
    assert stats.samples_to_decide(0.0, 0.001, 1.0, 10**6) == 3688
    needed = stats.samples_to_decide(0.0005, 0.001, 1.0, 10**6)
    assert stats.proportion_interval(0.0005 * needed, needed).high <= 0.001
    assert stats.proportion_interval(0.0005 * (needed - 1), needed - 1).high > 0.001
    needed = stats.samples_to_decide(0.02, 0.01, 1.0, 10**6)
    assert stats.proportion_interval(0.02 * needed, needed).low > 0.01
    assert stats.samples_to_decide(0.01, 0.01, 1.0, 10**6) is None
    assert stats.samples_to_decide(0.00999, 0.01, 1.0, 10**5) is None
    assert stats.samples_to_decide(0.0, 0.5, 1.0, 10**6, fewest=662) == 662
    assert stats.samples_to_decide(0.0005, 0.001, 2.0, 10**6) == pytest.approx(2 * 11500, rel=0.5)


def test_a_summary_of_many_samples_takes_little_memory():
    samples = [1e-3 + number * 1e-9 for number in range(300000)]
    random.Random(0).shuffle(samples)
    tracemalloc.start()
    try:
        stats.summarise(samples)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30 * len(samples)


def test_the_median_deviation_is_that_of_the_definition():
    rng = random.Random(5)
    for count in list(range(1, 30)) + [200, 501]:
        for digits in (1, 2, 12):  # few digits: many ties
            values = [round(rng.lognormvariate(0, 1), digits) for _ in range(count)]
            centre = (
                sorted(values)[count // 2] if count % 2 else sum(sorted(values)[count // 2 - 1 : count // 2 + 1]) / 2
            )
            distances = sorted(abs(value - centre) for value in values)
            expected = distances[count // 2] if count % 2 else (distances[count // 2 - 1] + distances[count // 2]) / 2
            assert stats.median_absolute_deviation(values) == expected

import math
import random

import pytest

from edge_bench import stats


@pytest.mark.parametrize(
    "values, expected",
    [([5.0], 5.0), ([1.0, 3.0], 2.0), ([9, 1, 5], 5.0), ([4, 1, 3, 2], 2.5), ([-1.0, -1.0, 7.0], -1.0)],
)
def test_median_by_hand(values, expected):
    assert stats.median(values) == expected
    assert isinstance(stats.median(values), float)


def test_median_leaves_its_argument_alone():
    values = [3.0, 1.0, 2.0]
    stats.median(values)
    assert values == [3.0, 1.0, 2.0]


@pytest.mark.parametrize("function", [stats.median, stats.median_absolute_deviation, stats.summarise])
def test_no_values_are_an_error_and_not_a_zero(function):
    with pytest.raises(ValueError, match="no values"):
        function([])


def test_mad_by_hand():
    # Median 2; distances 1 1 0 0 2 4 7; their median 1. One outlier does not move it.
    assert stats.median_absolute_deviation([1, 1, 2, 2, 4, 6, 9]) == 1.0
    assert stats.median_absolute_deviation([1, 1, 2, 2, 4, 6, 9000]) == 1.0
    assert stats.median_absolute_deviation([3.0, 3.0]) == 0.0


@pytest.mark.parametrize("percent, fewest", [(90.0, 64), (95.0, 130), (99.0, 662), (99.9, 6636)])
def test_a_percentile_needs_its_minimum_of_samples(percent, fewest):
    assert stats.percentile([1.0] * (fewest - 1), percent) is None
    assert stats.percentile([1.0] * fewest, percent) == 1.0


@pytest.mark.parametrize(
    "count, percent, rank",
    [
        (64, 90.0, 58),  # 57.6 rounded up
        (100, 90.0, 90),
        (101, 90.0, 91),  # 90.9 rounded up
        (662, 99.0, 656),  # 655.38 rounded up
        (700, 99.0, 693),  # exactly 693: floating point must not make it 694
        (1000, 99.0, 990),
        (1100, 99.0, 1089),
        (6636, 99.9, 6630),  # 6629.364 rounded up
        (7000, 99.9, 6993),
        (10000, 99.9, 9990),
    ],
)
def test_percentile_is_the_nearest_rank(count, percent, rank):
    values = [float(number) for number in range(1, count + 1)]
    random.Random(0).shuffle(values)
    assert stats.percentile(values, percent) == rank


def test_nearest_rank_holds_for_every_count():
    """Against whole-number arithmetic: the smallest rank with rank * 1000 >= percent * 10 * count."""
    for percent, promille in ((90.0, 900), (99.0, 990), (99.9, 999)):
        fewest = stats.MIN_SAMPLES[percent]
        for count in list(range(fewest, fewest + 40)) + [7001, 8000, 9999]:
            if count >= fewest:
                expected = -(-promille * count // 1000)
                assert stats.percentile(range(1, count + 1), percent) == expected


@pytest.mark.parametrize("percent", [50.0, 95.5, 100.0, 0.0, -90.0, math.nan, 99.99])
def test_a_percentile_without_a_known_minimum_is_refused(percent):
    with pytest.raises(ValueError, match="percentile"):
        stats.percentile([1.0] * 100000, percent)


def test_minimum_counts_follow_from_the_binomial_bound():
    """MLPerf early stopping: the fewest n for which at most one sample above the rank has a chance of <= 0.01."""
    for percent, fewest in stats.MIN_SAMPLES.items():
        share = percent / 100.0

        def doubt(count, share=share):
            return share**count + count * (1 - share) * share ** (count - 1)

        assert doubt(fewest) <= 0.01 < doubt(fewest - 1)


def test_summary_by_hand():
    summary = stats.summarise([0.004, 0.001, 0.003, 0.010])
    assert summary == {
        "num_samples": 4,
        "median_s": 0.0035,
        "mean_s": pytest.approx(0.0045, abs=1e-15),
        "min_s": 0.001,
        "max_s": 0.010,
        "mad_s": pytest.approx(0.0015, abs=1e-15),
        "p90_s": None,
        "p99_s": None,
        "p99_9_s": None,
    }


def test_summary_orders_its_figures():
    random_values = random.Random(1)
    summary = stats.summarise([random_values.lognormvariate(-6, 0.3) for _ in range(7000)])
    keys = ("min_s", "median_s", "p90_s", "p99_s", "p99_9_s", "max_s")
    figures = [summary[key] for key in keys]
    assert figures == sorted(figures) and len(set(figures)) == len(figures)

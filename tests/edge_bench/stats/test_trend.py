import random

import pytest

from edge_bench import stats


def test_a_run_that_gets_slower_by_a_tenth():
    rng = random.Random(0)
    samples = [1e-3 * (1 + 0.1 * number / 2000.0) * rng.lognormvariate(0, 0.02) for number in range(2000)]
    found = stats.trend(samples)
    # Medians of the first and last quarter of a straight line: 3/4 of the whole climb apart.
    assert found["difference_s"] == pytest.approx(7.5e-5, rel=0.05)
    assert found["low_s"] < 7.5e-5 < found["high_s"] and found["low_s"] > 0
    assert found["ratio"] == pytest.approx(1 + 0.075 / 1.0125, abs=0.005)
    assert 1 < found["low_ratio"] < found["ratio"] < found["high_ratio"]


def test_faster_is_a_trend_too():
    samples = [1e-3 * (2 - number / 1000.0) for number in range(1000)]
    assert stats.trend(samples)["high_s"] < 0


def test_a_single_slow_spell_in_the_middle_is_none():
    samples = [1e-3] * 400 + [5e-3] * 200 + [1e-3] * 400
    assert stats.trend(samples) == {
        "difference_s": 0.0, "low_s": 0.0, "high_s": 0.0, "ratio": 1.0, "low_ratio": 1.0, "high_ratio": 1.0,
    }  # fmt: skip


def test_a_few_outliers_are_no_trend():
    rng = random.Random(1)
    samples = [1e-3 * rng.lognormvariate(0, 0.05) for _ in range(1000)]
    for place in (760, 800, 850, 900, 999):
        samples[place] = 1.0
    found = stats.trend(samples)
    assert found["low_s"] < 0 < found["high_s"]


def test_so_few_samples_tell_nothing():
    assert stats.trend([1e-3] * 99) is None
    assert stats.trend([]) is None
    assert stats.trend([1e-3] * 100) is not None

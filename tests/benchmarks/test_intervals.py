"""Intervals against scipy, and where there can be none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import quantile_test, ttest_rel

from edge_dendrite.paired import median_interval, paired_difference


@pytest.mark.parametrize("num_pairs", [2, 5, 300])
def test_paired_difference_is_that_of_scipy(num_pairs):
    generator = np.random.default_rng(num_pairs)
    first, second = generator.normal(0.9, 0.01, num_pairs), generator.normal(0.89, 0.02, num_pairs)
    mine = paired_difference(first.tolist(), second.tolist())
    theirs = ttest_rel(first, second).confidence_interval(0.95)
    assert mine.value == pytest.approx((first - second).mean())
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))


def test_pairing_finds_what_unpaired_samples_hide():
    hard = np.arange(200) < 100  # both fail on the same half, and the second on three more
    first, second = ~hard, ~hard & (np.arange(200) < 197)
    mine = paired_difference(first.tolist(), second.tolist())
    assert mine.value == pytest.approx(0.015)
    assert mine.low is not None and mine.low < 0 < mine.value  # three images prove nothing
    second = ~hard & (np.arange(200) < 180)
    assert paired_difference(first.tolist(), second.tolist()).is_above_zero
    assert paired_difference(second.tolist(), first.tolist()).is_below_zero


@pytest.mark.parametrize(("first", "second"), [([0.9], [0.8]), ([0.9, 0.8], [0.8, 0.7]), ([1, 0, 1], [1, 0, 1])])
def test_without_spread_there_are_no_bounds(first, second):
    mine = paired_difference(first, second)
    assert (mine.low, mine.high) == (None, None)
    assert not mine.is_above_zero and not mine.is_below_zero
    assert mine.value == pytest.approx(first[0] - second[0])


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="no pairs from 2 and 1"):
        paired_difference([1, 2], [1])
    with pytest.raises(ValueError, match="no pairs"):
        paired_difference([], [])


@pytest.mark.parametrize("num_values", [6, 15, 21, 100])
def test_median_interval_is_that_of_scipy(num_values):
    values = np.random.default_rng(num_values).normal(size=num_values).tolist()
    mine = median_interval(values)
    theirs = quantile_test(values, p=0.5).confidence_interval(0.95)
    assert (mine.low, mine.high) == (theirs.low, theirs.high)
    assert mine.value == np.median(values)


def test_five_values_are_too_few_for_a_median_interval():
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).low is None
    assert median_interval([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).low == 1.0

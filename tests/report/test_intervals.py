"""The intervals, against their definitions and published values."""

from __future__ import annotations

import math

import pytest

from edge_dendrite.report.intervals import difference_interval, wilson_interval


def test_wilson_of_355_in_360():
    low, high = wilson_interval(355 / 360, 360)
    # By hand: z^2 / n = 0.010671, centre 0.980979, half width 1.939271 * sqrt(4.545462e-5) = 0.013075.
    assert low == pytest.approx(0.967904, abs=1e-6)
    assert high == pytest.approx(0.994053, abs=1e-6)


@pytest.mark.parametrize(("hits", "num"), [(355, 360), (1, 10), (9880, 10_000), (5, 5), (0, 7)])
def test_bounds_of_wilson_are_where_the_score_test_just_rejects(hits, num):
    share = hits / num
    for bound in wilson_interval(share, num):
        if 1e-9 < bound < 1:
            assert abs(share - bound) == pytest.approx(1.959964 * math.sqrt(bound * (1 - bound) / num), rel=1e-5)


def test_wilson_never_leaves_the_unit_interval_nor_collapses():
    assert wilson_interval(1.0, 20) == (pytest.approx(0.83887, abs=1e-4), 1.0)
    assert wilson_interval(0.0, 20) == (0.0, pytest.approx(0.16113, abs=1e-4))


@pytest.mark.parametrize(("share", "num"), [(1.1, 10), (-0.1, 10), (0.5, 0)])
def test_wilson_refuses_what_is_no_share(share, num):
    with pytest.raises(ValueError, match="no interval"):
        wilson_interval(share, num)


def test_difference_as_newcombe_published_it():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339.
    low, high = difference_interval(56 / 70, 70, 48 / 80, 80)
    assert (low, high) == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


def test_difference_turns_its_sign_with_its_arguments():
    low, high = difference_interval(0.98, 360, 0.95, 400)
    assert difference_interval(0.95, 400, 0.98, 360) == (pytest.approx(-high), pytest.approx(-low))

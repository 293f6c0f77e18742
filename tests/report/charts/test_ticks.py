"""Ticks on a linear axis."""

from __future__ import annotations

import pytest

from edge_dendrite.report.charts.ticks import linear_ticks


@pytest.mark.parametrize(
    ("low", "high"),
    [(0, 5.6), (9.1, 41.0), (13.71, 13.93), (-2.0, 3.0), (0.98, 1.62), (38.6, 49.2), (1, 1 + 1e-6), (18, 28.5)],
)
def test_ticks_lie_in_the_range_and_no_two_read_the_same(low, high):
    ticks, decimals = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert len({f"{tick:.{decimals}f}" for tick in ticks}) == len(ticks)
    assert [float(f"{tick:.{decimals}f}") for tick in ticks] == pytest.approx(ticks, abs=1e-12)


def test_an_empty_range_has_one_tick():
    assert linear_ticks(2.0, 2.0) == ([2.0], 1)

from __future__ import annotations

import numpy as np
import pytest

from edge_dendrite.paired import Interval, McNemar, mcnemar, paired_difference


def test_mcnemar_against_tables_of_the_binomial_distribution():
    # 1 against 9 of 10 that differ: 2 * (1 + 10) / 1024.
    first = np.array([True] * 1 + [False] * 9 + [True] * 50 + [False] * 40)
    second = np.array([False] * 1 + [True] * 9 + [True] * 50 + [False] * 40)
    assert mcnemar(first, second) == McNemar(1, 9, pytest.approx(22 / 1024))
    assert mcnemar(second, first) == McNemar(9, 1, pytest.approx(22 / 1024))


def test_mcnemar_of_networks_that_agree_says_nothing():
    same = [True, False, True]
    assert mcnemar(same, same) == McNemar(0, 0, 1.0)
    assert mcnemar([True, False], [False, True]).p_value == 1.0


@pytest.mark.parametrize("pair", [([], []), ([True], [True, False]), ([[True]], [[True]])])
def test_mcnemar_needs_pairs(pair):
    with pytest.raises(ValueError, match="no pairs"):
        mcnemar(*pair)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.2, "better"),
        (-0.2, -0.1, "worse"),
        (-0.1, 0.2, "not distinguishable"),
        (None, None, "not distinguishable"),
    ],
)
def test_words(low, high, words):
    assert Interval(0.0, low, high).words == words


def test_the_interval_of_student():
    found = paired_difference([0.5, 0.6, 0.7], [0.4, 0.4, 0.4])
    assert found.value == pytest.approx(0.2)
    # Standard error 0.1 / sqrt(3), quantile 4.3027 with two degrees of freedom.
    assert found.high - found.value == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-5)

"""Against sums of fractions and against tables that others printed: nothing here comes from the code under test."""

import math
from fractions import Fraction

import pytest

from edge_bench import stats


def exact_cdf(count, num_trials, share):
    """P(X <= count) as a fraction, by Pascal's triangle."""
    row = [1]
    for _ in range(num_trials):
        row = [left + right for left, right in zip([0] + row, row + [0])]
    terms = [row[k] * share**k * (1 - share) ** (num_trials - k) for k in range(count + 1)]
    return sum(terms, Fraction(0))


@pytest.mark.parametrize("num_trials", [1, 2, 9, 40, 129])
@pytest.mark.parametrize("share", [Fraction(1, 1000), Fraction(1, 10), Fraction(1, 2), Fraction(99, 100)])
def test_binomial_probabilities_are_those_of_fractions(num_trials, share):
    for count in sorted({0, 1, num_trials // 3, num_trials // 2, num_trials - 1} & set(range(num_trials))):
        expected = float(exact_cdf(count, num_trials, share))
        assert stats.binomial_cdf(count, num_trials, float(share)) == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_binomial_ends():
    assert stats.binomial_cdf(-1, 5, 0.3) == 0.0
    assert stats.binomial_cdf(5, 5, 0.3) == 1.0
    assert stats.binomial_cdf(0, 5, 0.0) == 1.0
    assert stats.binomial_cdf(4, 5, 1.0) == 0.0


def test_incomplete_beta_in_closed_forms():
    for x in (0.0, 1e-9, 0.1, 0.5, 0.9, 1.0 - 1e-9, 1.0):
        assert stats.incomplete_beta(x, 1, 1) == pytest.approx(x, rel=1e-12, abs=1e-15)
        assert stats.incomplete_beta(x, 3, 1) == pytest.approx(x**3, rel=1e-11, abs=1e-15)
        assert stats.incomplete_beta(x, 2, 2) == pytest.approx(x * x * (3 - 2 * x), rel=1e-11, abs=1e-15)
        arcsine = 2 / math.pi * math.asin(math.sqrt(x))
        assert stats.incomplete_beta(x, 0.5, 0.5) == pytest.approx(arcsine, rel=1e-9, abs=1e-12)


def test_incomplete_beta_of_millions_of_samples():
    # By symmetry a half; a thousandth of the spread away the probability moves by that much of the normal density.
    assert stats.incomplete_beta(0.5, 2.5e6, 2.5e6) == pytest.approx(0.5, abs=1e-7)
    spread = math.sqrt(0.25 / 5e6)
    for deviations, probability in ((1.0, 0.8413447), (-2.0, 0.0227501), (3.0, 0.9986501)):
        assert stats.incomplete_beta(0.5 + deviations * spread, 2.5e6, 2.5e6) == pytest.approx(probability, abs=1e-5)


@pytest.mark.parametrize(
    "probability, freedom, quantile",
    [
        # Any printed table of Student's t.
        (0.975, 1, 12.706),
        (0.975, 2, 4.303),
        (0.975, 4, 2.776),
        (0.975, 10, 2.228),
        (0.975, 30, 2.042),
        (0.975, 1e6, 1.960),
        (0.95, 5, 2.015),
        (0.995, 8, 3.355),
        (0.9995, 3, 12.924),
    ],
)
def test_quantiles_of_student(probability, freedom, quantile):
    assert stats.student_quantile(probability, freedom) == pytest.approx(quantile, abs=6e-4)


def test_student_with_one_degree_is_a_tangent():
    for probability in (0.5, 0.75, 0.9, 0.999):
        expected = math.tan(math.pi * (probability - 0.5))
        assert stats.student_quantile(probability, 1) == pytest.approx(expected, rel=1e-9, abs=1e-9)

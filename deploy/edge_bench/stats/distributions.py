"""Distribution functions that the intervals need: binomial and Student's t, through the incomplete beta function.

Formulas: NIST Digital Library of Mathematical Functions, 8.17 (the continued fraction is 8.17.22, the binomial sum
8.17.5), and Abramowitz & Stegun 26.7.1 for Student's t.
"""

import math
from typing import Callable

# The fraction converges in some square root of its larger parameter; this is enough for 10^10 samples.
_MAX_STEPS = 200000
_TINY = 1e-300


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for a, b > 0 and 0 <= x <= 1."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    log_front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front) if log_front > -745.0 else 0.0
    # The fraction converges fast on one side of the mean; on the other 1 - I_(1-x)(b, a) is the same number.
    if x < (a + 1.0) / (a + b + 2.0):
        return min(1.0, front * _fraction(x, a, b) / a) if front else 0.0
    return max(0.0, 1.0 - front * _fraction(1.0 - x, b, a) / b) if front else 1.0


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 1 / (1 + d1 / (1 + d2 / ...)) of 8.17.22, from its front (Lentz's method)."""
    numerator, denominator = 1.0, _kept_from_zero(1.0 - (a + b) * x / (a + 1.0))
    denominator = 1.0 / denominator
    value = denominator
    for m in range(1, _MAX_STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        change = 1.0
        for coefficient in (even, odd):
            numerator = _kept_from_zero(1.0 + coefficient / numerator)
            denominator = 1.0 / _kept_from_zero(1.0 + coefficient * denominator)
            change = numerator * denominator
            value *= change
        if abs(change - 1.0) < 1e-15:
            break
    return value


def _kept_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def binomial_cdf(count: float, num_trials: float, share: float) -> float:
    """P(X <= count) for X binomial; counts need not be whole (an effective number of samples)."""
    if count < 0:
        return 0.0
    if count >= num_trials:
        return 1.0
    return incomplete_beta(1.0 - share, num_trials - count, count + 1.0)


def student_quantile(probability: float, freedom: float) -> float:
    """The upper quantile of Student's t, for 0.5 <= probability < 1 and freedom > 0, which need not be whole."""

    def is_below(t: float) -> bool:
        return 1.0 - incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5) / 2.0 < probability

    upper = 1.0
    while is_below(upper) and upper < 1e12:
        upper *= 2.0
    return bisect(is_below, 0.0, upper)


def bisect(is_below: Callable[[float], bool], low: float, high: float) -> float:
    """The place between `low` and `high` up to which `is_below` is true."""
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if is_below(middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2.0

"""Statistics of measurements, with the standard library alone: what a sample supports, and nothing beyond it."""

from edge_bench.stats.bootstrap import Comparison, Run, Samples, Single, compare_sides
from edge_bench.stats.distributions import binomial_cdf, incomplete_beta, student_quantile
from edge_bench.stats.intervals import (
    Interval,
    dependence,
    early_stopping_percentile,
    mean_interval,
    median_interval,
    percentile_interval,
    percentile_ranks,
    proportion_interval,
    samples_to_decide,
)
from edge_bench.stats.trend import trend
from edge_bench.summary import (
    MIN_SAMPLES,
    median,
    median_absolute_deviation,
    nearest_rank,
    percentile,
    summarise,
)

__all__ = [
    "MIN_SAMPLES",
    "Comparison",
    "Interval",
    "Run",
    "Samples",
    "Single",
    "binomial_cdf",
    "compare_sides",
    "dependence",
    "early_stopping_percentile",
    "incomplete_beta",
    "mean_interval",
    "median",
    "median_absolute_deviation",
    "median_interval",
    "nearest_rank",
    "percentile",
    "percentile_interval",
    "percentile_ranks",
    "proportion_interval",
    "samples_to_decide",
    "student_quantile",
    "summarise",
    "trend",
]

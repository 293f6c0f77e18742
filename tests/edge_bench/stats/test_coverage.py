"""How often the intervals hold what is true, on data whose truth is known: independent, resembling, and skewed."""

import math
import random

import pytest

from edge_bench import stats

NORMAL = {50.0: 0.0, 90.0: 1.2815515655446004, 99.0: 2.3263478740408408}


def latencies(rng, count, memory=0.0, level=1.0):
    """Log-normal latencies of a median of 1 ms; each resembles the one before by `memory`."""
    fresh = math.sqrt(1.0 - memory * memory)
    state, samples = rng.gauss(0, 1), []
    for _ in range(count):
        state = memory * state + fresh * rng.gauss(0, 1)
        samples.append(1e-3 * level * math.exp(0.1 * state))
    return samples


def share_of(repetitions, holds):
    return sum(bool(holds(random.Random(seed))) for seed in range(repetitions)) / float(repetitions)


def holds_percentile(percent, count, memory):
    truth = 1e-3 * math.exp(0.1 * NORMAL[percent])

    def holds(rng):
        samples = latencies(rng, count, memory)
        value = sorted(samples)[stats.nearest_rank(count, percent) - 1]
        factor = stats.dependence([sample > value for sample in samples]) if memory else 1.0
        low, high = stats.percentile_interval(samples, percent, factor=factor)
        return low <= truth and (high is None or truth <= high)

    return holds


@pytest.mark.parametrize("percent, count", [(50.0, 30), (50.0, 300), (90.0, 300), (99.0, 700)])
def test_exact_intervals_hold_the_truth_of_independent_samples(percent, count):
    assert share_of(400, holds_percentile(percent, count, 0.0)) >= 0.92


@pytest.mark.parametrize("percent", [50.0, 90.0])
def test_intervals_hold_the_truth_of_samples_that_resemble_each_other(percent):
    assert share_of(250, holds_percentile(percent, 1000, 0.6)) >= 0.90


def test_without_the_factor_they_would_not():
    """Why `dependence` is there."""

    def holds(rng):
        low, high = stats.percentile_interval(latencies(rng, 1000, 0.9), 50.0)
        return low <= 1e-3 <= high

    assert share_of(100, holds) < 0.7


@pytest.mark.parametrize("count, memory", [(100, 0.0), (1000, 0.0), (1000, 0.8)])
def test_a_steady_run_has_no_trend(count, memory):
    def holds(rng):
        found = stats.trend(latencies(rng, count, memory))
        return found["low_s"] <= 0.0 <= found["high_s"]

    assert share_of(400, holds) >= 0.92


def same(repetitions, runs, count, memory=0.0, between=0.0, percent=50.0):
    """How often two sides that are the same are called not distinguishable."""

    def side(rng):
        levels = [math.exp(rng.gauss(0, between)) for _ in range(runs)]
        return [stats.Samples(latencies(rng, count, memory, level), percent) for level in levels]

    return share_of(repetitions, lambda rng: stats.compare_sides(side(rng), side(rng)).sign == 0)


@pytest.mark.parametrize(
    "runs, memory, between",
    [(1, 0.0, 0.0), (1, 0.6, 0.0), (2, 0.6, 0.0), (2, 0.0, 0.05)],
)
def test_a_against_a_is_not_distinguishable(runs, memory, between):
    # 0.93 is asked of the truth; so few repetitions scatter by a hundredth or two.
    assert same(100, runs, 600, memory, between) >= 0.90


@pytest.mark.slow
@pytest.mark.parametrize("runs", [1, 2, 3, 5])
@pytest.mark.parametrize("memory", [0.0, 0.8])
@pytest.mark.parametrize("between", [0.0, 0.02])
@pytest.mark.parametrize("percent", [50.0, 90.0])
def test_a_against_a_many_times(runs, memory, between, percent):
    if runs == 1 and between:
        pytest.skip("one run a side cannot tell what differs from run to run, and says so")
    # 0.93 is asked of the truth; 200 repetitions scatter by 0.015.
    assert same(200, runs, 500, memory, between, percent) >= 0.91


@pytest.mark.slow
@pytest.mark.parametrize("percent", [50.0, 90.0, 99.0])
@pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
def test_percentiles_many_times(percent, memory):
    assert share_of(1000, holds_percentile(percent, 4000, memory)) >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_trend_many_times(memory):
    def holds(rng):
        found = stats.trend(latencies(rng, 2000, memory))
        return found["low_s"] <= 0.0 <= found["high_s"]

    assert share_of(1000, holds) >= 0.92


@pytest.mark.slow
def test_an_interval_holds_a_true_difference():
    """A side that is 3 % slower, five runs each, levels that differ from run to run."""

    def holds(rng):
        sides = []
        for level in (1.0, 1.03):
            levels = [level * math.exp(rng.gauss(0, 0.01)) for _ in range(5)]
            sides.append([stats.Samples(latencies(rng, 500, 0.5, level)) for level in levels])
        found = stats.compare_sides(*sides)
        return found.ratio_interval.low <= 1.03 <= found.ratio_interval.high

    assert share_of(300, holds) >= 0.92

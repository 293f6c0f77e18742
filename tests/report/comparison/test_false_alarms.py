"""How often a regression is called where there is none, and found where there is one.

Runs differ from run to run (1 %), and neighbours within a run resemble each other, as on real boards. What is drawn
goes through the same statistics and verdicts as files do. Seeds are fixed, so the counts are the same each time.
"""

from __future__ import annotations

import random

import pytest

from edge_bench import stats
from edge_dendrite.report.comparison.figures import Figure
from edge_dendrite.report.comparison.judging import PASS, REGRESSION, judge, overall
from edge_dendrite.report.comparison.thresholds import KINDS, Thresholds

LATENCY = KINDS[0]


def draw_side(rng, level, num_runs, spread):
    runs = []
    for _ in range(num_runs):
        factor, drift, samples = level * rng.lognormvariate(0, spread), 0.0, []
        for _ in range(200):
            drift = 0.8 * drift + rng.gauss(0, 0.02)
            samples.append(factor * (1 + drift))
        runs.append(stats.Samples(samples))
    return runs


def draw_figure(rng, slower, num_runs, spread=0.01):
    """A figure of two sides that were measured; the new one is slower by so much in truth."""
    sides = [draw_side(rng, level, num_runs, spread) for level in (1.0, 1.0 + slower)]
    found = stats.compare_sides(*sides, seed=rng.getrandbits(32))
    return Figure(
        LATENCY, "", found.a, found.b, found.difference, tuple(found.difference_interval), found.ratio,
        tuple(found.ratio_interval), found.freedom, found.covers_runs,
    )  # fmt: skip


def verdict(figures, allowed):
    return overall([found.verdict for found in judge(figures, Thresholds(allowed))])


def count(times, seed, wanted, allowed, *, slower=0.0, num_runs=5, num_figures=1, spread=0.01):
    rng = random.Random(seed)
    found = 0
    for _ in range(times):
        figures = [draw_figure(rng, slower, num_runs, spread) for _ in range(num_figures)]
        found += verdict(figures, allowed) == wanted
    return found / times


def test_a_slow_down_of_a_tenth_is_found_with_five_runs():
    assert count(10, 1, REGRESSION, 0.0, slower=0.1) == 1.0
    assert count(10, 2, REGRESSION, 0.05, slower=0.1) == 1.0
    assert count(10, 3, PASS, 0.05) == 1.0


# 400 draws of a share of 2.5 % give more than 4.75 % once in a hundred.
@pytest.mark.slow
@pytest.mark.parametrize("num_runs", [1, 2, 3, 5])
def test_false_alarms_of_one_figure(num_runs):
    assert count(400, 10 + num_runs, REGRESSION, 0.0, num_runs=num_runs) <= 0.0475


@pytest.mark.slow
def test_false_alarms_of_eight_figures_together():
    """Without a correction for their number about a fifth of these would be."""
    assert count(100, 20, REGRESSION, 0.0, num_figures=8) <= 0.07


@pytest.mark.slow
def test_false_passes():
    """Where the truth is just beyond what is allowed, a PASS is as rare."""
    assert count(400, 30, PASS, 0.05, slower=0.05) <= 0.0475
    assert count(400, 31, PASS, 0.05, slower=0.05, num_runs=1) <= 0.0475

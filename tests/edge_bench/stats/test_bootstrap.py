import math
import random

import pytest

from edge_bench import stats


def run(seed, count=500, level=1.0, percent=50.0):
    rng = random.Random(seed)
    return stats.Samples([1e-3 * level * rng.lognormvariate(0, 0.1) for _ in range(count)], percent)


def runs(first, number, **options):
    return [run(first + at, **options) for at in range(number)]


def test_the_same_runs_give_the_same_answer():
    sides = runs(0, 3), runs(10, 3, level=1.02)
    assert stats.compare_sides(*sides) == stats.compare_sides(*sides)
    random.seed(7)
    state = random.getstate()
    stats.compare_sides(*sides)
    assert random.getstate() == state  # the program's own generator is left alone


def test_a_clear_difference():
    found = stats.compare_sides(runs(0, 3), runs(10, 3, level=1.2))
    assert found.sign == 1 and found.covers_runs
    assert found.ratio == pytest.approx(1.2, abs=0.02)
    assert found.ratio_interval.low < 1.2 < found.ratio_interval.high
    assert found.difference == pytest.approx(2e-4, abs=2e-5)
    assert found.b - found.a == found.difference
    assert stats.compare_sides(runs(10, 3, level=1.2), runs(0, 3)).sign == -1


def test_the_same_sides():
    sides = runs(0, 2)
    found = stats.compare_sides(sides, sides)
    assert (found.difference, found.ratio, found.sign) == (0.0, 1.0, 0)


def test_one_run_a_side_covers_no_runs():
    found = stats.compare_sides([run(0)], [run(1, level=1.2)])
    assert found.sign == 1 and not found.covers_runs
    assert not stats.compare_sides(runs(0, 4), [run(1)]).covers_runs


def test_what_differs_from_run_to_run_widens_the_interval():
    narrow = stats.compare_sides(runs(0, 4), runs(10, 4))
    levels = [0.9, 1.1, 0.95, 1.05]
    wide = stats.compare_sides([run(at, level=levels[at]) for at in range(4)], runs(10, 4))
    assert wide.difference_interval.high - wide.difference_interval.low > 3 * (
        narrow.difference_interval.high - narrow.difference_interval.low
    )


def test_two_runs_a_side_are_believed_little():
    """Student's t with one or two degrees of freedom: 10, 11 against 13, 14 is no proof (Welch: t 4.24, p 0.051)."""
    found = stats.compare_sides([stats.Single(10.0), stats.Single(11.0)], [stats.Single(13.0), stats.Single(14.0)])
    assert found.difference == 3.0 and found.sign == 0
    # Welch's interval by hand: 3 +- 4.303 * sqrt(0.25 + 0.25).
    assert found.difference_interval.low == pytest.approx(3 - 4.303 * math.sqrt(0.5), abs=0.15)


def test_single_values_without_any_spread():
    same = [stats.Single(5.0), stats.Single(5.0)]
    found = stats.compare_sides(same, [stats.Single(4.0), stats.Single(4.0)])
    assert found.sign == -1 and found.difference_interval == (-1.0, -1.0)
    assert stats.compare_sides(same, same).sign == 0


def test_the_error_of_a_single_value_counts():
    sure = stats.compare_sides([stats.Single(10.0, 0.1)], [stats.Single(11.0, 0.1)])
    unsure = stats.compare_sides([stats.Single(10.0, 1.0)], [stats.Single(11.0, 1.0)])
    assert (sure.sign, unsure.sign) == (1, 0)
    # Normal: 1.96 * sqrt(0.02)
    assert sure.difference_interval.low == pytest.approx(1 - 1.96 * math.sqrt(0.02), rel=0.02)


def test_no_ratio_where_a_side_is_not_above_zero():
    found = stats.compare_sides([stats.Single(-0.1), stats.Single(0.2)], [stats.Single(5.0), stats.Single(5.1)])
    assert found.ratio is None and found.ratio_interval is None
    assert found.difference == pytest.approx(5.0)


def test_too_few_samples_are_an_error():
    with pytest.raises(ValueError, match="7 samples; at least 8"):
        stats.Samples([1e-3] * 7)
    with pytest.raises(ValueError, match="at least 662"):
        stats.Samples([1e-3] * 661, 99.0)
    assert stats.Samples([1e-3] * 8).value == 1e-3


@pytest.mark.parametrize("percent", [50.0, 90.0])
@pytest.mark.parametrize("memory", [0.0, 0.7])
def test_the_shortcut_agrees_with_a_bootstrap_that_sorts_anew(percent, memory):
    """The standard error of a block bootstrap by brute force, and those of the summarised run."""
    rng, state, samples = random.Random(4), 0.0, []
    for _ in range(1000):
        state = memory * state + math.sqrt(1 - memory * memory) * rng.gauss(0, 1)
        samples.append(1e-3 * math.exp(0.1 * state))
    blocks = [samples[at : at + 40] for at in range(0, 1000, 40)]
    slow = []
    for _ in range(400):
        drawn = sorted(value for _ in blocks for value in rng.choice(blocks))
        slow.append(drawn[int(percent * 10) - 1])
    summary = stats.Samples(samples, percent)
    fast = [summary.draw(rng) for _ in range(2000)]
    assert spread(fast) == pytest.approx(spread(slow), rel=0.25)
    assert sum(fast) / len(fast) == pytest.approx(summary.value, rel=0.01)


def spread(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))

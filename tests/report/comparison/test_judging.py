import math

import pytest

from edge_bench import stats
from edge_dendrite.report.comparison.figures import Figure
from edge_dendrite.report.comparison.judging import INCONCLUSIVE, NOT_MEASURED, PASS, REGRESSION, judge, overall
from edge_dendrite.report.comparison.thresholds import KINDS, Thresholds
from edge_dendrite.report.intervals import difference_interval

BY_KEY = {kind.key: kind for kind in KINDS}
FREEDOM = 8.0


def figure(ratio, reach, key="latency", **changes):
    """A figure whose 95 % interval reaches from ratio / (1 + reach) to ratio * (1 + reach)."""
    values = {"freedom": FREEDOM, "ratio": ratio, "ratio_interval": (ratio / (1 + reach), ratio * (1 + reach))}
    values |= {"baseline": 1.0, "new": ratio, "difference": ratio - 1, "difference_interval": (ratio - 2, ratio)}
    return Figure(BY_KEY[key], "slower" if ratio / (1 + reach) > 1 else "not distinguishable", **(values | changes))


def exact(before, after):
    return Figure(BY_KEY["parameters"], "more", before, after, after - before, is_exact=True)


def accuracy(before, after, counts=(1000, 1000)):
    interval = difference_interval(after, counts[1], before, counts[0])
    return Figure(BY_KEY["accuracy"], "worse", before, after, after - before, interval, num_samples=counts)


def verdicts(figures, **values):
    return [found and found.verdict for found in judge(figures, Thresholds.from_dict(values))]


@pytest.mark.parametrize(
    "ratio, reach, allowed, expected",
    [
        (1.0, 0.01, "5%", PASS),
        (1.03, 0.01, "5%", PASS),
        (1.045, 0.01, "5%", INCONCLUSIVE),
        (1.055, 0.01, "5%", INCONCLUSIVE),
        (1.10, 0.01, "5%", REGRESSION),
        (1.0, 0.01, "0%", INCONCLUSIVE),
        (0.9, 0.01, "0%", PASS),
        (1.02, 0.01, "0%", REGRESSION),
        (0.8, 0.01, "-10%", PASS),
        (0.95, 0.01, "-10%", REGRESSION),
        (1e-9, 0.01, "-99.9%", PASS),
    ],
)
def test_an_interval_and_a_threshold(ratio, reach, allowed, expected):
    assert verdicts([figure(ratio, reach)], max_regression=allowed) == [expected]


def test_what_is_significant_and_allowed_passes_with_a_note():
    noted, plain = judge([figure(1.03, 0.01), figure(1.0, 0.01)], Thresholds(0.05))
    assert noted.is_noted and "within what is allowed" in noted.reason
    assert not plain.is_noted


def test_an_undecided_figure_says_what_would_decide():
    (found,) = judge([figure(1.03, 0.04)], Thresholds(0.05))
    assert (
        found.reason
        == "-0.962 % to +7.12 %; allowed is +5 %; about 5 times as many runs a side, in turns, would decide"
    )
    (found,) = judge([figure(1.05, 0.04)], Thresholds(0.05))
    assert "too close" in found.reason and "--max-latency-regression 9.3% would pass" in found.reason
    assert verdicts([figure(1.05, 0.04)], max_regression="9.3%") == [PASS]


def test_one_run_a_side_has_less_to_say():
    """A change that could be one of from run to run is no regression, and no proof of none."""
    assert verdicts([figure(1.08, 0.001)], max_regression="5%") == [REGRESSION]
    (found,) = judge([figure(1.08, 0.001, covers_runs=False)], Thresholds(0.05))
    assert found.verdict == INCONCLUSIVE and "5 % assumed from run to run" in found.reason
    assert "--rounds 5" in found.reason
    assert verdicts([figure(1.0, 0.001, covers_runs=False)], max_regression="5%") == [INCONCLUSIVE]
    assert verdicts([figure(1.0, 0.001, covers_runs=False)], max_regression="10%") == [PASS]
    assert verdicts([figure(2.0, 0.001, covers_runs=False)], max_regression="5%") == [REGRESSION]
    # Of a memory read once the agent has assumed as much already.
    assert verdicts([figure(1.0, 0.001, "memory", covers_runs=False)], max_regression="5%") == [PASS]


def test_one_of_twenty_is_not_called_a_regression():
    """Just beyond by itself (p = 0.02): alone a regression, beside 19 without a difference none."""
    t = stats.student_quantile(0.98, FREEDOM) / stats.student_quantile(0.975, FREEDOM)
    just = figure(math.exp(t * math.log(1.02)), 0.02)
    assert verdicts([just], max_regression="0%") == [REGRESSION]
    found = judge([just] + [figure(1.0, 0.02)] * 19, Thresholds(0.0))
    assert {one.verdict for one in found} == {INCONCLUSIVE}
    assert "of 20 figures that are judged together one may be so by chance" in found[0].reason
    clear = judge([figure(1.2, 0.02)] + [figure(1.0, 0.02)] * 19, Thresholds(0.0))
    assert clear[0].verdict == REGRESSION


def test_regressions_are_taken_from_the_clearest_one_on():
    """Holm, not Bonferroni: what is left after a clear one is judged among fewer."""
    reach = stats.student_quantile(0.975, FREEDOM)

    def with_p(p_value):
        return figure(math.exp(stats.student_quantile(1 - p_value, FREEDOM) / reach * math.log(1.02)), 0.02)

    assert verdicts([with_p(0.012), with_p(0.02)], max_regression="0%") == [REGRESSION, REGRESSION]
    assert verdicts([with_p(0.013), with_p(0.02)], max_regression="0%") == [INCONCLUSIVE, INCONCLUSIVE]
    # Figures that are exact, or have no threshold, are none of the family.
    several = [with_p(0.02), exact(1, 1), figure(1.0, 0.02, "net_energy")]
    assert verdicts(several, max_regression="0%") == [REGRESSION, PASS, None]


@pytest.mark.parametrize(
    "before, after, allowed, expected",
    [
        (100, 105, "5%", PASS),
        (100, 106, "5%", REGRESSION),
        (100, 100, "0%", PASS),
        (10**15, 10**15 + 10**7, "0%", REGRESSION),
        (3, 3.3, "10%", PASS),
        (0, 0, "0%", PASS),
        (0, 1, "10000%", REGRESSION),
        (100, 0, "0%", PASS),
        (100, 95, "-5%", PASS),
        (100, 96, "-5%", REGRESSION),
    ],
)
def test_sizes_are_judged_exactly(before, after, allowed, expected):
    assert verdicts([exact(float(before), float(after))], max_regression=allowed) == [expected]


@pytest.mark.parametrize(
    "before, after, points, expected",
    [
        (0.98, 0.979, 2, PASS),
        (0.98, 0.979, 0.5, INCONCLUSIVE),
        (0.98, 0.90, 2, REGRESSION),
        (0.98, 0.98, 0, INCONCLUSIVE),
        (0.90, 0.98, 0, PASS),
        (0.90, 0.98, -2, PASS),
        (0.98, 0.98, -2, REGRESSION),
        (1.0, 0.0, 5, REGRESSION),
    ],
)
def test_accuracy_is_judged_in_points(before, after, points, expected):
    assert verdicts([accuracy(before, after)], max_accuracy_drop=points) == [expected]


def test_the_tail_of_an_accuracy_agrees_with_its_interval():
    """Alone a figure is a regression just where its 95 % interval is beyond."""
    for drop in range(5, 60):
        one = accuracy(0.95, 0.95 - drop / 1000, (2000, 1500))
        beyond = one.difference_interval[1] < -0.01
        assert (verdicts([one], max_accuracy_drop=1) == [REGRESSION]) is beyond


def test_accuracy_of_too_few_samples_says_how_many():
    (found,) = judge([accuracy(0.98, 0.975, (360, 360))], Thresholds.from_dict({"max_accuracy_drop": 1}))
    assert found.verdict == INCONCLUSIVE and "test samples at the export would decide" in found.reason
    (found,) = judge([accuracy(0.98, 0.97, (360, 360))], Thresholds.from_dict({"max_accuracy_drop": 1}))
    assert "too close" in found.reason


def test_what_is_missing():
    lost = Figure(BY_KEY["energy"], "not measured", reason="new.json: no sensor")
    never = Figure(BY_KEY["energy"], "not measured", was_measured=False, reason="no sensor")
    (found,) = judge([lost], Thresholds(0.05))
    assert (found.verdict, found.counts) == (NOT_MEASURED, True)
    (found,) = judge([never], Thresholds(0.05))
    assert (found.verdict, found.counts) == (NOT_MEASURED, False) and "--max-energy-regression" in found.reason
    (found,) = judge([never], Thresholds.from_dict({"max_energy_regression": "5%"}))
    assert (found.verdict, found.counts) == (NOT_MEASURED, True)
    no_ratio = Figure(BY_KEY["net_energy"], "not distinguishable", -1.0, 1.0, 2.0, (-1.0, 5.0), freedom=8.0)
    (found,) = judge([no_ratio], Thresholds.from_dict({"max_net_energy_regression": "5%"}))
    assert found.verdict == INCONCLUSIVE and "no ratio" in found.reason


def test_the_verdict_over_all():
    assert overall([PASS, PASS]) == PASS
    assert overall([PASS, INCONCLUSIVE, REGRESSION]) == REGRESSION
    assert overall([PASS, NOT_MEASURED]) == overall([PASS, INCONCLUSIVE]) == overall([]) == INCONCLUSIVE

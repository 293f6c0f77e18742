"""Lines over time: what may be joined, what changed, whether it drifted, and how a terminal shows it."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest

from edge_dendrite.errors import ConfigError
from edge_dendrite.history.drift import judge_drift, say_level
from edge_dendrite.history.facts import Facts, Figure, read_moment
from edge_dendrite.history.metrics import METRICS, find_metric
from edge_dendrite.history.sparkline import sparkline
from edge_dendrite.history.stored import StoredRun
from edge_dendrite.history.trends import build_lines

MEDIAN, ENERGY, BYTES = find_metric("latency"), find_metric("energy"), find_metric("size")
FIRST_DAY = datetime(2026, 6, 1, 9, tzinfo=timezone.utc)


def run(day, value=1e-3, *, state=None, status="valid", bundle="b1", metric="latency", hour=0, **changes):
    facts = {
        "run_id": None,
        "started_at": f"{FIRST_DAY + timedelta(days=day, hours=hour):%Y-%m-%dT%H:%M:%SZ}",
        "status": status,
        "reasons": () if status == "valid" else ("it throttled",),
        "bundle_id": bundle,
        "network": "net",
        "role": "baseline",
        "precision": "fp32",
        "board_where": "Board, CPU",
        "emulated": None,
        "state": {"power mode": "15W"} if state is None else state,
        "num_samples": 700,
        "figures": {} if value is None else {metric: Figure(value, value * 0.99, value * 1.01)},
    }
    return StoredRun(24 * day + hour, "0" * 64, "", "", (), Facts(**(facts | changes)))


def stretches(line):
    return [[point.run.id // 24 for point in stretch] for stretch in line.stretches]


def only_line(runs, metric=MEDIAN):
    (line,) = build_lines(runs, metric)
    return line


def test_a_line_for_each_network_on_each_board_latest_first():
    runs = [run(0), run(9, board_where="Other, CPU"), run(1, precision="int8"), run(2, network="net2"), run(3)]
    lines = build_lines(runs, MEDIAN)
    assert [(line.board, line.name()) for line in lines] == [
        ("Other, CPU", "net (baseline, fp32)"),
        ("Board, CPU", "net (baseline, fp32)"),
        ("Board, CPU", "net2 (baseline, fp32)"),
        ("Board, CPU", "net (baseline, int8)"),
    ]


def test_an_emulated_board_is_a_line_of_its_own_and_said_to_be_emulated():
    lines = build_lines([run(0), run(1, emulated="qemu")], MEDIAN)
    assert [line.board for line in lines] == ["Board, CPU (emulated by qemu: not a board's speed)", "Board, CPU"]


def test_what_cannot_be_compared_is_not_joined():
    maxn = {"power mode": "MAXN"}
    runs = [run(0), run(1), run(2, status="invalid"), run(3), run(4, state=maxn), run(5, None, state=maxn)]
    runs += [run(6, state=maxn), run(7, state=maxn), run(8, state=maxn, bundle="b2")]
    line = only_line(runs)
    assert stretches(line) == [[0, 1, 3], [4], [6, 7], [8]]
    assert [(f"{one.time:%d}", one.words) for one in line.changes] == [
        ("05", "power mode 15W -> MAXN"),
        ("09", "another bundle"),
    ]
    assert len(line.points) == 9
    assert len(line.known()) == 8


def test_what_was_not_recorded_is_not_known_to_have_changed():
    """The first agents wrote less; a file of them does not look like another state."""
    line = only_line(
        [run(0, state={}), run(1, state={"power mode": "15W", "batch": "1"}), run(2, state={"batch": "1"})]
    )
    assert line.changes == ()
    assert stretches(line) == [[0, 1, 2]]


def test_a_sensor_matters_for_energy_alone_and_state_not_for_sizes():
    def runs(metric):
        states = [{"energy of": one, "power mode": one} for one in ("a", "b")]
        return [run(day, state=states[day], metric=metric) for day in range(2)]

    assert only_line(runs("energy"), ENERGY).changes[0].words == "energy of a -> b; power mode a -> b"
    assert only_line(runs("latency"), MEDIAN).changes[0].words == "power mode a -> b"
    assert only_line(runs("size"), BYTES).changes == ()
    assert judge_drift(only_line(runs("size"), BYTES), BYTES) == ""


def test_a_run_without_a_time_is_on_no_line():
    assert build_lines([run(0, started_at=None)], MEDIAN) == []


@pytest.mark.parametrize("slope", [0.02, -0.02])
def test_a_drift_is_found_with_its_size(slope):
    rng = random.Random(3)
    runs = [run(7 * week, 1e-3 * (1 + slope * week + rng.gauss(0, 0.005))) for week in range(12)]
    words = judge_drift(only_line(runs), MEDIAN)
    assert words.startswith(f"drifts {'up' if slope > 0 else 'down'} by {'+' if slope > 0 else '-'}")
    # Relative to the mean level, 1 + 5.5 * slope.
    assert abs(float(words.split(" by ")[1].split(" %")[0]) - 100 * slope / (1 + 5.5 * slope)) < 0.2
    assert "12 days with runs since 2026-06-01" in words


def test_noise_is_called_a_drift_as_rarely_as_it_says():
    """95 % intervals on 300 histories without a drift; rounds of one day share that day's deviation."""
    rng, alarms = random.Random(5), 0
    for _ in range(300):
        days = {7 * week: rng.gauss(0, 0.01) for week in range(10)}
        runs = [
            run(day, 1e-3 * (1 + shared + rng.gauss(0, 0.001)), hour=hour)
            for day, shared in days.items()
            for hour in range(4)
        ]
        alarms += "no drift distinguishable" not in judge_drift(only_line(runs), MEDIAN)
    assert 0.02 * 300 <= alarms <= 0.09 * 300


def test_days_that_resemble_their_neighbours_are_not_taken_for_a_drift():
    """No drift, neighbours correlated by 0.6: an interval for independent days calls a third of these drifting."""
    rng, alarms = random.Random(7), 0
    for _ in range(200):
        deviation, runs = rng.gauss(0, 0.0125), []
        for day in range(30):
            deviation = 0.6 * deviation + rng.gauss(0, 0.01)
            runs.append(run(day, 1e-3 * (1 + deviation)))
        alarms += "no drift distinguishable" not in judge_drift(only_line(runs), MEDIAN)
    assert 0 < alarms < 0.2 * 200


def test_only_the_last_stretch_is_judged():
    runs = [run(day, 1e-3 * (1 + 0.1 * day)) for day in range(8)]
    runs += [run(day, 2e-3, state={"power mode": "7W"}) for day in range(8, 11)]
    words = judge_drift(only_line(runs), MEDIAN)
    assert words == "too few days to tell a drift from chance: 3 days with valid runs since 2026-06-09, 4 needed"
    same_day = [run(0, 1e-3, hour=hour) for hour in range(12)]
    assert "too few days to tell a drift from chance: 1 day with" in judge_drift(only_line(same_day), MEDIAN)
    assert judge_drift(only_line([run(0, status="failed")]), MEDIAN) == "no valid run has this figure"


def test_a_day_that_stands_out_is_named():
    rng = random.Random(1)
    runs = [run(day, 1e-3 * (1 + rng.gauss(0, 0.003))) for day in range(10)]
    assert "the last day" not in judge_drift(only_line(runs), MEDIAN)
    words = judge_drift(only_line([*runs, run(10, 1.1e-3)]), MEDIAN)
    assert "the last day, 1.10 ms, lies above what the earlier ones let expect (" in words


def test_figures_that_never_change_drift_by_nothing():
    words = judge_drift(only_line([run(day, 1e-3) for day in range(6)]), MEDIAN)
    assert words.startswith("no drift distinguishable (95 % interval +0.00 % to +0.00 % a week")


def test_a_sparkline():
    runs = [run(0, 1e-3), run(1, 2e-3), run(2, status="invalid"), run(3, None)]
    runs += [run(4, 1.5e-3, state={"power mode": "7W"}), run(5, 2e-3, state={"power mode": "7W"})]
    line = only_line(runs)
    assert sparkline(line, width=60, encoding="ascii") == "_#ox|+#"
    assert sparkline(line, width=60, encoding="utf-8") == "\u2581\u2588ox|\u2585\u2588"
    assert sparkline(line, width=2, encoding=None) == "_#"  # of those that are shown
    assert sparkline(line, width=2, encoding="no-such") == "_#"
    assert sparkline(only_line([run(0, status="failed", value=None)]), width=9, encoding="ascii") == "x"


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-08-21T10:00:00Z", "2026-08-21T10:00:00Z"),
        ("2026-08-21T10:00:00.700+02:00", "2026-08-21T08:00:00Z"),
        ("2026-08-21T10:00:00+02:00", "2026-08-21T08:00:00Z"),
        ("1970-01-01T00:00:30Z", None),
        ("0001-01-01T00:00:00+10:00", None),
        ("now", None),
        ("", None),
        ("2026-08-21T10:00:00Z" + "x" * 100, None),
    ],
)
def test_moments(text, utc):
    assert read_moment(text) == utc


def test_metrics_have_units():
    shown = {metric.name: metric.show(0.00123456) for metric in METRICS}
    assert shown["latency"] == shown["p99"] == "1.23 ms"
    assert shown["energy"] == "1.23 mJ"
    assert shown["accuracy"] == "0.12 %"
    assert (find_metric("parameters").show(12345.0), find_metric("size").show(56267)) == ("12,345", "56.3 kB")
    assert find_metric("throughput").show(86202.2) == "86.2 k/s"
    assert find_metric("net-energy").show(0.0) == "0 uJ"
    assert find_metric("latency").show_ticks([0.001, 0.00125, 0.0015]) == ["1.00 ms", "1.25 ms", "1.50 ms"]
    assert find_metric("accuracy").show_ticks([0.98, 0.985]) == ["98.0 %", "98.5 %"]
    assert find_metric("parameters").show_ticks([1000.0]) == ["1 k"]
    with pytest.raises(ConfigError, match="give one of latency"):
        find_metric("p95")


def test_several_lines_say_how_far_they_may_be_trusted():
    assert "one is still said to have one" in say_level(2, MEDIAN)
    assert say_level(1, MEDIAN) == say_level(5, BYTES) == ""

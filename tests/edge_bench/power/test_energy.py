"""Energy per inference and its interval, from windows whose power is known."""

import math
import random

import pytest

from edge_bench.power import result as results
from edge_bench.power import uncertainty
from edge_bench.power.curve import CounterCurve, PowerCurve
from edge_bench.power.energy import energy_record
from edge_bench.power.window import Meter

METER = Meter("fake", ("RAIL",), "module input", 0.1, lambda clock: None, 0.04)


def window(power_of, duration_s, interval_s=0.1, began_s=100.0, step_w=0.04, meter=None, notes=None):
    """The result of a window whose sensor read `power_of(time)` at every interval, in whole steps."""
    meter = meter or Meter("fake", ("RAIL",), "module input", interval_s, lambda clock: None, step_w)
    recorded = results.Recorded(meter.rails)
    for number in range(int(round(duration_s / interval_s)) + 1):
        time_s = number * interval_s
        watts = power_of(time_s)
        if watts is not None and step_w:
            watts = step_w * round(watts / step_w)
        recorded.add(began_s + time_s, None if watts is None else {"RAIL": watts})
    found, _problem = results.window_result(meter, recorded, began_s, began_s + duration_s, notes or {})
    return found


def marks(duration_s, rate_hz, began_s=100.0, every_s=0.25):
    return [(began_s + i * every_s, int(i * every_s * rate_hz)) for i in range(int(duration_s / every_s) + 1)]


def noisy(mean_w, sigma_w, seed):
    chance = random.Random(seed)
    return lambda _time: chance.gauss(mean_w, sigma_w)


def test_gross_and_net_by_hand():
    """6 W at 100 inferences a second are 60 mJ; above 2 W of idling 40 mJ."""
    record = energy_record(METER, window(noisy(2.0, 0.05, 1), 5.0), window(noisy(6.0, 0.05, 2), 12.0), marks(12.0, 100))
    assert record["gross_energy_j"] == pytest.approx(0.060, rel=0.01)
    assert record["net_energy_j"] == pytest.approx(0.040, rel=0.01)
    assert (record["source"], record["rails"], record["scope"]) == ("fake", ["RAIL"], "module input")
    assert record["num_inferences"] == pytest.approx(record["duration_s"] * 100, abs=1)
    assert record["num_parts"] == 10 and record["warnings"] == []
    assert set(record["gross_uncertainty_j"]) == {"step_j", "sampling_j", "run_to_run_j"}
    for kind in ("gross", "net"):
        low_j, high_j = record[kind + "_interval_j"]
        assert low_j < record[kind + "_energy_j"] < high_j
        assert (high_j - low_j) < 0.1 * record[kind + "_energy_j"]
    # Half of 40 mW for 10 ms; the net figure has the steps of two readings.
    assert record["gross_uncertainty_j"]["step_j"] == pytest.approx(0.02 * 0.01, rel=0.01)
    assert record["net_uncertainty_j"]["step_j"] == pytest.approx(2 * 0.02 * 0.01, rel=0.01)


@pytest.mark.parametrize("sigma_w", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("interval_s", [0.05, 0.5])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(sigma_w, interval_s):
    """Power wanders between samples; the truth is its own integral. 200 runs, at least 90 % must hold."""
    held = 0
    for seed in range(200):
        chance = random.Random(seed)
        mean_w = chance.uniform(3.0, 9.0)
        # A wave too fast to be followed, of any phase, and noise of the sensor.
        phase, wave_s = chance.uniform(0, 6), chance.uniform(0.7, 3.0) * interval_s

        def power(time_s, phase=phase, wave_s=wave_s, mean_w=mean_w, chance=chance):
            return mean_w + 4 * sigma_w * math.sin(phase + 2 * math.pi * time_s / wave_s) + chance.gauss(0, sigma_w)

        record = energy_record(
            METER, window(noisy(2.0, 0.1, seed), 4.0), window(power, 12.0, interval_s), marks(12.0, 50)
        )
        begin_s, end_s = record["span_s"]
        rate = 2 * math.pi / wave_s
        wave_ws = 4 * sigma_w * (math.cos(phase + rate * begin_s) - math.cos(phase + rate * end_s)) / rate
        truth_j = (mean_w * (end_s - begin_s) + wave_ws) / record["num_inferences"]
        low_j, high_j = record["gross_interval_j"] or (0.0, 1e9)
        held += low_j <= truth_j <= high_j
    assert held >= 180


def test_the_interval_shrinks_with_a_longer_window():
    widths = []
    for duration_s in (12.0, 48.0):
        load = window(noisy(6.0, 0.8, 3), duration_s)
        record = energy_record(METER, window(noisy(2.0, 0.1, 4), 20.0), load, marks(duration_s, 100))
        widths.append(record["gross_uncertainty_j"]["run_to_run_j"])
    assert widths[1] < 0.8 * widths[0]


def test_run_to_run_is_students_t_over_the_parts_by_hand():
    """Three parts of 1, 2 and 3 J: 4.302653 * 1 / sqrt(3)."""
    assert uncertainty.mean_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302653 / math.sqrt(3))
    assert uncertainty.mean_half_width([5.0] * 10) == 0.0
    assert uncertainty.mean_half_width([1.0, 2.0]) is None


def test_idle_power_at_the_begin_of_the_load_is_left_out():
    """The chip averages: its first values under load still hold idle power."""
    load = window(lambda time_s: 2.0 if time_s < 0.15 else 6.0 + 0.04 * (int(time_s * 10) % 2), 12.0)
    record = energy_record(METER, window(lambda _t: 2.0, 5.0), load, marks(12.0, 100))
    assert record["gross_energy_j"] == pytest.approx(0.0602, rel=1e-3)
    assert record["span_s"][0] > 0.15


def test_load_at_the_begin_of_the_idle_window_is_left_out():
    """The chip averages: what ran before is still in its first values."""
    idle = window(lambda time_s: 6.0 if time_s < 0.15 else 2.0, 5.0)
    record = energy_record(METER, idle, window(lambda _t: 6.0, 12.0), marks(12.0, 100))
    assert record["idle_power_w"] == pytest.approx(2.0)
    assert record["net_energy_j"] == pytest.approx(0.04)


def test_an_idle_window_of_another_length_is_scaled():
    for idle_s in (3.0, 30.0):
        record = energy_record(METER, window(lambda _t: 2.0, idle_s), window(lambda _t: 6.0, 12.0), marks(12.0, 8))
        assert record["net_energy_j"] == pytest.approx(0.5, rel=1e-6)


def test_marks_that_are_uneven_and_a_rate_that_changes():
    """The energy of an inference is that of all of them together."""
    uneven, time_s, number = [(100.0, 0)], 0.0, 0
    chance = random.Random(5)
    while time_s < 11.5:
        time_s += chance.uniform(0.1, 0.4)
        number += int(time_s * 20)
        uneven.append((100.0 + time_s, number))
    record = energy_record(METER, window(lambda _t: 2.0, 5.0), window(lambda _t: 5.0, 12.0), uneven)
    assert record["gross_energy_j"] * record["num_inferences"] == pytest.approx(5.0 * record["duration_s"])


@pytest.mark.parametrize(
    "duration_s, interval_s, is_short", [(12.0, 0.1, False), (9.5, 0.1, True), (12.0, 1.0, True), (25.0, 1.0, False)]
)
def test_a_short_window_is_warned_of(duration_s, interval_s, is_short):
    """Ten seconds, and twenty fresh values."""
    load = window(noisy(6.0, 0.4, 6), duration_s, interval_s)
    record = energy_record(METER, window(noisy(2.0, 0.2, 7), 10.0), load, marks(duration_s, 100))
    assert ("short-energy-window" in [entry["code"] for entry in record["warnings"]]) is is_short


def test_a_sensor_that_repeats_itself_has_few_fresh_values():
    """Read every 10 ms, renewed once a second: twelve values, whatever was read in between."""
    values = [6.0 + 0.2 * (second % 3) for second in range(20)]
    load = window(lambda time_s: values[int(time_s + 1e-6)], 12.0, 0.01)
    assert 12 <= load["num_fresh"] <= 13
    assert load["sensor_rate_hz"] == pytest.approx(13 / 12.0, rel=0.1)
    record = energy_record(METER, window(noisy(2.0, 0.2, 8), 10.0), load, marks(12.0, 100))
    assert "short-energy-window" in [entry["code"] for entry in record["warnings"]]


def test_a_sensor_that_died_counts_until_then_and_is_warned_of():
    load = window(lambda time_s: 6.0 + 0.04 * (int(time_s * 7) % 2) if time_s < 8.0 else None, 12.0)
    record = energy_record(METER, window(lambda _t: 2.0, 5.0), load, marks(12.0, 100))
    assert record["gross_energy_j"] == pytest.approx(0.0602, rel=2e-3)
    assert record["span_s"][1] <= 8.0 and record["num_inferences"] <= 800
    assert any("stopped answering" in entry["message"] for entry in record["warnings"])


def test_no_inference_while_the_sensor_answered_is_no_record():
    load = window(lambda time_s: 6.0 if time_s < 0.5 else None, 12.0)
    assert energy_record(METER, window(lambda _t: 2.0, 5.0), load, [(100.0, 0), (111.0, 1)]) is None
    assert energy_record(METER, window(lambda _t: 2.0, 5.0), load, []) is None


def test_a_step_that_is_not_known_leaves_no_interval_and_says_so():
    load = window(lambda _t: 6.0, 12.0, step_w=None)
    record = energy_record(METER, window(lambda _t: 2.0, 5.0, step_w=None), load, marks(12.0, 100))
    assert record["gross_energy_j"] == pytest.approx(0.06)
    assert record["gross_interval_j"] is None and record["step_w"] is None
    assert any(entry["code"] == "energy-interval" and "step" in entry["message"] for entry in record["warnings"])


def test_too_few_parts_leave_no_interval():
    load = window(noisy(6.0, 0.2, 9), 1.0)
    record = energy_record(METER, window(noisy(2.0, 0.1, 9), 1.0), load, marks(1.0, 100))
    assert record["gross_interval_j"] is None and record["num_parts"] < 3


# --- steps in data


def test_a_step_is_found_in_products_that_flicker():
    """Current in steps of 8 mA, at 5 V that moves by 8 mV: 40 mW, as recorded lines show it."""
    chance = random.Random(10)
    values = [0.008 * chance.randint(180, 184) * (5.0 + 0.008 * chance.randint(-1, 1)) for _ in range(300)]
    assert 0.01 <= uncertainty.step_in_data(values) <= 0.06
    assert uncertainty.step_in_data([5.0 + 0.04 * chance.randint(0, 3) for _ in range(50)]) == pytest.approx(0.04)


def test_a_step_is_no_finer_than_its_source_assumes():
    chance = random.Random(12)
    for step_w, expected in ((0.01, (0.04, "assumed")), (0.16, (0.16, "data"))):
        meter = Meter("tegrastats", ("RAIL",), "", 0.1, lambda clock: None, 0.04, step_is_assumed=True)
        readings = lambda _t, step_w=step_w: 5.0 + step_w * chance.randint(0, 2)  # noqa: E731
        found = window(readings, 12.0, step_w=None, meter=meter)
        assert (pytest.approx(found["step_w"]), found["step_source"]) == expected


@pytest.mark.parametrize("values", [[], [5.0], [5.0] * 100, [1.0, 9.0] * 50, [5.0, 5.1] + [5.1] * 9])
def test_data_that_show_no_step(values):
    assert uncertainty.step_in_data(values) is None


def test_parts_cover_everything_once_and_in_order():
    chance = random.Random(11)
    for _ in range(300):
        times = sorted(chance.uniform(0, 20) for _ in range(chance.randint(0, 40)))
        pairs = uncertainty.split(times, chance.choice([0.0, 0.5, 3.0, 50.0]))
        assert all(first < last for first, last in pairs)
        assert all(left[1] == right[0] for left, right in zip(pairs, pairs[1:]))
        assert not pairs or (pairs[0][0] == 0 and pairs[-1][1] == len(times) - 1 and len(pairs) <= 10)


# --- curves and windows


def test_an_energy_of_which_only_begin_and_end_are_known_says_what_it_lacks():
    """trtexec: nothing tells how its energy varies from run to run, so there is no interval that could look narrow."""
    idle, load = window(noisy(2.0, 0.05, 1), 5.0), window(noisy(6.0, 0.05, 2), 12.0)
    record = energy_record(METER, idle, load, [(100.5, 0), (111.5, 1100)])
    assert record["gross_energy_j"] == pytest.approx(0.060, rel=0.01)
    assert record["gross_interval_j"] is None and record["net_interval_j"] is None
    assert record["interval_lacks"] == ["run to run"] and record["num_parts"] == 1
    (found,) = record["warnings"]
    assert found["message"].endswith("run to run: the program says only when all of its inferences ran together")
    assert found["fix"].startswith("measure several times, and compare the runs")
    assert energy_record(METER, idle, load, marks(12.0, 100))["interval_lacks"] == []


def test_a_power_curve_is_the_integral_of_straight_lines():
    curve = PowerCurve([1.0, 2.0, 4.0], [2.0, 4.0, 0.0])
    assert [curve.at(time_s) for time_s in (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)] == [-2.0, 0.0, 1.25, 3.0, 6.0, 7.0, 7.0]


def test_a_counter_curve_is_straight_lines():
    curve = CounterCurve([1.0, 2.0, 4.0], [10.0, 12.0, 20.0])
    assert [curve.at(time_s) for time_s in (0.5, 1.5, 3.0, 5.0)] == [9.0, 11.0, 16.0, 24.0]


def test_energy_over_a_gap_is_a_straight_line_and_the_gap_is_said():
    found = window(lambda time_s: None if 3.05 < time_s < 6.05 else 4.0 + time_s, 10.0, step_w=None)
    assert found["energy_j"] == pytest.approx(40.0 + 50.0)
    assert found["num_gaps"] == 1 and found["longest_gap_s"] == pytest.approx(3.1)
    assert any("1 gaps" in problem for problem in found["problems"])


def test_a_first_value_that_comes_late_is_said():
    found = window(lambda time_s: None if time_s < 2.0 else 4.0, 10.0)
    assert found["covered_from_s"] == pytest.approx(2.0) and found["covered_s"] == pytest.approx(8.0)
    assert any("first value" in problem for problem in found["problems"])


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_values_are_no_result_and_have_a_reason(count):
    recorded = results.Recorded(("RAIL",))
    for number in range(count):
        recorded.add(100.0 + number, {"RAIL": 1.0})
    recorded.add(103.0, None)
    found, problem = results.window_result(METER, recorded, 99.0, 110.0, {"problems": ["it said no"]})
    assert found is None
    assert "%d values" % count in problem and "it said no" in problem


def test_more_samples_than_a_file_should_hold_are_thinned_and_it_is_said(monkeypatch):
    monkeypatch.setattr(results, "MAX_SAMPLES", 50)
    found = window(lambda time_s: time_s, 12.0, step_w=None)
    assert found["samples_kept_every"] == 3 and len(found["power_samples_s_w"]) == 41
    assert found["num_samples"] == 121 and found["energy_j"] == pytest.approx(72.0)
    assert window(lambda time_s: time_s, 4.0, step_w=None)["samples_kept_every"] == 1


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), None])
def test_what_is_no_number_is_a_failed_reading(strange):
    recorded = results.Recorded(("A", "B"))
    recorded.add(1.0, {"A": 1.0, "B": 2.0})
    recorded.add(2.0, None if strange is None else {"A": strange, "B": 1.0})
    recorded.add(3.0, {"A": 1.0})
    recorded.add(2.5, {"A": 1.0, "B": 2.0, "C": 5.0})
    assert list(recorded.totals) == [3.0, 3.0] and recorded.num_failed == 2

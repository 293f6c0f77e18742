"""Energy and means of logs whose true ones are known."""

import math
import random

import pytest

from edge_bench.logs.statistics import LogStatistics
from edge_bench.logs.tegrastats import parse_line


def result_of(lines, interval_s=None):
    statistics = LogStatistics(interval_s)
    for number, line in enumerate(lines, 1):
        statistics.add(parse_line(line), number)
    return statistics.result()


def test_the_first_figure_is_integrated_and_never_the_mean_since_the_start(tegrastats):
    for _ in range(100):
        tegrastats.line([("VDD_IN", 20000)])  # before the log begins
    result = result_of([tegrastats.line([("VDD_IN", 5000)]) for _ in range(11)])
    assert result["duration_s"] == 10 and result["times_from"] == "time stamps"
    power = result["power"]["VDD_IN"]
    assert power == {
        "num_samples": 11,
        "mean_power_w": 5,
        "min_power_w": 5,
        "max_power_w": 5,
        "energy_j": pytest.approx(50, abs=1e-9),
    }


def test_trapezoid_of_a_ramp(tegrastats):
    result = result_of([tegrastats.line([("A", 1000 * second), ("B", 500)]) for second in range(101)])
    assert result["power"]["A"]["energy_j"] == pytest.approx(5000)
    assert result["power"]["B"]["energy_j"] == pytest.approx(50)


@pytest.mark.parametrize("step_s", [0.05, 0.1, 0.35, 1.0, 2.0, 5.0])
def test_any_interval_against_the_true_energy(tegrastats, step_s):
    """Stamps are whole seconds: the end points are known to one second, of 400 here."""
    num_lines = int(400 / step_s)
    watts = [8 + 3 * math.sin(2 * math.pi * number * step_s / 50) for number in range(num_lines)]
    lines = [tegrastats.line([("VDD_IN", round(1000 * one))], step_s) for one in watts]
    true_j = 8.0 * 400
    assert result_of(lines)["power"]["VDD_IN"]["energy_j"] == pytest.approx(true_j, rel=0.02)
    by_interval = result_of(lines, step_s)
    assert by_interval["power"]["VDD_IN"]["energy_j"] == pytest.approx(true_j, rel=0.016)
    assert by_interval["times_from"] == "interval"


def test_nothing_is_integrated_over_a_gap(tegrastats):
    lines = [tegrastats.line([("VDD_IN", 5000)]) for _ in range(11)]
    tegrastats.second += 3600
    lines += [tegrastats.line([("VDD_IN", 5000)]) for _ in range(11)]
    result = result_of(lines)
    assert (result["num_gaps"], result["gap_s"], result["duration_s"]) == (1, 3601, 20)
    assert result["power"]["VDD_IN"]["energy_j"] == pytest.approx(100)
    assert result_of([lines[0], lines[-1]])["duration_s"] is None


def test_a_clock_that_was_set_back_is_a_gap(tegrastats):
    lines = [tegrastats.line([("VDD_IN", 5000)]) for _ in range(11)]
    tegrastats.second -= 8000
    lines += [tegrastats.line([("VDD_IN", 5000)]) for _ in range(11)]
    result = result_of(lines)
    assert result["num_gaps"] == 1 and result["power"]["VDD_IN"]["energy_j"] == pytest.approx(100)


def test_without_stamps_there_is_no_energy_until_an_interval_is_given(line_of):
    lines = [line_of("RAM 2632/7850MB"), line_of("RAM 2635/7850MB")]
    result = result_of(lines)
    assert result["duration_s"] is None and result["times_from"] is None
    assert result["power"]["VDD_IN"]["energy_j"] is None
    assert result["power"]["VDD_IN"]["mean_power_w"] == pytest.approx((3.629 + 3.717) / 2)
    assert result_of(lines, 0.5)["power"]["VDD_IN"]["energy_j"] == pytest.approx((3.629 + 3.717) / 4)


def test_a_rail_that_is_missing_for_a_while_is_integrated_only_where_it_is(tegrastats):
    both, one = [("A", 1000), ("B", 2000)], [("A", 1000)]
    lines = [tegrastats.line(rails) for rails in [both] * 6 + [one] * 5 + [both] * 6]
    power = result_of(lines)["power"]
    assert power["A"]["energy_j"] == pytest.approx(16) and power["B"]["energy_j"] == pytest.approx(20)
    assert power["B"]["num_samples"] == 12


def test_loads_and_peaks(line_of):
    nano, thor = line_of("RAM 1889/1980MB"), line_of("RAM 105265/125772MB")
    result = result_of([nano, thor])
    assert result["mean_load_percent"]["CPU"] == pytest.approx((38 / 4 + 9 / 14) / 2)
    assert result["mean_load_percent"]["GR3D_FREQ"] == 0  # of the Nano; what Thor does not print is not 0
    assert result["mean_load_percent"]["EMC_FREQ"] == 0  # of Thor; the Nano's is a false zero
    assert result["mean_load_percent"]["VIC"] == 0
    assert "NVENC0_FREQ" not in result["mean_load_percent"]
    assert result["peak_temperature_c"]["AO"] == 36.5 and result["peak_temperature_c"]["tj"] == 38.875
    assert result["peak_ram_mb"] == 105265
    assert "PMIC" not in result["peak_temperature_c"]


def test_a_false_zero_of_emc_is_not_a_load(line_of):
    assert "EMC_FREQ" not in result_of([line_of("RAM 1889/1980MB")])["mean_load_percent"]


def test_sensors_that_are_off_have_no_peak(line_of):
    assert "CV0" not in result_of([line_of("RAM 1205/30623MB")])["peak_temperature_c"]


def test_losses_and_restarts_are_numbered_by_line(tegrastats):
    rng = random.Random(1)
    lines = [tegrastats.line([("VDD_IN", 4000 + rng.randint(-300, 300))]) for _ in range(300)]
    for _ in range(20):
        tegrastats.line([("VDD_IN", 15000)])
    lines += [tegrastats.line([("VDD_IN", 4000 + rng.randint(-300, 300))]) for _ in range(300)]
    tegrastats.start()
    lines += [tegrastats.line([("VDD_IN", 9000 + rng.randint(-300, 300))]) for _ in range(300)]
    result = result_of(lines)
    assert result["lost_before_lines"] == [301] and result["num_losses"] == 1
    assert result["restart_lines"] == [601] and result["num_restarts"] == 1
    assert result["num_gaps"] == 1


def test_an_empty_log():
    result = LogStatistics().result()
    assert result["num_samples"] == 0 and result["power"] == {} and result["duration_s"] is None


def test_ever_new_names_do_not_fill_the_memory():
    statistics = LogStatistics()
    for number in range(3000):
        statistics.add(parse_line("05-01-2024 00:%02d:%02d RAM 1/2MB R%d 1mW/1mW T%d@1C E%d 1%%"
                                  % (number // 60, number % 60, number, number, number)), number)  # fmt: skip
    result = statistics.result()
    assert len(result["power"]) <= 1001 and len(result["peak_temperature_c"]) <= 1001
    assert len(result["mean_load_percent"]) <= 1001

"""Series for pictures: they hold what the samples say, whatever the measurement file looks like."""

from __future__ import annotations

import copy
import json
import math
import statistics
import subprocess
import sys

import pytest

from edge_dendrite.report.pictures import draw_pictures
from edge_dendrite.report.rows import build_report
from edge_dendrite.report.series import MAX_RUNS
from measured_series import IDLE_BEGAN_S, PAUSE_S, energy_of, ramp_w, watch_of


@pytest.fixture
def run(bundle, measurement):
    """A measurement with power and a watch."""
    made = measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), 20e-6, num=5000)
    made["energy"] = energy_of()
    made["watch"] = watch_of(made["state_before"])
    made["state_after"] = copy.deepcopy(made["state_before"])
    return made


def traces_of(*measurements):
    (row,) = build_report(measurements, title="t").rows
    return row.traces


def trace_of(measurement):
    (trace,) = traces_of(measurement).runs
    return trace


def nearest_rank(values, share):
    return sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]


def test_bands_of_latency_are_those_of_the_samples_in_their_bin(run):
    latency = trace_of(run).latency
    samples = run["latency"]["samples_s"]
    assert latency.num_samples == 5000
    assert latency.duration_s == pytest.approx(sum(samples))
    assert len(latency.bands) == 140
    width = sum(samples) / 140
    bins, moment = {}, 0.0
    for sample in samples:
        bins.setdefault(min(139, int(moment / width)), []).append(sample)
        moment += sample
    # A sample that begins on an edge may fall to either side of it by rounding; all but a few bins must be equal.
    equal = 0
    for band, (place, inside) in zip(latency.bands, sorted(bins.items()), strict=True):
        expected = (
            (place + 0.5) * width,
            nearest_rank(inside, 0.1),
            statistics.median(inside),
            nearest_rank(inside, 0.9),
            max(inside),
        )
        equal += band == pytest.approx(expected, rel=2e-5)
    assert equal >= 138
    assert max(band[4] for band in latency.bands) == pytest.approx(max(samples), rel=1e-5)


def test_few_samples_stand_each_for_itself(bundle, measurement):
    made = measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), num=3)
    made["latency"]["samples_s"] = [1e-3, 3e-3, 2e-3]
    latency = trace_of(made).latency
    assert [band[2] for band in latency.bands] == [1e-3, 3e-3, 2e-3]
    assert [band[0] for band in latency.bands] == pytest.approx([0.0, 1e-3, 4e-3])
    assert not latency.is_paced


def test_with_a_period_time_goes_from_release_to_release(bundle, measurement):
    made = measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), num=4)
    made["settings"]["period_s"] = 0.01
    made["latency"]["samples_s"] = [1e-3, 24e-3, 1e-3, 1e-3]
    # The second answer comes 24 ms after its release: two releases are skipped.
    made["latency"]["response_samples_s"] = [1.1e-3, 24e-3, 1.2e-3, 1e-3]
    latency = trace_of(made).latency
    assert latency.is_paced
    assert [band[0] for band in latency.bands] == pytest.approx([0.0, 0.01, 0.04, 0.05])


@pytest.mark.parametrize("answers", [None, "no", [1e-3], [1e-3] * 3 + [None], [1e-3] * 3 + [-1.0]])
def test_without_usable_answers_time_is_the_sum_and_that_is_said(bundle, measurement, answers):
    made = measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), num=4)
    made["settings"]["period_s"] = 0.01
    made["latency"]["response_samples_s"] = answers
    trace = trace_of(made)
    assert not trace.latency.is_paced
    assert "time is the sum of the latencies" in trace.dropped[0]


def test_the_histogram_counts_every_sample_of_the_valid_runs(run, measurement):
    other = measurement(run["bundle"], 30e-6, minute=1, num=1000)
    wrong = measurement(run["bundle"], 90e-6, minute=2, num=1000)
    wrong["invalid"] = ["throttled during the run"]
    # The same conditions as the first.
    for made in (other, wrong):
        made["state_before"] = copy.deepcopy(run["state_before"])
    histogram = dict(traces_of(run, other, wrong).histogram)
    expected = {}
    for sample in run["latency"]["samples_s"] + other["latency"]["samples_s"]:
        place = math.floor(math.log10(sample) * 1000)
        expected[place] = expected.get(place, 0) + 1
    assert histogram == expected
    assert sum(histogram.values()) == 6000


def test_power_lies_on_the_clock_of_the_load_window(run):
    power = trace_of(run).power
    record = run["energy"]
    assert record["idle"]["began_s"] == IDLE_BEGAN_S
    assert power.load_window_s == (0.0, pytest.approx(8.0))
    assert power.idle_window_s == pytest.approx((-3.0 - PAUSE_S, -PAUSE_S))
    assert power.energy_window_s == tuple(record["span_s"])
    assert (power.idle_power_w, power.load_power_w) == (record["idle_power_w"], record["load_power_w"])
    assert (power.gross_j, power.net_j) == (record["gross_energy_j"], record["net_energy_j"])
    loaded = [span for span in power.spans if span[0] >= 0]
    for time_s, low, mean, high in loaded:
        assert low == mean == high == pytest.approx(ramp_w(time_s), rel=1e-4)
    assert power.num_readings == record["idle"]["num_samples"] + record["load"]["num_samples"]


def test_thinned_power_keeps_the_energy_and_the_extremes(run):
    run["energy"] = energy_of(interval_s=0.001)
    power = trace_of(run).power
    assert len(power.spans) <= 250
    stored = run["energy"]["load"]["power_samples_s_w"]
    loaded = [span for span in power.spans if span[0] >= 0]
    assert max(span[3] for span in loaded) == pytest.approx(max(watts for _, watts in stored), rel=1e-5)
    assert min(span[1] for span in loaded) == pytest.approx(min(watts for _, watts in stored), rel=1e-5)
    # Bins are equally wide: the mean of their means is the mean power of the window.
    mean_w = statistics.fmean(span[2] for span in loaded)
    assert mean_w == pytest.approx(run["energy"]["load"]["mean_power_w"], rel=1e-3)


def test_the_power_of_a_counter_has_no_spikes_where_it_is_read_faster_than_renewed(run):
    run["energy"] = energy_of(lambda time_s: 6.0, is_counter=True, interval_s=0.01, source="rapl")
    load = run["energy"]["load"]
    # The sensor renews its counter at every fifth reading only.
    load["energy_samples_s_j"] = [
        [time_s, load["energy_samples_s_j"][index // 5 * 5][1]]
        for index, (time_s, _) in enumerate(load["energy_samples_s_j"])
    ]
    power = trace_of(run).power
    assert power.is_counter
    loaded = [span for span in power.spans if span[0] >= 0]
    assert {round(value, 3) for span in loaded for value in span[1:]} == {6.0}


def test_the_watch_keeps_the_hottest_sensors_and_the_highest_clocks(run):
    run["watch"] = watch_of(run["state_before"], low_from_s=3.0, low_to_s=5.0)
    watch = trace_of(run).watch
    assert [name for name, _ in watch.temperatures_c] == ["CPU-therm", "GPU-therm", "AO-therm"]
    assert watch.temperatures_c[0][1] == tuple(40.0 + time_s for time_s in watch.times_s)
    assert watch.temperatures_c[2][1][0] is None
    # Core 1 stayed at its clock.
    assert set(watch.cpu_clock_hz) == {1.5e9}
    assert set(watch.gpu_clock_hz) == {918e6}
    assert (watch.expected_cpu_hz, watch.expected_gpu_hz) == (1.5e9, None)


def test_low_clocks_are_where_the_agent_counts_them(run):
    run["watch"] = watch_of(run["state_before"], low_from_s=3.0, low_to_s=5.0)
    watch = trace_of(run).watch
    # Seen at 3.0, 3.5, 4.0 and 4.5 s; each stands for the half second before it.
    assert watch.low_s == ((2.5, 4.5),)
    assert run["watch"]["clock_droop"]["cpu"]["num_low"] == 4
    run["watch"]["series"]["cpu_busy"]["cpu0"] = [0.1] * 16
    assert trace_of(run).watch.low_s == ()


def test_counters_that_rose_are_named(run):
    run["state_before"].update(throttle_counts={"oc1": 2}, cooling_states={"fan": 1}, throttled_bits=0x0)
    run["state_after"].update(throttle_counts={"oc1": 5, "oc2": 9}, cooling_states={"fan": 1}, throttled_bits=0x50000)
    assert trace_of(run).throttling == ("counter oc1 rose from 2 to 5", "throttled flags went from 0x0 to 0x50000")


def test_runs_left_out_are_there_with_their_reasons_and_failed_or_repeated_ones_are_not(run, measurement):
    runs = [copy.deepcopy(run) for _ in range(4)]
    for minute, made in enumerate(runs):
        made["started_at"] = f"2026-08-21T10:{minute:02d}:00Z"
    runs[1]["invalid"] = ["throttled during the run"]
    runs[2]["status"] = "failed"
    traces = traces_of(*runs, copy.deepcopy(runs[3]))
    assert [trace.reasons for trace in traces.runs] == [(), ("throttled during the run",), ()]
    assert traces.num_runs == 3


def test_many_runs_are_thinned_evenly(run):
    runs = [copy.deepcopy(run) for _ in range(20)]
    for minute, made in enumerate(runs):
        made["started_at"] = f"2026-08-21T10:{minute:02d}:00Z"
    traces = traces_of(*runs)
    assert traces.num_runs == 20
    assert [trace.round for trace in traces.runs] == [1, 4, 6, 9, 12, 15, 17, 20]
    assert len(traces.runs) == MAX_RUNS
    assert all(len(trace.latency.bands) <= 17 for trace in traces.runs)


def test_json_holds_marks_and_the_histogram_but_no_series(run):
    report = build_report([run], title="t")
    (row,) = json.loads(json.dumps(report.to_dict(), allow_nan=False))["rows"]
    (marks,) = row["traces"]["runs"]
    assert marks["power"]["energy_window_s"] == list(run["energy"]["span_s"])
    assert marks["watch"]["low_clock_s"] == []
    assert sum(count for _, count in row["traces"]["histogram"]) == 5000
    assert len(json.dumps(marks)) < 1500


ODD = (None, "text", [], {}, 7, -1.0, math.nan, math.inf, 10**400, [1], [None, "x"], {"a": 1}, True)
PLACES = (
    ("energy",),
    ("energy", "load"),
    ("energy", "idle"),
    ("energy", "span_s"),
    ("energy", "idle", "began_s"),
    ("energy", "idle", "duration_s"),
    ("energy", "load", "duration_s"),
    ("energy", "load", "began_s"),
    ("energy", "load", "sensor"),
    ("energy", "load", "power_samples_s_w"),
    ("energy", "load", "energy_samples_s_j"),
    ("energy", "idle", "power_samples_s_w"),
    ("energy", "idle_power_w"),
    ("energy", "gross_energy_j"),
    ("energy", "rails"),
    ("watch",),
    ("watch", "series"),
    ("watch", "series", "times_s"),
    ("watch", "series", "temperatures_c"),
    ("watch", "series", "temperatures_c", "CPU-therm"),
    ("watch", "series", "cpu_clocks_hz", "cpu0"),
    ("watch", "series", "cpu_busy", "cpu0"),
    ("state_before", "cpu_clock_limits_hz"),
    ("state_before", "cpu_clock_limits_hz", "cpu0"),
    ("state_before", "governors"),
    ("state_before", "devfreq"),
    ("state_after", "throttle_counts"),
    ("state_after", "throttled_bits"),
    ("settings", "period_s"),
    ("latency", "response_samples_s"),
)


@pytest.mark.parametrize("place", PLACES, ids=".".join)
def test_odd_values_never_stop_a_report(run, place):
    for value in ODD:
        odd = copy.deepcopy(run)
        parent = odd
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = value
        traces = traces_of(odd)
        json.dumps(traces.to_dict(), allow_nan=False)
        assert traces.runs[0].latency is not None


def test_odd_values_among_readings_are_dropped_and_counted(run):
    stored = run["energy"]["load"]["power_samples_s_w"]
    odd = [[math.nan, 3.0], [1.0], "x", [2.0, "3"], [0.01, 3.0], [1e12, 3.0], [4.0, 1e30], [None, None]]
    run["energy"]["load"]["power_samples_s_w"] = [*stored[:80], *odd, *stored[80:]]
    trace = trace_of(run)
    assert len([span for span in trace.power.spans if span[0] >= 0]) == len(stored)
    assert "8 of 169 readings make no sense or go back in time" in trace.dropped[0]
    series = run["watch"]["series"]
    series["times_s"][3] = series["times_s"][2]
    series["temperatures_c"]["short"] = [99.0]
    series["temperatures_c"]["too hot"] = [1e6] * 16
    trace = trace_of(run)
    assert len(trace.watch.times_s) == 15
    assert [name for name, _ in trace.watch.temperatures_c] == ["CPU-therm", "GPU-therm", "AO-therm"]
    assert any("short: not as many values as times" in reason for reason in trace.dropped)
    captions = {made.title: made.caption for made in draw_pictures(build_report([run], title="t"))}
    assert "Not drawn: power trace, load window: 8 of 169 readings" in captions["Power over time"]


def test_windows_that_are_hours_apart_are_not_drawn_beside_each_other(run):
    run["energy"]["idle"]["began_s"] -= 1e4
    trace = trace_of(run)
    assert trace.power.idle_window_s is None
    assert min(span[0] for span in trace.power.spans) >= 0
    assert "which cannot be drawn beside it" in trace.dropped[0]


def test_a_partial_run_of_absurd_latencies_is_left_out_of_the_picture(run, measurement):
    odd = measurement(run["bundle"], minute=5, num=10)
    odd["status"] = "partial"
    odd["latency"]["samples_s"] = [1e300] * 10
    trace = traces_of(run, odd).runs[1]
    assert trace.latency is None
    assert "thirty years" in trace.dropped[0]


def test_numpy_is_loaded_only_when_a_report_is_made():
    program = "import sys, edge_dendrite.report.rows; print('numpy' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"

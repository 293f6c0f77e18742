"""Pictures stay small whatever the number of samples, networks and runs."""

from __future__ import annotations

import copy
import random

import pytest

from edge_dendrite.report.charts.histogram import latency_ridges
from edge_dendrite.report.charts.over_time import latency_over_time
from edge_dendrite.report.charts.power import power_traces
from edge_dendrite.report.rows import build_report
from measured_series import energy_of, watch_of

MAX_BYTES = 140_000  # tooltips included, which stand there twice


@pytest.mark.parametrize(("num_runs", "num_samples"), [(2, 100_000), (10, 2_000)])
def test_a_picture_stays_below_140_kb(bundle, measurement, num_runs, num_samples):
    chance = random.Random(8)
    noisy = energy_of(lambda time_s: 4.0 + chance.gauss(0, 0.3), interval_s=0.001)
    runs = []
    for index in range(7):
        network = bundle(f"network {index} " + "x" * 150, "control:x" if index else "baseline", (4, 4, 4, 10), 9, 10)
        for number in range(num_runs):
            made = measurement(network, minute=number, num=10)
            made["started_at"] = f"2026-08-21T10:{number:02d}:{index:02d}Z"
            made["latency"]["samples_s"] = [20e-6 * chance.lognormvariate(0, 0.4) for _ in range(num_samples)]
            made["energy"] = noisy
            made["watch"] = watch_of(made["state_before"], seconds=200)
            series = made["watch"]["series"]
            # Clocks and temperatures that never come to rest.
            series["cpu_clocks_hz"]["cpu0"] = [chance.choice((0.9e9, 1.5e9)) for _ in series["times_s"]]
            series["temperatures_c"]["CPU-therm"] = [chance.uniform(40, 60) for _ in series["times_s"]]
            made["state_before"].update(temperatures_c={"CPU-therm": 40.0}, throttle_counts={"oc1": 1})
            made["state_after"] = copy.deepcopy(made["state_before"])
            made["state_after"]["throttle_counts"] = {"oc1": 3}
            runs.append(made)
    rows = build_report(runs, title="t").rows
    sizes = {draw.__name__: len(draw(rows)) for draw in (latency_over_time, power_traces, latency_ridges)}
    assert {name for name, size in sizes.items() if size > MAX_BYTES} == set(), sizes
    for row in rows:
        assert sum(count for _, count in row.traces.histogram) == num_runs * num_samples

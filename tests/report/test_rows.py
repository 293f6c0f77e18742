"""Which runs enter a row, how they are pooled, and that nothing is left out silently."""

from __future__ import annotations

import copy
import json

import pytest

from edge_bench import stats
from edge_dendrite.report.rounds import compare_latency
from edge_dendrite.report.rows import build_report


def build(measurements, **options):
    return build_report(measurements, title="A report", **options)


def test_no_measurements_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="edge-bench run"):
        build([])


def test_rows_stand_in_the_order_of_their_roles(study, bundle, measurement):
    extra = [
        measurement(bundle("int8", "quantised", (16, 32, 64, 10), 350), minute=50),
        measurement(bundle("zeroed", "control:dendrites-zeroed", (16, 32, 64, 10), 350), minute=51),
    ]
    report = build([*extra, *reversed(study)])
    assert [row.role for row in report.rows] == [
        "baseline",
        "compressed",
        "control:dense-longer",
        "control:from-scratch",
        "control:dendrites-zeroed",
        "quantised",
    ]


def test_latency_pools_the_samples_of_all_valid_runs(study):
    row = build(study).rows[0]
    runs = [run for run in study if run["bundle"]["role"] == "baseline"]
    pooled = [sample for run in runs for sample in run["latency"]["samples_s"]]
    assert row.latency is not None
    assert row.latency.num_samples == 6000
    assert row.latency.median_s == stats.median(pooled)
    assert row.latency.mad_s == stats.median_absolute_deviation(pooled)
    assert row.latency.p90_s == stats.percentile(pooled, 90.0)
    assert row.latency.p99_s == stats.percentile(pooled, 99.0)
    assert row.latency.run_medians_s == tuple(run["latency"]["summary"]["median_s"] for run in runs)
    assert (row.latency.min_s, row.latency.max_s) == (min(pooled), max(pooled))


def test_pooled_median_by_hand(bundle, measurement):
    network = bundle("a", "baseline", (4, 4, 4, 10), 9, 10)
    runs = [measurement(network, minute=minute, num=11) for minute in (0, 1)]
    runs[0]["latency"]["samples_s"] = [1e-3, 2e-3, 9e-3]
    runs[1]["latency"]["samples_s"] = [4e-3, 3e-3, 5e-3]
    latency = build(runs).rows[0].latency
    assert latency is not None
    assert latency.median_s == pytest.approx(3.5e-3)
    assert latency.mad_s == pytest.approx(1.5e-3)
    assert latency.run_medians_s == (2e-3, 4e-3)


def test_percentiles_without_enough_samples_are_none_and_say_why(bundle, measurement):
    row = build([measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), num=100)]).rows[0]
    assert row.latency is not None
    assert row.latency.p90_s is not None
    assert row.latency.p99_s is None
    assert row.missing["p99"] == "too few samples: 100, and p99 needs 662"
    assert "p90" not in row.missing


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"invalid": ["throttled during the run"]}, "throttled during the run"),
        ({"status": "partial"}, "interrupted before it was complete"),
        ({"status": "failed"}, "its outputs do not match the bundle's reference"),
    ],
)
def test_a_bad_run_enters_no_figure_but_is_listed(study, change, reason):
    study[4].update(change)
    report = build(study)
    (run,) = report.left_out()
    assert run.started_at == study[4]["started_at"]
    assert reason in run.reasons[0]
    row = next(row for row in report.rows if row.id == run.bundle_id)
    assert row.latency is not None
    assert (row.latency.num_samples, len(row.latency.run_medians_s)) == (4500, 3)


@pytest.mark.parametrize("sample", [5e-324, 1e308])
def test_latencies_that_no_clock_shows_are_left_out(study, sample):
    study[1]["latency"]["samples_s"][0] = sample
    (run,) = build(study).left_out()
    assert "are not those of an inference" in run.reasons[0]


def test_a_bad_run_does_not_shift_the_rounds_of_the_others(study):
    before = build(study)
    study[0]["invalid"] = ["throttled"]
    after = build(study)
    whole, rest = (compare_latency(report.rows[1], report.rows[0]) for report in (before, after))
    assert whole is not None
    assert rest is not None
    assert rest.ratios == whole.ratios[1:]


def test_a_network_without_any_valid_run_keeps_its_sizes(study):
    for run in study:
        if run["bundle"]["role"] == "compressed":
            run["status"] = "failed"
            del run["latency"]
    row = build(study).rows[1]
    assert row.num_parameters == 2722
    assert (row.latency, row.peak_memory_bytes, row.energy) == (None, None, None)
    assert row.missing["latency"] == row.missing["memory"] == row.missing["energy"]


def test_runs_under_other_conditions_are_left_out_and_named(study):
    study[5]["backend"]["num_threads"] = 4
    study[6]["state_before"]["governors"] = {"cpu0": "powersave"}
    study[7]["board"]["cpu"] = "Another CPU"
    reasons = [run.reasons[0] for run in build(study).left_out()]
    assert len(reasons) == 3
    assert "threads: 4, elsewhere 1" in reasons[0]
    assert "governors: powersave, elsewhere not readable" in reasons[1]
    assert "CPU: Another CPU" in reasons[2]


def test_the_same_measurement_twice_counts_once(study):
    report = build([*study, copy.deepcopy(study[2])])
    (run,) = report.left_out()
    assert run.reasons == ("the same measurement was given twice",)
    assert all(row.latency and row.latency.num_samples == 6000 for row in report.rows)


def test_ratios_are_those_of_run_medians_in_the_same_round(bundle, measurement):
    dense, small = bundle("d", "baseline", (8, 8, 8, 10), 9, 10), bundle("s", "compressed", (4, 4, 4, 10), 9, 10)
    # A B B A: the second run of each forms the second round.
    runs = [measurement(dense, 20e-6, 0), measurement(small, 10e-6, 1)]
    runs += [measurement(small, 30e-6, 2), measurement(dense, 40e-6, 3)]
    report = build(runs)
    comparison = compare_latency(report.rows[1], report.rows[0])
    assert comparison is not None
    assert comparison.ratios == (pytest.approx(0.5), pytest.approx(0.75))
    assert comparison.ratio == pytest.approx(0.625)


def test_accuracy_has_a_wilson_interval_only_for_the_metric_accuracy(study):
    study[0]["bundle"]["accuracy"]["metric"] = "f1"
    study = [study[0], study[1]]
    f1, accuracy = (row.accuracy for row in build(study).rows)
    assert f1 is not None
    assert accuracy is not None
    assert f1.interval is None
    assert accuracy.interval == (pytest.approx(0.9567, abs=1e-4), pytest.approx(0.9887, abs=1e-4))


def test_energy_is_the_mean_of_the_runs_or_none_with_the_reason(study):
    row = build(study).rows[0]
    assert row.energy is None
    assert row.missing["energy"].startswith("no INA3221, no RAPL")
    for number, run in enumerate(run for run in study if run["bundle"]["role"] == "baseline"):
        run["energy"] = {"gross_energy_j": 1e-3 * (number + 1), "net_energy_j": 5e-4, "rails": ["VDD_IN"], "scope": "x"}
    energy = build(study).rows[0].energy
    assert energy is not None
    assert (energy.gross_j, energy.net_j, energy.rails) == (2.5e-3, 5e-4, ("VDD_IN",))


def test_peak_memory_is_the_largest_and_none_when_it_was_not_readable(study):
    study[0]["memory"]["process_peak_rss_bytes"] = 70_000_000
    assert build(study).rows[0].peak_memory_bytes == 70_000_000
    for run in study:
        run["memory"]["process_peak_rss_bytes"] = None
    row = build(study).rows[0]
    assert row.peak_memory_bytes is None
    assert "VmHWM" in row.missing["memory"]


@pytest.mark.parametrize("key", ["accuracy", "board", "backend", "check", "memory", "energy", "state_after"])
@pytest.mark.parametrize("value", [None, 3, "text", [], {}])
def test_parts_that_the_schema_leaves_open_may_hold_anything(study, key, value):
    for run in study[:4]:
        (run["bundle"] if key == "accuracy" else run)[key] = value
    assert len(build(study[:4]).rows) == 4


@pytest.mark.parametrize("value", [None, -1, 1.5, True, "many", 10**400, {}])
def test_sizes_that_are_no_counts_are_missing_with_a_reason(study, value):
    for key in ("num_parameters", "num_nonzero", "num_macs", "onnx_bytes", "layers"):
        study[0]["bundle"]["stats"][key] = value
    study[0]["bundle"]["model"]["num_bytes"] = value
    row = build(study[:1]).rows[0]
    assert (row.num_parameters, row.num_macs, row.onnx_bytes, row.layers) == (None, None, None, ())
    assert row.missing["num_parameters"]


def test_to_dict_is_json_and_holds_no_raw_samples(study, history):
    report = build(study, history=history, provenance={"seed": "0"})
    text = json.dumps(report.to_dict(), allow_nan=False)
    values = json.loads(text)
    assert values["schema"] == "edge-dendrite.report"
    assert values["rows"][0]["latency"]["num_samples"] == 6000
    assert len(values["rows"][0]["latency"]["ecdf"]) <= 400
    assert values["provenance"]["seed"] == "0"
    assert len(values["history"]) == 54


def test_ecdf_keeps_the_tail(bundle, measurement):
    run = measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), num=50_000)
    latency = build([run]).rows[0].latency
    assert latency is not None
    shares = [share for share, _ in latency.ecdf]
    assert len(shares) <= 400
    assert (shares[0], shares[-1]) == (1 / 50_000, 1.0)
    assert latency.ecdf[-1][1] == max(run["latency"]["samples_s"])
    assert sum(share > 0.9999 for share in shares) >= 4
    assert list(latency.ecdf) == sorted(latency.ecdf)

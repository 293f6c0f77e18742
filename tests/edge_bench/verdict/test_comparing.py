import copy
import itertools
import json
import random

import pytest

from edge_bench import stats
from edge_bench.errors import MeasurementError
from edge_bench.schema import parse_measurement
from edge_bench.verdict import comparing, records, text


def run_of(measurement, seed, level=1.0, count=800, minute=0, **bundle):
    """A run of `count` latencies around `level` ms that started in a minute of an hour."""
    run = copy.deepcopy(measurement)
    rng = random.Random(seed)
    run["latency"]["samples_s"] = [1e-3 * level * rng.lognormvariate(0, 0.1) for _ in range(count)]
    run["latency"]["summary"] = stats.summarise(run["latency"]["samples_s"])
    run["started_at"] = "2026-01-02T03:%02d:05Z" % minute
    run["run_id"] = "%032x" % rng.getrandbits(128)
    run["bundle"].update(bundle)
    return run


def side(name, *runs):
    prepared = [records.prepare(parse_measurement(json.dumps(run).encode("ascii"), name), name) for run in runs]
    return comparing.Side(["%s%d.json" % (name, number) for number in range(1, len(runs) + 1)], prepared)


def compare(a, b, force=False):
    a, b = (runs if isinstance(runs, list) else [runs] for runs in (a, b))
    return comparing.compare(side("a", *a), side("b", *b), force)


def rendered(compared):
    return text.render_comparisons({"comparisons": [compared]})


def row(compared, label):
    (found,) = [row for row in compared["rows"] if row["label"] == label]
    return found


SMALL = {"id": "1" * 64, "name": "small", "role": "compressed"}


@pytest.fixture
def abba(measurement):
    """Two runs a side in the order A B B A; B takes 0.6 of the time and 0.8 of the energy and memory."""
    a = [run_of(measurement, 1, minute=0), run_of(measurement, 2, 1.005, minute=9)]
    b = [run_of(measurement, 3, 0.6, minute=3, **SMALL), run_of(measurement, 4, 0.603, minute=6, **SMALL)]
    for number, run in enumerate(a + b):
        factor = (1.0 if number < 2 else 0.8) * (1 + 0.001 * number)
        for key in ("gross_energy_j", "net_energy_j"):
            run["energy"][key] *= factor
        run["memory"]["process_peak_rss_bytes"] = int(factor * (60 << 20))
    return a, b


def test_several_runs_a_side(abba):
    compared = compare(*abba)
    assert not compared["refused"] and not compared["forced"] and compared["caveats"] == []
    assert [found["verdict"] for found in compared["rows"]] == ["faster", "faster", "less", "less", "less"]
    median = row(compared, "latency median")
    assert median["ratio"] == pytest.approx(0.6, rel=0.02) and median["covers_runs"]
    assert median["ratio_low"] < 0.6 < median["ratio_high"]
    assert median["difference_low"] < -4e-4 < median["difference_high"] < 0
    assert row(compared, "gross energy")["ratio"] == pytest.approx(0.8, rel=0.01)
    assert compared["a"]["num_samples"] == [800, 800]
    assert compared["b"]["name"] == "small" and compared["b"]["role"] == "compressed"


def test_the_other_way_round(abba):
    verdicts = [found["verdict"] for found in compare(abba[1], abba[0])["rows"]]
    assert verdicts == ["slower", "slower", "more", "more", "more"]


def test_one_run_a_side_says_so(measurement):
    compared = compare(run_of(measurement, 1), run_of(measurement, 2, 0.6, minute=1, **SMALL))
    assert row(compared, "latency median")["verdict"] == "faster"
    assert any("one run" in caveat for caveat in compared["caveats"])
    assert any("A B B A" in caveat and "drift" in caveat for caveat in compared["caveats"])
    assert not row(compared, "latency median")["covers_runs"]


def test_a_run_against_itself_is_refused(measurement):
    """Known by its number, and where a file has none by its samples; --force does not help."""
    run = run_of(measurement, 1)
    nameless = dict(run, run_id=None)
    renamed = dict(run_of(measurement, 2), run_id=run["run_id"])
    for one, other in ((run, run), (nameless, copy.deepcopy(nameless)), (run, renamed)):
        for force in (False, True):
            compared = compare(one, other, force)
            assert compared["refused"] and compared["rows"] == []
            assert compared["reasons"][0].startswith("a1.json and b1.json are the same run, on both sides")
    several = compare([run_of(measurement, 3), run], [run_of(measurement, 4, minute=1), run])
    assert several["refused"] and "a2.json and b2.json" in several["reasons"][0]
    assert "REFUSED: a1.json and b1.json are the same run" in rendered(compare(run, run))


def test_equal_samples_of_two_runs_are_not_distinguishable(measurement):
    run = run_of(measurement, 1)
    other = copy.deepcopy(run)
    other["run_id"] = "f" * 32
    other["latency"]["samples_s"].reverse()
    assert {found["verdict"] for found in compare(run, other)["rows"]} == {"not distinguishable"}


def test_two_engines_of_one_network_are_named(abba):
    a, b = abba
    for run, digest in zip(a + b, ("a" * 64, "b" * 64, "c" * 64, "c" * 64)):
        run["backend"]["engine_sha256"] = digest
    compared = compare(a, b)
    (caveat,) = compared["caveats"]
    assert caveat.startswith("side A ran 2 TensorRT engines of one network (aaaaaaaaaaaa, bbbbbbbbbbbb)")
    assert compared["a"]["engines"] == ["a" * 64, "b" * 64] and compared["b"]["engines"] == ["c" * 64]
    assert "side A ran 2 TensorRT engines" in " ".join(rendered(compared).split())
    for run in a:
        run["backend"]["engine_sha256"] = "a" * 64
    assert compare(a, b)["caveats"] == []
    for run in b:
        run["bundle"].update(a[0]["bundle"])
    (caveat,) = compare(a, b)["caveats"]
    assert caveat == "both sides are one network; A ran the engine aaaaaaaaaaaa, B the engine cccccccccccc"


def test_order_in_time(abba):
    a, b = abba

    def drifts(minutes):
        for run, minute in zip(a + b, minutes):
            run["started_at"] = "2026-01-02T03:%02d:05Z" % minute
        return any("precede" in caveat for caveat in compare(a, b)["caveats"])

    assert not drifts([0, 9, 3, 6])
    assert not drifts([0, 6, 3, 9])
    assert drifts([0, 1, 2, 3]) and drifts([4, 5, 0, 1])
    a[0]["started_at"] = "yesterday"
    assert not any("precede" in caveat for caveat in compare(a, b)["caveats"])


def test_a_percentile_needs_its_samples_in_every_run(measurement):
    compared = compare(run_of(measurement, 1), run_of(measurement, 2, count=600, **SMALL))
    found = row(compared, "latency p99")
    assert found["verdict"] == "not measured" and "662" in found["reason"] and "b1.json" in found["reason"]
    assert row(compared, "latency median")["verdict"] == "not distinguishable"


def test_small_differences_of_energy_are_undecided_unless_an_interval_excludes_them(measurement):
    a, b = run_of(measurement, 1), run_of(measurement, 2, **SMALL)
    b["energy"]["gross_energy_j"] *= 0.96
    assert row(compare(a, b), "gross energy")["verdict"] == "not distinguishable"
    for run in (a, b):
        value = run["energy"]["gross_energy_j"]
        run["energy"].update(gross_interval_j=[0.99 * value, 1.01 * value])
    assert row(compare(a, b), "gross energy")["verdict"] == "less"
    b["energy"].update(gross_interval_j=[0.010, 0.013])
    assert row(compare(a, b), "gross energy")["verdict"] == "not distinguishable"


def test_large_differences_without_an_interval(measurement):
    a, b = run_of(measurement, 1), run_of(measurement, 2, **SMALL)
    b["energy"]["gross_energy_j"] *= 0.8
    b["memory"]["process_peak_rss_bytes"] //= 2
    assert row(compare(a, b), "gross energy")["verdict"] == "less"
    assert row(compare(a, b), "peak memory")["verdict"] == "less"
    b["memory"]["process_peak_rss_bytes"] = int(58.5 * (1 << 20))
    assert row(compare(a, b), "peak memory")["verdict"] == "not distinguishable"


STATE_CHANGES = [
    (("board", "model"), "Orin", "board"),
    (("board", "cpu"), "other", "processor"),
    (("board", "l4t"), "32.7.1", "L4T release"),
    (("backend", "name"), "tensorrt", "runtime"),
    (("backend", "version"), "1.11.0", "runtime version"),
    (("backend", "providers"), ["CUDAExecutionProvider"], "providers"),
    (("backend", "num_threads"), 4, "threads"),
    (("backend", "batch"), 8, "batch"),
    (("settings",), {"period_s": 0.04}, "period"),
    (("state_before", "power_mode"), "5W", "power mode"),
    (("state_before", "power_mode"), None, "power mode"),
    (("state_before", "governors"), {"cpu0": "schedutil", "cpu1": "performance"}, "governors"),
    (("state_before", "cpu_clock_limits_hz"), {"cpu0": [1e8, 1e9]}, "CPU clock limits"),
    (("state_before", "online_cpus"), "0-3", "online CPUs"),
    (("state_before", "devfreq"), {"gpu": {"min_freq_hz": 1e8, "max_freq_hz": None}}, "device clock limits"),
    (("energy", "scope"), "system input", "power scope"),
    (("energy", "source"), "rapl", "power scope"),
    (("energy", "rails"), ["VIN"], "power scope"),
]


@pytest.mark.parametrize("path, value, what", STATE_CHANGES, ids=[entry[2] for entry in STATE_CHANGES])
def test_other_states_are_refused_and_named(measurement, replaced, path, value, what):
    a, b = run_of(measurement, 1), replaced(run_of(measurement, 2, **SMALL), path, value)
    compared = compare(a, b)
    assert compared["refused"] and compared["rows"] == []
    (reason,) = compared["reasons"]
    assert reason.startswith("%s differs: " % what) and "a1.json" in reason and "b1.json" in reason
    forced = compare(a, b, force=True)
    assert forced["forced"] and not forced["refused"] and forced["reasons"] == [reason]
    assert row(forced, "latency median")["verdict"] == "not distinguishable"
    assert "FORCED" in text.render_comparisons({"comparisons": [forced]})
    assert "REFUSED" in text.render_comparisons({"comparisons": [compared]})
    if path[0] == "energy":
        for label in ("gross energy", "net energy"):
            assert row(forced, label)["verdict"] == "not comparable"
            assert row(forced, label)["ratio"] is None and "scopes differ" in row(forced, label)["reason"]


def test_another_state_within_a_side_is_refused_too(abba):
    a, b = abba
    a[1]["state_before"]["power_mode"] = "5W"
    assert "a2.json" in compare(a, b)["reasons"][0]


def test_clocks_and_temperatures_may_differ(measurement):
    a, b = run_of(measurement, 1), run_of(measurement, 2, **SMALL)
    b["state_before"]["cpu_clocks_hz"] = {"cpu0": 5e8}
    b["state_before"]["temperatures_c"] = {"CPU-therm": 55.0}
    b["state_before"]["devfreq"]["gpu"]["cur_freq_hz"] = 1e8
    assert not compare(a, b)["refused"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"status": "partial"}, "partial"),
        ({"status": "failed"}, "failed"),
        ({"invalid": ["throttled during the run"]}, "throttled"),
    ],
)
def test_runs_in_doubt_are_refused(measurement, change, words):
    a, b = run_of(measurement, 1), dict(run_of(measurement, 2, **SMALL), **change)
    compared = compare(a, b)
    assert compared["refused"] and words in compared["reasons"][0] and "b1.json" in compared["reasons"][0]
    assert compare(a, b, force=True)["forced"]


def test_wrong_outputs_are_refused_and_unchecked_ones_a_caveat(measurement):
    a, b = run_of(measurement, 1), run_of(measurement, 2, **SMALL)
    b["check"]["passed"] = False
    assert "do not match" in compare(a, b)["reasons"][0]
    del b["check"]
    compared = compare(a, b)
    assert not compared["refused"]
    assert any("not checked" in caveat and "b1.json" in caveat for caveat in compared["caveats"])


def test_what_force_does_not_help_against(measurement):
    a, other = run_of(measurement, 1), run_of(measurement, 2, **SMALL)
    for runs, words in (([a, other], "different bundles"), ([a, a], "the same run")):
        compared = compare(runs, other, force=True)
        assert compared["refused"] and words in compared["reasons"][0]


def test_a_run_without_energy_lacks_rows_only(measurement):
    a, b = run_of(measurement, 1), run_of(measurement, 2, **SMALL)
    del b["energy"]
    b["unavailable"] = [{"what": "energy", "reason": "no sensor", "fix": "buy one"}]
    compared = compare(a, b)
    assert not compared["refused"]
    assert row(compared, "gross energy")["verdict"] == "not measured"
    assert "no sensor" in row(compared, "gross energy")["reason"]


def test_a_forced_comparison_of_nothing(measurement):
    a, b = run_of(measurement, 1), run_of(measurement, 2, **SMALL)
    b["status"] = "failed"
    for part in ("latency", "energy", "memory"):
        del b[part]
    compared = compare(a, b, force=True)
    assert {found["verdict"] for found in compared["rows"]} == {"not measured"}


def test_net_energy_around_zero_has_no_ratio(measurement):
    a, b = run_of(measurement, 1), run_of(measurement, 2, **SMALL)
    a["energy"]["net_energy_j"] = -1e-5
    found = row(compare(a, b), "net energy")
    assert found["ratio"] is None and found["difference"] == pytest.approx(8.01e-3)


def test_the_table_fits_a_terminal(abba):
    b = copy.deepcopy(abba[0])
    for run in b:
        run["bundle"].update(SMALL)
    b[0]["latency"]["samples_s"].reverse()
    b[1]["latency"]["samples_s"].reverse()
    for other in (abba[1], b):
        shown = text.render_comparisons({"comparisons": [compare(abba[0], other)]})
        assert max(len(line) for line in shown.splitlines()) <= 80
        assert "power mode MAXN" in shown


def test_hostile_measurements_are_refused_or_compared(measurement, hostile_variants, monkeypatch):
    monkeypatch.setattr("edge_bench.stats.bootstrap._NUM_REPLICATES", 5)
    counts = {"refused": 0, "compared": 0}
    good = side("a", measurement)
    for variant in itertools.islice(hostile_variants(measurement), 0, None, 11):
        try:
            other = side("b", variant)
        except MeasurementError:
            counts["refused"] += 1
            continue
        counts["compared"] += 1
        result = {"comparisons": [comparing.compare(good, other, force) for force in (False, True)]}
        assert all(char == "\n" or " " <= char <= "~" for char in text.render_comparisons(result))
        json.dumps(result, allow_nan=False)
    assert counts["refused"] > 80 and counts["compared"] > 80

import copy
import itertools
import json
import random
import xml.etree.ElementTree as xml

import pytest

from edge_bench import stats
from edge_bench.errors import EdgeBenchError, MeasurementError
from edge_bench.schema import parse_measurement
from edge_bench.verdict import junit, records, requirements, text


def with_samples(measurement, samples_s):
    measurement = copy.deepcopy(measurement)
    measurement["latency"]["samples_s"] = samples_s
    measurement["latency"]["summary"] = stats.summarise(samples_s)
    return measurement


@pytest.fixture
def measured(measurement):
    """A measurement of 2,000 latencies around 1 ms."""
    rng = random.Random(0)
    for key in ("response_samples_s", "num_skipped", "num_missed", "miss_ratio"):
        del measurement["latency"][key]
    measurement["energy"].update(gross_interval_j=[0.0114, 0.0126], net_interval_j=[0.0072, 0.0088])
    return with_samples(measurement, [1e-3 * rng.lognormvariate(0, 0.1) for _ in range(2000)])


def judge(measurement, **limits):
    record = records.prepare(parse_measurement(json.dumps(measurement).encode("ascii"), "m.json"), "m.json")
    return requirements.judge(record, "m.json", limits)


def one(measurement, **limits):
    (entry,) = judge(measurement, **limits)["requirements"]
    return entry


@pytest.mark.parametrize(
    "limits, verdict",
    [
        ({"median_ms": 1.1}, "PASS"),
        ({"median_ms": 0.9}, "FAIL"),
        ({"median_ms": 1.0}, "INCONCLUSIVE"),
        ({"p90_ms": 1.3}, "PASS"),
        ({"p95_ms": 1.3}, "PASS"),
        ({"p95_ms": 1.1}, "FAIL"),
        ({"p99_ms": 1.5}, "PASS"),
        ({"p99_ms": 1.1}, "FAIL"),
        ({"p99_ms": 1.262}, "INCONCLUSIVE"),  # exp(0.2326) is the true one
        ({"max_miss_ratio": 0.01, "deadline_ms": 2.0}, "PASS"),
        ({"max_miss_ratio": 0.01, "deadline_ms": 1.0}, "FAIL"),
        ({"max_miss_ratio": 0.001, "deadline_ms": 2.0}, "INCONCLUSIVE"),  # none of 2,000: up to 0.00184
        ({"max_energy_mj": 13.0}, "PASS"),
        ({"max_energy_mj": 12.1}, "INCONCLUSIVE"),
        ({"max_energy_mj": 11.0}, "FAIL"),
        ({"max_net_energy_mj": 9.0}, "PASS"),
        ({"max_net_energy_mj": 8.1}, "INCONCLUSIVE"),
        ({"max_power_w": 6.5}, "PASS"),
        ({"max_power_w": 5.5}, "FAIL"),
        ({"max_memory_mib": 60}, "PASS"),
        ({"max_memory_mib": 59.9}, "FAIL"),
        ({"max_temperature_c": 41.5}, "PASS"),
        ({"max_temperature_c": 41.0}, "FAIL"),
        ({"max_load_s": 0.2}, "PASS"),
        ({"max_load_s": 0.05}, "FAIL"),
        ({"max_first_inference_ms": 11}, "PASS"),
        ({"max_first_inference_ms": 9}, "FAIL"),
        ({"min_throughput": 900}, "PASS"),
        ({"min_throughput": 1100}, "FAIL"),
        ({"min_accuracy": 0.9}, "INCONCLUSIVE"),
    ],
    ids=str,
)
def test_verdicts(measured, limits, verdict):
    entry = one(measured, **limits)
    assert entry["verdict"] == verdict, entry


def test_the_limit_itself_is_kept(measured):
    """At most: an interval that ends on the limit passes, and one that begins there does not fail."""
    same = with_samples(measured, [0.25] * 700)
    assert one(same, median_ms=250.0)["verdict"] == "PASS"
    assert one(same, p99_ms=250.0)["verdict"] == "PASS"
    assert one(same, p99_ms=249.99)["verdict"] == "FAIL"
    assert one(same, min_throughput=4.0)["verdict"] == "PASS"


def test_throughput_counts_the_batch_that_ran(measured):
    measured["settings"]["batch"] = None
    measured["backend"]["batch"] = 8
    assert one(measured, min_throughput=7000)["verdict"] == "PASS"
    measured["backend"]["batch"] = 1
    assert one(measured, min_throughput=7000)["verdict"] == "FAIL"


@pytest.mark.parametrize("key, fewest", [("p90_ms", 64), ("p95_ms", 130), ("p99_ms", 662)])
def test_a_percentile_passes_only_with_enough_samples(measurement, key, fewest):
    few = one(with_samples(measurement, [1e-3] * (fewest - 1)), **{key: 100.0})
    assert (few["verdict"], few["value"], few["num_samples_needed"]) == ("INCONCLUSIVE", None, fewest)
    assert "too few samples" in few["reason"] and str(fewest) in few["reason"]
    assert one(with_samples(measurement, [1e-3] * fewest), **{key: 100.0})["verdict"] == "PASS"


def test_a_percentile_fails_with_few_samples_that_are_all_too_slow(measurement):
    entry = one(with_samples(measurement, [1.0] * 20), p99_ms=10.0)
    assert (entry["verdict"], entry["value"], entry["low"], entry["high"]) == ("FAIL", None, 1000.0, None)


def test_what_would_decide_does(measured):
    """As many samples as it says, of the same kind, decide most of the time."""
    entry = one(measured, p99_ms=1.28)
    assert entry["verdict"] == "INCONCLUSIVE"
    rng = random.Random(7)
    more = [1e-3 * rng.lognormvariate(0, 0.1) for _ in range(3 * entry["num_samples_needed"])]
    assert one(with_samples(measured, more), p99_ms=1.28)["verdict"] == "PASS"


def test_samples_that_resemble_each_other_count_less(measured):
    spells = [1e-3 if (number // 100) % 2 else 1.2e-3 for number in range(2000)]
    entry = one(with_samples(measured, spells), median_ms=1.19)
    assert entry["verdict"] == "INCONCLUSIVE"
    shuffled = list(spells[:1200:2] + [1e-3] * 1400)
    random.Random(0).shuffle(shuffled)
    assert one(with_samples(measured, shuffled), median_ms=1.19)["verdict"] == "PASS"


def test_the_runs_own_deadline(measured):
    # Five inferences were in time by themselves and began late.
    late = [2e-3 if number % 400 == 7 else seconds for number, seconds in enumerate(measured["latency"]["samples_s"])]
    measured["latency"].update(deadline_s=1.5e-3, response_samples_s=late, num_skipped=0)
    entry = one(measured, max_miss_ratio=0.01)
    assert entry["value"] == pytest.approx(5 / 2000.0) and entry["verdict"] == "PASS"
    # Clopper & Pearson of 5 in 2,000.
    assert (entry["low"], entry["high"]) == (pytest.approx(0.000812, abs=2e-6), pytest.approx(0.005824, abs=2e-6))
    # Another deadline is counted in the samples.
    assert one(measured, max_miss_ratio=0.01, deadline_ms=1.0)["verdict"] == "FAIL"


def test_releases_that_were_skipped_are_missed(measured):
    samples = measured["latency"]["samples_s"]
    measured["latency"].update(deadline_s=1.0, response_samples_s=samples, num_skipped=len(samples))
    assert one(measured, max_miss_ratio=0.4)["value"] == pytest.approx(0.5)


def test_a_count_of_misses_that_the_samples_contradict_is_not_believed(measured):
    for counted in (0, 10**6, None):
        measured["latency"].update(deadline_s=1e-3, num_missed=counted)
        assert one(measured, max_miss_ratio=0.01)["verdict"] == "FAIL"


def test_without_a_deadline_there_is_no_miss_ratio(measured):
    entry = one(measured, max_miss_ratio=0.5)
    assert entry["verdict"] == "INCONCLUSIVE" and "--deadline-ms" in entry["reason"]


def test_the_runs_interval_of_energy_is_used(measured):
    measured["energy"].update(gross_interval_j=[0.0119, 0.0121], net_interval_j=[0.0079, 0.0081])
    assert one(measured, max_energy_mj=12.2)["verdict"] == "PASS"
    assert one(measured, max_energy_mj=11.8)["verdict"] == "FAIL"
    assert one(measured, max_net_energy_mj=8.2)["verdict"] == "PASS"
    entry = one(measured, max_power_w=6.1)
    assert entry["verdict"] == "PASS" and entry["high"] == pytest.approx(6 * 12.1 / 12)
    measured["energy"].update(gross_interval_j=[0.013, 0.001])  # no interval of this value
    assert "assumed" in one(measured, max_energy_mj=12.2)["reason"]


@pytest.mark.parametrize("limit, verdict", [(1000.0, "INCONCLUSIVE"), (1.0, "FAIL")])
def test_an_energy_without_an_interval_passes_nothing(measured, limit, verdict):
    del measured["energy"]["gross_interval_j"]
    entry = one(measured, max_energy_mj=limit)
    assert entry["verdict"] == verdict and "assumed" in entry["reason"]


def test_a_sensor_that_is_stuck_at_zero_measured_nothing(measured):
    measured["energy"].update(gross_energy_j=0.0, gross_interval_j=[0.0, 0.0])
    entry = one(measured, max_energy_mj=60.0)
    assert entry["verdict"] == "INCONCLUSIVE" and "no board takes that" in entry["reason"]


@pytest.mark.parametrize(
    "part, limits, what",
    [
        ("energy", {"max_energy_mj": 1e9}, "energy"),
        ("energy", {"max_net_energy_mj": 1e9}, "energy"),
        ("energy", {"max_power_w": 1e9}, "energy"),
        ("memory", {"max_memory_mib": 1e9}, "memory"),
        ("load_s", {"max_load_s": 1e9}, "load"),
        ("first_inference_s", {"max_first_inference_ms": 1e9}, "first inference"),
    ],
)
def test_never_pass_on_what_was_not_measured(measured, part, limits, what):
    del measured[part]
    measured["unavailable"] = [{"what": what, "reason": "the moon", "fix": "wait for noon"}]
    entry = one(measured, **limits)
    assert entry["verdict"] == "INCONCLUSIVE" and entry["value"] is None
    assert entry["reason"] == "not measured: the moon; wait for noon"


def test_temperatures_before_the_run_alone_do_not_pass(measured):
    measured["state_after"]["temperatures_c"] = {}
    assert one(measured, max_temperature_c=90.0)["verdict"] == "INCONCLUSIVE"
    assert one(measured, max_temperature_c=40.0)["verdict"] == "FAIL"
    measured["state_before"]["temperatures_c"] = None
    assert "not measured" in one(measured, max_temperature_c=90.0)["reason"]


@pytest.mark.parametrize(
    "accuracy, limit, verdict",
    [
        ({"metric": "accuracy", "value": 0.95, "num_samples": 10000}, 0.94, "PASS"),
        ({"metric": "accuracy", "value": 0.95, "num_samples": 10000}, 0.96, "FAIL"),
        ({"metric": "accuracy", "value": 0.95, "num_samples": 100}, 0.94, "INCONCLUSIVE"),
        ({"metric": "accuracy", "value": 0.95}, 0.5, "INCONCLUSIVE"),
        ({"metric": "negative_loss", "value": 0.95, "num_samples": 10000}, 0.5, "INCONCLUSIVE"),
        ({"metric": "accuracy", "value": 95.0, "num_samples": 10000}, 0.5, "INCONCLUSIVE"),
        ("0.95", 0.5, "INCONCLUSIVE"),
    ],
)
def test_accuracy_is_that_of_the_bundle(measured, accuracy, limit, verdict):
    measured["bundle"]["accuracy"] = accuracy
    assert one(measured, min_accuracy=limit)["verdict"] == verdict


@pytest.mark.parametrize(
    "change, verdict, words",
    [
        ({"status": "partial"}, "INCONCLUSIVE", "the run is partial"),
        ({"status": "failed"}, "INCONCLUSIVE", "the run is failed"),
        ({"invalid": ["power mode changed"]}, "INCONCLUSIVE", "power mode changed"),
        ({"check": None}, "INCONCLUSIVE", "not checked"),
    ],
)
@pytest.mark.parametrize("limit", [0.001, 1e6])
def test_a_run_in_doubt_decides_nothing(measured, change, verdict, words, limit):
    for key, value in change.items():
        if value is None:
            del measured[key]
        else:
            measured[key] = value
    judged = judge(measured, p99_ms=limit, max_load_s=limit)
    assert [entry["verdict"] for entry in judged["requirements"]] == [verdict] * 2
    assert all(words in entry["reason"] for entry in judged["requirements"])


def test_wrong_outputs_fail_whatever_their_speed(measured):
    measured["check"]["passed"] = False
    judged = judge(measured, p99_ms=1e6, max_energy_mj=1e6)
    assert judged["verdict"] == "FAIL"
    assert {entry["verdict"] for entry in judged["requirements"]} == {"FAIL"}
    assert "do not match" in judged["requirements"][0]["reason"]


def test_a_check_of_no_case_is_none(measured):
    measured["check"]["num_cases"] = 0
    assert one(measured, p99_ms=1e6)["verdict"] == "INCONCLUSIVE"


def test_overall():
    assert requirements.overall(["PASS", "FAIL", "INCONCLUSIVE"]) == "FAIL"
    assert requirements.overall(["PASS", "INCONCLUSIVE"]) == "INCONCLUSIVE"
    assert requirements.overall(["PASS", "PASS"]) == "PASS"
    assert requirements.overall([]) == "INCONCLUSIVE"


def write(tmp_path, content):
    path = tmp_path / "r.json"
    path.write_bytes(content)
    return str(path)


def test_requirements_from_a_file(tmp_path):
    path = write(tmp_path, b'{"p99_ms": 10, "max_miss_ratio": 0.001, "deadline_ms": 12.5}')
    assert requirements.read_requirements(path) == {"p99_ms": 10, "max_miss_ratio": 0.001, "deadline_ms": 12.5}


@pytest.mark.parametrize(
    "content, words",
    [
        (b'{"p98_ms": 10}', "'p98_ms' is not known; known: median_ms"),
        (b'{"p99_ms": "10"}', "not a number"),
        (b'{"p99_ms": true}', "not a number"),
        (b'{"p99_ms": null}', "not a number"),
        (b'{"p99_ms": 0}', "not above 0"),
        (b'{"p99_ms": -1}', "not above 0"),
        (b'{"p99_ms": 1e300}', "not a number"),
        (b'{"p99_ms": NaN}', "finite"),
        (b'{"p99_ms": 1, "p99_ms": 2}', "twice"),
        (b'{"min_accuracy": 95}', "between 0 and 1"),
        (b"[]", "not a JSON object"),
        (b"", "cannot be read"),
        (b"{" * 100000, "cannot be read"),
        (b" " * (1 << 21), "larger than"),
    ],
)
def test_requirements_that_make_no_sense(tmp_path, content, words):
    with pytest.raises(EdgeBenchError, match=words):
        requirements.read_requirements(write(tmp_path, content))


ALL = {kind.key: 0.5 for kind in requirements.KINDS}


@pytest.mark.parametrize("every", [19, pytest.param(2, marks=pytest.mark.slow)])
def test_hostile_measurements_are_refused_or_judged(measurement, hostile_variants, every):
    """Whatever stands in a file: no crash, no PASS over damaged figures that matter, output of ASCII, valid XML."""
    counts = {"refused": 0, "judged": 0}
    for variant in itertools.islice(hostile_variants(measurement), 0, None, every):  # of the one all values in turns
        try:
            record = parse_measurement(json.dumps(variant).encode("ascii"), "origin")
            judged = requirements.judge(records.prepare(record, "origin"), "origin", dict(ALL, deadline_ms=1.0))
        except MeasurementError:
            counts["refused"] += 1
            continue
        counts["judged"] += 1
        result = {"verdict": judged["verdict"], "measurements": [judged]}
        shown = text.render_verdicts(result)
        assert all(char == "\n" or " " <= char <= "~" for char in shown)
        assert all(len(line) <= 100 for line in shown.splitlines())
        xml.fromstring(junit.junit_xml(result))
        json.dumps(result, allow_nan=False)
    assert counts["refused"] > 60 and counts["judged"] > 60


@pytest.mark.parametrize("samples", [[5e-324] * 20, [1e308] * 20, [1e-3] * 20 + [1e10]])
def test_latencies_that_no_clock_measures_are_refused(measurement, samples):
    measurement["latency"]["samples_s"] = samples
    with pytest.raises(MeasurementError, match="no clock"):
        judge(measurement, median_ms=1.0)


def test_the_table_fits_a_terminal(measured):
    measured["bundle"]["accuracy"] = {"metric": "accuracy", "value": 0.95, "num_samples": 10000}
    judged = judge(measured, deadline_ms=1.2, **ALL)
    shown = text.render_verdicts({"verdict": judged["verdict"], "measurements": [judged]})
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "power mode MAXN" in shown and "41.5 C" in shown
    assert len([line for line in shown.splitlines() if line.endswith(("PASS", "FAIL", "INCONCLUSIVE"))]) >= len(ALL)

import json
import sys

import pytest

from edge_bench import atomic, render, schema
from edge_bench.errors import MeasurementError


def refusal(measurement):
    """The text of the MeasurementError that parsing this value raises."""
    with pytest.raises(MeasurementError) as caught:
        schema.parse_measurement(json.dumps(measurement).encode("ascii"), "origin")
    assert str(caught.value).startswith("measurement origin: ")
    return str(caught.value)


def test_a_complete_measurement_is_read_as_written(tmp_path, measurement):
    path = str(tmp_path / "m.json")
    atomic.write_json(path, measurement)
    assert schema.read_measurement(path) == measurement
    assert schema.measurement_problem(measurement) == ""


@pytest.mark.parametrize(
    "part", ["latency", "energy", "check", "memory", "backend", "board", "state_after", "load_s", "num_warmup_runs"]
)
def test_a_partial_measurement_may_lack_what_was_not_reached(measurement, part):
    del measurement[part]
    measurement["status"] = "partial"
    schema.parse_measurement(json.dumps(measurement).encode("ascii"), "origin")


def test_a_complete_measurement_has_latencies(measurement):
    del measurement["latency"]
    assert "without 'latency'" in refusal(measurement)


@pytest.mark.parametrize("status", ["partial", "failed"])
def test_a_measurement_without_latencies_is_partial_or_failed(measurement, status):
    del measurement["latency"]
    measurement["status"] = status
    assert schema.measurement_problem(measurement) == ""


MUST_HOLD = [
    (("schema",), [..., None, 1, [], "edge-dendrite.bundle"]),
    (("version",), [..., None, 0, 2, True, 1.0, "1"]),
    (("status",), [..., None, "", "done", [], {}]),
    (("invalid",), [..., None, {}, "", [1], [None], [[]]]),
    (("started_at",), [..., None, 0]),
    (("bundle",), [..., None, [], {}]),
    (("bundle", "id"), [..., None, 1]),
    (("bundle", "name"), [..., None, []]),
    (("bundle", "role"), [..., None, 1]),
    (("bundle", "model"), [..., None, []]),
    (("bundle", "stats"), [..., None, "x"]),
    (("agent",), [..., None, []]),
    (("settings",), [..., None, 1]),
    (("state_before",), [..., None, []]),
    (("state_before", "governors"), [[], "performance", {"cpu0": 1}, {"cpu0": []}]),
    (("state_before", "temperatures_c"), [[], {"a": "hot"}, {"a": 1, "b": None}, {"a": 10**400}]),
    (("state_before", "load_average"), ["0.1", [], 10**400]),
    (("state_after", "temperatures_c"), [[], {"a": "hot"}]),
    (("warnings",), [..., None, {}, [None], ["x"], [{}], [{"code": "a", "message": "b"}]]),
    (("unavailable",), [..., None, {}, [1], [{"what": "a", "reason": "b", "fix": 1}]]),
    (("board",), [None, [], "x"]),
    (("backend",), [None, [], {}]),
    (("backend", "providers"), [..., None, "x", [1]]),
    (("backend", "num_threads"), ["1", True]),
    (("check",), [None, [], {}]),
    (("check", "passed"), [..., None, 1, "yes"]),
    (("check", "max_abs_error"), ["0", [], 10**400]),
    (("check", "atol"), [..., None, "0"]),
    (("check", "num_cases"), [..., None, 1.5, "1"]),
    (("latency",), [None, [], {}]),
    (("latency", "samples_s"), [..., None, [], {}, [0], [-1.0], [None], ["1"], [True], [[1]], [10**400], [1.0, 0.0]]),
    (("latency", "summary"), [..., None, [], {}]),
    (("latency", "summary", "median_s"), [..., None, "1", True, 10**400]),
    (("latency", "summary", "mad_s"), [..., None, []]),
    (("latency", "summary", "p99_s"), ["x", [], False]),
    (("latency", "summary", "num_samples"), [..., None, "3", 2.5]),
    (("latency", "other_load"), ["x", [], 10**400]),
    (("memory",), [None, [], 1]),
    (("memory", "process_peak_rss_bytes"), ["x", [], 10**400]),
    (("energy",), [None, [], {}]),
    (("energy", "rails"), [..., None, "x", [1]]),
    (("energy", "source"), [..., None, 1]),
    (("energy", "scope"), [..., None, 1]),
    (("energy", "gross_energy_j"), [..., None, "x"]),
    (("energy", "net_energy_j"), [..., None, "x"]),
    (("energy", "idle_power_w"), [..., None, "x"]),
    (("energy", "load_power_w"), [..., None, "x"]),
]


@pytest.mark.parametrize("path, values", MUST_HOLD, ids=[".".join(path) for path, _ in MUST_HOLD])
def test_what_a_measurement_must_hold(measurement, replaced, path, values):
    for value in values:
        assert refusal(replaced(measurement, path, value))


def test_hostile_values_are_refused_or_can_be_shown_and_stored(measurement, hostile_variants):
    """`show` and the report read every field: what the schema lets in must not make them fail."""
    outcomes = {"refused": 0, "accepted": 0}
    for variant in hostile_variants(measurement):
        try:
            accepted = schema.parse_measurement(json.dumps(variant).encode("ascii"), "origin")
        except MeasurementError:
            outcomes["refused"] += 1
        else:
            text = render.render_measurement(accepted)
            assert all(char == "\n" or " " <= char <= "~" for char in text)
            atomic.canonical_json(accepted)
            outcomes["accepted"] += 1
    assert outcomes["refused"] > 500 and outcomes["accepted"] > 500


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("place", ['"load_s": 0.1', '"mean_power_w": 2.0', '"load_average": 0.25', '"version": 1'])
def test_numbers_that_json_does_not_have_are_refused(measurement, text, place):
    document = json.dumps(measurement)
    assert place in document
    damaged = document.replace(place, "%s: %s" % (place.split(":")[0], text))
    with pytest.raises(MeasurementError, match="not JSON"):
        schema.parse_measurement(damaged.encode("ascii"), "origin")


def test_deep_nesting_is_refused(measurement):
    document = json.dumps(measurement)
    for depth in (100, sys.getrecursionlimit() // 2, sys.getrecursionlimit(), 100000):
        nested = "[" * depth + "]" * depth
        for place in ('"version": 1', '"load_s": 0.1', '"code": "other-load"'):
            assert place in document
            damaged = document.replace(place, "%s: %s" % (place.split(":")[0], nested))
            with pytest.raises(MeasurementError):
                schema.parse_measurement(damaged.encode("ascii"), "origin")


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"{", b"null", b"[]", b"1", b'"x"', b"{}", b"\xff\xfe", b"\xef\xbb\xbf{}"]
)
def test_bytes_that_are_no_measurement(tmp_path, data):
    path = tmp_path / "m.json"
    path.write_bytes(data)
    with pytest.raises(MeasurementError, match="m.json"):
        schema.read_measurement(str(path))


def test_every_truncation_is_refused(measurement):
    data = atomic.canonical_json(measurement)
    for length in range(0, len(data) - 1, 7):
        with pytest.raises(MeasurementError):
            schema.parse_measurement(data[:length], "origin")


def test_paths_that_are_no_measurement(tmp_path):
    for path in (str(tmp_path), str(tmp_path / "absent"), "/dev/null"):
        with pytest.raises(MeasurementError):
            schema.read_measurement(path)


def test_a_file_too_large_is_not_read(tmp_path, measurement, monkeypatch):
    path = tmp_path / "m.json"
    path.write_bytes(json.dumps(measurement).encode("ascii"))
    monkeypatch.setattr(schema, "MAX_BYTES", path.stat().st_size)
    schema.read_measurement(str(path))
    monkeypatch.setattr(schema, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(MeasurementError, match="larger than"):
        schema.read_measurement(str(path))


def test_too_many_samples_are_refused(measurement, monkeypatch):
    monkeypatch.setattr(schema, "MAX_SAMPLES", 3)
    assert schema.measurement_problem(measurement) == ""
    monkeypatch.setattr(schema, "MAX_SAMPLES", 2)
    assert "too long" in schema.measurement_problem(measurement)


def test_the_most_samples_fit_into_the_largest_file():
    """Else a long run could write what no reader takes."""
    longest = len(atomic.canonical_json({"latency": {"samples_s": [0.0001234567890123456] * 1000}})) / 1000.0
    assert schema.MAX_SAMPLES * longest < schema.MAX_BYTES


@pytest.mark.parametrize("value", [5e-324, 1e-6, 1, 3600.0, 1.7976931348623157e308])
def test_durations(measurement, value):
    measurement["latency"]["samples_s"] = [value]
    assert schema.measurement_problem(measurement) == ""


def test_the_summary_of_a_bundle_keeps_what_a_report_needs():
    manifest = {
        "name": "n",
        "role": "r",
        "model": {"path": "m"},
        "stats": {"a": 1},
        "accuracy": {"top1": 0.9},
        "target": {},
        "tools": {"t": "1"},
        "labels": ["x", "y"],
        "files": {"m": {}},
        "reference": {},
    }
    summary = schema.bundle_summary("id", manifest)
    assert summary["id"] == "id" and summary["num_labels"] == 2
    assert sorted(summary) == ["accuracy", "id", "model", "name", "num_labels", "role", "stats", "target", "tools"]
    del manifest["accuracy"]
    assert "accuracy" not in schema.bundle_summary("id", manifest)


def test_entries_have_their_texts():
    assert schema.unavailable("a", "b", "c") == {"what": "a", "reason": "b", "fix": "c"}
    assert schema.warning("a", "b", "c") == {"code": "a", "message": "b", "fix": "c"}

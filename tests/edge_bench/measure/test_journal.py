"""The samples of a killed run: written beside the measurement, put together again by every reader."""

import os
import resource
import struct

import pytest

from edge_bench import atomic, schema
from edge_bench.measure.journal import Journal, journal_path

RUN_ID = "0123456789abcdef" * 2


@pytest.fixture
def partial(measurement, tmp_path):
    """The path of a measurement whose latency phase never ended."""
    record = dict(measurement, status="partial", run_id=RUN_ID)
    for part in ("latency", "energy", "state_after"):
        del record[part]
    path = str(tmp_path / "m.json")
    atomic.write_json(path, record)
    return path


def left_by(path, *slices):
    journal = Journal(journal_path(path), RUN_ID)
    samples = []
    for more in slices:
        samples.extend(more)
        journal.add(samples)
    return samples


def test_a_reader_puts_measurement_and_journal_together(partial):
    samples = left_by(partial, [1e-3, 2e-3], [], [3e-3])
    record = schema.read_measurement(partial)
    assert record["latency"]["samples_s"] == samples == [1e-3, 2e-3, 3e-3]
    assert record["latency"]["summary"]["median_s"] == 2e-3
    assert record["status"] == "partial"
    assert schema.measurement_problem(record) == ""


def test_the_format_is_32_characters_and_float64(partial):
    left_by(partial, [0.5, 0.25])
    with open(journal_path(partial), "rb") as stream:
        assert stream.read() == RUN_ID.encode() + struct.pack("<2d", 0.5, 0.25)


@pytest.mark.parametrize("num_bytes", range(32, 50))
def test_a_sample_that_was_cut_off_is_left_out(partial, num_bytes):
    left_by(partial, [1e-3, 2e-3])
    os.truncate(journal_path(partial), num_bytes)
    found = schema.read_measurement(partial).get("latency", {}).get("samples_s", [])
    assert found == [1e-3, 2e-3][: (num_bytes - 32) // 8]


@pytest.mark.parametrize(
    "content", [b"", b"f" * 32, RUN_ID.upper().encode() + struct.pack("<d", 1.0), RUN_ID.encode() + b"\xff" * 16]
)
def test_what_is_not_this_runs_journal_is_left_alone(partial, content):
    with open(journal_path(partial), "wb") as stream:
        stream.write(content)
    assert "latency" not in schema.read_measurement(partial)


def test_a_complete_measurement_needs_none(measurement, tmp_path):
    path = str(tmp_path / "m.json")
    atomic.write_json(path, dict(measurement, run_id=RUN_ID))
    left_by(path, [9.0])
    assert schema.read_measurement(path)["latency"] == measurement["latency"]


def test_it_goes_when_the_measurement_is_whole(partial):
    journal = Journal(journal_path(partial), RUN_ID)
    journal.add([1.0])
    assert os.path.exists(journal_path(partial))
    journal.remove()
    journal.remove()
    assert os.listdir(os.path.dirname(partial)) == ["m.json"]


def test_a_full_disk_ends_the_journal_and_not_the_run(partial):
    journal = Journal(journal_path(partial), RUN_ID)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 + 8 * 10 + 3, limits[1]))
    try:
        journal.add([1e-3] * 8)
        journal.add([1e-3] * 20)
        journal.add([1e-3] * 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert schema.read_measurement(partial)["latency"]["samples_s"] == [1e-3] * 10


def test_a_measurement_into_a_device_or_a_missing_folder_has_none(tmp_path):
    assert journal_path("/dev/null") is None
    for path in (None, str(tmp_path / "missing" / "m.json.samples")):
        Journal(path, RUN_ID).add([1.0])
    assert os.listdir(str(tmp_path)) == []

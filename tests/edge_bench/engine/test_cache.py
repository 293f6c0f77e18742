"""Where engines are kept: whole entries, found again, rebuilt when damaged, safe when two build at once."""

import fcntl
import json
import os
import subprocess
import sys
import time

import pytest

from edge_bench import atomic
from edge_bench.engine import build, cache, sidecar
from edge_bench.engine.folder import cache_folder
from edge_bench.errors import BackendError

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")
INPUTS = [{"name": "input", "dtype": "float32", "shape": [1, 4]}]
OUTPUTS = [{"name": "output", "dtype": "float32", "shape": [1, 4]}]
SETTINGS = build.EngineSettings(precision="int8")
CODE = """
import sys
sys.path.insert(0, sys.argv[1])
from edge_bench.engine import build, cache
builder, reason = build.find_builder()
tensors = [{"name": "input", "dtype": "float32", "shape": [1, 4]}], [dict(name="output", dtype="float32", shape=[1, 4])]
onnx = open(sys.argv[2], "rb").read()
settings = build.EngineSettings(precision="int8")
for _ in range(2):
    log = cache.new_log(sys.argv[3], "0" * 64)
    cache.build_into(sys.argv[3], builder, onnx, tensors[0], tensors[1], settings, log, None, print)
"""


@pytest.fixture
def place(with_driver, with_tensorrt, tmp_path):
    with_tensorrt("8.6")
    return str(tmp_path / "cache")


def read(path):
    with open(path, "rb") as stream:
        return stream.read()


def build_here(folder, **settings):
    builder, _ = build.find_builder()
    onnx = read(os.path.join(DATA, "qdq.onnx"))
    values = SETTINGS._replace(**settings)
    log = cache.new_log(folder, "0" * 64)
    return cache.build_into(folder, builder, onnx, INPUTS, OUTPUTS, values, log, None, lambda line: None)


def test_a_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == str(tmp_path / ".cache" / "edge-bench" / "engines")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == str(tmp_path / ".cache" / "edge-bench" / "engines")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == "/somewhere/edge-bench/engines"


def test_an_entry_is_found_again_under_its_key(place):
    folder, described = build_here(place)
    key = os.path.basename(folder)
    assert cache.key_of(described) == key
    assert cache.check_entry(folder, key) == (described, "")
    assert cache.find_engines(place, described["onnx_sha256"]) == [(folder, described)]
    assert cache.find_engines(place, "0" * 64) == []
    assert cache.check_entry(os.path.join(place, "f" * 64), "f" * 64) == (None, "")
    assert sorted(os.listdir(place)) == [key, "logs"]
    other, _ = build_here(place, workspace_bytes=1 << 20)
    assert other != folder and len(cache.find_engines(place, described["onnx_sha256"])) == 2


def test_a_damaged_entry_is_not_an_entry_and_is_replaced(place):
    folder, described = build_here(place)
    key = os.path.basename(folder)
    engine, beside = os.path.join(folder, sidecar.ENGINE), os.path.join(folder, sidecar.SIDECAR)
    content, text = read(engine), read(beside)
    other = atomic.canonical_json(dict(described, settings=dict(described["settings"], allow_tf32=True)))
    for path, bad in ((engine, content + b"x"), (engine, b""), (beside, b"{"), (beside, other), (engine, None)):
        atomic.write_bytes(engine, content)
        atomic.write_bytes(beside, text)
        assert cache.check_entry(folder, key) == (described, "")
        os.unlink(path) if bad is None else atomic.write_bytes(path, bad)
        found, reason = cache.check_entry(folder, key)
        assert found is None and reason
    again, _ = build_here(place)
    assert again == folder and cache.check_entry(folder, key)[0] is not None
    assert sorted(os.listdir(place)) == [key, "logs"]


def test_settings_of_a_sidecar_that_are_none_have_no_key(place):
    _, described = build_here(place)
    for value in (None, 3, "text", [1, 2], {"unknown": 1}):
        assert cache.key_of(dict(described, settings=value)) == ""


def test_builds_at_once_leave_one_whole_entry(place):
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(cache.__file__))))
    command = [sys.executable, "-c", CODE, package, os.path.join(DATA, "qdq.onnx"), place]
    children = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [child.wait(timeout=120) for child in children] == [0, 0, 0]
    (key,) = [name for name in os.listdir(place) if name != "logs"]
    assert cache.check_entry(os.path.join(place, key), key)[0] is not None
    assert len(os.listdir(os.path.join(place, "logs"))) in (3, 4, 5, 6)  # two of one process may share a second


def test_a_build_that_fails_leaves_what_was_there_and_its_log(place, with_tensorrt):
    folder, described = build_here(place)
    with_tensorrt("8.6", "no-plan")
    with pytest.raises(BackendError, match="could not build") as caught:
        build_here(place)
    log = str(caught.value).rpartition("its log: ")[2]
    assert os.path.dirname(log) == os.path.join(place, "logs") and b"told to fail" in read(log)
    assert cache.check_entry(folder, os.path.basename(folder))[0] == described
    assert sorted(os.listdir(place)) == [os.path.basename(folder), "logs"]


def test_what_killed_builds_left_goes_at_the_next_one(place):
    """A build that goes on has its folder locked; the lock of a killed one is gone with it."""
    left, locked, young, old = (
        os.path.join(place, name) for name in (".building-a", ".building-b", ".new-c", ".old-d")
    )
    for path in (left, locked, young, old):
        os.makedirs(os.path.join(path, "inside"))
    os.utime(old, (time.time() - 3 * 86400,) * 2)
    descriptor = os.open(locked, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        build_here(place)
        assert [os.path.exists(path) for path in (left, locked, young, old)] == [False, True, True, False]
    finally:
        os.close(descriptor)
    build_here(place)
    assert not os.path.exists(locked)


def test_a_link_in_the_cache_leads_the_clearing_up_nowhere(place, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.makedirs(place)
    os.symlink(str(elsewhere), os.path.join(place, ".building-link"))
    build_here(place)
    assert elsewhere.is_dir()


def test_only_the_last_logs_are_kept(place):
    os.makedirs(os.path.join(place, "logs"))
    for number in range(30):
        path = os.path.join(place, "logs", "%016d-20260101-0000%02d-1.log" % (30 - number, number))
        atomic.write_bytes(path, b"")
    log = cache.new_log(place, "0" * 64)
    left = sorted(os.listdir(os.path.join(place, "logs")), key=lambda name: name[17:])
    assert len(left) == 19 and left[-1].endswith("-20260101-000029-1.log")
    assert os.path.dirname(log) == os.path.join(place, "logs")


def test_a_place_that_cannot_be_written_is_said(place):
    with pytest.raises(BackendError, match="the cache /proc/self/none cannot be written"):
        cache.new_log("/proc/self/none", "0" * 64)


def test_hostile_files_in_the_cache_are_passed_over(place, tmp_path):
    folder, described = build_here(place)
    for number, content in enumerate([b"", b"[]", b"{}", json.dumps({"schema": 1}).encode(), b"\xff" * 100]):
        entry = os.path.join(place, "%064x" % number)
        os.makedirs(entry)
        atomic.write_bytes(os.path.join(entry, sidecar.SIDECAR), content)
    os.makedirs(os.path.join(place, "%064x" % 99, sidecar.SIDECAR))
    assert cache.find_engines(place, described["onnx_sha256"]) == [(folder, described)]

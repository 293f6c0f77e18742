"""A runtime that is missing, fails or crashes is a row of the diagnosis; it never ends it."""

import json
import types

import pytest

from edge_bench.board import doctor
from edge_bench.board import state as board
from edge_bench.power import meter as power


def probe(tmp_path, monkeypatch, text):
    (tmp_path / "strange_runtime.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return doctor.probe_runtime("strange_runtime", "purpose", "install it")


def test_a_module_that_works(tmp_path, monkeypatch):
    row = probe(tmp_path, monkeypatch, "__version__ = '1.2'\ndef get_available_providers(): return ['A', 'B']")
    assert row == {
        "name": "strange_runtime",
        "purpose": "purpose",
        "install": "install it",
        "works": True,
        "version": "1.2",
        "providers": ["A", "B"],
    }


def test_a_module_that_talks_while_it_is_imported(tmp_path, monkeypatch):
    assert probe(tmp_path, monkeypatch, "print('hello', end='')")["works"] is True


def test_a_module_that_is_not_there():
    row = doctor.probe_runtime("no_such_module_anywhere", "purpose", "install it")
    assert row["works"] is False
    assert "no_such_module_anywhere" in row["reason"] and "\n" not in row["reason"]


def test_a_file_in_the_current_folder_is_not_taken_for_the_runtime(tmp_path, monkeypatch):
    (tmp_path / "strange_runtime.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert doctor.probe_runtime("strange_runtime", "purpose", "install it")["works"] is False


@pytest.mark.parametrize(
    "text, reason",
    [
        ("raise RuntimeError('compiled against another version')", "compiled against another version"),
        ("import os; os.abort()", "signal 6"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "signal 4"),
        ("import os; os._exit(7)", "7"),
        ("import os; os._exit(0)", "without"),
        ("import atexit; atexit.register(print, 'goodbye')", "without"),
        ("import sys; sys.exit(3)", "3"),
        ("raise ValueError('x' * 10000)", "ValueError"),
    ],
)
def test_a_module_that_fails_is_a_row_with_a_reason(tmp_path, monkeypatch, text, reason):
    row = probe(tmp_path, monkeypatch, text)
    assert row["works"] is False
    assert reason in row["reason"] and len(row["reason"]) <= 300


def test_a_module_that_hangs_is_a_row(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_PROBE_TIMEOUT_S", 1)
    row = probe(tmp_path, monkeypatch, "import time; time.sleep(600)")
    assert row["works"] is False and "more than" in row["reason"]


def test_no_child_process_is_a_row(monkeypatch):
    monkeypatch.setattr(doctor.sys, "executable", "/nowhere/python")
    row = doctor.probe_runtime("json", "purpose", "install it")
    assert row["works"] is False and "no child process" in row["reason"]


@pytest.fixture
def pretend(monkeypatch):
    """A diagnosis of a board whose parts a test names."""
    state = dict(board.read_state("/nowhere"))

    def make(works=(), governors=None, meter=None):
        state["governors"] = governors or {}
        monkeypatch.setattr(doctor, "read_state", lambda: state)
        monkeypatch.setattr(power, "find_meter", lambda: (meter, []))
        monkeypatch.setattr(
            doctor,
            "probe_runtime",
            lambda name, purpose, install: {"name": name, "works": name in works, "reason": "none", "install": install},
        )
        return doctor.diagnose()

    return make


def problems(diagnosis):
    return [problem["what"] for problem in diagnosis["problems"]]


def test_without_any_runtime_inference_is_a_problem_with_a_fix(pretend):
    diagnosis = pretend(works=("numpy",))
    assert problems(diagnosis)[0] == "inference"
    assert "pip install onnxruntime" in diagnosis["problems"][0]["fix"]


@pytest.mark.parametrize("works", [("onnxruntime",), ("tensorrt",), ("onnxruntime", "tensorrt")])
def test_one_runtime_is_enough(pretend, works):
    assert "inference" not in problems(pretend(works=works))


@pytest.mark.parametrize(
    "governors, is_problem",
    [
        ({"cpu0": "performance"}, False),
        ({"cpu0": "schedutil"}, False),
        ({"cpu0": "performance", "cpu1": "powersave"}, True),
        ({"cpu0": "ondemand"}, True),
    ],
)
def test_moving_clocks_are_a_problem(pretend, governors, is_problem):
    diagnosis = pretend(works=("onnxruntime",), governors=governors)
    assert ("clocks" in problems(diagnosis)) == is_problem


def test_a_diagnosis_can_be_printed_as_json(pretend):
    meter = types.SimpleNamespace(source="ina3221", rails=("GPU", "CPU"), scope="sum of rails")
    diagnosis = json.loads(json.dumps(pretend(meter=meter)))
    assert diagnosis["energy"] == {"source": "ina3221", "rails": ["GPU", "CPU"], "scope": "sum of rails"}
    assert diagnosis["schema"] == "edge-dendrite.doctor"

"""What a terminal shows of a report: every column, with the board's state, within 80 columns or in one wide table."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

import pytest

from edge_dendrite.terminal import print_kept

PROGRAM = """
import json, sys
from edge_dendrite.report.rows import build_report
from edge_dendrite.terminal import print_report
print_report(build_report(json.load(open(sys.argv[1])), title="A report"))
"""
WORDS = ("accuracy", "parameters", "non-zero", "MACs", "ONNX", "median", "p90", "p99", "throughput", "peak memory")
WORDS += ("gross energy", "net energy")


def test_of_many_layers_that_stay_whole_the_first_are_shown_and_the_rest_counted(capsys):
    print_kept({})
    print_kept({f"layer{number}": "it has hooks" for number in range(25)})
    shown = capsys.readouterr()
    assert shown.out.count("it has hooks") == 20 and "layer19" in shown.out and "layer20" not in shown.out
    assert "5 more layers" in shown.err


def on_a_terminal(arguments, num_columns):
    """What a program writes to a terminal of so many columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(num_columns), "TERM": "dumb"}
    read = []

    def drain():
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:
                return
            if not data:
                return
            read.append(data)

    thread = threading.Thread(target=drain)
    process = subprocess.Popen(arguments, stdout=follower, stderr=follower, env=environment)
    os.close(follower)
    thread.start()
    assert process.wait(timeout=60) == 0, b"".join(read)
    thread.join(timeout=10)
    os.close(leader)
    return b"".join(read).decode("utf-8").replace("\r", "").splitlines()


@pytest.fixture
def file(tmp_path, small_study):
    path = tmp_path / "study.json"
    path.write_text(small_study, "utf-8")
    return path


@pytest.fixture
def small_study():
    """Two networks, one with an energy; a name that would steer a terminal."""
    import json

    def run(name, role, median_s, minute):
        samples = [median_s * (1 + 0.01 * (index % 7)) for index in range(700)]
        return {
            "schema": "edge-dendrite.measurement",
            "version": 1,
            "status": "complete",
            "invalid": [],
            "started_at": f"2026-08-21T10:{minute:02d}:00Z",
            "bundle": {
                "id": name,
                "name": name,
                "role": role,
                "model": {},
                "stats": {"num_parameters": 41_076, "num_nonzero": 20_000, "num_macs": 469_740, "onnx_bytes": 165_000},
                "accuracy": {"metric": "accuracy", "split": "test", "value": 0.9892, "num_samples": 10_000},
            },
            "agent": {},
            "board": {"model": "Testboard 1", "cpu": "Test CPU"},
            "settings": {},
            "state_before": {},
            "latency": {"samples_s": samples},
            "memory": {"process_peak_rss_bytes": 61_000_000},
            "warnings": [],
            "unavailable": [],
        }

    one, two = run("dense", "baseline", 28e-6, 0), run("small\x1b[31m", "control:dendrites-zeroed\x1b[31m", 14e-6, 1)
    one["energy"] = {"gross_energy_j": 4.2e-3, "net_energy_j": 9e-4}
    return json.dumps([one, two])


def test_eighty_columns_hold_every_figure(file):
    lines = on_a_terminal([sys.executable, "-c", PROGRAM, str(file)], 80)
    tables = [line for line in lines if line.startswith(("┃", "│"))]
    assert max(map(len, tables)) <= 80
    shown = "\n".join(lines)
    assert all(word in shown for word in WORDS)
    assert all(figure in shown for figure in ("98.92 %", "41,076", "20.0 k", "470 k", "4.20 mJ", "900 uJ", "61.0 MB"))
    assert "measured on Testboard 1, Test CPU" in shown
    assert "no energy: the measurements hold no energy" in shown
    assert "\x1b[31m" not in shown
    # A row of a table is one line: nothing was folded.
    assert sum("dendrites-zeroed" in line for line in lines) == 3


def test_a_file_gets_one_wide_table(file):
    result = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True)
    (head,) = [line for line in result.stdout.splitlines() if "network" in line]
    assert all(word in head for word in WORDS)
    assert "measured on Testboard 1" in result.stderr

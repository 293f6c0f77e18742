"""`edge-dendrite deploy --boards` as a user calls it: flags, Ctrl-C, table, report and exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from edge_bench.schema import read_measurement
from edge_dendrite.cli import app
from edge_dendrite.ship.fleet_file import read_fleet
from loopback_boards import left_of_runs, running_under
from waiting import listen_to_ctrl_c, wait_until

needs_sshd = pytest.mark.needs("sshd")


def command(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "edge_dendrite", "deploy", *map(str, words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_ctrl_c,
    )


@needs_sshd
@pytest.mark.parametrize("number", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_ctrl_c_leaves_nothing_running_there_and_brings_all_back(boards, bundle13, tmp_path, number):
    names = [f"board{at}" for at in range(number)]
    folders = [boards.add(name) for name in names]
    out = tmp_path / "m"
    words = (bundle13.path, "--boards", boards.toml, "--out", out, "--duration", "600", "--max-other-load", "1000")
    process = command(*words)
    wait_until(lambda: process.poll() is not None or all(list(folder.rglob("*.samples")) for folder in folders))
    process.send_signal(signal.SIGINT)
    table, seen = process.communicate(timeout=120)
    assert process.returncode == 130, seen
    assert "Traceback" not in seen
    assert f"ending {number} runs" in seen
    for name in names:
        record = read_measurement(str(out / name / "digits-1.json"))
        assert record["status"] == "partial"
        assert record["latency"]["samples_s"]
        assert f"{name}: interrupted" in seen
        assert name in table
    assert [one.state for one in read_fleet(out / "fleet.json")] == ["interrupted"] * number
    assert running_under(tmp_path) == []
    assert [left_of_runs(folder / "work") for folder in folders] == [[]] * number


@needs_sshd
def test_the_command_from_boards_to_table_report_and_exit_code(boards, bundle13, tmp_path):
    boards.add("good")
    boards.add_down("down")
    words = [bundle13.path, "--boards", boards.toml, "--out", tmp_path / "m", "--runs", "700"]
    words += ["--max-other-load", "1000", "--report", tmp_path / "r.html", "--report", tmp_path / "r.json"]
    process = command(*words)
    table, seen = process.communicate(timeout=120)
    assert process.returncode == 1, seen
    lines = table.splitlines()
    good = next(line for line in lines if "good" in line)
    assert "measured" in good
    assert " us" in good or " ms" in good
    assert any("down" in line and "failed" in line and "does not answer" in line for line in lines)
    assert "good: measured" in seen
    assert "good</h2>" in (tmp_path / "r.html").read_text()
    report = json.loads((tmp_path / "r.json").read_text())
    assert [board["name"] for board in report["boards"]] == ["good"]
    again = CliRunner().invoke(app, ["deploy", *map(str, words), "--only", "good", "--json", "--threads", "1"])
    assert again.exit_code == 0, again.stderr
    (only,) = json.loads(again.stdout)
    assert (only["name"], only["state"], only["measurements"][0]["measurement"]["status"]) == (
        "good",
        "kept",
        "complete",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["local", "--boards", "boards.toml"], "give one of them"),
        ([], "where to"),
        (["nano"], "target 'nano' is not known; give local, ssh://user@host:port or user@host"),
        (["ssh://me:secret@nano"], "no password on a command line"),
        (["--boards", "boards.toml", "--dry-run"], "goes with TARGET; leave it out"),
        (["local", "--jobs", "2"], "--jobs goes with --boards"),
        (["local", "--only", "a"], "--only goes with --boards"),
        (["local", "--dry-run", "--clean"], "--clean does nothing with --dry-run; leave it out"),
        (["local", "--dry-run", "--strict"], "--strict does nothing with --dry-run"),
        (["local", "--python", "python3"], "--python goes with a board behind ssh"),
        (["local", "--remote-dir", "x"], "--remote-dir goes with a board behind ssh"),
        (["local", "--ssh-config", "x"], "--ssh-config goes with a board behind ssh"),
        (["local", "--clean"], "--clean goes with a board behind ssh"),
        (["--boards", "boards.toml", "--only", "b"], "no board of this name; known: a"),
        (["--boards", "boards.toml", "--report", "r.pdf"], "r.pdf: a report ends in"),
        (["--boards", "missing.toml"], "missing.toml: No such file"),
    ],
)
def test_usage(bundle13, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boards.toml").write_text("[boards.a]\ntarget = 'local'\n")
    result = CliRunner().invoke(app, ["deploy", str(bundle13.path), *words])
    assert (result.exit_code, message in " ".join(result.stderr.split())) == (2, True), result.stderr
    assert not (tmp_path / "measurements").exists()


@needs_sshd
@pytest.mark.slow
def test_a_second_ctrl_c_leaves_a_board_that_does_not_end(boards, bundle13, tmp_path):
    stubborn = tmp_path / "stubborn-python"
    stubborn.write_text(
        f"#!/bin/sh\ncase \"$*\" in *edge-bench*' run '*)\n  trap '' TERM INT HUP\n  : > '{tmp_path}/began'\n"
        f"  while [ -e '{tmp_path}/began' ]; do sleep 1; done ;;\nesac\nexec '{sys.executable}' \"$@\"\n"
    )
    stubborn.chmod(0o755)
    boards.add("stubborn", python=stubborn)
    process = command(bundle13.path, "--boards", boards.toml, "--out", tmp_path / "m")
    wait_until(lambda: process.poll() is not None or (tmp_path / "began").exists())
    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    # Without the second one it would be asked to end for longer than that.
    table, seen = process.communicate(timeout=60)
    assert process.returncode == 130, seen
    assert "Traceback" not in seen
    assert "interrupted" in table
    assert read_fleet(tmp_path / "m" / "fleet.json")[0].state == "interrupted"

"""Eight boards at once, each a real sshd; and what a fleet does when some of them do not do what they should."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_bench.schema import read_measurement
from edge_dendrite.cli import app
from edge_dendrite.errors import ConfigError, DeployError, ModelError
from edge_dendrite.lock import locked
from edge_dendrite.ship import fleet
from edge_dendrite.ship.boards_file import BoardSettings, FleetBoard, read_boards
from edge_dendrite.ship.fleet import deploy_fleet
from edge_dendrite.ship.fleet_file import read_fleet
from edge_dendrite.ship.options import RunOptions
from loopback_boards import LoopbackBoards, running_under

# A busy machine must not turn these runs invalid: nothing here is about times.
QUICK = RunOptions(num_runs=50, max_other_load=1000)
HERE = FleetBoard("here", "local", BoardSettings())
needs_sshd = pytest.mark.needs("sshd")


@pytest.fixture
def boards(tmp_path):
    with LoopbackBoards(tmp_path) as made:
        yield made


def left_of_runs(folder):
    """What deploys that have ended left in a board's folder, besides what they keep for the next time."""
    return [path.name for kind in ("runs", "parts") for path in os.scandir(folder / kind)]


def states(result):
    return {board.name: board.state for board in result.boards}


@needs_sshd
def test_eight_boards_of_which_five_cannot(boards, bundle13, tmp_path):
    good = [boards.add(name) for name in ("one", "two", "three")]
    boards.add_down("down")
    boards.add("refusing", accepts_key=False)
    boards.add("changed", known_key=False)
    boards.add("pythonless", python="nopython")
    stuck = tmp_path / "stuck"
    stuck.write_text("#!/bin/sh\nexec sleep 120\n")
    stuck.chmod(0o755)
    boards.add("hanging", forced=str(stuck))
    seen, lines = [], []
    result = deploy_fleet(
        [bundle13.path],
        read_boards(boards.toml).choose(),
        tmp_path / "m",
        options=QUICK,
        log=lambda name, line: lines.append((name, line)),
        progress=lambda one: seen.append((one.name, one.state)),
    )
    reasons = {board.name: board.reason for board in result.boards}
    assert states(result) == {
        **dict.fromkeys(("one", "two", "three"), "measured"),
        **dict.fromkeys(("down", "refusing", "changed", "pythonless", "hanging"), "failed"),
    }
    assert "refused" in reasons["down"]
    assert "Permission denied" in reasons["refusing"]
    assert "host key is not" in reasons["changed"]
    assert "no Python 3.6 or newer as 'nopython'" in reasons["pythonless"]
    assert "no login within" in reasons["hanging"]
    for name, folder in zip(("one", "two", "three"), good, strict=True):
        record = read_measurement(str(tmp_path / "m" / name / "digits-1.json"))
        assert (record["status"], record["bundle"]["id"]) == ("complete", bundle13.id)
        assert left_of_runs(folder / "work") == []
        assert any(board == name and "measuring" in line for board, line in lines)
    assert read_fleet(tmp_path / "m" / "fleet.json") == tuple(
        type(board)(board.name, board.target, board.state, board.reason, board.files, round(board.duration_s, 3))
        for board in result.boards
    )
    for board in result.boards:
        assert [state for name, state in seen if name == board.name] == ["running", board.state]


@needs_sshd
def test_two_boards_with_one_folder_do_not_meet(boards, bundle13, tmp_path):
    shared = str(tmp_path / "home of both")
    for name in ("left", "right"):
        boards.add(name, remote_dir=shared)
    result = deploy_fleet([bundle13.path], read_boards(boards.toml).choose(), tmp_path / "m", options=QUICK)
    assert states(result) == {"left": "measured", "right": "measured"}, result
    runs = [read_measurement(str(tmp_path / "m" / name / "digits-1.json"))["run_id"] for name in ("left", "right")]
    assert runs[0] != runs[1]
    assert left_of_runs(Path(shared)) == []


def test_what_is_done_is_kept_and_other_boards_stay_in_the_file(bundle13, tmp_path):
    shutil.copytree(bundle13.path, tmp_path / "other")
    there = FleetBoard("there", "local", BoardSettings(threads=2), (tmp_path / "other",))
    first = deploy_fleet([bundle13.path], [HERE, there], tmp_path / "m", options=QUICK, jobs=1)
    assert states(first) == {"here": "measured", "there": "measured"}
    assert first.boards[1].files == (tmp_path / "m" / "there" / "other-1.json",)
    assert read_measurement(str(first.boards[1].files[0]))["settings"]["num_threads"] == 2
    second = deploy_fleet([bundle13.path], [HERE], tmp_path / "m", options=QUICK)
    assert states(second) == {"here": "kept"}
    assert second.boards[0].files == first.boards[0].files
    assert [(one.name, one.state) for one in read_fleet(second.path)] == [("here", "kept"), ("there", "measured")]
    third = deploy_fleet([bundle13.path], [HERE], tmp_path / "m", options=QUICK, num_rounds=2)
    assert states(third) == {"here": "measured"}, "one of two rounds is new"


def test_an_invalid_run_says_why(bundle13, tmp_path):
    # Nothing on a machine leaves so little to others.
    options = RunOptions(duration_s=0.5, max_other_load=1e-12)
    board = deploy_fleet([bundle13.path], [HERE], tmp_path / "m", options=options).boards[0]
    if not read_measurement(str(board.files[0]))["invalid"]:
        pytest.skip("no other program ran at all")
    assert (board.state, bool(board.reason)) == ("invalid", True)


def test_a_damaged_bundle_fails_on_its_board_alone(bundle13, tmp_path):
    shutil.copytree(bundle13.path, tmp_path / "broken")
    (tmp_path / "broken" / "model.onnx").write_bytes(b"x")
    broken = FleetBoard("broken", "local", BoardSettings(), (tmp_path / "broken",))
    result = deploy_fleet([bundle13.path], [broken, HERE], tmp_path / "m", options=QUICK)
    assert states(result) == {"broken": "failed", "here": "measured"}
    assert "model.onnx" in result.boards[0].reason


class Work:
    """Stands for the processes of boards, so that a test decides when a board is done and how."""

    def __init__(self, monkeypatch, action):
        self.lock, self.running, self.most = threading.Lock(), 0, 0
        self.action = action
        monkeypatch.setattr(fleet, "BoardProcess", lambda request: One(self, request["board_name"]))


class One:
    def __init__(self, work, name):
        self.work, self.name, self.interrupted = work, name, threading.Event()

    def measure(self, log):
        with self.work.lock:
            self.work.running += 1
            self.work.most = max(self.work.most, self.work.running)
        try:
            return self.work.action(self.name, self.interrupted)
        finally:
            with self.work.lock:
                self.work.running -= 1

    def interrupt(self):
        self.interrupted.set()

    kill = interrupt


def many(number):
    return [FleetBoard(f"b{at}", "local", BoardSettings()) for at in range(number)]


def test_no_more_than_jobs_at_once_and_all_get_their_turn(monkeypatch, tmp_path):
    for jobs, number in ((3, 12), (None, 16)):
        # Nobody goes on before so many are there at the same time.
        meeting = threading.Barrier(jobs or 8, timeout=60)
        work = Work(monkeypatch, lambda name, interrupt, meeting=meeting: meeting.wait() and [] or [])
        result = deploy_fleet([], many(number), tmp_path / str(number), jobs=jobs)
        assert work.most == (jobs or 8)
        assert [board.state for board in result.boards] == ["kept"] * number


def test_an_error_of_this_program_stops_no_board_and_is_not_hidden(monkeypatch, tmp_path):
    def action(name, interrupt):
        if name == "b1":
            raise TypeError("a mistake of ours")
        return []

    Work(monkeypatch, action)
    with pytest.raises(TypeError, match="a mistake of ours"):
        deploy_fleet([], many(4), tmp_path, jobs=1)
    found = {one.name: one for one in read_fleet(tmp_path / "fleet.json")}
    assert [one.state for one in found.values()] == ["kept", "failed", "kept", "kept"]
    assert "an error of edge-dendrite itself: a mistake of ours" in found["b1"].reason


def test_a_folder_that_cannot_be_written_is_a_reason_and_the_others_go_on(bundle13, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "b0").write_text("a file where a folder has to be")
    result = deploy_fleet([bundle13.path], [*many(1), HERE], tmp_path / "m", options=QUICK)
    assert [board.state for board in result.boards] == ["failed", "measured"]
    assert "b0" in result.boards[0].reason
    assert (tmp_path / "m" / "b0").read_text() == "a file where a folder has to be"


def test_an_error_while_progress_is_shown_ends_no_board(monkeypatch, tmp_path):
    def broken_pipe(result):
        raise BrokenPipeError(32, "Broken pipe")

    done = []
    Work(monkeypatch, lambda name, interrupt: done.append(name) or [])
    with pytest.raises(BrokenPipeError):
        deploy_fleet([], many(3), tmp_path, progress=broken_pipe)
    assert sorted(done) == ["b0", "b1", "b2"]


def test_a_log_that_cannot_be_written_ends_no_board(bundle13, tmp_path):
    def gone(name, line):
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        deploy_fleet([bundle13.path], [HERE], tmp_path / "m", options=QUICK, log=gone)
    assert [one.state for one in read_fleet(tmp_path / "m" / "fleet.json")] == ["measured"]


def interrupt_us():
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_reaches_every_thread_and_the_rest_is_not_started(monkeypatch, tmp_path):
    meeting = threading.Barrier(2, action=interrupt_us, timeout=60)

    def action(name, interrupt):
        meeting.wait()
        assert interrupt.wait(60)
        raise KeyboardInterrupt

    Work(monkeypatch, action)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        deploy_fleet([], many(5), tmp_path, jobs=2)
    found = [one.state for one in read_fleet(tmp_path / "fleet.json")]
    assert found == ["interrupted"] * 2 + ["not started"] * 3
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_waits_for_nobody(monkeypatch, tmp_path):
    end = threading.Event()

    def action(name, interrupt):
        interrupt_us()
        interrupt.wait(60)
        interrupt_us()
        return end.wait(120) and []

    Work(monkeypatch, action)
    monkeypatch.setattr(fleet, "_LEAVING_S", 0.5)
    with pytest.raises(KeyboardInterrupt):
        deploy_fleet([], many(1), tmp_path)
    end.set()
    (found,) = read_fleet(tmp_path / "fleet.json")
    assert found.state == "interrupted"
    assert "it may still go on there" in found.reason


def test_a_folder_that_is_not_ours_is_left_alone(bundle13, tmp_path):
    (tmp_path / "fleet.json").write_text('{"schema": "of another program"}')
    with pytest.raises(DeployError, match="is no fleet.json of this program.*move it away"):
        deploy_fleet([bundle13.path], [HERE], tmp_path, options=QUICK)
    assert (tmp_path / "fleet.json").read_text() == '{"schema": "of another program"}'
    with locked(tmp_path / "m"), pytest.raises(ModelError, match="another edge-dendrite works there"):
        deploy_fleet([bundle13.path], [HERE], tmp_path / "m", options=QUICK)
    with pytest.raises(DeployError, match="bundle .*missing: no such file"):
        deploy_fleet([tmp_path / "missing"], [HERE], tmp_path / "n")
    with pytest.raises(ConfigError, match="at least one board"):
        deploy_fleet([bundle13.path], [], tmp_path / "m")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 9999,
        '{"schema": "edge-dendrite.fleet", "version": 2, "boards": []}',
        '{"schema": "edge-dendrite.fleet", "version": 1, "boards": [{"name": "a"}]}',
        '{"schema": "edge-dendrite.fleet", "version": 1, "boards": [{"name": 1, "target": "", "state": "kept", '
        '"reason": "", "files": [], "duration_s": 0}]}',
    ],
)
def test_a_strange_fleet_file_is_refused(tmp_path, content):
    (tmp_path / "fleet.json").write_text(content)
    with pytest.raises(DeployError, match="is no fleet.json of this program"):
        read_fleet(tmp_path / "fleet.json")


def command(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "edge_dendrite", "deploy", *map(str, words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A background job of a shell, as CI may be, passes on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that within two minutes")


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

"""The turns of a fleet and its end, with stand-ins for the processes of boards: a test says when each is done."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from edge_dendrite.ship import fleet
from edge_dendrite.ship.boards_file import BoardSettings, FleetBoard
from edge_dendrite.ship.fleet import deploy_fleet
from edge_dendrite.ship.fleet_file import read_fleet


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


def test_an_error_while_progress_is_shown_ends_no_board(monkeypatch, tmp_path):
    def broken_pipe(result):
        raise BrokenPipeError(32, "Broken pipe")

    done = []
    Work(monkeypatch, lambda name, interrupt: done.append(name) or [])
    with pytest.raises(BrokenPipeError):
        deploy_fleet([], many(3), tmp_path, progress=broken_pipe)
    assert sorted(done) == ["b0", "b1", "b2"]


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

"""Eight boards at once, each a real sshd; and what a fleet does when some of them do not do what they should."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_bench.schema import read_measurement
from edge_dendrite.errors import ConfigError, DeployError, ModelError
from edge_dendrite.lock import locked
from edge_dendrite.ship.boards_file import BoardSettings, FleetBoard, read_boards
from edge_dendrite.ship.fleet import deploy_fleet
from edge_dendrite.ship.fleet_file import read_fleet
from edge_dendrite.ship.options import RunOptions
from loopback_boards import left_of_runs

# A busy machine must not turn these runs invalid: nothing here is about times.
QUICK = RunOptions(num_runs=50, max_other_load=1000)
HERE = FleetBoard("here", "local", BoardSettings())
needs_sshd = pytest.mark.needs("sshd")


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


def test_a_folder_that_cannot_be_written_is_a_reason_and_the_others_go_on(bundle13, tmp_path):
    blocked = FleetBoard("blocked", "local", BoardSettings())
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "blocked").write_text("a file where a folder has to be")
    result = deploy_fleet([bundle13.path], [blocked, HERE], tmp_path / "m", options=QUICK)
    assert [board.state for board in result.boards] == ["failed", "measured"]
    assert "blocked" in result.boards[0].reason
    assert (tmp_path / "m" / "blocked").read_text() == "a file where a folder has to be"


def test_a_log_that_cannot_be_written_ends_no_board(bundle13, tmp_path):
    def gone(name, line):
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        deploy_fleet([bundle13.path], [HERE], tmp_path / "m", options=QUICK, log=gone)
    assert [one.state for one in read_fleet(tmp_path / "m" / "fleet.json")] == ["measured"]


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

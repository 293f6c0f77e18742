"""From a network to a report through a board: compressed, exported, brought over ssh, run there, measured, reported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from virtual_boards import LIMIT_S, MOST_ENERGY_ERROR, edge_dendrite, relative_error

pytestmark = [pytest.mark.board, pytest.mark.needs("ARM emulator")]

QUICK = ("--runs", "60", "--max-other-load", "1000")


@pytest.fixture(scope="module")
def deployed(boards, bundles, tmp_path_factory):
    """(folder of measurements, what was said) after both bundles were measured in turns."""
    board, out = boards["jetson-orin-nano"], tmp_path_factory.mktemp("measurements")
    ended = edge_dendrite(
        "deploy", bundles / "dense", board.target, "--beside", bundles / "small", "--ssh-config", board.ssh_config,
        "--out", out, *QUICK,
    )  # fmt: skip
    return out, ended


def read_measurements(out: Path) -> dict[str, dict]:
    return {path.stem.partition("-")[0]: json.loads(path.read_text()) for path in out.glob("*/*.json")}


def test_outputs_on_the_board_are_those_of_the_workstation(deployed):
    for record in read_measurements(deployed[0]).values():
        assert record["status"] == "complete"
        assert record["invalid"] == []
        assert record["board"]["machine"] == "aarch64"
        assert record["backend"]["version"] == "1.20.1"
        assert record["check"]["passed"]
        assert record["check"]["max_abs_error"] < 1e-4
        assert len(record["latency"]["samples_s"]) == 60


def test_a_measurement_says_that_it_is_emulated(deployed):
    for record in read_measurements(deployed[0]).values():
        assert record["board"]["emulated"] == "qemu-user"
        assert [entry["code"] for entry in record["warnings"]].count("emulated") == 1
    assert "not a board's speed" in deployed[1].stdout


def test_energy_is_that_of_the_replayed_rail(deployed, boards):
    for record in read_measurements(deployed[0]).values():
        energy = record["energy"]
        assert (energy["source"], energy["rails"], energy["scope"]) == ("ina3221", ["VDD_IN"], "module input")
        assert abs(relative_error(energy, boards["jetson-orin-nano"].power_log)) < MOST_ENERGY_ERROR


def test_the_report_is_made_and_labelled(deployed, tmp_path):
    outputs = [word for suffix in ("html", "md", "json") for word in ("--out", tmp_path / f"report.{suffix}")]
    edge_dendrite("report", *sorted(deployed[0].glob("*/*.json")), *outputs)
    assert "Jetson Orin Nano" in (tmp_path / "report.md").read_text()
    for suffix in ("html", "md"):
        assert re.search(r"emulated by qemu(\\?-)user", (tmp_path / f"report.{suffix}").read_text())
    assert json.loads((tmp_path / "report.json").read_text())["condition"]["emulated"] == "qemu-user"


def files_there(board) -> str:
    names = "-name '*.onnx' -o -name '*.tar' -o -name '*.pyz' -o -name 'manifest.json'"
    return board.ssh(f"find /home/bench -type f \\( {names} \\) -printf '%i %s %p\\n' | sort").stdout


def test_a_bundle_that_is_there_is_not_sent_again(deployed, boards, bundles, tmp_path):
    board = boards["jetson-orin-nano"]
    before = files_there(board)
    edge_dendrite(
        "deploy", bundles / "small", board.target, "--ssh-config", board.ssh_config, "--out", tmp_path / "m", *QUICK
    )
    assert before
    assert files_there(board) == before


def test_the_plain_way_by_scp_and_ssh_alone(boards, bundles, agent, tmp_path):
    board = boards["jetson-orin-nano"]
    board.scp(bundles / "small.tar", agent, f"{board.name}:")
    words = f"python3 {agent.name} run small.tar --power tegrastats --runs 60 --max-other-load 1000"
    assert "energy" in board.ssh(words).stdout
    board.scp(f"{board.name}:measurement.json", tmp_path)
    record = json.loads((tmp_path / "measurement.json").read_text())
    assert (record["status"], record["invalid"], record["energy"]["source"]) == ("complete", [], "tegrastats")
    assert abs(relative_error(record["energy"], board.power_log)) < MOST_ENERGY_ERROR


def session_processes(board) -> list[str]:
    """sshd's processes of the user's connections, on the board."""
    program = (
        'for place in /proc/[0-9]*; do [ "$(stat -c %u $place)" = 1000 ] && '
        "grep -qa sshd $place/cmdline && echo ${place#/proc/}; done; true"
    )
    return board.ssh(program, user="root").stdout.split()


def test_a_connection_that_is_cut_and_the_same_command_again(boards, bundles, tmp_path):
    board = boards["jetson-orin-nano"]
    words = ["deploy", bundles / "small", board.target, "--ssh-config", board.ssh_config, "--out", tmp_path / "m"]
    words += [*QUICK[2:], "--duration", "60"]
    with (tmp_path / "errors").open("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_dendrite", *map(str, words)], stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            wait_for_the_run(board)
            number = session_processes(board)
            assert number
            board.ssh(f"kill {' '.join(number)}", user="root")
            assert process.wait(timeout=LIMIT_S) == 1
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        said = errors.read()
    assert "Traceback" not in said
    assert board.name in said.splitlines()[-1]
    words[-1] = "2"
    edge_dendrite(*words)
    record = read_measurements(tmp_path / "m")["small"]
    assert (record["status"], record["invalid"]) == ("complete", [])
    places = [f"/home/bench/.cache/edge-dendrite/{name}/" for name in ("parts", "runs")]
    assert board.ssh(f"ls -A {' '.join(places)}").stdout.split() == [f"{place}:" for place in places]


def wait_for_the_run(board) -> None:
    for _ in range(200):
        if "edge-bench" in board.ssh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '; true").stdout:
            return
        time.sleep(0.2)
    raise AssertionError("no run began on the board")

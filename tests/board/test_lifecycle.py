"""Boards come up side by side and go without a trace, also after being killed at any moment."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from pathlib import Path

import pytest

from scripts.virtual_board.board import default_cache
from virtual_boards import PROGRAM, virtual_board
from waiting import listen_to_ctrl_c, wait_until

pytestmark = [pytest.mark.board, pytest.mark.needs("ARM emulator")]


@pytest.fixture
def name(boards):
    """A name of this test; whatever is left under it is ended. The cache is there already by `boards`."""
    name = f"t-{secrets.token_hex(4)}"
    yield name
    virtual_board("down", name)


def interface_of(name: str) -> str:
    """The host's end of a board's wire, as far as an `up` came; others may have boards too."""
    place = default_cache() / "boards" / name / "plan.json"
    return json.loads(place.read_text()).get("interface", "") if place.exists() else ""


def is_there(interface: str) -> bool:
    return interface in os.listdir("/sys/class/net")


def processes_of(name: str) -> list[str]:
    """Command lines that name a board's folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if f"/boards/{name}" in words:
            found.append(words.replace("\0", " "))
    return found


def traces(name: str) -> list[str]:
    """Everything of a board that this machine would still show."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if f"/boards/{name}/" in line]
    folder = default_cache() / "boards" / name
    return processes_of(name) + mounts + ([str(folder)] if folder.exists() else [])


def bring_up(name: str, profile: str = "raspberry-pi-5") -> dict:
    ended = virtual_board("up", profile, "--name", name, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def supervisor_of(name: str) -> int:
    return json.loads((default_cache() / "boards" / name / "process.json").read_text())["pid"]


def test_down_leaves_nothing(name):
    found = bring_up(name)
    interface = interface_of(name)
    assert is_there(interface)
    assert virtual_board("ssh", name, "uname", "-m").stdout == "aarch64\n"
    assert virtual_board("down", name).returncode == 0
    assert not is_there(interface)
    assert traces(name) == []
    again = virtual_board("ssh", name, "true")
    assert (again.returncode, "no board" in again.stderr) == (1, True)
    assert found["address"] not in subprocess.run(["ip", "address"], capture_output=True, text=True, check=True).stdout


def test_two_boards_of_a_kind_know_nothing_of_each_other(name):
    first, second = bring_up(name), bring_up(f"{name}-b")
    try:
        assert first["address"] != second["address"]
        assert virtual_board("ssh", name, "echo 1 > here; hostname").stdout == f"{name}\n"
        assert virtual_board("ssh", f"{name}-b", "hostname; ls").stdout == f"{name}-b\n"
        names = {row["name"]: row["state"] for row in json.loads(virtual_board("list", "--json").stdout)}
        assert (names[name], names[f"{name}-b"]) == ("up", "up")
    finally:
        virtual_board("down", f"{name}-b")
    assert virtual_board("ssh", name, "cat here").stdout == "1\n", "ending one leaves the other"


def test_up_of_a_board_that_is_up_finds_it_and_refuses_another_kind(name):
    assert bring_up(name) == bring_up(name)
    other = virtual_board("up", "jetson-nano", "--name", name)
    assert other.returncode == 1
    assert "runs already, as raspberry-pi-5" in other.stderr


def test_a_board_neither_sees_nor_writes_the_host(name):
    bring_up(name)
    folder = default_cache() / "boards" / name
    listed = virtual_board("ssh", name, f"ls -d {folder} /run/host; touch /sys/x /opt/replay/x; touch {name}; ls /root")
    assert listed.stdout == ""
    assert not (folder / "sys" / "x").exists()
    assert not (folder / "replay" / "x").exists()
    assert list(folder.glob(f"layer/**/{name}")) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("noted", ["plan.json", "process.json"])
def test_a_killed_up_can_be_cleaned_or_repeated(name, noted, number):
    command = [PROGRAM, "up", "raspberry-pi-5", "--name", name]
    process = subprocess.Popen(command, start_new_session=True, preexec_fn=listen_to_ctrl_c)
    wait_until((default_cache() / "boards" / name / noted).exists)
    os.killpg(process.pid, number)
    process.wait(timeout=60)
    if number == signal.SIGINT and process.returncode != 0:
        assert process.returncode == 130
        assert traces(name) == []
    wires = {interface_of(name)}
    bring_up(name)
    wires.add(interface_of(name))
    assert virtual_board("ssh", name, "true").returncode == 0
    assert virtual_board("down", name).returncode == 0
    assert traces(name) == []
    assert not [one for one in wires if is_there(one)]


def test_a_killed_supervisor_takes_its_board_with_it(name):
    bring_up(name)
    interface = interface_of(name)
    os.kill(supervisor_of(name), signal.SIGKILL)
    wait_until(lambda: processes_of(name) == [])
    rows = {row["name"]: row["state"] for row in json.loads(virtual_board("list", "--json").stdout)}
    assert rows[name] == "dead"
    assert virtual_board("down", name).returncode == 0
    assert traces(name) == []
    assert not is_there(interface)


def test_a_number_that_is_another_process_by_now_is_not_killed(name):
    bring_up(name)
    noted = default_cache() / "boards" / name / "process.json"
    real = json.loads(noted.read_text())
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        noted.write_text(json.dumps({**real, "pid": stranger.pid}))
        assert virtual_board("ssh", name, "true").returncode == 1
        virtual_board("down", name)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        os.kill(real["pid"], signal.SIGTERM)
    wait_until(lambda: processes_of(name) == [])


def test_the_machines_own_settings_are_read_only_even_for_the_boards_root(name):
    found = bring_up(name)
    command = [
        "ssh",
        "-F",
        found["ssh_config"],
        f"root@{name}",
        "f=/proc/sys/vm/swappiness; echo $(cat $f) > $f; id -u",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stdout == "0\n"
    assert "Read-only file system" in ended.stderr


def test_a_terminal(name):
    found = bring_up(name)
    command = ["ssh", "-tt", "-F", found["ssh_config"], name, "tty"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert ended.stdout.strip().startswith("/dev/pts/")

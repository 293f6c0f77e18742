"""Boards with a root that is read-only and hardly any room, for real: an sshd in a mount namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_dendrite.errors import DeployError
from edge_dendrite.ship.deploy import deploy
from edge_dendrite.ship.options import RunOptions
from loopback_board import Board
from parts import MOUNT_NAMESPACES, ROOT

pytestmark = [pytest.mark.needs("sshd"), pytest.mark.needs(MOUNT_NAMESPACES)]
QUICK = RunOptions(num_runs=50, max_other_load=1000)

# What the tests themselves use below /tmp is bound into the small one.
OTHER_WORLD = """#!/bin/sh -e
shm_size=$1 home=$2; shift 2
mount --make-rprivate /
mount --rbind /tmp /mnt
mount -t tmpfs -o size=1m,mode=1777 tmpfs /tmp
while [ "$1" != -- ]; do
    case "$1" in /tmp/*) mkdir -p "$1"; mount --rbind "/mnt${1#/tmp}" "$1" ;; esac
    shift
done
shift
umount -l /mnt
mount -t tmpfs -o "size=$shm_size,mode=1777,noexec,nosuid,nodev" tmpfs /dev/shm
for place in / "$home" /var/tmp; do
    [ "$place" = / ] || mount --bind "$place" "$place"
    mount -o remount,bind,ro "$place"
done
exec "$@"
"""


@pytest.fixture
def cramped(tmp_path):
    """A function that gives a board: /, the home and /var/tmp read-only, /tmp of 1 MB, /dev/shm noexec and so large."""
    program = tmp_path / "other-world"
    program.write_text(OTHER_WORLD)
    program.chmod(0o755)

    def make(shm_size: str) -> Board:
        used = (tmp_path, ROOT, Path(sys.prefix).absolute(), Path(sys.prefix).resolve(), Path(sys.base_prefix))
        return Board(tmp_path, inside=["unshare", "--mount", program, shm_size, Path.home(), *used, "--"])

    return make


def on(board: Board, command: str) -> str:
    ssh = ["ssh", "-F", str(board.ssh_config), "-p", str(board.port), "127.0.0.1", command]
    return subprocess.run(ssh, capture_output=True, text=True, check=True).stdout


def test_the_only_place_that_can_be_written_and_has_room_is_taken(cramped, bundle13, tmp_path):
    there = f"/dev/shm/edge-dendrite-{os.getuid()}"
    with cramped("64m") as board:
        ssh = board.options(remote_dir="")
        record = deploy(bundle13.path, board.target, tmp_path / "m.json", options=QUICK, ssh=ssh)
        assert on(board, "touch /var/tmp/x 2>/dev/null || echo read-only") == "read-only\n"
        assert on(board, f"ls '{there}/bundles'").split() == [bundle13.id]
        assert "edge-dendrite" not in on(board, "ls /tmp")
        # ONNX Runtime itself writes into the user's cache, which has to be elsewhere here.
        assert on(board, f"ls '{there}/cache'") != ""
        deploy(bundle13.path, board.target, tmp_path / "m.json", options=QUICK, ssh=ssh, clean=True)
        assert on(board, "find /dev/shm -mindepth 1") == ""
    assert (record["status"], record["bundle"]["id"]) == ("complete", bundle13.id)


def test_no_place_with_room_names_each_and_why(cramped, bundle13, tmp_path):
    with cramped("1m") as board, pytest.raises(DeployError, match="no folder to write to") as caught:
        deploy(bundle13.path, board.target, tmp_path / "m.json", ssh=board.options(remote_dir=""))
    message = str(caught.value)
    for place in (f"{Path.home()}/.cache/edge-dendrite", f"/var/tmp/edge-dendrite-{os.getuid()}"):
        assert f"{place}: Read-only file system" in message
    for place in ("/tmp", "/dev/shm"):
        assert f"{place}/edge-dendrite-{os.getuid()}: " in message
    assert message.count("are to be copied") == 2
    assert "give one with --remote-dir" in message

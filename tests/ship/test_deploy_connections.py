"""The user's own ssh_config on the way to a board: one login for all that a deploy does, jump hosts."""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
import time
from pathlib import Path

import pytest

from edge_dendrite.ship.deploy import deploy, deploy_rounds
from edge_dendrite.ship.options import RunOptions, SshOptions
from edge_dendrite.ship.remote import SshConnection
from edge_dendrite.ship.target import parse_target
from loopback_board import Board

pytestmark = pytest.mark.needs("sshd")
QUICK = RunOptions(num_runs=50, max_other_load=1000)


def test_a_deploy_logs_in_once(board, bundle13, tmp_path):
    before = board.num_logins()
    deploy_rounds([bundle13.path], board.target, tmp_path / "m", num_rounds=2, options=QUICK, ssh=board.options())
    assert board.num_logins() == before + 1


@pytest.fixture
def short_tmp(monkeypatch):
    """A folder for temporary files of its own; the path of a socket must not be long."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ed-test-") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


def test_empty_folders_that_killed_hosts_left_go_with_the_next_connection(board, short_tmp):
    long_ago = time.time() - 2 * 86400
    for name, at_s in (("ed-ssh-old", long_ago), ("ed-ssh-used", long_ago), ("ed-ssh-new", None), ("other", long_ago)):
        (short_tmp / name).mkdir()
        if name == "ed-ssh-used":
            (short_tmp / name / "c").touch()
        if at_s is not None:
            os.utime(short_tmp / name, (at_s, at_s))
    with SshConnection(parse_target(board.target), sys.executable, board.ssh_config):
        assert len(list(short_tmp.iterdir())) == 4, "its own instead of the old one"
    assert sorted(path.name for path in short_tmp.iterdir()) == ["ed-ssh-new", "ed-ssh-used", "other"]


def test_a_board_behind_a_jump_host(bundle13, tmp_path):
    for name in ("jump", "inner"):
        (tmp_path / name).mkdir()
    with Board(tmp_path / "jump") as jump, Board(tmp_path / "inner") as inner:
        config = tmp_path / "ssh_config"
        config.write_text(
            "".join(
                f'Host {name}\n  HostName 127.0.0.1\n  Port {board.port}\n  IdentityFile "{board.folder}/user_key"\n'
                f'  UserKnownHostsFile "{board.folder}/known_hosts"\n{more}'
                for name, board, more in (("jump", jump, ""), ("inner", inner, "  ProxyJump jump\n"))
            )
            + f"Host *\n  User {getpass.getuser()}\n  IdentitiesOnly yes\n  StrictHostKeyChecking yes\n"
        )
        ssh = SshOptions(config, sys.executable, str(inner.folder / "work"))
        record = deploy(bundle13.path, f"{getpass.getuser()}@inner", tmp_path / "m.json", options=QUICK, ssh=ssh)
        assert (jump.num_logins(), inner.num_logins()) == (1, 1)
    assert (record["status"], record["bundle"]["id"]) == ("complete", bundle13.id)

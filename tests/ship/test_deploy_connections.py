"""The user's own ssh_config on the way to a board: one login for all that a deploy does, jump hosts."""

from __future__ import annotations

import getpass
import sys

import pytest

from edge_dendrite.ship.deploy import deploy, deploy_rounds
from edge_dendrite.ship.options import RunOptions, SshOptions
from loopback_board import Board

pytestmark = pytest.mark.needs("sshd")
QUICK = RunOptions(num_runs=50, max_other_load=1000)


def test_a_deploy_logs_in_once(board, bundle13, tmp_path):
    before = board.num_logins()
    deploy_rounds([bundle13.path], board.target, tmp_path / "m", num_rounds=2, options=QUICK, ssh=board.options())
    assert board.num_logins() == before + 1


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

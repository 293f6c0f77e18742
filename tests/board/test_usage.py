"""What users see who ask for something that cannot be; no board is started."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from scripts.virtual_board.board import default_cache
from virtual_boards import PROGRAM, virtual_board


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["up", "jetson-orin"], 2, "invalid choice: 'jetson-orin'"),
        (["up", "jetson-nano", "--nmae", "x"], 2, "unrecognized arguments"),
        ([], 2, "usage"),
        (["up", "jetson-nano", "--name", "../x"], 1, "'../x' cannot be a board's name"),
        (["up", "jetson-nano", "--name", "-x"], 2, "expected one argument"),
        (["ssh", "nobody", "true"], 1, "no board nobody is up; start it with"),
        (["ssh", "../..", "true"], 1, "cannot be a board's name"),
        (["ssh-config", "nobody"], 1, "no board nobody is up"),
        (["scp", "-q", "file", "elsewhere"], 1, "name one board"),
        (["scp", "a:x", "b:y"], 1, "name one board"),
        (["down"], 1, "name the boards to end, or --all"),
        (["down", "nobody"], 1, "there is no board nobody"),
    ],
)
def test_what_cannot_be_is_said(tmp_path, words, code, message):
    ended = virtual_board("--cache", str(tmp_path), *words)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_nothing_is_there_at_first(tmp_path):
    assert json.loads(virtual_board("--cache", str(tmp_path / "c"), "list", "--json").stdout) == []
    assert virtual_board("--cache", str(tmp_path / "c"), "down", "--all").returncode == 0
    assert not (tmp_path / "c").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user, which takes root")
def test_a_plain_user_is_told_why_in_one_line_and_with_code_3(tmp_path):
    tmp_path.chmod(0o777)
    command = ["python3", "-m", "scripts.virtual_board", "--cache", str(tmp_path), "up", "jetson-nano"]
    root = os.path.dirname(os.path.dirname(PROGRAM))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{root}:{root}/deploy", "HOME": str(tmp_path)}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, user=65534, group=65534, env=environment, cwd="/"
    )
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr == ("virtual-board: cannot run here: not root: namespaces and mounts need it; run with sudo\n")


@pytest.mark.board
@pytest.mark.needs("ARM emulator")
@pytest.mark.parametrize("name", ["has blank", "has:colon"])
def test_a_cache_folder_that_overlays_cannot_name(tmp_path, name):
    ended = virtual_board("--cache", str(tmp_path / name), "up", "jetson-nano")
    assert ended.returncode == 1
    assert "the kernel's overlays take no colon" in ended.stderr


def test_under_sudo_the_cache_is_the_callers(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("SUDO_USER", "nobody")
    assert str(default_cache()).startswith(os.path.expanduser("~nobody"))

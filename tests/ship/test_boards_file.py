from __future__ import annotations

from pathlib import Path

import pytest

from edge_dendrite.errors import ConfigError
from edge_dendrite.ship.boards_file import BoardSettings, read_boards

WHOLE = """
jobs = 3
[defaults]
threads = 2
python = "python3.8"

[boards.nano]
target = "pi@192.168.1.20"
remote_dir = "~/bench"
ssh_config = "ssh_config"
bundle = "old"

[boards."orin-1"]
target = "ssh://me@[fe80::1]:2222"
provider = "CPUExecutionProvider"
threads = 4
bundle = ["old", "new"]

[boards.here]
target = "local"
"""


@pytest.fixture
def folder(tmp_path):
    for name in ("ssh_config", "old", "new"):
        (tmp_path / name).touch()
    return tmp_path


def read(folder: Path, text: str):
    path = folder / "boards.toml"
    path.write_text(text)
    return read_boards(path)


def test_everything_that_can_be_said(folder):
    file = read(folder, WHOLE)
    assert file.jobs == 3
    nano, orin, here = file.choose()
    config = folder / "ssh_config"
    assert (nano.name, nano.target, nano.bundles) == ("nano", "pi@192.168.1.20", (folder / "old",))
    assert nano.settings == BoardSettings("python3.8", "~/bench", config, None, 2)
    assert orin.settings == BoardSettings("python3.8", None, None, "CPUExecutionProvider", 4)
    assert orin.bundles == (folder / "old", folder / "new")
    assert (here.target, here.settings, here.bundles) == ("local", BoardSettings(python="python3.8", threads=2), ())


def test_a_flag_stands_before_the_defaults_and_behind_what_a_board_says(folder):
    nano, orin, _ = read(folder, WHOLE).choose(flags=BoardSettings(threads=8, remote_dir="/data"))
    assert (nano.settings.threads, nano.settings.remote_dir) == (8, "~/bench")
    assert (orin.settings.threads, orin.settings.remote_dir) == (4, "/data")


def test_only_some_in_the_order_of_the_file(folder):
    file = read(folder, WHOLE)
    assert [board.name for board in file.choose(["here", "nano"])] == ["nano", "here"]
    with pytest.raises(ConfigError, match="--only nanu: no board of this name; did you mean 'nano'"):
        file.choose(["nanu"])


ONE = "[boards.a]\ntarget = 'me@a'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no boards; add a table for each"),
        ("[boards]\n", "no boards"),
        ("[boards.a\n", r"is no TOML: .*line 1"),
        ("[boards.a]\ntarget = 'me@a'\ntarget = 'me@b'\n", "is no TOML: .*"),
        (ONE + "pyhton = 'python3'\n", "line 3: boards.a.pyhton: unknown key; did you mean 'python'"),
        (ONE + "[default]\nthreads = 1\n", "line 3: default: unknown key; did you mean 'defaults'"),
        (ONE + "[defaults]\nthread = 1\n", "line 4: defaults.thread: unknown key; did you mean 'threads'"),
        (ONE + "zzz = 1\n", "boards.a.zzz: unknown key; known: target, python"),
        (ONE + "threads = '4'\n", "line 3: boards.a.threads: has to be a whole number, not '4'"),
        (ONE + "threads = true\n", "has to be a whole number, not True"),
        (ONE + "threads = 0\n", "has to be 1 or more"),
        (ONE + "python = 3\n", "boards.a.python: has to be text in quotes"),
        (ONE + "python = ''\n", "boards.a.python: is empty"),
        (ONE + 'remote_dir = "a\\u001bb"\n', "cannot be printed"),
        (ONE + "ssh_config = 'missing'\n", "line 3: boards.a.ssh_config: 'missing' is not there; paths are relative"),
        (ONE + "bundle = 'missing'\n", "boards.a.bundle: 'missing' is not there"),
        (ONE + "bundle = ['old', 3]\n", "has to be a path, or a list of paths"),
        (ONE + "bundle = []\n", "has to be a path, or a list of paths"),
        (ONE + 'bundle = "a\\u0000b"\n', "is not there"),
        ("jobs = 0\n" + ONE, "line 1: jobs: 0 is not from 1"),
        ("jobs = 2.5\n" + ONE, "jobs: has to be a whole number"),
        ("[boards.a]\nthreads = 1\n", "line 1: boards.a: has no target"),
        ("[boards]\na = 'me@a'\n", "line 2: boards.a: has to be a table: write .boards.a."),
        ("[[boards]]\ntarget = 'me@a'\n", "boards: has to be a table"),
        ("[boards.a]\ntarget = 'nano'\n", "line 2: boards.a.target: .*give local, ssh://user@host:port"),
        ("[boards.a]\ntarget = 'ssh://-oProxyCommand=x'\n", "boards.a.target"),
        ("[boards.'../up']\ntarget = 'me@a'\n", "is no name for a board"),
        ("[boards.'a b']\ntarget = 'me@a'\n", "is no name for a board"),
        ("[boards.'.x']\ntarget = 'me@a'\n", "is no name for a board"),
        ("[boards.'fleet.json']\ntarget = 'me@a'\n", "is no name for a board"),
        (ONE + "[boards.b]\ntarget = 'ssh://me@a'\n", "line 4: boards.b.target: is the target of 'a' already"),
        (ONE + "[boards.A]\ntarget = 'me@b'\n", "differs from 'a' in case only"),
        ("[defaults]\ntarget = 'me@a'\n" + ONE, "a target belongs to one board"),
        ("[defaults]\nbundle = 'old'\n" + ONE, "BUNDLE on the command line"),
        (ONE + "x = " + "[" * 5000 + "\n", "is no TOML"),
        ("# " + "x" * 1_100_000, "this is no file of boards"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(folder, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(folder, text)
    assert "boards.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_target_by_two_ssh_configs_is_two_machines(folder):
    assert len(read(folder, ONE + "[boards.b]\ntarget = 'me@a'\nssh_config = 'ssh_config'\n").boards) == 2


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_boards(tmp_path / "missing.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_boards(tmp_path / "b.toml")

"""Boards as they are: login shells that talk, old Pythons, odd names, little room, no root."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from board_store import store_on
from edge_bench.atomic import canonical_json
from edge_bench.bundle import open_bundle
from edge_bench.manifest import digest_line
from edge_dendrite.errors import ConfigError, DeployError
from edge_dendrite.progress import silent
from edge_dendrite.ship.board_program import board_program
from edge_dendrite.ship.bundle_files import ShippedFile, agent_file, files_of
from edge_dendrite.ship.deploy import deploy, deploy_rounds, plan_rounds
from edge_dendrite.ship.on_board.files import Refused
from edge_dendrite.ship.on_board.places import Places
from edge_dendrite.ship.options import RunOptions, SshOptions
from edge_dendrite.ship.remote import for_any_shell
from loopback_board import SECRET_DIR, Board

needs_sshd = pytest.mark.needs("sshd")
QUICK = RunOptions(num_runs=50, max_other_load=1000)
ODD = 'it\'s; a "b" $HOME `c` \\d !e %f \n\u00e9\u4e2d *?[x] #g &|<>(){}~'


FISH, TCSH = (pytest.param(name, marks=pytest.mark.needs(name)) for name in ("fish", "tcsh"))


@pytest.mark.parametrize("shell", ["sh", "bash", FISH, TCSH])
def test_every_login_shell_gives_sh_the_same_words(shell):
    command = for_any_shell(f"printf '%s' {shlex.quote(ODD)}")
    result = subprocess.run([shell, "-c", command], capture_output=True, check=True)
    assert result.stdout.decode() == ODD


@needs_sshd
@pytest.mark.parametrize("shell", ["sh", pytest.param("tcsh", marks=[pytest.mark.needs("tcsh"), pytest.mark.slow])])
def test_a_login_shell_that_talks(bundle13, tmp_path, shell):
    talk = "echo Welcome; printf 'no line end'; echo motd >&2"
    with Board(tmp_path, forced_command=f'{talk}; exec {shell} -c "$SSH_ORIGINAL_COMMAND"') as talking:
        record = deploy(bundle13.path, talking.target, tmp_path / "m.json", options=QUICK, ssh=talking.options())
    assert record["status"] == "complete"


@needs_sshd
def test_where_a_group_may_write_by_default_nobody_else_may_write_to_ours(bundle13, tmp_path):
    """A umask of 002 is what Debian and Ubuntu give to users with a group of their own."""
    there = tmp_path / "group" / "there"
    there.parent.mkdir()
    there.parent.chmod(0o775)
    with Board(tmp_path, forced_command='umask 002; exec sh -c "$SSH_ORIGINAL_COMMAND"') as board:
        ssh = board.options(remote_dir=str(there))
        record = deploy(bundle13.path, board.target, tmp_path / "m.json", options=QUICK, ssh=ssh)
    assert record["status"] == "complete"
    found = [there, *there.rglob("*")]
    assert len(found) > len(record["bundle"]) > 0
    assert [path for path in found if path.stat().st_mode & 0o022] == []


@needs_sshd
@pytest.mark.needs("python3.6 + onnxruntime 1.10")
def test_python36_under_a_c_locale_in_a_folder_that_is_not_ascii(board, bundle13, tmp_path, python36):
    folder = tmp_path / "\u00e9\u4e2d it's"
    ssh = board.options(python=str(python36), remote_dir=str(folder))
    record = deploy(bundle13.path, board.target, tmp_path / "m.json", options=QUICK, ssh=ssh)
    assert record["agent"]["python"].startswith("3.6.")
    assert (folder / "bundles" / bundle13.id / "manifest.json").exists()


@needs_sshd
def test_a_new_manifest_alone_is_all_that_is_sent(board, bundle13, tmp_path):
    other = Path(shutil.copytree(bundle13.path, tmp_path / "other"))
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["name"] = "renamed"
    content = canonical_json(manifest)
    (other / "manifest.json").write_bytes(content)

    (other / "manifest.sha256").write_bytes(digest_line(hashlib.sha256(content).hexdigest()))
    with store_on(board) as there:
        for path in (bundle13.path, other):
            bundle = open_bundle(str(path))
            seen = there.look(bundle.id, files_of(bundle))
            there.bring(bundle.id, seen, 10, silent)
    assert len(seen.missing) == 2, "the manifest and its digest"


@needs_sshd
def test_a_dry_run_copies_the_agent_and_nothing_else(board, bundle13, tmp_path):
    ssh = board.options(remote_dir=str(tmp_path / "there"))
    plans, to_measure = plan_rounds([bundle13.path], board.target, tmp_path / "m", options=QUICK, ssh=ssh)
    assert list(to_measure.values()) == [True]
    assert len(plans[0].copies) == plans[0].num_files
    assert plans[0].runs_with.startswith("onnxruntime ")
    there = tmp_path / "there"
    assert [path.name for path in there.rglob("*") if path.is_file()] == [next(there.glob("edge-bench-*")).name]
    assert not (tmp_path / "m").exists()


@needs_sshd
def test_clean_leaves_nothing(board, bundle13, tmp_path):
    there = tmp_path / "there"
    ssh = board.options(remote_dir=str(there))
    deploy_rounds([bundle13.path], board.target, tmp_path / "m", options=QUICK, ssh=ssh, clean=True)
    assert list(there.iterdir()) == []


@needs_sshd
def test_clean_also_when_all_was_measured_before(board, bundle13, tmp_path):
    there = tmp_path / "there"
    ssh = board.options(remote_dir=str(there))
    deploy_rounds([bundle13.path], board.target, tmp_path / "m", options=QUICK, ssh=ssh)
    assert list(there.glob("objects/*"))
    said = []
    deploy_rounds([bundle13.path], board.target, tmp_path / "m", options=QUICK, ssh=ssh, clean=True, log=said.append)
    assert any(line.startswith("kept ") for line in said)
    assert list(there.iterdir()) == []


@pytest.mark.parametrize("changes", [{"remote_dir": "/a\nb"}, {"remote_dir": "/a\udcff"}, {"python": "p\x1b[2J"}])
def test_paths_that_cannot_be_printed_are_refused_here(changes):
    with pytest.raises(ConfigError, match="cannot be printed"):
        SshOptions(**changes)


@needs_sshd
def test_clean_leaves_what_others_use(board, bundle13, tmp_path):
    there = tmp_path / "there"
    with store_on(board, remote_dir=there) as other:
        bundle = open_bundle(str(bundle13.path))
        other.bring(bundle.id, other.look(bundle.id, files_of(bundle)), 10, silent)
        ssh = board.options(remote_dir=str(there))
        deploy(bundle13.path, board.target, tmp_path / "m.json", options=QUICK, ssh=ssh, clean=True)
        assert other.look(bundle.id, files_of(bundle)).installed
        assert list(there.glob("edge-bench-*"))


@needs_sshd
def test_of_many_bundles_the_last_ones_stay(board, bundle13, tmp_path):

    there = tmp_path / "there"
    for number in range(5):
        content = b"%d" % number
        file = ShippedFile("model.onnx", 1, hashlib.sha256(content).hexdigest(), content=content)
        with store_on(board, remote_dir=there) as files:
            files.bring(f"{number:064x}", files.look(f"{number:064x}", [file]), 3, silent)
    assert sorted(int(path.name, 16) for path in (there / "bundles").iterdir()) == [2, 3, 4]
    assert len(list((there / "objects").iterdir())) == 3


@needs_sshd
def test_a_changed_host_key_is_refused(board, bundle13, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other_key")], check=True)
    key = (tmp_path / "other_key.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{board.port} {key}")
    config = tmp_path / "ssh_config"
    config.write_text(board.ssh_config.read_text().replace(str(board.folder / "known_hosts"), str(tmp_path / "known")))
    with pytest.raises(DeployError, match="its host key is not the one that is known.*ssh-keygen -R") as caught:
        deploy(bundle13.path, board.target, tmp_path / "m.json", ssh=SshOptions(config, sys.executable))
    assert "somebody may be in between" in str(caught.value)


def ask_store(requests, env, user=None, python=sys.executable):
    """What the store answers when it runs as another user, or in another environment."""
    program = board_program("store")
    loader = f"import sys;exec(sys.stdin.buffer.read({len(program)}))"
    lines = b"".join(json.dumps(request).encode() + b"\n" for request in requests)
    result = subprocess.run(
        [str(python), "-c", loader, "TOKEN"], input=program + lines, capture_output=True, env=env, user=user, check=True
    )
    found = [line for line in result.stdout.decode().splitlines() if line.startswith("TOKEN ")]
    return [json.loads(line[len("TOKEN ") :]) for line in found]


def opening(remote_dir="", num_bytes=0):
    return {"do": "open", "remote_dir": remote_dir, "files": [["a" * 64, num_bytes]]}


END = {"do": "end", "clean": True, "bundles": [], "agent": "0", "parts": []}
NO_HOME = {"HOME": "/proc/no-home", "PATH": os.environ["PATH"]}


def test_a_home_that_cannot_be_written():
    answers = ask_store([opening(), END], NO_HOME)
    assert answers[0]["folder"] == f"/var/tmp/edge-dendrite-{os.getuid()}"
    assert not Path(answers[0]["folder"]).exists(), "clean took it away"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_user_without_root_and_without_a_home():
    python = shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("no Python that another user may run")
    answers = ask_store([opening(), END], NO_HOME, user=65534, python=python)
    assert answers[0]["folder"] == "/var/tmp/edge-dendrite-65534"


def test_no_room_anywhere_says_where_and_how_much(tmp_path):
    answers = ask_store([opening(num_bytes=1 << 60)], dict(os.environ, HOME=str(tmp_path)))
    assert answers[0]["error"].startswith("no folder to write to (")
    assert "are to be copied" in answers[0]["error"]
    assert "/var/tmp/edge-dendrite-" in answers[0]["error"]


def test_a_folder_that_was_asked_for_is_not_replaced_by_another():
    answers = ask_store([opening("/proc/not/here")], dict(os.environ))
    assert "/proc/not/here" in answers[0]["error"]
    assert "leave it out and a place is looked for" in answers[0]["error"]


def test_a_shared_place_that_others_can_write_to_is_not_taken(tmp_path):
    taken = tmp_path / f"edge-dendrite-{os.getuid()}"
    taken.mkdir(mode=0o777)
    taken.chmod(0o777)
    with pytest.raises(Refused, match="other users may write to the folder"):
        Places("", {})._claim(str(taken), True)
    taken.chmod(0o700)
    link = tmp_path / "link"
    link.symlink_to(taken)
    with pytest.raises(Refused, match="not a folder"):
        Places("", {})._claim(str(link), True)


@pytest.mark.parametrize("mode", [0o775, 0o707])
def test_a_folder_of_the_user_that_others_can_write_to_is_not_taken(tmp_path, mode):
    asked = tmp_path / "there"
    asked.mkdir()
    asked.chmod(mode)
    answers = ask_store([opening(str(asked))], dict(os.environ))
    assert f"{asked}: other users may write to the folder" in answers[0]["error"]
    assert list(asked.iterdir()) == []
    cache = tmp_path / "edge-dendrite"
    asked.rename(cache)
    folder = ask_store([opening(), END], dict(os.environ, XDG_CACHE_HOME=str(tmp_path)))[0]["folder"]
    assert folder == f"/var/tmp/edge-dendrite-{os.getuid()}"
    cache.chmod(0o755)
    assert ask_store([opening(str(cache)), END], dict(os.environ))[0]["folder"] == str(cache)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
def test_a_folder_of_another_user_is_not_taken(tmp_path):
    asked = tmp_path / "there"
    asked.mkdir(mode=0o755)
    os.chown(asked, 65534, 65534)
    answers = ask_store([opening(str(asked))], dict(os.environ))
    assert "belongs to another user" in answers[0]["error"]


def test_folders_that_were_made_and_refused_go_again(tmp_path):
    answers = ask_store([opening(str(tmp_path / "a" / "b"), 1 << 60)], dict(os.environ))
    assert "are to be copied" in answers[0]["error"]
    assert list(tmp_path.iterdir()) == []
    answers = ask_store([opening(str(tmp_path / "a" / "b"))], dict(os.environ))
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_what_runs_there_has_python36_syntax_and_library():
    folder = Path(board_program.__code__.co_filename).parent / "on_board"
    command = [Path(sys.executable).parent / "vermin", "-q", "-t=3.6-", "--eval-annotations", "--violations", folder]
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.needs("python3.6 + onnxruntime 1.10")
def test_the_store_under_python36(python36, tmp_path):
    answers = ask_store([opening(str(tmp_path / "\u00e9")), END], {"PATH": os.environ["PATH"]}, python=python36)
    assert answers[0]["folder"] == str(tmp_path / "\u00e9")


@needs_sshd
def test_a_file_that_is_damaged_on_its_way_is_never_run(board):
    agent = agent_file(b"print('hello')")
    wrong = type(agent)(agent.name, agent.num_bytes, "0" * 64, content=agent.content)
    with store_on(board) as there, pytest.raises(DeployError, match="arrived damaged"):
        there.bring_agent(wrong, silent)
    assert not list((board.folder / SECRET_DIR).glob(f"edge-bench-{'0' * 64}*"))

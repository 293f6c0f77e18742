"""Connections that break at any moment: nothing half done stays in place, and the same command finishes the job."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from board_store import large_file, store_on
from cut_proxy import CutProxy
from edge_dendrite.errors import DeployError
from edge_dendrite.progress import silent
from edge_dendrite.ship.board_files import BoardFiles
from edge_dendrite.ship.bundle_files import ShippedFile
from edge_dendrite.ship.deploy import deploy
from edge_dendrite.ship.options import RunOptions
from loopback_board import SECRET_DIR
from waiting import wait_until

pytestmark = pytest.mark.needs("sshd")
QUICK = RunOptions(num_runs=50, max_other_load=1000)


@pytest.fixture
def proxy(board):
    made = CutProxy(board.port)
    with board.known_as(made.port):
        yield made
    made.close()


def bring(there: BoardFiles, bundle_id: str, file: ShippedFile, progress=silent) -> None:
    there.bring(bundle_id, there.look(bundle_id, [file]), 10, progress)


def installed(board) -> list[str]:
    return [path.name for path in (board.folder / SECRET_DIR / "bundles").iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize("num_mib", [24, pytest.param(200, marks=pytest.mark.slow)])
def test_a_large_file_goes_on_where_it_was_cut(board, proxy, tmp_path, num_mib):
    file, bundle_id = large_file(tmp_path / "large", num_mib << 20), f"{num_mib:064x}"
    proxy.reset(cut_after=file.num_bytes // 2)
    with pytest.raises(DeployError, match="what arrived is kept: run the same command again"):  # noqa: SIM117
        with store_on(board, port=proxy.port) as there:
            bring(there, bundle_id, file)
    assert bundle_id not in installed(board)
    part = board.folder / SECRET_DIR / "parts" / file.sha256
    wait_until(lambda: not is_growing(part))
    num_there = part.stat().st_size
    assert num_there > file.num_bytes * 0.4
    proxy.reset()
    with store_on(board, port=proxy.port) as there:
        bring(there, bundle_id, file)
    assert proxy.num_up < file.num_bytes - num_there + (1 << 20), "what had arrived was not sent again"
    whole = board.folder / SECRET_DIR / "bundles" / bundle_id / "model.onnx"
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == file.sha256
    assert not part.exists()


def is_growing(path: Path) -> bool:
    before = path.stat().st_size
    time.sleep(0.3)
    return path.stat().st_size != before


def test_a_part_that_is_not_the_beginning_is_not_trusted(board, tmp_path):
    file, bundle_id = large_file(tmp_path / "large", 2 << 20), "a" * 64
    with store_on(board) as there:
        (board.folder / SECRET_DIR / "parts" / file.sha256).write_bytes(b"x" * 1000)
        bring(there, bundle_id, file)
    whole = board.folder / SECRET_DIR / "bundles" / bundle_id / "model.onnx"
    assert whole.read_bytes() == Path(file.path).read_bytes()


def test_a_file_that_changes_here_while_it_is_copied_arrives_nowhere(board, tmp_path):
    file, bundle_id = large_file(tmp_path / "large", 2 << 20), "b" * 64
    with Path(file.path).open("r+b") as stream:
        stream.write(b"changed")
    with pytest.raises(DeployError, match="arrived damaged, or changed here"), store_on(board) as there:
        bring(there, bundle_id, file)
    assert bundle_id not in installed(board)
    assert not (board.folder / SECRET_DIR / "objects" / file.sha256).exists()


def test_two_hosts_at_once_bring_one_file_once(board, tmp_path):
    file, bundle_id = large_file(tmp_path / "large", 16 << 20), "c" * 64
    sent, failed = [0, 0], []

    def one(number):
        def count(what, done, total):
            sent[number] = max(sent[number], done)
            time.sleep(0.002)  # long enough to meet the other

        try:
            with store_on(board) as there:
                bring(there, bundle_id, file, count)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert sorted(sent) == [0, file.num_bytes]
    whole = board.folder / SECRET_DIR / "bundles" / bundle_id / "model.onnx"
    assert hashlib.sha256(whole.read_bytes()).hexdigest() == file.sha256
    assert not list((board.folder / SECRET_DIR / "parts").glob(file.sha256))


def test_cut_anywhere_while_copying_and_again(board, proxy, tmp_path):
    """Cuts after more and more bytes, each time in the same folder; then one that is left alone."""
    file, bundle_id, folder = large_file(tmp_path / "large", 1 << 20), "d" * 64, tmp_path / "cut here"
    cut_after, num_cuts = 1000, 0
    while True:
        proxy.reset(cut_after)
        try:
            with store_on(board, port=proxy.port, remote_dir=folder) as there:
                bring(there, bundle_id, file)
            break
        except DeployError as error:
            assert "does not answer" in str(error) or "run the same command again" in str(error)
            num_cuts += 1
            if (folder / "bundles").exists():
                assert not [path for path in (folder / "bundles").iterdir() if not path.name.startswith(".")]
        cut_after = int(cut_after * 2.2)
    assert num_cuts > 4
    assert (folder / "bundles" / bundle_id / "model.onnx").read_bytes() == Path(file.path).read_bytes()
    with store_on(board, port=proxy.port, remote_dir=folder) as there:
        assert there.look(bundle_id, [file]).installed
        assert [path.name for path in (folder / "runs").iterdir()] == [there.run.rpartition("/")[2]], "no leftovers"


EARLIER = [pytest.param(one, marks=pytest.mark.slow) for one in ("folder ", "copying ", "edge-bench: load")]


@pytest.mark.parametrize("moment", [*EARLIER, "edge-bench: latency"])
def test_cut_in_every_phase_and_the_same_command_finishes(board, proxy, bundle13, tmp_path, moment):
    target = board.target.replace(str(board.port), str(proxy.port))
    ssh = board.options(remote_dir=str(tmp_path / "there"))
    long_run = RunOptions(duration_s=20, max_other_load=1000)

    def cut(line):
        if moment in line:
            proxy.cut()

    with pytest.raises(DeployError, match="run the same command again"):
        deploy(bundle13.path, target, tmp_path / "m.json", options=long_run, ssh=ssh, log=cut)
    assert not (tmp_path / "m.json").exists()
    wait_until(lambda: not agents_in(tmp_path / "there"))  # nobody measures for a host that is gone
    if moment != "edge-bench: latency":
        return  # what is left by the others is the same, and was tried above
    record = deploy(bundle13.path, target, tmp_path / "m.json", options=QUICK, ssh=ssh)
    assert (record["status"], record["invalid"]) == ("complete", [])
    assert not list((tmp_path / "there" / "runs").iterdir())


def agents_in(folder: Path) -> list[int]:
    """Processes whose command line names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if any(word.startswith(os.fsencode(folder)) for word in words) and b"run" in words:
                found.append(int(path.parent.name))
    return found


@pytest.mark.slow
def test_a_killed_host_leaves_no_run_behind(board, bundle13, tmp_path):
    options = board.options(remote_dir=str(tmp_path / "there"))
    command = [sys.executable, "-m", "edge_dendrite", "deploy", bundle13.path, board.target, "--duration", "60"]
    command += ["--ssh-config", options.ssh_config, "--python", options.python, "--remote-dir", options.remote_dir]
    host = subprocess.Popen(
        [str(word) for word in [*command, "--out", tmp_path / "m"]], stderr=subprocess.DEVNULL, start_new_session=True
    )
    wait_until(lambda: list((tmp_path / "there").rglob("measurement-1.json")))
    os.killpg(host.pid, signal.SIGKILL)
    host.wait()
    wait_until(lambda: not agents_in(tmp_path / "there"))


def test_the_plain_way_needs_nothing_else(board, bundle13, tmp_path):
    """As the README says: scp of bundle and agent, then one command over ssh."""
    from edge_dendrite.ship.agent import build_agent

    there = board.folder / "plain"
    there.mkdir()
    build_agent(tmp_path / "edge-bench.pyz")
    bundle13.write_tar(tmp_path / "bundle.tar")
    port, host = str(board.port), "127.0.0.1"
    config = ["-F", str(board.ssh_config)]
    copy = ["scp", "-q", *config, "-P", port, str(tmp_path / "bundle.tar"), str(tmp_path / "edge-bench.pyz")]
    subprocess.run([*copy, f"{host}:{there}/"], check=True)
    run = f"cd {there} && {sys.executable} edge-bench.pyz run bundle.tar --runs 50 --max-other-load 1000"
    subprocess.run(["ssh", *config, "-p", port, host, run], check=True, capture_output=True)
    assert json.loads((there / "measurement.json").read_text())["bundle"]["id"] == bundle13.id

"""Deploying for real: the agent in its own process, and a real sshd on loopback with generated keys."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_bench.schema import JOURNAL_SUFFIX, read_measurement
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.deploy import deploy, deploy_rounds
from edge_dendrite.ship.options import RunOptions, SshOptions
from loopback_board import SECRET_DIR
from loopback_sshd import free_port
from waiting import listen_to_ctrl_c, wait_until

# A busy machine must not turn these runs invalid: nothing here is about times.
QUICK = RunOptions(num_runs=50, max_other_load=1000)


def test_local(bundle13, tmp_path):
    lines = []
    record = deploy(bundle13.path, "local", tmp_path / "m.json", options=QUICK, log=lines.append)
    assert record == json.loads((tmp_path / "m.json").read_text())
    assert (record["status"], record["invalid"], record["bundle"]["id"]) == ("complete", [], bundle13.id)
    assert any("latency" in line for line in lines)


def test_tar_and_folder_are_one_bundle(bundle13, tmp_path):
    tar = bundle13.write_tar(tmp_path / "b.tar")
    assert deploy(tar, "local", tmp_path / "m.json", options=QUICK)["bundle"]["id"] == bundle13.id


def test_a_damaged_bundle_never_leaves(bundle13, tmp_path):
    shutil.copytree(bundle13.path, tmp_path / "b")
    model = tmp_path / "b" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(DeployError, match="model.onnx was changed or damaged"):
        deploy(tmp_path / "b", "local", tmp_path / "m.json")
    assert not (tmp_path / "m.json").exists()


def test_a_run_that_fails_there_says_why(bundle13, tmp_path):
    options = RunOptions(provider="NoSuchProvider")
    with pytest.raises(DeployError, match="has no NoSuchProvider; it has .*CPUExecutionProvider"):
        deploy(bundle13.path, "local", tmp_path / "m.json", options=options)


def test_rounds_go_forwards_and_backwards_and_are_kept(bundle13, tmp_path):
    shutil.copytree(bundle13.path, tmp_path / "other")
    bundles = [bundle13.path, tmp_path / "other"]
    lines = []
    files = deploy_rounds(bundles, "local", tmp_path / "m", num_rounds=2, options=QUICK, log=lines.append)
    assert {path.parent for path in files} == {tmp_path / "m" / "local"}
    assert [path.name for path in files] == ["digits-1.json", "other-1.json", "other-2.json", "digits-2.json"]
    before = {path: path.stat().st_mtime_ns for path in files}
    files[1].unlink()
    deploy_rounds(bundles, "local", tmp_path / "m", num_rounds=2, options=QUICK)
    after = {path: path.stat().st_mtime_ns for path in files}
    assert [path for path in files if before[path] != after[path]] == [files[1]]
    other = RunOptions(num_runs=60, max_other_load=1000)
    deploy_rounds(bundles[:1], "local", tmp_path / "m", options=other)
    assert len(read_measurement(str(files[0]))["latency"]["samples_s"]) == 60, "other options are measured anew"
    files[1].write_text("my own notes")
    with pytest.raises(DeployError, match="it would be replaced: move it away"):
        deploy_rounds(bundles, "local", tmp_path / "m", num_rounds=1, options=other)
    assert files[1].read_text() == "my own notes"
    before = files[0].stat().st_mtime_ns
    deploy_rounds(bundles[:1], "local", tmp_path / "m", options=other, again=True)
    assert files[0].stat().st_mtime_ns != before


def test_bundles_of_one_name_are_refused(bundle13, tmp_path):
    with pytest.raises(DeployError, match="different file names"):
        deploy_rounds([bundle13.path, bundle13.path], "local", tmp_path)


def same_content(one: Path, other: Path) -> bool:
    names = [{path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} for folder in (one, other)]
    return names[0] == names[1] and all((one / name).read_bytes() == (other / name).read_bytes() for name in names[0])


needs_sshd = pytest.mark.needs("sshd")


@needs_sshd
def test_over_ssh_into_a_folder_with_an_odd_name(board, bundle13, tmp_path):
    lines = []
    record = deploy(
        bundle13.path,
        board.target,
        tmp_path / "m.json",
        options=QUICK,
        ssh=board.options(),
        log=lines.append,
    )
    assert (record["status"], record["bundle"]["id"]) == ("complete", bundle13.id)
    there = board.folder / SECRET_DIR
    assert stat.S_IMODE(there.stat().st_mode) == 0o700
    assert [line for line in lines if "copying" in line and "model.onnx" in line]
    assert any("onnxruntime" in line and "Python" in line for line in lines), "what the board is"
    assert not list((there / "runs").iterdir()), "results are fetched and removed"
    assert not list((there / "parts").iterdir()), "nothing half copied stays"
    assert same_content(there / "bundles" / bundle13.id, Path(bundle13.path))


@needs_sshd
def test_what_is_there_already_is_not_sent_again_and_what_is_damaged_is(board, bundle13, tmp_path):
    def copies():
        copied = set()
        lines = []
        deploy(
            bundle13.path,
            board.target,
            tmp_path / "m.json",
            options=QUICK,
            ssh=board.options(),
            log=lines.append,
            progress=lambda what, done, total: copied.add(what.partition(" to ")[0]),
        )
        return copied | {line.partition("bytes: ")[2] for line in lines if line.startswith("copying ")}

    copies()
    assert copies() == set()
    there = board.folder / SECRET_DIR
    agent = next(there.glob("edge-bench-*.pyz"))
    agent.chmod(0o600)
    agent.write_text("print('not the agent')")
    model = there / "bundles" / bundle13.id / "model.onnx"
    model.chmod(0o600)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    assert copies() == {"copying the agent", "copying", "model.onnx"}
    assert same_content(there / "bundles" / bundle13.id, Path(bundle13.path))


@needs_sshd
@pytest.mark.needs("python3.6 + onnxruntime 1.10")
def test_a_board_with_python36_and_its_onnxruntime(board, bundle13, tmp_path, python36):
    options = board.options(python=str(python36))
    record = deploy(bundle13.path, board.target, tmp_path / "m.json", options=QUICK, ssh=options)
    assert record["agent"]["python"].startswith("3.6.")
    assert record["backend"]["version"] == "1.10.0"
    assert record["check"]["passed"] is True


@needs_sshd
def test_a_board_without_python_is_said(board, bundle13, tmp_path):
    with pytest.raises(DeployError, match="no Python 3.6 or newer as 'nopython'"):
        deploy(bundle13.path, board.target, tmp_path / "m.json", ssh=board.options(python="nopython"))


@needs_sshd
def test_a_failing_run_brings_its_reason_back(board, bundle13, tmp_path):
    options = RunOptions(provider="NoSuchProvider")
    with pytest.raises(DeployError, match="has no NoSuchProvider"):
        deploy(bundle13.path, board.target, tmp_path / "m.json", options=options, ssh=board.options())


@needs_sshd
def test_an_unknown_host_key_is_refused(board, bundle13, tmp_path):
    config = tmp_path / "ssh_config"
    config.write_text(board.ssh_config.read_text().replace("known_hosts", "empty_hosts"))
    with pytest.raises(DeployError, match="does not answer: .*[Hh]ost key verification failed"):
        deploy(bundle13.path, board.target, tmp_path / "m.json", ssh=SshOptions(config))


@needs_sshd
def test_a_board_that_does_not_answer(board, bundle13, tmp_path):
    target = f"ssh://127.0.0.1:{free_port()}"
    with pytest.raises(DeployError, match=r"does not answer: .*refused.*ssh -p"):
        deploy(bundle13.path, target, tmp_path / "m.json", ssh=board.options())
    assert list(tmp_path.iterdir()) == []


def wait_for_samples(process: subprocess.Popen[str], folder: Path) -> None:
    """Until the agent has written more samples beside its file than a line or two."""

    def are_there() -> bool:
        assert process.poll() is None, process.communicate()[1]
        return any(path.stat().st_size > 1000 for path in folder.rglob(f"*{JOURNAL_SUFFIX}"))

    wait_until(are_there, f"a run in {folder}")


@needs_sshd
@pytest.mark.parametrize("where", ["local", "ssh"])
def test_ctrl_c_keeps_what_was_measured(board, bundle13, tmp_path, where):
    target = "local" if where == "local" else board.target
    options, arguments = board.options(), []
    if where == "ssh":
        arguments += ["--ssh-config", str(options.ssh_config), "--python", options.python]
        arguments += ["--remote-dir", options.remote_dir]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge_dendrite", "deploy", str(bundle13.path), target, "--out", str(tmp_path / "m"),
         "--duration", "30", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=listen_to_ctrl_c,
    )  # fmt: skip
    wait_for_samples(process, tmp_path if where == "local" else board.folder / SECRET_DIR)
    process.send_signal(signal.SIGINT)
    _, seen = process.communicate(timeout=60)
    assert process.returncode == 130, seen
    assert "interrupted" in seen
    assert "Traceback" not in seen
    record = json.loads(next((tmp_path / "m").glob("*/digits-1.json")).read_text())
    assert record["status"] == "partial"
    assert len(record["latency"]["samples_s"]) > 10
    assert not list((board.folder / SECRET_DIR / "runs").glob("*"))

"""The command line in processes of its own: results on stdout, messages on stderr, exit codes, bad input."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMANDS = ("demo", "compress", "export", "deploy", "report", "boards", "doctor")


def run(*arguments, **options):
    command = [sys.executable, "-m", "edge_dendrite", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, **options)


def failed(result, message):
    """One clear line, no traceback, nothing on stdout; 2 for a setting that cannot be, else 1."""
    assert result.returncode in (1, 2), result.stderr
    assert [line for line in result.stderr.splitlines() if line.startswith("error: ")] == [
        result.stderr.splitlines()[-1]
    ]
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_help_lists_the_commands_and_shows_defaults():
    top = run("--help")
    assert top.returncode == 0
    assert all(command in top.stdout for command in COMMANDS)
    shown = run("demo", "--help").stdout
    for default in ("digits", "local", "0.6", "accuracy", "1.0", "0.5"):
        assert f"default: {default}" in " ".join(shown.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command):
    result = run(command, "--help")
    assert result.returncode == 0
    assert "--json" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("compress",),
        ("demo", "--no-such-flag"),
        ("demo", "--seed", "x"),
        ("deploy", "b", "local", "--runs", "0"),
    ],
)
def test_wrong_usage_ends_with_2(arguments):
    result = run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compress", "mnist-cn", "--data", "digits"), "did you mean 'mnist-cnn'"),
        (("compress", "digits-cnn", "--data", "mnist:nowhere"), "nowhere is not a folder"),
        (("compress", "mnist-cnn", "--data", "digits"), "mnist-cnn: cannot take inputs of shape (1, 8, 8)"),
        (
            ("compress", "digits-cnn", "--data", "digits", "--max-parameters", "10", "--epochs", "1"),
            "cannot be reached",
        ),
        (("compress", "digits-cnn", "--data", "digits", "--pruning-ratio", "1.5"), "pruning_ratio must be"),
        (
            ("compress", "digits-cnn", "--data", "digits", "--config", "bad.json"),
            "unknown key 'epoch'; did you mean 'epochs'",
        ),
        (("compress", "digits-cnn", "--data", "digits", "--config", "none.json"), "none.json"),
        (("compress", "digits-cnn", "--data", "digits", "--weights", "none.safetensors"), "none.safetensors"),
        (("compress", "x.onnx", "--data", "digits"), "an ONNX file cannot be trained"),
        (("export", "digits-cnn"), "--input-shape"),
        (("export", "digits-cnn", "--input-shape", "1,8,x"), "write positive numbers"),
        (("export", "digits-cnn", "--input-shape", "1,8,8", "--opset", "12"), "opset must be"),
        (("export", "digits-cnn", "--input-shape", "1,8,8", "--target", "jetson-nan"), "jetson-nano"),
        (
            ("export", "digits-cnn", "--input-shape", "1,8,8", "--target", "jetson-nano", "--opset", "17"),
            "at most opset 13",
        ),
        (("export", "missing.onnx"), "missing.onnx"),
        (("deploy", "no-bundle", "local"), "no such file or folder"),
        (("deploy", "no-bundle", "nano"), "give local, ssh://user@host:port"),
        (("report", "no-measurement.json"), "no-measurement.json"),
        (("report", "empty"), "no measurement"),
        (("boards", "jetson-nan"), "jetson-nano"),
        (("demo", "--target", "somewhere"), "give local, ssh://user@host:port"),
        (("demo", "--data", "mine:load"), "--model package.module:factory"),
        (("demo", "--metric", "f1"), "--metric 'f1' is not known"),
        (("demo", "--image-size", "8"), "HEIGHTxWIDTH"),
    ],
)
def test_bad_input_gets_one_clear_line(arguments, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.json").write_text(json.dumps({"fit": {"epoch": 3}}))
    failed(run(*arguments, cwd=tmp_path), message)


def test_boards_and_doctor():
    boards = json.loads(run("boards", "--json").stdout)
    assert {"jetson-nano", "jetson-orin-nano", "raspberry-pi-5"} <= {board["name"] for board in boards}
    shown = run("boards", "jetson-nano")
    assert "tegra210" in shown.stdout
    assert "source" in shown.stdout
    doctor = run("doctor", "--json")
    assert doctor.returncode == 0
    assert next(row for row in json.loads(doctor.stdout) if row["name"] == "torch")["works"] is True


def test_from_a_users_module_to_a_report(tmp_path):
    """compress, export, deploy, report on a network, data and metric of the user's own, as a user would."""
    (tmp_path / "mine.py").write_text(
        "import torch, edge_dendrite as ed\nfrom torch import nn\n"
        "def make():\n    return nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 3))\n"
        "def data():\n    g = torch.Generator().manual_seed(0)\n    y = torch.arange(300) % 3\n"
        "    x = torch.randn(300, 6, generator=g) + 3 * torch.eye(3, 6)[y]\n"
        "    return ed.DataSet.from_tensors('clouds', train=(x[:240], y[:240]), test=(x[240:], y[240:]))\n"
        "def top1(outputs, targets):\n    return float((outputs.argmax(1) == targets).float().mean())\n"
    )
    own = ("--data", "mine:data", "--metric", "mine:top1")
    made = run(
        "compress", "mine:make", *own, "--out", "c", "--epochs", 3, "--finetune-epochs", 2, "--json", cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    models = json.loads(made.stdout)["models"]
    assert [model["role"] for model in models[:2]] == ["baseline", "compressed"]
    assert models[1]["num_parameters"] <= 0.4 * models[0]["num_parameters"]

    failed(run("export", "c", "--out", "b", cwd=tmp_path), "--factory")
    exported = run("export", "c", "--factory", "mine:make", "--opset", 13, "--out", "b", *own, "--tar", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert (tmp_path / "b.tar").exists()

    deployed = run("deploy", "b.tar", "local", "--out", "m", "--runs", 70, "--max-other-load", 1000, cwd=tmp_path)
    assert deployed.returncode == 0, deployed.stderr
    assert "outputs      match" in deployed.stdout

    outputs = ["--out", "r.html", "--out", "r.md", "--out", "r.json"]
    reported = run("report", "m/local", *outputs, "--model", "c", "--title", "mine <b>", cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert reported.stdout.rstrip().endswith("r.json")
    assert "mine &lt;b&gt;" in (tmp_path / "r.html").read_text()
    assert json.loads((tmp_path / "r.json").read_text())["rows"][0]["accuracy"]["metric"] == "mine.top1"
    failed(run("report", "m/local", "--out", "r.pdf", cwd=tmp_path), "a report ends in .html, .md or .json")


def test_an_onnx_file_of_the_user(bundle13, tmp_path):
    model = bundle13.path / "model.onnx"
    exported = run("export", model, "--out", "b", "--json", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert json.loads(exported.stdout)["manifest"]["model"]["opset"] == 13
    deployed = run("deploy", "b", "local", "--runs", 20, "--max-other-load", 1000, "--json", cwd=tmp_path)
    assert json.loads(deployed.stdout)[0]["measurement"]["status"] == "complete"


def test_an_invalid_run_ends_with_4_and_enters_no_figure(bundle13, tmp_path):
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        deployed = run("deploy", bundle13.path, "local", "--duration", 1, "--max-other-load", 0.005, cwd=tmp_path)
        busy.kill()
    assert deployed.returncode == 4
    record = json.loads((tmp_path / "measurements" / "local" / "digits-1.json").read_text())
    assert record["status"] == "complete"
    assert "other programs used" in record["invalid"][0]
    reported = run("report", "measurements/local", cwd=tmp_path)
    assert reported.returncode == 0
    assert "1 of 1 runs were left out: other programs used" in reported.stderr


def test_a_closed_pipe_is_no_crash():
    command = f"'{sys.executable}' -m edge_dendrite boards --json | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path):
    """A limit on file sizes fails in the same call as a full disk does (write), with another errno."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    arguments = ("compress", "digits-cnn", "--data", "digits", "--epochs", 1, "--finetune-epochs", 1, "--out", "c")
    failed(run(*arguments, cwd=tmp_path, preexec_fn=limit), "File too large")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert run(*arguments, cwd=tmp_path).returncode == 0, "with room again, the same command goes through"


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def test_ctrl_c_in_training_keeps_the_epochs_and_goes_on(tmp_path):
    arguments = ["compress", "digits-cnn", "--data", "digits", "--epochs", "12", "--finetune-epochs", "1", "--out", "c"]
    command = [sys.executable, "-m", "edge_dendrite", *arguments]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        # A background job of a shell, as CI may be, passes on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(tmp_path / "c" / "checkpoints" / "baseline.safetensors")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "what was finished is kept" in errors
    assert "Traceback" not in errors
    again = run(*arguments, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    record = json.loads((tmp_path / "c" / "baseline" / "model.json").read_text())
    assert [entry["epoch"] for entry in record["history"]] == list(range(1, 13))


def test_nothing_is_fetched_at_run_time(tmp_path):
    """The demo's first half with every socket but local ones refused by the interpreter."""
    (tmp_path / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(*args, **kwargs):\n    raise AssertionError('the network was asked for')\n"
        "socket.socket.connect = refuse\nsocket.getaddrinfo = refuse\nsocket.create_connection = refuse\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    arguments = ("compress", "digits-cnn", "--data", "digits", "--epochs", 1, "--finetune-epochs", 1, "--no-controls")
    assert run(*arguments, cwd=tmp_path, env=environment).returncode == 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", "the function failed (ZeroDivisionError"),
        ("quits", "the function failed (SystemExit"),
        ("arrays", "must be tensors, not ndarray"),
        ("lame", "test must be a pair (inputs, targets), not NoneType"),
    ],
)
def test_data_functions_of_users_may_do_anything(function, message, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import sys, torch, numpy, edge_dendrite as ed\n"
        "def raises():\n    1 / 0\n"
        "def quits():\n    sys.exit(0)\n"
        "def arrays():\n    x = (numpy.zeros((9, 2)), numpy.zeros(9))\n"
        "    return ed.DataSet.from_tensors('x', train=x, test=x)\n"
        "def lame():\n    x = (torch.zeros(9, 2), torch.zeros(9).long())\n"
        "    return ed.DataSet.from_tensors('x', train=x, test=None)\n"
    )
    failed(run("compress", "digits-cnn", "--data", f"mine:{function}", cwd=tmp_path), message)


def test_an_onnx_file_that_the_board_cannot_read_is_refused_here(saved_baseline, tmp_path):
    from edge_dendrite.config import ExportConfig
    from edge_dendrite.export.bundle import export_bundle

    model = export_bundle(saved_baseline, tmp_path / "b17", ExportConfig(opset=17)).path / "model.onnx"
    failed(run("export", model, "--target", "jetson-nano", cwd=tmp_path), "has opset 17, jetson-nano reads at most 13")


def test_names_cannot_steer_the_terminal(tmp_path):
    result = run("report", "\x1b[31mred:smile:.json", cwd=tmp_path)
    failed(result, "?[31mred:smile:.json")
    assert "\x1b" not in result.stderr


def test_sigterm_ends_like_ctrl_c(bundle13, tmp_path):
    command = [sys.executable, "-m", "edge_dendrite", "deploy", str(bundle13.path), "local", "--duration", "60"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        if list(tmp_path.glob("edge-dendrite-*/measurement.json")):
            break
        time.sleep(0.1)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    record = json.loads((tmp_path / "measurements" / "local" / "digits-1.json").read_text())
    assert record["status"] == "partial"
    assert not list(tmp_path.glob("edge-dendrite-*")), "the agent is gone, and its folder with it"


def test_closed_stdout_is_no_crash():
    command = f"'{sys.executable}' -m edge_dendrite boards >&-"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr

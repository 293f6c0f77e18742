"""The command line in processes of its own: results on stdout, messages on stderr, exit codes, bad input."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fakes
from waiting import listen_to_ctrl_c, wait_until

DIGITS = ("compress", "digits-cnn", "--data", "digits")
COMMANDS = ("demo", "compress", "export", "deploy", "report", "boards", "doctor", "verify")


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


def inside(*arguments):
    """In this process, where many cases differ in a word only: importing torch takes seconds."""
    from typer.testing import CliRunner

    from edge_dendrite.cli import app

    return CliRunner().invoke(app, [str(one) for one in arguments])


def refused(result, message, *codes):
    """As `failed`, of what ran in this process; 2 unless other codes are given."""
    assert result.exit_code in (codes or (2,)), result.output
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert "Traceback" not in result.stderr


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in; the modules there are found, and only in this test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_help_lists_the_commands_and_shows_defaults():
    top = run("--help")
    assert top.returncode == 0
    assert all(command in top.stdout for command in COMMANDS)
    shown = run("demo", "--help").stdout
    for default in ("digits", "local", "0.6", "accuracy", "1.0", "0.5"):
        assert f"default: {default}" in " ".join(shown.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command):
    result = inside(command, "--help")
    assert result.exit_code == 0
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
    result = inside(*arguments)
    assert result.exit_code == 2
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
        (("export", "digits-cnn", "--input-shape", "1,8,8", "--opset", "24"), "opset must be"),
        (
            ("export", "digits-cnn", "--input-shape", "1,8,8", "--target", "jetson-orin-nano", "--opset", "21"),
            "at most opset 20",
        ),
        (("export", "digits-cnn", "--input-shape", "1,8,8", "--target", "jetson-nan"), "jetson-nano"),
        (
            ("export", "digits-cnn", "--input-shape", "1,8,8", "--target", "jetson-nano", "--opset", "17"),
            "at most opset 13",
        ),
        (
            ("export", "digits-cnn", "--input-shape", "1,8,8", "--engine-batch", "4"),
            "write smallest, usual and largest",
        ),
        (("export", "digits-cnn", "--input-shape", "1,8,8", "--engine-batch", "4,2,8"), "numbers that do not fall"),
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
def test_bad_input_gets_one_clear_line(arguments, message, here):
    (here / "empty").mkdir()
    (here / "bad.json").write_text(json.dumps({"fit": {"epoch": 3}}))
    refused(inside(*arguments), message, 1, 2)


@pytest.mark.parametrize("out", ["m/one.json", "m/new.json", "linked.json"])
def test_a_report_is_not_written_over_measurements(out, here):
    """Nor beside them as .json, where it would be read as one next time."""
    (here / "m").mkdir()
    measured = Path(__file__).parent / "history" / "data" / "agent-with-named-memory.json"
    (here / "m" / "one.json").write_bytes(measured.read_bytes())
    (here / "linked.json").symlink_to(here / "m" / "one.json")
    refused(inside("report", "m", "--out", out), "is read here; give another path", 2)
    assert (here / "m" / "one.json").read_bytes() == measured.read_bytes()
    assert not (here / "m" / "new.json").exists()


def test_boards_and_doctor():
    boards = json.loads(inside("boards", "--json").stdout)
    assert {"jetson-nano", "jetson-orin-nano", "raspberry-pi-5"} <= {board["name"] for board in boards}
    shown = inside("boards", "jetson-nano")
    assert "tegra210" in shown.stdout
    assert "source" in shown.stdout
    doctor = run("doctor", "--json")
    assert doctor.returncode == 0
    assert next(row for row in json.loads(doctor.stdout) if row["name"] == "torch")["works"] is True


def test_from_a_users_module_to_a_report(here):
    """compress, export, deploy, report on a network, data and metric of the user's own, as a user would."""
    (here / "mine.py").write_text(
        "import torch, edge_dendrite as ed\nfrom torch import nn\n"
        "def make():\n    return nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 3))\n"
        "def data():\n    g = torch.Generator().manual_seed(0)\n    y = torch.arange(300) % 3\n"
        "    x = torch.randn(300, 6, generator=g) + 3 * torch.eye(3, 6)[y]\n"
        "    return ed.DataSet.from_tensors('clouds', train=(x[:240], y[:240]), test=(x[240:], y[240:]))\n"
        "def top1(outputs, targets):\n    return float((outputs.argmax(1) == targets).float().mean())\n"
    )
    own = ("--data", "mine:data", "--metric", "mine:top1")
    made = run("compress", "mine:make", *own, "--out", "c", "--epochs", 3, "--finetune-epochs", 2, "--json", cwd=here)
    assert made.returncode == 0, made.stderr
    models = json.loads(made.stdout)["models"]
    assert [model["role"] for model in models[:2]] == ["baseline", "compressed"]
    assert models[1]["num_parameters"] <= 0.4 * models[0]["num_parameters"]

    refused(inside("export", "c", "--out", "b"), "--factory", 1, 2)
    exported = inside("export", "c", "--factory", "mine:make", "--opset", 13, "--out", "b", *own, "--tar")
    assert exported.exit_code == 0, exported.stderr
    assert (here / "b.tar").exists()

    deployed = inside("deploy", "b.tar", "local", "--out", "m", "--runs", 70, "--max-other-load", 1000)
    assert deployed.exit_code == 0, deployed.stderr
    assert "outputs      match" in deployed.stdout

    outputs = ["--out", "r.html", "--out", "r.md", "--out", "r.json"]
    reported = inside("report", "m/local", *outputs, "--model", "c", "--title", "mine <b>")
    assert reported.exit_code == 0, reported.stderr
    assert reported.stdout.rstrip().endswith("r.json")
    assert "mine &lt;b&gt;" in (here / "r.html").read_text()
    assert json.loads((here / "r.json").read_text())["rows"][0]["accuracy"]["metric"] == "mine.top1"
    refused(inside("report", "m/local", "--out", "r.pdf"), "a report ends in .html, .md or .json", 1, 2)


def test_an_onnx_file_of_the_user(bundle13, here):
    model = bundle13.path / "model.onnx"
    exported = inside("export", model, "--out", "b", "--json")
    assert exported.exit_code == 0, exported.stderr
    assert json.loads(exported.stdout)["manifest"]["model"]["opset"] == 13
    deployed = inside("deploy", "b", "local", "--runs", 20, "--max-other-load", 1000, "--json")
    assert json.loads(deployed.stdout)[0]["measurement"]["status"] == "complete"


def test_an_invalid_run_ends_with_4_and_enters_no_figure(bundle13, here):
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        deployed = inside("deploy", bundle13.path, "local", "--duration", 1, "--max-other-load", 0.005)
        busy.kill()
    assert deployed.exit_code == 4
    record = json.loads((here / "measurements" / "local" / "digits-1.json").read_text())
    assert record["status"] == "complete"
    assert "other programs used" in record["invalid"][0]
    reported = inside("report", "measurements/local")
    assert reported.exit_code == 0
    assert "1 of 1 runs were left out: other programs used" in reported.stderr


def test_a_closed_pipe_is_no_crash():
    command = f"'{sys.executable}' -m edge_dendrite boards --json | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in result.stderr


def test_a_closed_pipe_behind_a_table_is_no_fault_of_a_network():
    measured = Path(__file__).parent / "history" / "data" / "agent-with-named-memory.json"
    command = f"'{sys.executable}' -m edge_dendrite compare '{measured}' '{measured}' | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "ended the program" not in result.stderr and "Traceback" not in result.stderr


def test_a_full_disk_is_one_line_and_leaves_no_half_file(tmp_path):
    """A limit on file sizes fails in the same call as a full disk does (write), with another errno."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    arguments = (*DIGITS, "--epochs", 1, "--finetune-epochs", 1, "--no-controls", "--out", "c")
    failed(run(*arguments, cwd=tmp_path, preexec_fn=limit), "File too large")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert run(*arguments, cwd=tmp_path).returncode == 0, "with room again, the same command goes through"


def test_ctrl_c_in_training_keeps_the_epochs_and_goes_on(tmp_path):
    arguments = [*DIGITS, "--epochs", "12", "--finetune-epochs", "1", "--no-controls", "--out", "c"]
    command = [sys.executable, "-m", "edge_dendrite", *arguments]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=listen_to_ctrl_c,
    )
    wait_until((tmp_path / "c" / "checkpoints" / "baseline.safetensors").exists)
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
def test_data_functions_of_users_may_do_anything(function, message, here):
    (here / f"data_that_{function}.py").write_text(
        "import sys, torch, numpy, edge_dendrite as ed\n"
        "def raises():\n    1 / 0\n"
        "def quits():\n    sys.exit(0)\n"
        "def arrays():\n    x = (numpy.zeros((9, 2)), numpy.zeros(9))\n"
        "    return ed.DataSet.from_tensors('x', train=x, test=x)\n"
        "def lame():\n    x = (torch.zeros(9, 2), torch.zeros(9).long())\n"
        "    return ed.DataSet.from_tensors('x', train=x, test=None)\n"
    )
    refused(inside("compress", "digits-cnn", "--data", f"data_that_{function}:{function}"), message, 1, 2)


def test_an_onnx_file_that_the_board_cannot_read_is_refused_here(saved_baseline, here):
    from edge_dendrite.config import ExportConfig
    from edge_dendrite.export.bundle import export_bundle

    model = export_bundle(saved_baseline, here / "b17", ExportConfig(opset=17)).path / "model.onnx"
    refused(inside("export", model, "--target", "jetson-nano"), "has opset 17, jetson-nano reads at most 13", 1, 2)


def export_with_engine(tmp_path, *flags, **variables):
    """`export --engine` on a machine with nothing of NVIDIA's but what the variables bring."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), **variables}
    model = ("digits-cnn", "--input-shape", "1,8,8", "--opset", 13, "--out", tmp_path / "b")
    return run("export", *model, "--engine", *flags, env=environment)


def test_without_a_gpu_the_bundle_has_the_recipe_and_the_reason_is_said(tmp_path):
    (tmp_path / "libcuda.so.1").write_bytes(b"no library")
    result = export_with_engine(tmp_path, "--workspace-mib", 64, "--version-compatible", "--tf32", "--json")
    assert result.returncode == 0, result.stderr
    assert "no engine is built here: no NVIDIA driver here" in " ".join(result.stderr.split())
    manifest = json.loads((tmp_path / "b/manifest.json").read_text())
    assert "model.engine" not in manifest["files"]
    recipe = manifest["engine_recipe"]
    assert recipe["workspace_bytes"] == 64 << 20
    assert recipe["version_compatible"] is recipe["allow_tf32"] is True
    assert json.loads(result.stdout)["engine"]["built"] is False


def test_with_a_gpu_the_bundle_has_the_engine_too(tmp_path):
    """The GPU and TensorRT are stand-ins; the command, its child processes and the bundle are real."""
    place = {"PYTHONPATH": f"{fakes.tensorrt_path('8.6')}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    fakes.compile_driver(tmp_path)
    flags = ("--engine-batch", "1,4,16", "--timing-cache", tmp_path / "timings", "--json")
    result = export_with_engine(tmp_path, *flags, **place)
    assert result.returncode == 0, result.stderr
    assert "engine: TensorRT 8.6.0 builds for Orin by python" in result.stderr
    shown = json.loads(result.stdout)
    assert shown["engine"] == {"built": True, "reason": ""}
    assert {"model.engine", "model.engine.json"} <= set(shown["manifest"]["files"])
    assert (tmp_path / "b.engine.log").exists() and (tmp_path / "timings").exists()
    broken = export_with_engine(tmp_path, "--out", tmp_path / "c", FAKE_TENSORRT="crash", **place)
    assert broken.returncode == 1
    assert "error: TensorRT ended the build with signal 11; its log: " in broken.stderr
    assert not (tmp_path / "c").exists() and (tmp_path / "c.engine.log").exists()


def test_names_cannot_steer_the_terminal(tmp_path):
    result = run("report", "\x1b[31mred:smile:.json", cwd=tmp_path)
    failed(result, "?[31mred:smile:.json")
    assert "\x1b" not in result.stderr


def test_sigterm_ends_like_ctrl_c(bundle13, tmp_path):
    command = [sys.executable, "-m", "edge_dendrite", "deploy", str(bundle13.path), "local", "--duration", "60"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list(tmp_path.glob("edge-dendrite-*/measurement.json")))
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


# Planning and the flags of pruning.


QUICK = ("--config", "quick.json")


@pytest.fixture
def place(here):
    """The same, with settings that take no time."""
    (here / "quick.json").write_text(json.dumps({"prune": {"num_rounds": 2, "num_batches": 1}}))
    return here


def planned(*arguments):
    result = inside(*DIGITS, "--dry-run", "--json", *arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def widths(plan):
    return {line["layer"]: line["after"] for line in plan["plan"]["layers"]}


def test_dry_run_prints_the_plan_and_writes_nothing(here):
    result = inside(*DIGITS, "--dry-run", "--out", "c")
    assert result.exit_code == 0, result.stderr
    table = [[cell.strip() for cell in line.replace("┃", "│").split("│")] for line in result.stdout.splitlines()]
    header = next(row for row in table if "layer" in row)
    assert header[1:-1] == ["layer", "units before", "after", "score removed", "parameters saved*", "MACs saved*"]
    rows = {row[1]: row[2:-1] for row in table if len(row) == len(header) and row[1] != "layer"}
    assert set(rows) == {"conv1", "conv2", "fc1"}
    assert [rows[name][0] for name in ("conv1", "conv2", "fc1")] == ["16", "32", "64"]
    for before, after, score, parameters, macs in rows.values():
        assert 8 <= int(after) <= int(before)
        assert score.endswith("%")
        assert (int(parameters.replace(",", "")) > 0) == (int(macs.replace(",", "")) > 0) == (after != before)
    assert "parameters: 13,706 -> " in result.stdout
    assert "MACs: " in result.stdout
    assert "fc2" in result.stdout
    assert "an output of the network" in result.stdout
    assert "untrained network" in result.stderr
    assert list(here.iterdir()) == [], "not even the folder of the results"


def test_dry_run_as_json(place):
    plan = planned("--pruning-ratio", 0.5)
    assert set(plan) == {"plan", "kept", "num_parameters", "num_macs"}
    assert plan["num_parameters"][0] == 13_706
    assert plan["num_parameters"][1] <= 6_853
    assert plan["num_macs"][1] < plan["num_macs"][0]
    assert plan["kept"]["fc2"] == "an output of the network"
    assert plan["plan"]["schema"] == "edge-dendrite.plan"
    keys = {"layer", "before", "after", "removed_score", "total_score", "parameters_saved", "macs_saved"}
    assert all(set(line) == keys for line in plan["plan"]["layers"])
    assert {edit["edit"] for edit in plan["plan"]["edits"]} == {"cut", "set"}
    assert sorted(place.iterdir()) == [place / "quick.json"]


def test_a_dry_run_of_a_trained_network_shows_what_is_done(place):
    """The plan of the saved baseline is the plan that the run had."""
    settings = (*QUICK, "--epochs", 1, "--finetune-epochs", 1)
    made = inside(*DIGITS, *settings, "--no-controls", "--out", "c", "--json")
    assert made.exit_code == 0, made.output
    again = inside("compress", "c/baseline", "--data", "digits", *settings, "--dry-run", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["plan"] == json.loads(made.stdout)["plan"]
    assert "untrained" not in again.stderr
    weights = inside(*DIGITS, *settings, "--weights", "c/baseline/model.safetensors", "--dry-run", "--json")
    assert json.loads(weights.stdout)["plan"] == json.loads(made.stdout)["plan"]


@pytest.mark.parametrize(
    ("flag", "value", "what", "limit"),
    [
        ("--pruning-ratio", 0.3, "num_parameters", 9_594),
        ("--max-parameters", 5_000, "num_parameters", 5_000),
        ("--macs-ratio", 0.5, "num_macs", None),
        ("--max-macs", 25_000, "num_macs", 25_000),
    ],
)
def test_budget_flags(flag, value, what, limit, place):
    plan = planned(*QUICK, flag, value)
    before, after = plan[what]
    assert after <= (limit if limit is not None else before / 2)
    assert after > 0.7 * (limit if limit is not None else before / 2)


def test_the_budget_of_bytes_is_that_of_the_exported_file(place):
    arguments = (*QUICK, "--max-onnx-bytes", 30_000, "--epochs", 1, "--finetune-epochs", 1, "--no-controls")
    assert planned(*arguments)["num_parameters"][1] <= 30_000 / 4
    made = inside(*DIGITS, *arguments, "--out", "c", "--json")
    assert made.exit_code == 0, made.output
    exported = inside("export", "c", "--out", "b")
    assert exported.exit_code == 0, exported.output
    size = (place / "b" / "model.onnx").stat().st_size
    assert 25_000 < size <= 30_000


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (("--layer", "fc1=keep"), {"fc1": 64}),
        (("--layer", "conv.=keep"), {"conv1": 16, "conv2": 32}),
        (("--layer", "fc1=0.5", "--layer", "conv.*=keep"), {"conv1": 16, "conv2": 32, "fc1": 32}),
        (("--layer", "conv2=0.25", "--layer", "conv.*=0.5"), {"conv1": 8, "conv2": 24}),
    ],
)
def test_layer_rules(rule, wanted, place):
    plan = planned(*QUICK, "--pruning-ratio", 0.3, *rule)
    assert wanted.items() <= widths(plan).items()


@pytest.mark.parametrize("score", ["l1", "l2", "lamp", "fpgm", "activation", "random", "learned"])
def test_scores_by_name(score, place):
    (place / "quick.json").write_text(
        json.dumps({"prune": {"num_rounds": 2, "num_batches": 1, "masks": {"num_steps": 3}}})
    )
    assert planned(*QUICK, "--score", score)["num_parameters"][1] <= 0.4 * 13_706


def test_scopes_by_name(place):
    by_scope = {scope: widths(planned(*QUICK, "--scope", scope)) for scope in ("global", "type", "layer")}
    assert by_scope["layer"] != by_scope["global"]
    shares = [by_scope["layer"][name] / width for name, width in (("conv1", 16), ("conv2", 32), ("fc1", 64))]
    assert max(shares) - min(shares) <= 8 / 16


@pytest.mark.parametrize(
    ("arguments", "suffix"),
    [
        (("--level", "segments"), "(inputs)"),
        (("--level", "2:4", "--target", "jetson-orin-nano"), "(non-zero weights)"),
        (("--level", "branches"), "(parameters)"),
    ],
)
def test_levels_by_name(arguments, suffix, place):
    plan = planned(*arguments)
    assert all(line["layer"].endswith(suffix) for line in plan["plan"]["layers"])
    assert any(line["after"] < line["before"] for line in plan["plan"]["layers"])


def test_round_to(place):
    assert all(width % 4 == 0 for width in widths(planned(*QUICK, "--round-to", 4)).values())
    assert any(width % 4 for width in widths(planned(*QUICK, "--round-to", 1)).values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--pruning-ratio", 0.5, "--max-macs", 100), "exactly one of"),
        (("--macs-ratio", 1), "macs_ratio must be"),
        (("--max-onnx-bytes", 0), "max_onnx_bytes must be"),
        (("--max-drop", -1), "max_drop must be"),
        (("--score", "tailor"), "score must be one of taylor"),
        (("--scope", "local"), "scope must be one of global"),
        (("--level", "neuron"), "unknown level 'neuron'"),
        (("--layer", "fc1"), "write NAME=keep, or NAME=0.5"),
        (("--layer", "fc1=1.5"), "write NAME=keep, or NAME=0.5"),
        (("--layer", "fc1=nan"), "write NAME=keep, or NAME=0.5"),
        (("--layer", "=0.5"), "write NAME=keep, or NAME=0.5"),
        (("--layer", "fc(=0.5"), "is no regular expression"),
        (
            ("--level", "segments", "--layer", "fc1=keep"),
            "--layer gives rules for neurons, and level segments has none",
        ),
        (
            ("--level", "branches", "--layer", "fc1=keep"),
            "--layer gives rules for neurons, and level branches has none",
        ),
        (("--level", "branches", "--score", "l1"), "BranchConfig: unknown key 'score'"),
        (("--level", "segments", "--score", "l1"), "SegmentConfig: unknown key 'score'"),
        (("--level", "2:4", "--target", "jetson-nano"), "jetson-nano"),
        (("--level", "2:4"), "board"),
        (("--precision", "float64"), "precision must be one of float32"),
        (("--patience", 0), "patience must be"),
        (("--ema-decay", 1), "ema_decay must be"),
        (("--device", "gpu"), "device 'gpu' is not known"),
        (("--device", "cpu", "--precision", "float16"), "float16"),
    ],
)
def test_settings_that_cannot_be_end_with_2(arguments, message, place):
    """Before anything is trained, and without leaving a model behind."""
    refused(inside(*DIGITS, "--out", "c", "--epochs", 1, "--finetune-epochs", 1, *arguments), message)
    assert not list(place.rglob("model.*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "fc_1=keep"), "the rule for 'fc_1' names no layer that can be pruned; did you mean 'fc1'"),
        (("--max-macs", 10), "budget of 10 multiply-accumulates cannot be reached"),
        (("--max-onnx-bytes", 10), "at most 10 bytes"),
        (("--score", "bn_scale"), "no batch norm with a scale stands on them"),
        (("--score", "learned", "--macs-ratio", 0.5), "budgets of parameters only"),
        (("--level", "segments", "--macs-ratio", 0.5), "give pruning_ratio or max_parameters"),
        (("--level", "groups"), "groups were not measured to pay"),
    ],
)
def test_plans_that_cannot_be_end_with_1(arguments, message, place):
    refused(inside(*DIGITS, "--dry-run", *arguments), message, 1)


def test_a_dry_run_cannot_search_and_says_what_can_be_planned(place):
    """A drop of the metric is only known after training."""
    result = inside(*DIGITS, "--dry-run", "--max-drop", 1)
    refused(result, "the recipe decides by training")
    assert "training" in result.stderr
    assert "give a size" in result.stderr


def test_a_network_whose_way_depends_on_values_is_refused_with_its_line(here):
    (here / "depends_on_values.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.a = nn.Linear(64, 16)\n"
        "        self.b = nn.Linear(16, 10)\n\n"
        "    def forward(self, x):\n        h = self.a(x.flatten(1))\n"
        "        if h.sum() > 0:\n            h = -h\n        return self.b(h)\n"
    )
    result = inside("compress", "depends_on_values:Net", "--data", "digits", "--dry-run")
    refused(result, "cannot be traced", 1, 2)
    assert "depends_on_values.py" in result.stderr
    assert "line 12" in result.stderr


RECIPE = {
    "prune": {
        "level": "recipe",
        "branch_first": [2.0],
        "widths": [4],
        "trial_steps": 3,
        "prune": {"num_rounds": 1, "num_batches": 2},
        "branch": {"num_batches": 2, "num_samples": 256},
        "grow": {"num_batches": 2, "candidate_steps": 5},
    }
}


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(RECIPE), "utf-8")
    return path


def test_the_recipe_says_what_each_step_gained(recipe_file, tmp_path):
    quick = ("--epochs", 2, "--finetune-epochs", 2, "--out", tmp_path / "out", "--config", recipe_file)
    result = inside(*DIGITS, *quick, "--max-parameters", 4000, "--no-controls", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    steps = found["steps"]
    assert found["kept"]["fc2"] == "an output of the network"
    assert steps[0]["method"] == "as it came" and steps[2]["method"] == "fine-tune"
    assert steps[1]["num_parameters"] <= 4000 < steps[0]["num_parameters"] == 13_706
    shown = inside(*DIGITS, *quick, "--max-parameters", 4000, "--no-controls")
    assert "what each step gained" in shown.stdout and "trials, best first" in shown.stdout
    assert "layers that stay whole" in shown.stdout and "an output of the network" in shown.stdout


def test_max_drop_alone_is_for_the_recipe_and_within_its_epochs(here):
    """With the recipe's own settings; so it is a network for which their trials take no time."""
    (here / "two_layers.py").write_text(
        "from torch import nn\n"
        "def make():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))\n"
    )
    quick = ("--epochs", 4, "--finetune-epochs", 2, "--max-epochs", 2, "--out", "out")
    result = inside("compress", "two_layers:make", *DIGITS[2:], *quick, "--max-drop", 90, "--no-controls", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["steps"][0]["method"] == "as it came" and found["steps"][2]["method"] == "fine-tune"
    assert len(list((here / "out" / "search").iterdir())) == 1


def test_seeds_are_compared_on_test_data(recipe_file, tmp_path):
    quick = ("--epochs", 1, "--finetune-epochs", 2, "--out", tmp_path / "out", "--config", recipe_file)
    result = inside(*DIGITS, *quick, "--max-parameters", 4000, "--seeds", 2, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {one["seed"] for one in found["tested"]} == {0, 1}
    # Dendrites may have grown in one seed only.
    judged = [one for one in found["against"] if one["role"] != "control:dendrites-zeroed"]
    assert len(judged) >= 3 and all(one["words"] in ("better", "worse", "not distinguishable") for one in judged)
    shown = inside(*DIGITS, *quick, "--max-parameters", 4000, "--seeds", 2)
    assert "control:equal-capacity" in shown.stdout and "McNemar" in shown.stdout


@pytest.mark.parametrize("other", ["--no-controls", "--dry-run"])
def test_seeds_go_with_controls_only(other):
    refused(inside(*DIGITS, "--seeds", 2, other), "--seeds compares with the controls")


def test_too_few_epochs_for_a_search(tmp_path):
    few = ("--max-epochs", 1, "--finetune-epochs", 2, "--out", tmp_path / "out")
    refused(inside(*DIGITS, "--max-drop", 10, *few), "max_epochs must be")


# Bundles: signing and verifying.


@pytest.fixture
def signers(tmp_path):
    """A key and the list on which it stands."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    key = tmp_path / "anna"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "allowed").write_text(f"anna@example.org {key.with_name('anna.pub').read_text()}")
    return key, ("--allowed-signers", tmp_path / "allowed", "--signer", "anna@example.org")


def test_export_signs_and_verify_checks(bundle13, signers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key, who = signers
    model = bundle13.path / "model.onnx"
    result = inside("export", model, "--out", "b/small", "--tar", "--sign", key, "--json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert made["signature"] == str(tmp_path / "b" / "small.sig")
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["small", "small.sig", "small.tar"]
    for place in ("b/small", "b/small.tar"):
        assert inside("verify", place).stdout == f"{made['id']}  {place}  whole; no signature was asked for\n"
        assert inside("verify", place, *who).stdout.endswith("signed by anna@example.org\n")
        found = json.loads(inside("verify", place, "--json", *who).stdout)
        assert found == {"path": place, "id": made["id"], "signer": "anna@example.org"}
    refused(inside("verify", "b/small", *who[:3], "bert@example.org"), "no signature of it by 'bert@example.org'", 1)
    refused(inside("verify", "b/small", "--signer", "anna@example.org"), "both allowed signers (a file)")
    refused(inside("verify", "b/absent"), "no such file or folder", 1)
    Path("b/small/model.onnx").write_bytes(b"x")
    refused(inside("verify", "b/small", *who), "model.onnx was changed or damaged", 1)
    # What is there is not replaced, and said before anything is exported.
    refused(inside("export", model, "--out", "b/other", "--sign", tmp_path / "absent"), "no such key")
    Path("b/other.sig").write_text("precious")
    refused(inside("export", model, "--out", "b/other", "--sign", key), "other.sig: exists already")
    assert Path("b/other.sig").read_text() == "precious" and not Path("b/other").exists()


def test_export_straight_into_a_tar(bundle13, signers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key, who = signers
    result = inside("export", bundle13.path / "model.onnx", "--out", "b/small.tar", "--tar", "--sign", key)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("b").iterdir()) == ["small.sig", "small.tar"]
    assert inside("verify", "b/small.tar", *who).exit_code == 0


def test_an_export_whose_key_does_not_sign_can_be_given_again(bundle13, signers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    key, _ = signers
    (tmp_path / "garbage").write_text("no key")
    for name, code in (("garbage", 1), (key.name, 0)):
        arguments = ("export", bundle13.path / "model.onnx", "--out", "b/small", "--tar", "--sign", name)
        assert inside(*arguments).exit_code == code
        assert len(list(Path("b").iterdir())) == (0 if code else 3)


@pytest.mark.parametrize("moment", ["at its start", "while it writes"])
def test_ctrl_c_during_an_export_leaves_nothing_or_all_of_it(bundle13, tmp_path, moment):
    from edge_dendrite.export.bundle_files import Bundle

    command = [sys.executable, "-m", "edge_dendrite", "export", str(bundle13.path / "model.onnx"), "--out", "x/b"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=tmp_path, text=True, preexec_fn=listen_to_ctrl_c, **pipes)
    place = tmp_path / "x"
    for _ in range(60_000 if moment == "while it writes" else 3000):
        if place.exists() or process.poll() is not None:
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    left = list(place.iterdir()) if place.exists() else []
    assert process.returncode in ((0, 130) if left else (130, -signal.SIGINT)), errors
    assert [path.name for path in left] in ([], ["b"])
    for path in left:
        Bundle.read(path)

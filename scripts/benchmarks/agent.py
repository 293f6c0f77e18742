"""What the agent costs: its latency beside a bare onnxruntime loop, its start, its memory, its size.

    scripts/benchmarks/agent [--python .venv36/bin/python ...] [--edgelens PROGRAM]

All in one run, interleaved: A B C, C B A, A B C, ... The network is the MNIST network of 41,076 parameters with random
weights (they do not change its time), on one thread. EdgeLens 0.1.0 is not installed by us: make an environment of
its own (`pip install edgelens==0.1.0 onnxruntime`) and name its program; it takes no number of threads.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from edge_bench.atomic import canonical_json, write_bytes
from edge_bench.board.describe import describe_board
from edge_bench.stats import median
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.models.convnets import MnistCNN
from edge_dendrite.ship.agent import build_agent
from scripts.benchmarks.agent_table import table
from scripts.benchmarks.environment import source

RESULTS = Path(__file__).parent.parent / "results"
TIME_LIMIT_S = 300.0
# The same session options, the same kind of clock, the same warm-up; nothing else.
BARE = """
import gc, json, os, sys, time
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime
imported = time.perf_counter()
import numpy
folder, num_runs = sys.argv[1], int(sys.argv[2])
with open(folder + "/manifest.json", encoding="utf-8") as stream:
    manifest = json.load(stream)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
options.log_severity_level = 3
with open(folder + "/model.onnx", "rb") as stream:
    model = stream.read()
session = onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
tensor = manifest["model"]["inputs"][0]
with open(folder + "/" + manifest["reference"]["cases"][0]["inputs"][0], "rb") as stream:
    feed = {tensor["name"]: numpy.frombuffer(stream.read(), "<f4").reshape(tensor["shape"])}
names = [output.name for output in session.get_outputs()]
session.run(names, feed)
first = time.perf_counter()
until = first + 0.5
while time.perf_counter() < until:
    session.run(names, feed)
samples = []
gc.disable()
for _ in range(num_runs):
    began = time.perf_counter()
    session.run(names, feed)
    samples.append(time.perf_counter() - began)
print(json.dumps({"samples_s": samples, "imported": imported, "first": first}))
"""
IMPORT = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; import onnxruntime, time; print(time.perf_counter())"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, nargs="+", default=[Path(sys.executable)], help="interpreters to run")
    parser.add_argument("--edgelens", type=Path, help="the program of an environment that has EdgeLens")
    parser.add_argument("--rounds", type=int, default=10, help="of every program; default 10")
    parser.add_argument("--runs", type=int, default=20000, help="timed inferences of a round; default 20000")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = [_measure(python, options, Path(scratch)) for python in options.python]
        size = (Path(scratch) / "edge-bench.pyz").stat().st_size
    board = describe_board()
    result = {
        "rows": rows,
        "pyz_bytes": size,
        "environment": {"cpu": board["cpu"], "num_cpus": board["num_cpus"], "source": source()},
    }
    write_bytes(str(RESULTS / "agent.json"), canonical_json(result))
    write_bytes(str(RESULTS / "agent.md"), table(result).encode())
    print((RESULTS / "agent.md").read_text("utf-8"))


def _measure(python: Path, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    agent = scratch / "edge-bench.pyz"
    build_agent(agent)
    bundle = scratch / "bundle"
    if not bundle.exists():
        torch.manual_seed(0)
        model = CompressedModel(MnistCNN().eval(), "mnist-cnn", "baseline", "random weights", (1, 28, 28))
        export_bundle(model, bundle, ExportConfig(opset=15))
    programs = {
        "bare": lambda: _bare(python, bundle, options.runs),
        "agent": lambda: _agent(python, agent, bundle, options.runs),
    }
    if options.edgelens is not None and python == options.python[0]:
        programs["edgelens"] = lambda: _edgelens(options.edgelens, bundle, min(options.runs, 2000))
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in programs}
    for number in range(options.rounds):
        for name in list(programs)[:: 1 if number % 2 == 0 else -1]:
            rounds[name].append(programs[name]())
        print(f"{python}: round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    imports = [_import_s(python) for _ in range(options.rounds)]
    without = [_memory_without_runtime(python, agent, scratch) for _ in range(3)]
    return {
        "python": subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.split()[1],
        "onnxruntime": rounds["agent"][0]["onnxruntime"],
        "rounds": rounds,
        "import_s": imports,
        "memory_without_runtime_bytes": median([float(one) for one in without]),
        "machine": platform.machine(),
    }


def _bare(python: Path, bundle: Path, num_runs: int) -> dict[str, Any]:
    began = time.perf_counter()
    result = _run([python, "-c", BARE, bundle, num_runs])
    answer = json.loads(result.splitlines()[-1])
    return {"median_s": median(answer["samples_s"]), "first_inference_s": answer["first"] - began}


def _agent(python: Path, agent: Path, bundle: Path, num_runs: int) -> dict[str, Any]:
    """first_inference_s: from the start of the process to the line that says that the outputs were checked."""
    output = bundle.parent / "measurement.json"
    command = [python, agent, "run", bundle, "--runs", num_runs, "--output", output, "--max-other-load", 1000]
    began = time.perf_counter()
    child = subprocess.Popen(
        [str(word) for word in [*command, "--power", "none"]],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert child.stderr is not None
    checked = None
    for line in child.stderr:
        if checked is None and line.startswith("edge-bench: check 100"):
            checked = time.perf_counter() - began
    if child.wait(TIME_LIMIT_S) != 0 or checked is None:
        raise SystemExit(f"edge-bench ended with {child.returncode}")
    record = json.loads(output.read_text("utf-8"))
    return {
        "median_s": record["latency"]["summary"]["median_s"],
        "overhead_share": record["latency"]["overhead_share"],
        "first_inference_s": checked,
        "onnxruntime": record["backend"]["version"],
    }


def _edgelens(program: Path, bundle: Path, num_runs: int) -> dict[str, Any]:
    output = bundle.parent / "edgelens.json"
    _run([program, "benchmark", "--model", bundle / "model.onnx", "--iterations", num_runs, "--save", output])
    record = json.loads(output.read_text("utf-8"))
    stage = record["stage_stats_ms"]["inference"]
    return {
        "median_s": stage["p50"] / 1e3,
        "mean_s": stage["mean"] / 1e3,
        "end_to_end_median_s": record["latency"]["p50"] / 1e3,
    }


def _import_s(python: Path) -> float:
    began = time.perf_counter()
    return float(_run([python, "-c", IMPORT]).split()[-1]) - began


def _memory_without_runtime(python: Path, agent: Path, scratch: Path) -> int:
    """The agent's own peak (VmHWM) where it measures a command, so that no runtime is in it."""
    output = scratch / "command.json"
    command = [python, agent, "run", "--cmd", "true", "--runs", 50, "--output", output, "--power", "none"]
    words = [str(word) for word in [*command, "--max-other-load", 1000]]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{child.pid}/status").read_text("utf-8"), re.MULTILINE)
        peak = max(peak, int(found[1]) * 1024 if found else 0)
        time.sleep(0.005)
    if child.returncode != 0 or not peak:
        raise SystemExit(f"edge-bench run --cmd ended with {child.returncode}")
    return peak


def _run(command: list[Any]) -> str:
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIME_LIMIT_S)
    if result.returncode != 0:
        raise SystemExit(f"{words[0]} ended with {result.returncode}: {result.stderr[-2000:]}")
    return result.stdout


if __name__ == "__main__":
    main()

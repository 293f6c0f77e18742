"""Measurements as the agent makes them: by its command line on a real network, and with times that are known."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_bench.atomic import canonical_json
from edge_bench.manifest import digest_line
from edge_dendrite.cli import app

DATA = Path(__file__).parents[2] / "edge_bench" / "data"
QUICK = ("--runs", "700", "--warmup", "0.01", "--idle-s", "0.01", "--energy-s", "0.01", "--max-other-load", "1000")


@pytest.fixture(scope="module")
def bundle_folder(tmp_path_factory):
    """A bundle of the stored tiny network."""
    folder = tmp_path_factory.mktemp("bundle")
    contents = {
        "model.onnx": (DATA / "tiny.onnx").read_bytes(),
        "reference/input.bin": (DATA / "tiny_input.bin").read_bytes(),
        "reference/output.bin": (DATA / "tiny_output.bin").read_bytes(),
    }
    files = {
        name: {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in contents.items()
    }
    tensors = {
        "inputs": [{"name": "input", "dtype": "float32", "shape": [1, 1, 8, 8]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, 10]}],
    }
    case = {"inputs": ["reference/input.bin"], "outputs": ["reference/output.bin"]}
    manifest = canonical_json(
        {
            "schema": "edge-dendrite.bundle",
            "version": 1,
            "name": "tiny",
            "role": "baseline",
            "files": files,
            "model": {"path": "model.onnx", **tensors},
            "reference": {"atol": 1e-5, "rtol": 1e-4, "cases": [case]},
            "labels": [str(number) for number in range(10)],
            "preprocessing": {},
            "stats": {"num_parameters": 1490},
            "tools": {},
        }
    )
    contents |= {"manifest.json": manifest}
    contents |= {"manifest.sha256": digest_line(hashlib.sha256(manifest).hexdigest())}
    for name, data in contents.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_real_runs(bundle_folder, tmp_path):
    """Nothing is said of how fast they are: this machine may be busy, which makes runs invalid."""
    for side in ("old", "new"):
        (tmp_path / side).mkdir()
        for number in range(2):
            words = ["run", str(bundle_folder), "--output", str(tmp_path / side / f"{number}.json"), *QUICK]
            done = subprocess.run([sys.executable, "-m", "edge_bench", *words], capture_output=True, check=False)
            assert done.returncode in (0, 4), done.stderr
    words = ["compare", str(tmp_path / "old"), str(tmp_path / "new"), "--force", "--json"]
    done = CliRunner().invoke(app, [*words, "--max-regression", "1000%"])
    assert done.exit_code in (0, 4), done.stderr
    (one,) = json.loads(done.stdout)["comparisons"]
    figures = {figure["figure"]: figure for figure in one["figures"]}
    assert figures["latency"]["ratio"] > 0 and figures["latency"]["covers_runs"]
    assert figures["parameters"]["verdict"] == "PASS" and figures["parameters"]["new"] == 1490
    assert figures["accuracy"]["verdict"] == "NOT MEASURED" and not figures["accuracy"]["counts"]
    theirs = subprocess.run(
        [sys.executable, "-m", "edge_bench", "compare", "--force", "--json"]
        + [str(tmp_path / "old" / f"{number}.json") for number in range(2)]
        + ["--with", *(str(tmp_path / "new" / f"{number}.json") for number in range(2))],
        capture_output=True,
        check=False,
        env={**os.environ},
    )
    (compared,) = json.loads(theirs.stdout)["comparisons"]
    assert [row["ratio_high"] for row in compared["rows"]] == [
        figures[key]["ratio_high"] for key in ("latency", "p99", "energy", "net_energy", "memory")
    ]

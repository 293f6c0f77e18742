"""Measurements as the agent makes them: by its command line on a real network, and with times that are known."""

from __future__ import annotations

import array
import hashlib
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_bench.atomic import canonical_json, write_json
from edge_bench.backends import choose
from edge_bench.manifest import digest_line
from edge_bench.measure import check, latency, other_load
from edge_bench.measure import run as run_module
from edge_bench.measure.settings import Settings
from edge_bench.measure.source import open_source
from edge_bench.power import meter
from edge_dendrite.cli import app
from edge_dendrite.report.comparison.compare import compare
from exact import ExactBackend, ManualClock

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
    old, new = ([str(tmp_path / side / f"{number}.json") for number in range(2)] for side in ("old", "new"))
    words = [sys.executable, "-m", "edge_bench", "compare", "--force", "--json", *old, "--with", *new]
    theirs = subprocess.run(words, capture_output=True, check=False)
    (compared,) = json.loads(theirs.stdout)["comparisons"]
    assert [row["ratio_high"] for row in compared["rows"]] == [
        figures[key]["ratio_high"] for key in ("latency", "p99", "energy", "net_energy", "memory")
    ]


def run_exactly(bundle_folder, monkeypatch, factor, minute):
    """A whole run of the agent, on a clock that its pretended runtime moves."""
    clock = ManualClock()
    time = types.SimpleNamespace(perf_counter=clock, monotonic=clock, sleep=clock.sleep, time=clock)
    for module in (run_module, latency, check, other_load):
        monkeypatch.setattr(module, "time", time)
    monkeypatch.setattr(other_load, "busy_seconds", lambda: None)
    monkeypatch.setattr(meter, "find_meter", lambda *_: (None, []))
    outputs = array.array("f", (DATA / "tiny_output.bin").read_bytes())
    backend = ExactBackend(clock, [factor * (2e-3 + 1e-6 * (n * 37 % 101)) for n in range(101)], [list(outputs)])
    monkeypatch.setattr(choose, "open_backend", lambda *_: choose.Opened(backend, []))
    settings = Settings(num_runs=808, warmup_s=0.01, max_other_load=1e9)
    record = run_module.Run(open_source(str(bundle_folder)), settings, lambda _: None, lambda *_: None).measure()
    record["started_at"] = f"2026-01-02T03:{minute:02d}:05Z"
    return record


@pytest.mark.parametrize("factor, verdict", [(1.001, "PASS"), (1.1, "REGRESSION")])
def test_what_is_put_in_comes_out(bundle_folder, monkeypatch, tmp_path, factor, verdict):
    """Each inference takes just the time that it is told, so the ratio is known."""
    with monkeypatch.context() as patched:
        for side, of_side in (("old", 1.0), ("new", factor)):
            (tmp_path / side).mkdir()
            for number, of_run in enumerate((0.998, 1.0, 1.002)):
                record = run_exactly(bundle_folder, patched, of_side * of_run, 2 * number + (side == "new"))
                # The state of the machine that the tests run on is none of what is tested.
                record["invalid"] = []
                write_json(str(tmp_path / side / f"{number}.json"), record)
    report = compare(tmp_path / "old", tmp_path / "new", thresholds={"max_latency_regression": "5%"})
    assert report.comparisons[0].reasons == ()
    median, p99 = report.comparisons[0].figures[:2]
    assert median.baseline == pytest.approx(2.05e-3, rel=1e-6) and p99.baseline == pytest.approx(2.1e-3, rel=1e-3)
    assert median.ratio == pytest.approx(factor, rel=1e-9) and p99.ratio == pytest.approx(factor, rel=1e-9)
    assert median.ratio_interval[0] < factor < median.ratio_interval[1]
    assert report.verdict == verdict

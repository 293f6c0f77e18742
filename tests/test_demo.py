"""The main job from end to end in small, and the script that users call."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from edge_dendrite.export.bundle_files import Bundle
from parts import ROOT

QUICK = ("--epochs", "4", "--finetune-epochs", "3", "--duration", "0.1", "--max-other-load", "1000")


def run_demo(out, *arguments):
    command = [sys.executable, "-m", "edge_dendrite", "demo", "--out", str(out), *QUICK, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    return out, run_demo(out)


def test_it_ends_with_the_path_of_the_report(demo):
    out, result = demo
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(out / "report.html")
    table = result.stdout
    for role in ("baseline", "compressed", "dense-longer", "from-scratch"):
        assert role in table
    for column in ("accuracy", "parameters", "MACs", "ONNX", "median", "p99"):
        assert column in table
    assert "13,706" in table


def test_everything_is_there_and_whole(demo):
    out, _ = demo
    bundles = {path.name: Bundle.read(path) for path in sorted((out / "bundles").iterdir())}
    assert set(bundles) == {"baseline", "compressed", "compressed-opset13", "dense-longer", "from-scratch"}
    opsets = {name: bundle.manifest["model"]["opset"] for name, bundle in bundles.items()}
    assert opsets == {**dict.fromkeys(bundles, 17), "compressed-opset13": 13}
    assert Bundle.read(out / "compressed-opset13.tar").id == bundles["compressed-opset13"].id
    assert len(list((out / "measurements" / "local").glob("*.json"))) == 12
    report = json.loads((out / "report.json").read_text())
    rows = {row["role"]: row for row in report["rows"]}
    assert rows["compressed"]["num_parameters"] <= 0.4 * rows["baseline"]["num_parameters"]
    assert rows["compressed"]["onnx_bytes"] < rows["baseline"]["onnx_bytes"]
    assert all(row["accuracy"]["split"] == "test" and row["accuracy"]["num_samples"] == 359 for row in rows.values())
    assert all(len(row["latency"]["run_medians_s"]) == 3 for row in rows.values())
    assert len(report["history"]) == 4 + 3 + 3 + 7


def test_a_second_run_reuses_what_is_there(demo):
    out, _ = demo
    kept = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(("report", "edge-bench"))]
    kept = [path for path in kept if path.suffix != ".tar"]
    before = {path: path.stat().st_mtime_ns for path in kept}
    again = run_demo(out)
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    assert "training" not in again.stderr


def test_other_settings_in_the_same_folder_are_refused_and_lose_nothing(demo):
    out, _ = demo
    before = (out / "model" / "model.json").read_bytes()
    result = run_demo(out, "--seed", "3")
    assert result.returncode == 1
    assert "holds a model of other settings or data; give another --out" in result.stderr
    assert (out / "model" / "model.json").read_bytes() == before


def test_the_script_makes_no_noise_on_stdout_but_the_results(tmp_path):
    command = [ROOT / "scripts" / "demo", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Usage: edge-dendrite demo")

"""The board's side on the software of JetPack 4.6: Python 3.6 with onnxruntime 1.10, really run."""

from __future__ import annotations

import json
import subprocess

import pytest

from edge_dendrite.config import ExportConfig
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.ship.agent import build_agent
from parts import ROOT

pytestmark = pytest.mark.needs("python3.6 + onnxruntime 1.10")


def run(*command, **options):
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600, **options)


def test_the_one_file_measures_a_bundle_that_was_copied_over(python36, bundle13, tmp_path):
    build_agent(tmp_path / "edge-bench.pyz")
    bundle13.write_tar(tmp_path / "b.tar")
    result = run(
        python36, "edge-bench.pyz", "run", "b.tar", "--runs", 700, "--max-other-load", 1000, "--output", "m.json",
        cwd=tmp_path, env={"LC_ALL": "C"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "m.json").read_text())
    assert record["agent"]["python"].startswith("3.6.")
    assert record["backend"]["version"] == "1.10.0"
    assert record["check"]["passed"] is True
    assert record["latency"]["summary"]["p99_s"] >= record["latency"]["summary"]["median_s"] > 0
    shown = run(python36, "edge-bench.pyz", "show", "m.json", cwd=tmp_path)
    assert shown.returncode == 0
    assert "onnxruntime 1.10.0" in shown.stdout


def test_opset_17_is_refused_there_in_one_line(python36, saved_baseline, tmp_path):
    build_agent(tmp_path / "edge-bench.pyz")
    bundle = export_bundle(saved_baseline, tmp_path / "b17", ExportConfig(opset=17))
    result = run(python36, tmp_path / "edge-bench.pyz", "run", bundle.path, cwd=tmp_path)
    assert result.returncode == 1
    assert "onnxruntime 1.10.0 cannot load the model" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_agents_own_suite_passes_there(python36):
    # The tests choose the agent's locale themselves; they have to be able to write any file name.
    environment = {"PYTHONPATH": str(ROOT / "deploy"), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    result = run(
        python36, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
        "-m", "not slow", "--rootdir", "tests/edge_bench", "--confcutdir", "tests/edge_bench", "tests/edge_bench",
        cwd=ROOT, env=environment,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-3000:]
    assert " passed" in result.stdout

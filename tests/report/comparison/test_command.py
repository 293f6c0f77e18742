"""`edge-dendrite compare` as a build server meets it: exit codes, files, streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest
from typer.testing import CliRunner

from edge_dendrite.cli import app


@pytest.fixture(autouse=True)
def no_summary(monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


def run(*words):
    return CliRunner().invoke(app, ["compare", *map(str, words)])


def test_exit_codes(sides, make_run, save):
    old, new = sides(1.2)
    assert run(old, new).exit_code == 0
    failed = run(old, new, "--max-regression", "5%")
    assert failed.exit_code == 1 and "REGRESSION: 8 figures judged" in failed.stdout
    assert run(old, new, "--max-regression=40%").exit_code == 0
    assert run(old, new, "--max-latency-regression", "20%").exit_code == 4
    assert run(old, new, "--max-latency-regression", "-10%").exit_code == 1
    assert run(old, old).exit_code == 4
    slow = save("slow", make_run(seed=1, level=3.0))
    assert run(old / "0.json", slow, "--max-latency-regression", "5%").exit_code == 1


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["old"],
        ["--baseline", "old"],
        ["old", "new", "--max-regression", "5"],
        ["old", "new", "--max-regression", "five"],
        ["old", "new", "--max-accuracy-drop", "5%"],
        ["old", "new", "--thresholds", "absent.toml"],
        ["old", "new", "--junit", "x.xml"],
        ["old", "new", "--max-regression", "5%", "--junit", "-"],
        ["old", "new", "--max-regression", "5%", "--junit", "old/0.json"],
        ["old", "new", "--max-regression", "5%", "--junit", "x", "--markdown", "./x"],
        ["old", "new", "--markdown", "new/x.json"],
        ["old/0.json", "new", "--markdown", "old/0.json"],
        ["old", "new", "--network", "absent"],
        ["old", "new", "--no-such-flag"],
    ],
)
def test_usage(sides, tmp_path, monkeypatch, words):
    sides()
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = run(*words)
    assert done.exit_code == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_no_measurement_is_no_regression(sides, tmp_path):
    old, _ = sides()
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.json").write_bytes(b"\xff\x00")
    for name in ("empty", "damaged.json", "absent"):
        done = run(old, tmp_path / name, "--max-regression", "5%")
        assert done.exit_code == 4 and name in done.stderr and done.stdout == ""


def test_all_forms_at_once(sides, tmp_path):
    old, new = sides(1.2)
    (tmp_path / "t.toml").write_text('max_regression = "1%"\nmax_latency_regression = "1%"\n')
    words = ["--thresholds", tmp_path / "t.toml", "--max-regression", "50%", "--json"]
    done = run(old, new, *words, "--junit", tmp_path / "j.xml", "--markdown", tmp_path / "s.md")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["schema"] == "edge-dendrite.comparison" and found["verdict"] == "REGRESSION"
    # The flag won over the file, name by name.
    assert found["thresholds"] == {"max_regression": 0.5, "max_latency_regression": 0.01}
    judged = {figure["figure"]: figure["verdict"] for figure in found["comparisons"][0]["figures"]}
    assert judged["latency"] == "REGRESSION" and judged["p99"] == "PASS" and judged["net_energy"] is None
    assert found["num_judged"] == 8 and "Holm" in found["note"]
    assert xml.parse(tmp_path / "j.xml").getroot().get("failures") == "1"
    assert (tmp_path / "s.md").read_text("utf-8").startswith("## \u274c REGRESSION")
    again = run(old, new, *words)
    assert again.stdout == done.stdout


def test_the_summary_of_a_step_is_appended_to(sides, tmp_path, monkeypatch):
    old, new = sides()
    summary = tmp_path / "summary"
    summary.write_text("## of another command\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for _ in range(2):
        assert run(old, new, "--markdown", summary).exit_code == 0
    text = summary.read_text("utf-8")
    assert text.startswith("## of another command\n\n## compared") and text.count("## compared") == 2
    other = tmp_path / "other.md"
    other.write_text("old")
    assert run(old, new, "--markdown", other).exit_code == 0 and not other.read_text("utf-8").startswith("old")


def test_a_file_that_cannot_be_written_takes_no_verdict_away(sides, tmp_path):
    old, new = sides(1.2)
    done = run(old, new, "--max-regression", "5%", "--junit", tmp_path / "absent" / "j.xml")
    assert done.exit_code == 1 and "absent" in done.stderr and "REGRESSION: " in done.stdout


def test_a_full_disk(sides):
    """Exit code 1 would say that something got worse."""
    old, new = sides()
    done = run(old, new, "--max-regression", "50%", "--junit", "/dev/full")
    assert done.exit_code == 4 and "make room" in done.stderr and "PASS: " in done.stdout


def test_a_reader_that_goes_away(sides):
    old, new = sides()
    command = f"{sys.executable} -m edge_dendrite compare {old} {new} | head -n 1"
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, env=environment, check=False)
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr


def test_baseline_by_flag(sides):
    old, new = sides()
    words = ["--baseline", old / "0.json", "--baseline", old / "1.json", new / "0.json", new / "1.json", "--json"]
    (one,) = json.loads(run(*words).stdout)["comparisons"]
    assert [len(one[side]["files"]) for side in ("baseline", "new")] == [2, 2]

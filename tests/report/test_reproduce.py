"""Where figures come from and the commands that make them again: complete, quoted, and accepted by the programs."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from edge_bench.commands import run as run_command
from edge_bench.measure.settings import Settings
from edge_dendrite.config import Budget, CompressConfig
from edge_dendrite.report.html import render_html
from edge_dendrite.report.markdown import render_markdown
from edge_dendrite.report.reproduce import slug
from edge_dendrite.report.rows import build_report

USUAL = Settings().to_dict()
CONFIG = CompressConfig(Budget(pruning_ratio=0.6))
HOSTILE = "a'; rm -rf ~ #`id`$(id)\n\x1b[31m\u202e"


def lines(report, word):
    return [command.line for command in report.commands if word in command.line]


def parsed(line):
    """The settings that `edge-bench run` makes of a line."""
    parser = argparse.ArgumentParser()
    run_command.add_arguments(parser)
    words = shlex.split(line)
    assert words[:2] == ["edge-bench", "run"]
    given = parser.parse_args(words[2:])
    return run_command._settings(given).to_dict(), given


def test_one_deploy_measures_all_in_turns(study):
    for run in study:
        run["settings"] = {**USUAL, "duration_s": 1.5, "num_threads": 1}
    (line,) = lines(build_report(study, title="t"), "deploy")
    assert shlex.split(line) == [
        *("edge-dendrite", "deploy", "bundles/digits-dense", "TARGET", "--beside", "bundles/digits-pruned"),
        *("--beside", "bundles/digits-dense-longer", "--beside", "bundles/digits-from-scratch", "--rounds", "4"),
        *("--duration", "1.5", "--threads", "1", "--max-other-load", "0.5", "--out", "measurements"),
    ]


@pytest.mark.parametrize(
    "settings",
    [
        {"warmup_s": 2.0},
        {"deadline_s": 0.033, "period_s": 0.04, "energy_s": 20.0},
        {"num_runs": 700, "batch": 4, "provider": "CPUExecutionProvider", "backend": "onnxruntime"},
        {"power": "hwmon:ina3221/in1", "power_interval_s": 0.05, "root": "/mnt/it's"},
        {"power_command": "meter --watts 'a b'"},
        {"power": "none", "buffers": "cuda"},
    ],
)
def test_a_line_of_edge_bench_makes_the_same_settings(study, settings):
    study = study[:1]
    study[0]["settings"] = {**USUAL, **settings}
    line = lines(build_report(study, title="t"), "edge-bench")
    made, given = parsed(line[0]) if settings.get("buffers") != "cuda" else ({**USUAL, **settings}, None)
    wanted = {**USUAL, **settings}
    if "num_runs" in settings:
        wanted["duration_s"] = USUAL["duration_s"]
    made["deadline_s"] = pytest.approx(wanted["deadline_s"]) if made["deadline_s"] is not None else None
    assert made == wanted
    if given is not None:
        run_command._check_usage(given)


@pytest.mark.parametrize("power", [None, "none"])
def test_layers_are_profiled_again(study, power):
    for run in study:
        run["settings"] |= {"layers": True, "power": power}
    (line,) = {line.partition(" ")[0]: line for line in lines(build_report(study, title="t"), "--layers")}.values()
    assert "--layers" in shlex.split(line)


def test_networks_of_one_name_are_measured_from_bundles_of_their_own(study):
    for run in study:
        run["bundle"]["name"] = "digits-cnn"
    (line,) = lines(build_report(study, title="t"), "deploy")
    assert {"bundles/digits-cnn-baseline", "bundles/digits-cnn-compressed"} <= set(shlex.split(line))


def test_a_command_that_was_timed_is_quoted_twice(study):
    study = study[:1]
    words = ["./run it", "$(id)", "a'b"]
    study[0]["source"], study[0]["settings"] = {"kind": "command", "words": words}, USUAL
    (line,) = lines(build_report(study, title="t"), "--cmd")
    _, given = parsed(line)
    assert shlex.split(given.cmd) == words
    assert given.threads is None


def test_a_shell_sees_the_words_and_runs_nothing_of_them(study, tmp_path):
    for run in study:
        run["bundle"]["name"] += HOSTILE
        run["settings"] = {**USUAL, "provider": HOSTILE, "power_command": HOSTILE, "root": HOSTILE}
        run["backend"]["name"] = HOSTILE
    report = build_report(study, title=HOSTILE)
    assert report.commands
    for command in report.commands:
        assert command.line.isprintable()
        shown = subprocess.run(
            ["sh", "-c", f"printf '%s\\n' {command.line}"], capture_output=True, text=True, cwd=tmp_path, check=True
        )
        assert shown.stdout.splitlines() == shlex.split(command.line)
    assert list(tmp_path.iterdir()) == []
    assert "`id`" not in render_markdown(report).replace(shlex.quote("`id`"), "") or "```" in render_markdown(report)
    render_html(report)


def record(**more):
    config = CONFIG.to_dict()
    made = {"role": "compressed", "source": "digits-cnn", "data": "digits", "weights_sha256": "ab" * 32}
    return {
        **made,
        "recipe": {"config": config, "metric": "accuracy", "data": "cd" * 32, "source": "digits-cnn"},
        **more,
    }


def test_settings_come_back_from_the_shell_as_they_were(study, tmp_path):
    report = build_report(study, title="t", records=[record()])
    write = next(command.line for command in report.commands if "settings.json" in command.line)
    subprocess.run(["sh", "-c", write], cwd=tmp_path, check=True)
    values = json.loads((tmp_path / "settings.json").read_text())
    assert CompressConfig.from_dict(values) == CONFIG
    (line,) = lines(report, "compress")
    assert line == "edge-dendrite compress digits-cnn --data digits --config settings.json --out model"


def test_each_network_is_exported_from_its_folder(study):
    exports = lines(build_report(study, title="t", records=[record()]), "export")
    folders = [shlex.split(line)[2] for line in exports]
    assert folders == ["model/baseline", "model", "model/controls/dense-longer", "model/controls/from-scratch"]
    assert all(
        line.endswith(f"--opset 17 --data digits --out bundles/{name}")
        for line, name in zip(
            exports, ("digits-dense", "digits-pruned", "digits-dense-longer", "digits-from-scratch"), strict=True
        )
    )


@pytest.mark.parametrize(("name", "word"), [("mnist", "mnist:DIR"), ("mine", "DATA"), (None, "DATA"), (3, "DATA")])
def test_data_that_cannot_be_named_are_left_to_the_reader(study, name, word):
    report = build_report(study, title="t", records=[record(data=name)])
    (command,) = [one for one in report.commands if "compress" in one.line]
    assert f"--data {word}" in command.line
    assert word.rpartition(":")[2] in command.note


def test_the_report_is_asked_for_by_its_title(study):
    assert lines(build_report(study, title="it's"), " report ") == [
        """edge-dendrite report measurements --title 'it'"'"'s' --out report.html"""
    ]
    assert " --model model --title t " in lines(build_report(study, title="t", records=[record()]), " report ")[0]


@pytest.mark.slow
def test_the_commands_of_a_page_make_the_same_networks_and_bundles(tmp_path):
    """From training to the report by hand, then by nothing but the commands that the first report names."""
    programs = f'edge-dendrite() {{ "{sys.executable}" -m edge_dendrite "$@"; }}\n'
    flags = "--epochs 2 --finetune-epochs 2 --pruning-ratio 0.5 --seed 4"
    by_hand = f"""
edge-dendrite compress digits-cnn --data digits {flags} --out model
edge-dendrite export model/baseline --data digits --opset 17 --out one
edge-dendrite export model --data digits --opset 17 --out two
edge-dendrite deploy one local --beside two --rounds 2 --duration 0.2 --max-other-load 9 --out measurements
edge-dendrite report measurements --model model --out report.json
"""
    first, second = tmp_path / "first", tmp_path / "second"

    def shell(lines: str, place: Path) -> None:
        place.mkdir()
        subprocess.run(["bash", "-ec", programs + lines], cwd=place, check=True, stdout=subprocess.DEVNULL)

    shell(by_hand, first)
    commands = json.loads((first / "report.json").read_text("utf-8"))["commands"]
    shell("\n".join(command["line"].replace(" TARGET ", " local ") for command in commands), second)
    for model in ("model", "model/baseline"):
        digests = {
            json.loads((place / model / "model.json").read_text())["weights_sha256"] for place in (first, second)
        }
        assert len(digests) == 1
    for old, new in (("one", "digits-cnn-baseline"), ("two", "digits-cnn-compressed")):
        assert (first / old / "manifest.sha256").read_bytes() == (
            second / "bundles" / new / "manifest.sha256"
        ).read_bytes()
    assert (second / "report.html").stat().st_size > 100_000


def test_without_a_record_nothing_is_made_up(study):
    report = build_report(study, title="t", records=[{"role": "compressed"}])
    assert not lines(report, "compress")
    assert not lines(report, "export")


def test_origin_names_versions_hashes_and_runs(study):
    for number, run in enumerate(study):
        run["run_id"] = f"{number:032x}"
        run["bundle"]["model_sha256"] = "ef" * 32
        run["bundle"]["accuracy"]["data_sha256"] = "12" * 32
    known = build_report(study, title="t", records=[record()], provenance={"note": "mine"}).provenance
    assert known["agent"] == "edge-bench 0.1.0 on Python 3.11.9"
    assert known["exported with"] == "torch 2.13.0"
    assert known["test data (sha256)"] == "12" * 32
    assert known["ONNX file of digits-dense (sha256)"] == "ef" * 32
    assert known["bundle of digits-dense"] == study[0]["bundle"]["id"]
    assert known["runs of digits-dense"].count(",") == 3
    assert known["weights (sha256)"] == "ab" * 32
    assert known["seed"] == "0"
    assert known["note"] == "mine"


@pytest.mark.parametrize("value", [None, 3, "text", [], {}, [None]])
def test_parts_of_any_kind_make_no_error(study, value):
    study = study[:2]
    for run in study:
        run["source"] = run["run_id"] = value
        run["agent"] = {"version": value, "python": value}
        run["bundle"]["tools"] = run["bundle"]["target"] = run["bundle"]["model_sha256"] = value
        run["settings"] = dict.fromkeys(USUAL, value)
    report = build_report(study, title="t", records=[record(recipe=value if isinstance(value, dict) else {})])
    render_html(report)
    assert report.commands


@pytest.mark.parametrize(
    ("name", "file"), [("a b/c", "a-b-c"), ("../..", "network"), ("\u4f60", "network"), ("x" * 99, "x" * 60)]
)
def test_slugs_are_names_of_files(name, file):
    assert slug(name) == file

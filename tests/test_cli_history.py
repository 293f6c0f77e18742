"""`edge-dendrite history` as a user has it: processes of their own, exit codes, one clear line for every mistake."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

DATA = Path(__file__).parent / "history" / "data"
MEASURED = DATA / "agent-with-named-memory.json"


@pytest.fixture
def environment(tmp_path, monkeypatch):
    changed = {
        "EDGE_DENDRITE_HISTORY": "",
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "HOME": str(tmp_path),
        "COLUMNS": "200",
    }
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return os.environ | changed


@pytest.fixture
def history(environment):
    """In this process, which starts in no time."""

    def call(*arguments, **options):
        from edge_dendrite.cli import app

        done = CliRunner().invoke(app, ["history", *map(str, arguments)], **options)
        assert isinstance(done.exception, (SystemExit, type(None))), done.exception
        return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    return call


@pytest.fixture
def program(environment):
    """In a process of its own, as a user starts it."""

    def run(*arguments, **options):
        command = [sys.executable, "-m", "edge_dendrite", "history", *map(str, arguments)]
        options = {"env": environment, "stdin": subprocess.DEVNULL} | options
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, **options)

    return run


def write_weeks(folder, num_weeks=6):
    """A measurement a week; the third was disturbed."""
    folder.mkdir(parents=True)
    base = json.loads(MEASURED.read_text("utf-8"))
    for week in range(num_weeks):
        made = json.loads(json.dumps(base))
        made |= {"run_id": f"{week:032x}", "started_at": f"2026-0{7 + week // 4}-{1 + 7 * (week % 4):02d}T09:00:00Z"}
        made["invalid"] = ["other programs used 80 % of all processor time"] if week == 2 else []
        scale = 100 + week % 2
        made["latency"]["samples_s"] = [sample * scale for sample in made["latency"]["samples_s"]]
        (folder / f"week-{week}.json").write_text(json.dumps(made))


@pytest.mark.parametrize(
    "command", [("export", "kept.json"), ("export", "kept.csv"), ("plot", "latency", "--out", "kept.html")]
)
def test_a_history_is_not_written_over_itself(history, tmp_path, command):
    place = tmp_path / command[-1]
    assert history("add", MEASURED, "--db", place).returncode == 0
    before = place.read_bytes()
    done = history(*command, "--db", place)
    assert done.returncode == 2 and "give another path" in done.stderr
    assert place.read_bytes() == before


def test_from_measurements_to_a_picture_and_back(history, program, tmp_path):
    write_weeks(tmp_path / "m" / "orin-lab")
    added = program("add", "m", "--tag", "weekly")
    assert added.returncode == 0, added.stderr
    place = tmp_path / "data" / "edge-dendrite" / "history.sqlite"
    assert added.stdout == f"6 added, 0 known already, 0 refused; 6 in {place}\n"
    again = history("add", "m", "m/orin-lab/week-0.json", "--json")
    assert {one["outcome"] for one in json.loads(again.stdout)["files"]} == {"known"}
    assert json.loads(again.stdout)["runs"] == 6

    listed = history("list", "--limit", "2")
    assert listed.returncode == 0
    assert "2 of 6 runs" in listed.stdout
    assert "orin-lab" in listed.stdout
    found = json.loads(history("list", "--json", "--status", "invalid", "--since", "2026-07-01").stdout)
    assert [run["started_at"] for run in found["runs"]] == ["2026-07-15T09:00:00Z"]
    assert found["runs"][0]["tags"] == ["weekly"]

    shown = history("show", 1)
    assert "called orin-lab" in shown.stdout
    assert "digits-cnn (as given)" in shown.stdout
    measured = json.loads((tmp_path / "m" / "orin-lab" / "week-0.json").read_text("utf-8"))
    assert json.loads(history("show", 1, "--json").stdout) == measured

    plotted = program("plot", "latency")
    assert plotted.returncode == 0, plotted.stderr
    assert "digits-cnn (as given, fp32) on orin-lab" in plotted.stdout
    assert "5 of 6 runs are valid and have it" in plotted.stdout
    assert "no drift distinguishable" in plotted.stdout
    for ending in ("html", "svg", "png"):
        drawn = history("plot", "latency", "--out", f"out/latency.{ending}")
        assert (drawn.returncode, drawn.stdout) == (0, f"{tmp_path}/out/latency.{ending}\n")
        assert (tmp_path / "out" / f"latency.{ending}").stat().st_size > 1000
    points = json.loads(history("plot", "p90", "--json").stdout)["lines"][0]["points"]
    assert [point["status"] for point in points] == ["valid", "valid", "invalid", "valid", "valid", "valid"]

    assert history("export", "files", "--status", "valid").stdout == "5 runs in files\n"
    assert history("export", "files", "--status", "valid").returncode == 0
    history("remove", 1, "--yes")
    assert json.loads(history("add", "files", "--json").stdout)["runs"] == 6
    history("export", "table.csv")
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 6
    assert float(rows[0]["latency_s"]) > 0
    assert rows[0]["energy_j"] == ""


def test_one_bad_file_does_not_stop_the_others(history, tmp_path):
    write_weeks(tmp_path / "m", 3)
    (tmp_path / "m" / "broken.json").write_text('{"schema": "edge-dendrite.measurement", "version": 1')
    (tmp_path / "m" / "other.json").write_text("{}")
    (tmp_path / "m" / "later.json").write_text(json.dumps(json.loads(MEASURED.read_text("utf-8")) | {"version": 2}))
    result = history("add", "m", "gone.json", "--json")
    assert result.returncode == 1
    files = json.loads(result.stdout)["files"]
    assert [one["outcome"] for one in files].count("added") == 3
    refused = {Path(one["file"]).name: one["error"] for one in files if one["outcome"] == "refused"}
    assert refused.keys() == {"broken.json", "other.json", "later.json", "gone.json"}
    assert "version 2; this program reads version 1" in refused["later.json"]
    told = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 4
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("list",), 1, "no history there; `edge-dendrite history add FILE` begins one"),
        (("plot", "p95"), 2, "METRIC 'p95' is not known; give one of latency"),
        (("list", "--status", "good"), 2, "give one of valid, invalid"),
        (("list", "--since", "monday"), 2, "write a day"),
        (("add", "empty"), 2, "no measurement"),
        (("add", str(MEASURED), "--tag", " "), 2, "1 to 100 characters"),
        (("add", str(MEASURED), "--db", "text.sqlite"), 1, "not a history"),
        (("add", str(MEASURED), "--db", "empty"), 1, "not a file"),
        (("add", str(MEASURED), "--db", "/proc/none/h.sqlite"), 1, "/proc/none"),
        (("show", "99", "--db", "h.sqlite"), 1, "no run 99"),
        (("remove", "99", "--yes", "--db", "h.sqlite"), 1, "no run 99"),
        (("remove", "1", "--db", "h.sqlite"), 2, "give --yes"),
        (("tag", "1", "x", "--remove", "--db", "h.sqlite"), 1, "has no tag 'x'"),
        (("plot", "latency", "--out", "x.pdf", "--db", "h.sqlite"), 2, "ends in .svg, .html, .png"),
        (("plot", "p99", "--out", "x.svg", "--db", "h.sqlite"), 1, "no run of those has p99"),
    ],
)
def test_a_mistake_gets_one_clear_line(history, tmp_path, arguments, code, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.sqlite").write_text("not a database, but mine\n")
    if "h.sqlite" in arguments:
        assert history("add", MEASURED, "--db", "h.sqlite").returncode == 0
    result = history(*arguments)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
    assert (tmp_path / "text.sqlite").read_text() == "not a database, but mine\n"


@pytest.mark.parametrize("command", ["add", "list", "show", "plot", "export", "remove", "tag"])
def test_every_command_has_help_json_and_db(history, command):
    shown = history(command, "--help").stdout
    assert "--json" in shown
    assert "--db" in shown


def test_ctrl_c_keeps_what_was_finished(history, environment, tmp_path):
    write_weeks(tmp_path / "m", 6)
    names = [str(tmp_path / "m" / f"week-{week}.json") for week in range(6)]
    os.mkfifo(tmp_path / "waits.json")
    # What is read before the pipe is more than one batch.
    for number in range(60):
        made = json.loads(Path(names[0]).read_text("utf-8")) | {"run_id": f"batch-{number}"}
        (tmp_path / f"many-{number}.json").write_text(json.dumps(made))
    many = [str(tmp_path / f"many-{number}.json") for number in range(60)]
    command = [sys.executable, "-m", "edge_dendrite", "history", "add", *many, str(tmp_path / "waits.json"), *names]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as adding:
        writer = os.open(tmp_path / "waits.json", os.O_WRONLY)  # returns when the command reads it
        time.sleep(0.2)
        adding.send_signal(signal.SIGINT)
        out, err = adding.communicate(timeout=60)
        os.close(writer)
    assert (adding.returncode, out) == (130, "")
    assert "what was finished is kept" in err
    assert "Traceback" not in err
    kept = json.loads(history("list", "--json", "--limit", "0").stdout)["total"]
    assert kept == 50
    assert json.loads(history("add", *many, *names, "--json").stdout)["runs"] == 66


def test_removing_asks_on_a_terminal(history, environment, tmp_path):
    history("add", MEASURED)
    command = [sys.executable, "-m", "edge_dendrite", "history", "remove", "1"]
    for answer, code, left in (("n", 1, 1), ("y", 0, 0)):
        ours, theirs = pty.openpty()
        os.write(ours, f"{answer}\n".encode())
        asked = subprocess.run(command, stdin=theirs, env=environment, capture_output=True, text=True, check=False)
        os.close(theirs)
        os.close(ours)
        assert asked.returncode == code
        assert "run 1: digits-cnn on" in asked.stderr
        assert "forget it for good? [y/N]" in asked.stderr
        assert json.loads(history("list", "--json").stdout)["total"] == left


def test_names_do_not_steer_the_terminal(history, tmp_path):
    made = json.loads(MEASURED.read_text("utf-8"))
    made["bundle"]["name"] = "net\x1b]0;owned\x07[bold]=HYPERLINK(1)"
    made["board"]["model"] = "=cmd|' /C calc'!A0"
    (tmp_path / "h.json").write_text(json.dumps(made))
    history("add", "h.json")
    for arguments in (("list",), ("show", "1"), ("plot", "latency"), ("plot", "latency", "--json")):
        out = history(*arguments).stdout
        assert "owned" in out
        assert "\x1b" not in out
        assert "\x07" not in out
    history("export", "t.csv")
    row = next(csv.DictReader((tmp_path / "t.csv").read_text("utf-8").splitlines()))
    assert row["board"].startswith("'=cmd")  # or a spreadsheet would run it
    history("export", "folder")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["net-0-owned-bold-HYPERLINK-1-1.json"]
    (tmp_path / "folder" / "net-0-owned-bold-HYPERLINK-1-1.json").write_text("mine")
    assert "is there with another content" in history("export", "folder").stderr
    assert (tmp_path / "folder" / "net-0-owned-bold-HYPERLINK-1-1.json").read_text() == "mine"


def test_a_terminal_without_unicode(history, program, environment, tmp_path):
    write_weeks(tmp_path / "m", 3)
    history("add", "m")
    plain = program("plot", "latency", env=environment | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert plain.returncode == 0, plain.stderr
    assert "\n  _#o\n" in plain.stdout

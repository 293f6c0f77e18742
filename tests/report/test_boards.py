from __future__ import annotations

import copy
import json
import re

import pytest
from typer.testing import CliRunner

from edge_bench.atomic import write_json
from edge_dendrite.cli import app
from edge_dendrite.errors import DataError
from edge_dendrite.report.boards import COLUMNS, build_boards_report
from edge_dendrite.report.files import read_measurements, write_reports
from edge_dendrite.report.html import render_boards_html
from edge_dendrite.report.markdown import render_boards_markdown

THROTTLED = "throttled during the run: cooling device fan went from 0 to 1; cool it"


def on_board(study, model, *, power_mode=None, factor=1.0, energy=False):
    study = copy.deepcopy(study)
    for one in study:
        one["board"]["model"] = model
        for state in ("state_before", "state_after"):
            one[state].update(power_mode=power_mode, governors={"0": "performance"}, temperatures_c={"cpu": 51.4})
        one["latency"]["samples_s"] = [factor * sample for sample in one["latency"]["samples_s"]]
        if energy:
            one["energy"] = {
                "rails": ["VDD_IN"],
                "scope": "module input",
                "source": "ina3221",
                "idle_power_w": 2.0,
                "load_power_w": 6.5,
                "gross_energy_j": 2e-3,
                "net_energy_j": 1e-3,
            }
    return study


@pytest.fixture
def groups(study):
    return {
        "orin": on_board(study, "Orin", power_mode="15W", energy=True),
        "nano": on_board(study, "Nano", power_mode="MAXN", factor=3.0),
    }


def test_every_board_is_judged_by_itself(groups):
    report = build_boards_report(groups, title="t")
    assert [board.name for board in report.boards] == ["nano", "orin"]
    # Three times slower, and yet no run is left out as made elsewhere.
    assert [len(board.report.left_out()) for board in report.boards] == [0, 0]
    nano, orin = (board.report.rows[0].latency for board in report.boards)
    assert nano.median_s == pytest.approx(3 * orin.median_s)


def test_no_figure_without_the_state_of_its_board(groups):
    groups["nano"][0]["invalid"] = [THROTTLED]
    lines = [dict(zip(COLUMNS, cells, strict=True)) for cells in build_boards_report(groups, title="t").table()]
    assert {line["Board state"].partition(",")[0] for line in lines if line["Board"] == "nano"} == {"MAXN"}
    first, second = (next(line for line in lines if line["Board"] == name) for name in ("nano", "orin"))
    assert first["Board state"] == "MAXN, performance, 51 C, THROTTLED in 1 of 4 runs"
    assert first["Runs"] == "3 valid, 1 run left out"
    assert (first["Power"], first["Energy"]) == ("not measured", "not measured")
    assert (second["Power"], second["Energy"]) == ("6.50 W", "2.00 mJ (module input)")
    assert second["Board state"] == "15W, performance, 51 C"


def test_the_power_of_a_board_is_the_mean_of_its_runs_as_its_energy_is(groups):
    first = groups["orin"][0]["bundle"]["id"]
    runs = [one for one in groups["orin"] if one["bundle"]["id"] == first]
    runs[0]["energy"]["load_power_w"] += 0.4 * len(runs)
    runs[0]["energy"]["gross_energy_j"] += 1e-4 * len(runs)
    board = build_boards_report(groups, title="t").boards[1]
    row = next(row for row in board.report.rows if row.id == first)
    assert len(runs) > 2 and board.load_power_w[first] == pytest.approx(6.9)
    assert row.energy.gross_j == pytest.approx(2.1e-3)


def test_a_board_without_a_valid_run_shows_none(groups):
    for one in groups["nano"]:
        one["invalid"] = [THROTTLED]
    report = build_boards_report(groups, title="t")
    lines = [cells for cells in report.table() if cells[0] == "nano"]
    assert {cells[2] for cells in lines} == {"none valid"}
    assert "THROTTLED in 4 of 4 runs" in lines[0][6]
    assert "none of its runs is valid" in render_boards_markdown(report)


def test_names_and_texts_of_others_stay_text(groups):
    report = build_boards_report({"<b>|x": groups["nano"], "orin": groups["orin"]}, title="<script>")
    page, markdown = render_boards_html(report), render_boards_markdown(report)
    assert "<b>|x" not in page
    assert page.count("<script>") == 1
    assert "<title>&lt;script&gt;</title>" in page
    assert "\\<b\\>\\|x" in markdown
    assert len(page) < 2_000_000


def test_a_hundred_boards_stay_a_page(measurement, bundle):
    one = measurement(bundle("a", "baseline", (4, 4, 4, 10), 300))
    report = build_boards_report({f"b{number}": [one] for number in range(100)}, title="t")
    page = render_boards_html(report)
    assert len(page.encode()) < 2_000_000
    # The first boards have their picture; how many more boards there are is said.
    assert 10 <= page.count("<svg") <= 60
    assert "40 more boards: see the JSON report." in page


def test_each_board_has_its_own_picture(groups):
    page = render_boards_html(build_boards_report(groups, title="t"))
    assert re.findall(r'<svg aria-describedby="(board-\d+-latency-1-caption)"', page) == [
        "board-1-latency-1-caption",
        "board-2-latency-1-caption",
    ]
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def save(folder, measurements):
    folder.mkdir(parents=True)
    for number, one in enumerate(measurements):
        write_json(str(folder / f"{number}.json"), one)


def test_a_folder_of_boards_and_files_of_one(groups, study, tmp_path):
    for name, found in groups.items():
        save(tmp_path / "m" / name, found)
    write_json(str(tmp_path / "m" / "fleet.json"), {"schema": "edge-dendrite.fleet"})
    found = read_measurements([tmp_path / "m"])
    assert {name: len(one) for name, one in found.items()} == {"nano": 16, "orin": 16}
    # Folders given one by one are divided by what their measurements say.
    found = read_measurements([tmp_path / "m" / "nano", tmp_path / "m" / "orin"])
    assert sorted(found) == ["Nano, Test CPU 2.0 GHz", "Orin, Test CPU 2.0 GHz"]
    assert list(read_measurements([tmp_path / "m" / "nano"])) == [""]
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(DataError, match="no measurement"):
        read_measurements([tmp_path / "empty"])


def test_the_command(groups, tmp_path):
    for name, found in groups.items():
        save(tmp_path / "m" / name, found)
    files = [tmp_path / f"r.{ending}" for ending in ("html", "md", "json")]
    words = ["report", str(tmp_path / "m"), *(word for file in files for word in ("--out", str(file)))]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.stderr
    assert all(word in result.stdout for word in ("nano", "orin", "Board state", str(files[0])))
    assert json.loads(files[2].read_text())["schema"] == "edge-dendrite.boards-report"
    assert "No board is ranked" in files[1].read_text()
    assert json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["boards"][0]["name"] == "nano"
    refused = CliRunner().invoke(app, [*words, "--model", str(tmp_path)])
    assert refused.exit_code != 0


def test_endings(groups, tmp_path):
    from edge_dendrite.errors import ConfigError

    with pytest.raises(ConfigError, match="a report ends in"):
        write_reports(build_boards_report(groups, title="t"), [tmp_path / "r.pdf"])

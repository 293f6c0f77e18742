"""From measurement files to report files. What a file is to hold follows from its ending."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_bench.atomic import write_bytes
from edge_bench.errors import EdgeBenchError
from edge_bench.schema import read_measurement
from edge_dendrite.errors import ConfigError, DataError
from edge_dendrite.report.boards import BoardsReport
from edge_dendrite.report.html import render_boards_html, render_html
from edge_dendrite.report.markdown import render_boards_markdown, render_markdown
from edge_dendrite.report.measurement_files import find_files
from edge_dendrite.report.rows import Report
from edge_dendrite.report.runs import read_condition


def read_measurements(paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Measurements by board, from files and from all .json files of folders, in the order of their names.

    Where a folder has none itself, its folders are the boards, as `deploy` makes them. What was given in other ways has
    the name "" if it is all of one board, else it is divided by what the measurements say of theirs. Raises DataError
    for a file that is no measurement, and for a folder without one.
    """
    loose: list[dict[str, Any]] = []
    boards: dict[str, list[dict[str, Any]]] = {}
    for board, path in find_files(paths):
        (loose if board is None else boards.setdefault(board, [])).append(_read(path))
    by_board: dict[str, list[dict[str, Any]]] = {}
    for measurement in loose:
        by_board.setdefault(read_condition(measurement).where(), []).append(measurement)
    if len(by_board) == 1 and not boards:
        return {"": loose}
    for name, found in by_board.items():
        boards.setdefault(name, []).extend(found)
    return boards


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_measurement(str(path))
    except EdgeBenchError as error:
        raise DataError(str(error)) from error


def write_reports(report: Report | BoardsReport, paths: Sequence[str | Path]) -> list[Path]:
    """Write the report to each path: .html, .md or .json. Raises ConfigError for another ending."""
    contents = {path: _render(report, path) for path in map(Path, paths)}
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(str(path), content.encode("utf-8"))
    return list(contents)


def _render(report: Report | BoardsReport, path: Path) -> str:
    check_ending(path)
    if path.suffix == ".html":
        return render_boards_html(report) if isinstance(report, BoardsReport) else render_html(report)
    if path.suffix == ".md":
        return render_boards_markdown(report) if isinstance(report, BoardsReport) else render_markdown(report)
    return json.dumps(report.to_dict(), sort_keys=True, indent=1) + "\n"


def check_ending(path: Path) -> None:
    """Raises ConfigError where the ending is of no report."""
    if path.suffix not in (".html", ".md", ".json"):
        raise ConfigError(f"{path}: a report ends in .html, .md or .json")

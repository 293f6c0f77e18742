"""`deploy --boards`: many boards side by side, a line for each while they work, and one table at the end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from edge_dendrite.commands.fleet_progress import FleetProgress
from edge_dendrite.commands.guard import EXIT_FAILED, EXIT_INVALID, EXIT_WARNINGS
from edge_dendrite.ship.boards_file import BoardSettings, read_boards
from edge_dendrite.ship.fleet_file import FAILED, INTERRUPTED, INVALID, KEPT, MEASURED, NOT_STARTED, BoardResult
from edge_dendrite.ship.options import RunOptions
from edge_dendrite.terminal import print_table, say

_COLUMNS = ("board", "target", "result", "board state, or why not", "network", "median", "p99", "power", "energy")
_NUM_TEXT = 5
_OPTIONAL, _NOTHING = ("power", "energy"), ("-", "not measured")


def deploy_to_boards(
    context: typer.Context,
    bundles: Sequence[Path],
    boards_path: Path,
    out: Path,
    *,
    only: Sequence[str],
    jobs: int | None,
    rounds: int,
    again: bool,
    clean: bool,
    options: RunOptions,
    reports: Sequence[Path],
    strict: bool,
    as_json: bool,
) -> None:
    """The whole command; raises typer.Exit with 1 when a board failed, 4 when a run is invalid, 3 as --strict says."""
    from edge_dendrite.ship.fleet import deploy_fleet

    file = read_boards(boards_path)
    boards = file.choose(only, _given_settings(context))
    _check_reports(reports)
    with FleetProgress([board.name for board in boards]) as progress:
        try:
            deploy_fleet(
                bundles,
                boards,
                out,
                jobs=jobs or file.jobs,
                num_rounds=rounds,
                again=again,
                clean=clean,
                options=options,
                log=progress.line,
                progress=progress.state,
            )
        finally:
            results = progress.results([BoardResult(board.name, board.target, NOT_STARTED) for board in boards])
            progress.stop()
            # After Ctrl-C, and after an error of ours, people want to know all the more where the boards stand.
            _show(results, as_json)
    _write_reports(results, reports)
    if any(result.state in (FAILED, INTERRUPTED, NOT_STARTED) for result in results):
        say("boards that failed are tried again by the same command; those that are done are kept")
        raise typer.Exit(EXIT_FAILED)
    if any(result.state == INVALID for result in results):
        raise typer.Exit(EXIT_INVALID)
    if strict and any(one["warnings"] for result in results for _, one in _measurements(result)):
        raise typer.Exit(EXIT_WARNINGS)


def _given_settings(context: typer.Context) -> BoardSettings:
    """The flags that were really given on the command line: only they stand before the defaults of a file."""
    given: dict[str, Any] = {}
    for one in dataclasses.fields(BoardSettings):
        source = context.get_parameter_source(one.name)
        if source is not None and source.name != "DEFAULT":
            given[one.name] = context.params[one.name]
    return BoardSettings(**given)


def _measurements(result: BoardResult) -> list[tuple[Path, dict[str, Any]]]:
    from edge_bench.schema import read_measurement

    return [(path, read_measurement(str(path))) for path in result.files]


def _show(results: Sequence[BoardResult], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_to_json(result) for result in results]))
        return
    rows = [row for result in results for row in _rows(result)]
    # Where no board has a power sensor, the room is for what there is to say.
    shown = [
        at for at, name in enumerate(_COLUMNS) if name not in _OPTIONAL or any(row[at] not in _NOTHING for row in rows)
    ]
    print_table("boards", [_COLUMNS[at] for at in shown], [[row[at] for at in shown] for row in rows], _NUM_TEXT)


def _to_json(result: BoardResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "target": result.target,
        "state": result.state,
        "reason": result.reason,
        "duration_s": result.duration_s,
        "measurements": [{"file": str(path), "measurement": one} for path, one in _measurements(result)],
    }


def _rows(result: BoardResult) -> list[list[str]]:
    """A line for each network of the board; one without figures where there is none."""
    from edge_dendrite.report.boards import build_boards_report

    head = [result.name, result.target.removeprefix("ssh://"), result.state]
    if result.state not in (MEASURED, KEPT, INVALID):
        return [[*head, result.short_reason, *["-"] * 5]]
    found = [measurement for _, measurement in _measurements(result)]
    rows: list[list[str]] = []
    for _, network, median, p99, power, energy, state, _ in build_boards_report({result.name: found}, title="").table():
        about = f"{state}; {result.reason}" if result.reason and not rows else state
        rows.append([*(head if not rows else ["", "", ""]), about, network, median, p99, power, energy])
    return rows


def _check_reports(paths: Sequence[Path]) -> None:
    """A wrong ending shows before minutes of measuring."""
    if paths:  # drawing takes its time to import
        from edge_dendrite.report.files import check_ending

        for path in paths:
            check_ending(path)


def _write_reports(results: Sequence[BoardResult], paths: Sequence[Path]) -> None:
    """Of all boards that have measurements, whatever became of the others."""
    from edge_dendrite.report.boards import build_boards_report
    from edge_dendrite.report.files import write_reports

    groups = {result.name: [one for _, one in _measurements(result)] for result in results if result.files}
    if not paths:
        return
    if not groups:
        say("no board has a measurement, so no report is written")
        return
    for path in write_reports(build_boards_report(groups, title="edge-dendrite report"), paths):
        say(f"report: {path.absolute()}")

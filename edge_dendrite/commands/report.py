"""One page from measurements, of one board or of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_dendrite.inputs import read_history, read_records, refuse_idle_flags, refuse_outputs
from edge_dendrite.options import JsonOption
from edge_dendrite.terminal import print_report, print_table

if TYPE_CHECKING:
    from edge_dendrite.report.boards import BoardsReport


def report(
    measurements: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="measurements, or folders of them")],
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", help="report file: .html, .md or .json; repeatable  [default: report.html]"),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="headline")] = "edge-dendrite report",
    model: Annotated[
        Path | None, typer.Option("--model", help="folder of the compressed model, for its steps and training")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make one self-contained HTML page (or Markdown, JSON) from measurements; several boards stand side by side."""
    from edge_dendrite.report.boards import COLUMNS, build_boards_report
    from edge_dendrite.report.files import read_measurements, write_reports
    from edge_dendrite.report.rows import Report, build_report

    for path in out or []:
        refuse_outputs({"--out": path}, [*measurements, *([model] if model else [])])
    history, records = (read_history(model), read_records(model)) if model else ([], [])
    boards = read_measurements(measurements)
    made: Report | BoardsReport
    if len(boards) == 1:
        made = build_report(*boards.values(), title=title, history=history, records=records)
    else:
        refuse_idle_flags({"--model goes with the measurements of one board": model is not None})
        made = build_boards_report(boards, title=title)
    files = write_reports(made, out or [Path("report.html")])
    if as_json:
        typer.echo(json.dumps(made.to_dict(), sort_keys=True))
        return
    if isinstance(made, Report):
        print_report(made)
    else:
        print_table(made.title, COLUMNS, made.table(), 2)
    for path in files:
        typer.echo(str(path.absolute()))

"""One page from measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edge_dendrite.inputs import read_history
from edge_dendrite.options import JsonOption
from edge_dendrite.terminal import print_report


def report(
    measurements: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="measurements, or folders of them")],
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", help="report file: .html, .md or .json; repeatable  [default: report.html]"),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="headline")] = "edge-dendrite report",
    model: Annotated[
        Path | None, typer.Option("--model", help="folder of the compressed model, for training curves")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make one self-contained HTML page (or Markdown, JSON) from measurements."""
    from edge_dendrite.report.files import read_measurements, write_reports
    from edge_dendrite.report.rows import build_report

    history = read_history(model) if model else []
    made = build_report(read_measurements(measurements), title=title, history=history)
    files = write_reports(made, out or [Path("report.html")])
    if as_json:
        typer.echo(json.dumps(made.to_dict(), sort_keys=True))
    else:
        print_report(made)
        for path in files:
            typer.echo(str(path.absolute()))

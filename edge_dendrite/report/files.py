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
from edge_dendrite.report.html import render_html
from edge_dendrite.report.markdown import render_markdown
from edge_dendrite.report.rows import Report


def read_measurements(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Measurements from files, and from all .json files of folders, in the order of their names.

    Raises DataError for a file that is no measurement, and for a folder without one.
    """
    measurements = []
    for path in paths:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"{path}: no measurement (*.json) in this folder; make one with `edge-dendrite deploy`")
        for file in files:
            try:
                measurements.append(read_measurement(str(file)))
            except EdgeBenchError as error:
                raise DataError(str(error)) from error
    return measurements


def write_reports(report: Report, paths: Sequence[str | Path]) -> list[Path]:
    """Write the report to each path: .html, .md or .json. Raises ConfigError for another ending."""
    contents = {path: _render(report, path) for path in map(Path, paths)}
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(str(path), content.encode("utf-8"))
    return list(contents)


def _render(report: Report, path: Path) -> str:
    if path.suffix == ".html":
        return render_html(report)
    if path.suffix == ".md":
        return render_markdown(report)
    if path.suffix == ".json":
        return json.dumps(report.to_dict(), sort_keys=True, indent=1) + "\n"
    raise ConfigError(f"{path}: a report ends in .html, .md or .json")

"""A metric over time as a file: an HTML page, an SVG or a PNG. What it is to be follows from its ending."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup

from edge_bench.atomic import write_bytes
from edge_dendrite.errors import ConfigError, DataError
from edge_dendrite.history.chart import MAX_LINES, MAX_MARKS, drawn_lines, metric_png, metric_svg, numbered_changes
from edge_dendrite.history.drift import judge_drift, say_level
from edge_dendrite.history.metrics import Metric
from edge_dendrite.history.trends import Line
from edge_dendrite.report.charts.svg import plain
from edge_dendrite.report.format import plural, typographic

ENDINGS = (".svg", ".html", ".png")
_MAX_ROWS, _MAX_CHANGES = 1000, 200
_DATA_TIP = re.compile(r'(?<=<g) data-tip="[^"]*"')
_VIEW_BOX = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')


def write_picture(lines: Sequence[Line], metric: Metric, path: Path, num_unplaced: int) -> None:
    """Write the picture. num_unplaced: runs whose time is not known. Raises ConfigError for another ending, DataError
    when no run has the figure.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--out {path}: a picture of a history ends in {', '.join(ENDINGS)}")
    if not drawn_lines(lines):
        raise DataError(f"no run of those has {metric.name}; `edge-dendrite history list` shows what is there")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        write_bytes(str(path), metric_png(lines, metric) or b"")
    elif path.suffix == ".svg":
        write_bytes(str(path), _standalone(metric_svg(lines, metric) or "").encode("utf-8"))
    else:
        write_bytes(str(path), render_page(lines, metric, num_unplaced).encode("utf-8"))


def _standalone(svg: str) -> str:
    """For programs that know no CSS variables, and nothing of the page behind it."""
    found = _VIEW_BOX.search(svg)
    width, height = (found[1], found[2]) if found else ("100%", "100%")
    end = svg.index(">") + 1
    paper = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    return plain(_without_script(f'{svg[: end - 1]} width="{width}" height="{height}">{paper}{svg[end:]}')) + "\n"


def _without_script(svg: str) -> str:
    """What a script would show beside a mark stands in the mark's title too, which a browser shows by itself."""
    return _DATA_TIP.sub("", svg)


def render_page(lines: Sequence[Line], metric: Metric, num_unplaced: int) -> str:
    """One self-contained page: no script, no request. Every text is escaped; only our own SVG goes in as markup."""
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("edge_dendrite.history", "templates"),
                # One palette and one face for both pages.
                jinja2.PackageLoader("edge_dendrite.report", "templates"),
            ]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(typographic=typographic, markup=Markup)
    svg = metric_svg(lines, metric)
    rows = _run_rows(lines, metric)
    return environment.get_template("history.html.j2").render(
        metric=metric,
        lead=_lead(lines),
        svg=_without_script(svg) if svg else None,
        caption=caption(lines, metric, num_unplaced),
        lines=[_line_cells(line, metric) for line in lines],
        changes=numbered_changes(drawn_lines(lines))[:_MAX_CHANGES],
        rows=rows[:_MAX_ROWS],
        num_left_out=max(0, len(rows) - _MAX_ROWS),
    )


def _lead(lines: Sequence[Line]) -> str:
    times = [point.time for line in lines for point in line.points]
    num_runs = plural(len(times), "run")
    boards, networks = (len({getattr(line, key) for line in lines}) for key in ("board", "network"))
    span = f"{min(times):%Y-%m-%d} to {max(times):%Y-%m-%d}"
    return f"{num_runs} of {plural(networks, 'network')} on {plural(boards, 'board')}, {span} (UTC)."


def caption(lines: Sequence[Line], metric: Metric, num_unplaced: int) -> str:
    """How to read the picture, and what is not in it."""
    drawn = drawn_lines(lines)
    points = [point for line in drawn for point in line.points]
    hollow = sum(1 for point in points if point.figure and not point.is_valid)
    missing = sum(1 for point in points if point.figure is None)
    texts = ["Lines join only valid runs that can be compared: a new bundle, runtime or state of the board ends one."]
    if metric.kind == "bundle":
        texts = ["Lines join the bundles that were measured; the figure is the bundle's own."]
    if len(points) > MAX_MARKS:
        texts.append(f"Of so many runs ({len(points):,}) no marks and intervals are drawn.")
    elif any(point.figure and point.figure.low is not None for point in points):
        texts.append("Bars: 95 % intervals of single runs.")
    if numbered_changes(drawn):
        texts.append("Dotted, with a number: something changed, see the list.")
    if hollow:
        texts.append(f"Hollow: not valid ({plural(hollow, 'run')}).")
    if missing:
        texts.append(f"Crosses at the foot: without this figure ({plural(missing, 'run')}).")
    if num_unplaced:
        texts.append(f"Not drawn: {plural(num_unplaced, 'run')} on a board whose clock was not set.")
    left_out = len(lines) - len(drawn)
    if left_out:
        texts.append(f"Not drawn: {plural(left_out, 'line')} (at most {MAX_LINES}, the latest; none without figures).")
    return " ".join(filter(None, [*texts, "The axis need not begin at zero.", say_level(len(drawn), metric)]))


def _line_cells(line: Line, metric: Metric) -> dict[str, object]:
    valid = [point.figure.value for stretch in line.stretches for point in stretch if point.figure]
    figures = (valid[0], valid[-1], min(valid), max(valid)) if valid else ()
    return {
        "network": line.name(),
        "board": line.board,
        "state": line.points[-1].run.state(),
        "runs": f"{len(valid)} of {len(line.points)}",
        "cells": [metric.show(figure) for figure in figures] or ["-"] * 4,
        "drift": judge_drift(line, metric),
    }


def _run_rows(lines: Sequence[Line], metric: Metric) -> list[tuple[str, ...]]:
    points = [(line, point) for line in lines for point in line.points]
    points.sort(key=lambda one: (one[1].time, one[1].run.id), reverse=True)
    rows: list[tuple[str, ...]] = []
    for line, point in points:
        figure = point.figure
        known = figure is not None and figure.low is not None and figure.high is not None
        bounds = f"{metric.show(figure.low)} to {metric.show(figure.high)}" if known else "-"  # type: ignore[union-attr, arg-type]
        rows.append(
            (
                str(point.run.id),
                f"{point.time:%Y-%m-%d %H:%M}",
                line.name(),
                line.board,
                point.run.state(),
                metric.show(figure.value) if figure else "not measured",
                bounds,
                "; ".join([point.run.facts.status, *point.run.facts.reasons]),
            )
        )
    return rows

"""A report, of one board or of several, as one HTML file that needs nothing else: no script, no font, no request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from edge_dendrite.report.boards import COLUMNS as BOARD_COLUMNS
from edge_dendrite.report.boards import BoardsReport
from edge_dendrite.report.charts.draw import role_colour
from edge_dendrite.report.format import percent, plural, seconds, typographic
from edge_dendrite.report.notices import Notice
from edge_dendrite.report.pictures import draw_pictures
from edge_dendrite.report.rows import Report
from edge_dendrite.report.runs import Run
from edge_dendrite.report.table import COLUMNS, build_table
from edge_dendrite.report.verdict import judge

# A report is for reading; whoever needs the thousandth run has the measurement files.
_MAX_RUNS, _MAX_ROWS, _MAX_NOTICES = 200, 100, 50
_MAX_BOARDS, _MAX_LINES = 60, 600


def render_html(report: Report) -> str:
    """The page, under 2 MB. Every text of the report is escaped; only our own SVG goes in as markup."""
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            columns=COLUMNS,
            pictures=draw_pictures(report),
            runs=report.runs[:_MAX_RUNS],
            provenance=list(report.provenance.items())[:_MAX_NOTICES],
            plural=plural,
            **_parts(report),
        )
    )


def render_boards_html(report: BoardsReport) -> str:
    """The page of several boards: one table over all, then each board by itself."""
    boards = report.boards[:_MAX_BOARDS]
    lines = [(board.name, *board.cells(row)) for board in boards for row in board.report.rows]
    return (
        _environment()
        .get_template("boards.html.j2")
        .render(
            report=report,
            board_columns=BOARD_COLUMNS,
            lines=lines[:_MAX_LINES],
            columns=COLUMNS,
            boards=[{"name": board.name, **_parts(board.report)} for board in boards],
            method=dict.fromkeys(step for board in boards for step in board.report.method),
            plural=plural,
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edge_dendrite.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(typographic=typographic, run_cells=_run_cells, where=_where, markup=Markup)
    return environment


def _parts(report: Report) -> dict[str, Any]:
    """What every page shows of one board."""
    table = build_table(report)
    colours = map(role_colour, table.roles)
    return {
        "verdict": judge(report),
        "table": table,
        "table_rows": list(zip(colours, table.rows, strict=True))[:_MAX_ROWS],
        "state": _state(report),
        "left_out": report.left_out()[:_MAX_RUNS],
        "warnings": report.warnings[:_MAX_NOTICES],
        "unavailable": report.unavailable[:_MAX_NOTICES],
    }


def _state(report: Report) -> list[tuple[str, str]]:
    """Board and state as terms and values; what could not be read is said, not left out."""
    condition = report.condition
    if condition is None:
        return []
    valid = [run for run in report.runs if not run.reasons]
    temperatures = [t for run in valid for t in (run.hottest_before_c, run.hottest_after_c) if t is not None]
    loads = [run.other_load for run in valid if run.other_load is not None]
    unread = "not readable"
    return [
        ("Board", condition.board or unread),
        ("Processor", condition.cpu or unread),
        *([("Emulated", f"by {condition.emulated}: not a board's speed")] if condition.emulated else []),
        ("Runtime", condition.runtime or "not recorded"),
        ("Provider", ", ".join(condition.providers) or "not recorded"),
        ("Threads", str(condition.num_threads) if condition.num_threads else "not recorded"),
        ("Power mode", condition.power_mode or "none, or not readable"),
        ("CPU governor", ", ".join(condition.governors) or unread),
        ("CPU clock limits", ", ".join(condition.clock_limits) or unread),
        ("CPUs online", condition.online_cpus or unread),
        ("Hottest sensor", f"{_span(temperatures, 1.0)} C" if temperatures else unread),
        ("Other programs", f"{_span(loads, 100.0)} % of all processor time" if loads else unread),
    ]


def _span(values: Sequence[float], factor: float) -> str:
    """'41.0 to 43.5', or '41.0' where both ends read the same."""
    ends = (f"{factor * end:.1f}" for end in (min(values), max(values)))
    return " to ".join(dict.fromkeys(ends))


def _run_cells(run: Run) -> list[str]:
    """A line of the list of runs."""
    heat = [f"{value:.1f}" for value in (run.hottest_before_c, run.hottest_after_c) if value is not None]
    return [
        str(run.round),
        run.name,
        run.started_at,
        f"{run.num_samples:,}",
        "not timed" if run.median_s is None else seconds(run.median_s),
        "not readable" if run.other_load is None else percent(run.other_load),
        f"{' -> '.join(heat)} C" if heat else "not readable",
        "left out" if run.reasons else "valid",
    ]


def _where(notice: Notice) -> str:
    """In which runs: their number, and the networks when it is not all of them."""
    if not notice.networks:
        return "all runs"
    names = ", ".join(notice.networks[:6]) + (" and others" if len(notice.networks) > 6 else "")
    return f"{plural(notice.num_runs, 'run')}: {names}"

"""A report, of one board or of several, as one HTML file that needs nothing else: no font, no request.

Its only script is ours (templates/report.js); the page's policy names it by its hash, so no other one can run. What it
does is for comfort: without it, and in print, everything stands one below the other.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup

from edge_dendrite.report.boards import COLUMNS as BOARD_COLUMNS
from edge_dendrite.report.boards import BoardsReport
from edge_dendrite.report.charts.draw import role_colour
from edge_dendrite.report.format import percent, plural, seconds, typographic
from edge_dendrite.report.notices import Notice
from edge_dendrite.report.page_pictures import board_pictures, drawing, fit_pictures, group_pictures
from edge_dendrite.report.pictures import draw_pictures
from edge_dendrite.report.rows import Report
from edge_dendrite.report.runs import Run
from edge_dendrite.report.table import COLUMNS, build_table
from edge_dendrite.report.verdict import judge

# A report is for reading; whoever needs the thousandth run has the measurement files.
_MAX_RUNS, _MAX_ROWS, _MAX_NOTICES = 200, 100, 40
_MAX_BOARDS, _MAX_LINES = 60, 600
_RUN_COLUMNS = ("Network", "Round", "Started (UTC)", "Samples", "Median", "Other programs", "Hottest sensor", "Run")


@dataclass(frozen=True)
class _Script:
    """The text of the page's script, and how a content security policy names it."""

    source: Markup
    digest: str


def render_html(report: Report) -> str:
    """The page, under 2 MB. Every text of the report is escaped; only our own SVG and script go in as markup."""
    environment, drawn = _environment(), draw_pictures(report)
    pictures = fit_pictures(drawn)
    return environment.get_template("report.html.j2").render(
        report=report,
        script=_script(environment),
        columns=COLUMNS,
        run_columns=_RUN_COLUMNS,
        groups=group_pictures(pictures),
        num_not_shown=len(drawn) - len(pictures),
        runs=report.runs[:_MAX_RUNS],
        provenance=list(report.provenance.items())[:_MAX_NOTICES],
        plural=plural,
        **_parts(report),
    )


def render_boards_html(report: BoardsReport) -> str:
    """The page of several boards: one table over all, then each board by itself."""
    environment, boards = _environment(), report.boards[:_MAX_BOARDS]
    pictures = board_pictures([board.report for board in boards])
    lines = [(board.name, *board.cells(row)) for board in boards for row in board.report.rows]
    return environment.get_template("boards.html.j2").render(
        report=report,
        script=_script(environment),
        board_columns=BOARD_COLUMNS,
        lines=lines[:_MAX_LINES],
        columns=COLUMNS,
        boards=[
            {"name": board.name, "anchor": f"board-{number}", "pictures": shown, **_parts(board.report)}
            for number, (board, shown) in enumerate(zip(boards, pictures, strict=True), 1)
        ],
        num_more_boards=len(report.boards) - len(boards),
        method=dict.fromkeys(step for board in boards for step in board.report.method),
        plural=plural,
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edge_dendrite.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(typographic=typographic, run_cells=_run_cells, where=_where, drawing=drawing)
    return environment


def _script(environment: jinja2.Environment) -> _Script:
    assert environment.loader is not None
    # Browsers hash what they read after line ends have become those of Unix.
    source = environment.loader.get_source(environment, "report.js")[0].replace("\r\n", "\n")
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return _Script(Markup(source), f"sha256-{digest}")


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
    """A line of the list of runs, as in `_RUN_COLUMNS`."""
    heat = [f"{value:.1f}" for value in (run.hottest_before_c, run.hottest_after_c) if value is not None]
    return [
        run.name,
        str(run.round),
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

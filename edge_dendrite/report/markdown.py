"""A report as Markdown: the verdict, the table, and what the numbers need beside them."""

from __future__ import annotations

import re

from edge_dendrite.report.boards import COLUMNS as BOARD_COLUMNS
from edge_dendrite.report.boards import BoardsReport
from edge_dendrite.report.format import plural
from edge_dendrite.report.rows import Report
from edge_dendrite.report.table import COLUMNS, Cell, build_table
from edge_dendrite.report.verdict import judge

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$!&])")


def render_markdown(report: Report) -> str:
    """GitHub Markdown with the rows and the verdict of the HTML page, ending in a newline."""
    return "\n".join(_one_board(report, "#")).rstrip() + "\n"


def render_boards_markdown(report: BoardsReport) -> str:
    """One table over all boards, then each board by itself."""
    lines = [f"# {escape(report.title)}", "", f"| {' | '.join(BOARD_COLUMNS)} |", f"|{' --- |' * len(BOARD_COLUMNS)}"]
    lines += [f"| {' | '.join(map(escape, cells))} |" for cells in report.table()]
    lines += [
        "",
        "No board is ranked: they differ by hardware, system and state at once. Ratios stand within a board.",
        "",
    ]
    for board in report.boards:
        lines += [*_one_board(board.report, "##"), ""]
    return "\n".join(lines).rstrip() + "\n"


def _one_board(report: Report, heads: str) -> list[str]:
    verdict = judge(report)
    lines = [f"{heads} {escape(report.title)}", "", f"**{escape(verdict.lead)}**", ""]
    for heading, findings in verdict.groups:
        lines += [f"{heads}# {escape(heading)}", ""]
        lines += [
            f"- **{escape(finding.topic)}: {escape(finding.figure)}** ({escape(finding.tag)}). {escape(finding.text)}"
            for finding in findings
        ]
        lines.append("")
    return [*lines, f"{heads}# Networks", "", *_table(report), "", *_conditions(report)]


def escape(text: str) -> str:
    """Foreign text as plain text on one line: it opens no cell, link, image, heading or tag."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _table(report: Report) -> list[str]:
    table = build_table(report)
    lines = [f"| {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * (len(COLUMNS) - 1)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in table.rows]
    return [*lines, "", *(f"{number}. {escape(note)}" for number, note in enumerate(table.notes, 1))]


def _cell(cell: Cell) -> str:
    text = escape(cell.text) + (f" ({escape(cell.detail)})" if cell.detail else "")
    return f"{text} <sup>{cell.note}</sup>" if cell.note else text


def _conditions(report: Report) -> list[str]:
    lines = []
    if report.condition is not None:
        lines.append(f"Measured on {escape(report.condition.sentence())}.")
    else:
        lines.append("No run was valid: no latency, memory or energy is given.")
    left_out = report.left_out()
    if left_out:
        lines += ["", f"{plural(len(left_out), 'run')} left out:", ""]
        lines += [
            f"- {escape(run.name)}, {escape(run.started_at)}: {escape('; '.join(run.reasons))}" for run in left_out
        ]
    warnings = [f"- {escape(entry.reason)}; {escape(entry.fix)}" for entry in report.warnings]
    if warnings:
        lines += ["", "Warnings:", "", *warnings]
    missing = [f"- {escape(entry.what)}: {escape(entry.reason)}; {escape(entry.fix)}" for entry in report.unavailable]
    if missing:
        lines += ["", "Not measured:", "", *missing]
    return lines

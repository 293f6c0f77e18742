"""A report as Markdown: the verdict, the table, and what the numbers need beside them."""

from __future__ import annotations

import re

from edge_dendrite.report.boards import COLUMNS as BOARD_COLUMNS
from edge_dendrite.report.boards import BoardsReport
from edge_dendrite.report.format import plural
from edge_dendrite.report.rows import Report
from edge_dendrite.report.steps import COLUMNS as STEP_COLUMNS
from edge_dendrite.report.steps import step_cells
from edge_dendrite.report.table import COLUMNS, Cell, build_table
from edge_dendrite.report.verdict import judge

# What GitHub makes a link of without any brackets.
_AUTOLINK = re.compile(r"(://|(?<=www)\.|@)", re.IGNORECASE)
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
    lines += [f"{heads}# Networks", "", *_table(report), "", *_conditions(report)]
    return [*lines, *_steps(report, heads), *_commands(report, heads)]


def _steps(report: Report, heads: str) -> list[str]:
    if not report.steps:
        return []
    lines = ["", f"{heads}# What each step gained", "", f"| {' | '.join(STEP_COLUMNS)} |"]
    lines.append(f"| --- |{' ---: |' * (len(STEP_COLUMNS) - 1)}")
    return [*lines, *(f"| {' | '.join(map(escape, cells))} |" for cells in step_cells(report.steps))]


def _commands(report: Report, heads: str) -> list[str]:
    """Each command as a block that begins and ends with more backticks than it holds anywhere."""
    lines = ["", f"{heads}# To make it again"] if report.commands else []
    for command in report.commands:
        fence = "`" * (2 + max((len(run) for run in re.findall("`+", command.line)), default=1))
        note = f" ({escape(command.note)})" if command.note else ""
        lines += ["", f"{escape(command.what).capitalize()}{note}:", "", f"{fence}sh", command.line, fence]
    return lines


def escape(text: str) -> str:
    """Foreign text as plain text on one line: it opens no cell, link, image, heading or tag."""
    return _AUTOLINK.sub(r"\\\1", _SPECIAL.sub(r"\\\1", " ".join(text.split())))


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

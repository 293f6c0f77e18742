"""Several boards in one report: a report for each, and one table in which each figure has its board's state beside it.

Ratios and verdicts stay within a board: between boards everything differs at once, and a ranking would hide that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_dendrite.report import fields
from edge_dendrite.report.format import clean_text, joules, plural, seconds, watts
from edge_dendrite.report.rows import Report, Row, build_report
from edge_dendrite.report.runs import Measurement, Run

SCHEMA = "edge-dendrite.boards-report"
VERSION = 1
# Of the table over all boards. A figure never stands without the state that it was measured in.
COLUMNS = ("Board", "Network", "Median", "p99", "Power", "Energy", "Board state", "Runs")


@dataclass(frozen=True)
class BoardReport:
    """One board: its name, all that a report of it alone holds, and the power under load of each row in watts: the mean
    of its valid runs, as its energy is.
    """

    name: str
    report: Report
    load_power_w: Mapping[str, float]

    def cells(self, row: Row) -> tuple[str, ...]:
        """A row as in `COLUMNS`, without the board's name."""
        latency, energy, power_w = row.latency, row.energy, self.load_power_w.get(row.id)
        return (
            row.name,
            seconds(latency.median_s) if latency else "none valid",
            "-" if latency is None else "n too small" if latency.p99_s is None else seconds(latency.p99_s),
            "not measured" if power_w is None else watts(power_w),
            # Energies of two scopes are no more alike than of two boards.
            f"{joules(energy.gross_j)} ({energy.scope or 'scope unknown'})" if energy else "not measured",
            short_state([run for run in self.report.runs if run.bundle_id == row.id]),
            _count_runs([run for run in self.report.runs if run.bundle_id == row.id]),
        )


@dataclass(frozen=True)
class BoardsReport:
    """The boards, in the order of their names."""

    title: str
    boards: tuple[BoardReport, ...]

    def table(self) -> list[tuple[str, ...]]:
        """A line for each network on each board, grouped by board, as in `COLUMNS`."""
        return [(board.name, *board.cells(row)) for board in self.boards for row in board.report.rows]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: for each board what its own report says."""
        boards = [
            {"name": board.name, "load_power_w": dict(board.load_power_w), "report": board.report.to_dict()}
            for board in self.boards
        ]
        return {"schema": SCHEMA, "version": VERSION, "title": self.title, "boards": boards}

    def _repr_html_(self) -> str:
        from edge_dendrite.report.notebook import framed  # what draws pages draws reports: not at import time

        return framed(self)


def build_boards_report(groups: Mapping[str, Sequence[Measurement]], *, title: str) -> BoardsReport:
    """From the measurements of each board by its name. Raises ValueError where a board has none."""
    boards = [_build_board(clean_text(name), groups[name]) for name in sorted(groups)]
    return BoardsReport(clean_text(title), tuple(boards))


def _build_board(name: str, measurements: Sequence[Measurement]) -> BoardReport:
    report = build_report(measurements, title=name)
    valid = {(run.bundle_id, run.started_at) for run in report.runs if not run.reasons}
    powers: dict[str, list[float]] = {}
    for measurement in measurements:
        id_ = clean_text(measurement["bundle"]["id"])
        power_w = fields.number(fields.mapping(measurement, "energy"), "load_power_w")
        if power_w is not None and (id_, clean_text(measurement["started_at"])) in valid:
            powers.setdefault(id_, []).append(power_w)
    return BoardReport(name, report, {id_: math.fsum(values) / len(values) for id_, values in powers.items()})


def short_state(runs: Sequence[Run]) -> str:
    """The state of a board in a few words, in its valid runs or in all where none is; throttling in all of them."""
    valid = [run for run in runs if not run.reasons] or runs
    parts = []
    for condition in dict.fromkeys(run.condition for run in valid):
        parts += [condition.power_mode] if condition.power_mode else []
        parts.append(" and ".join(condition.governors) or "governor unknown")
    temperatures = [t for run in valid for t in (run.hottest_before_c, run.hottest_after_c) if t is not None]
    parts.append(f"{max(temperatures):.0f} C" if temperatures else "temperature unknown")
    num_throttled = sum(any(reason.startswith("throttled") for reason in run.reasons) for run in runs)
    return ", ".join(parts + ([f"THROTTLED in {num_throttled} of {plural(len(runs), 'run')}"] if num_throttled else []))


def _count_runs(runs: Sequence[Run]) -> str:
    left_out = sum(bool(run.reasons) for run in runs)
    return f"{len(runs) - left_out} valid" + (f", {plural(left_out, 'run')} left out" if left_out else "")

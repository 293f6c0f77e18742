"""Temperature and clocks of the energy phase of each run: the panels below latency over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from edge_dendrite.report.charts.draw import Mark
from edge_dendrite.report.charts.svg import INK, SURFACE, tip
from edge_dendrite.report.charts.ticks import linear_axis
from edge_dendrite.report.format import plural, shorten, squeeze
from edge_dendrite.report.rows import Row
from edge_dendrite.report.series import RunTrace
from edge_dendrite.report.watch_series import WatchTrace

# Of a column, left free at both of its sides.
_MARGIN = 0.04
_MAX_NAME, _MAX_SHADES = 40, 12


@dataclass(frozen=True)
class Line:
    """A series of one run, in its column: `name` says what it is."""

    column: int
    row: Row
    run: RunTrace
    watch: WatchTrace
    name: str
    values: Sequence[float | None]

    def known(self) -> list[float]:
        """What is not None."""
        return [value for value in self.values if value is not None]


@dataclass(frozen=True)
class Panel:
    """Lines of one kind; `factor`: what a value of one `unit` is in the series; `least`: that much is around them."""

    title: str
    unit: str
    factor: float
    least: float
    lines: tuple[Line, ...]

    @property
    def is_heat(self) -> bool:
        """Whether the states before and after the run hold the same figure."""
        return self.unit == "C"


def energy_phase_panels(rows: Sequence[Row]) -> list[Panel]:
    """A panel for the hottest sensor, the CPU clock and the GPU clock, as far as they are known."""
    runs = [(column, row, run) for row in rows for column, run in enumerate(row.traces.runs)]
    heat, cpu, gpu = [], [], []
    for column, row, run in runs:
        watch = run.watch
        if watch is None:
            continue
        heat += [Line(column, row, run, watch, *sensor) for sensor in watch.temperatures_c[:1]]
        cpu.append(Line(column, row, run, watch, "highest CPU clock", watch.cpu_clock_hz))
        gpu.append(Line(column, row, run, watch, "GPU clock", watch.gpu_clock_hz))
    panels = (
        Panel("Hottest sensor, energy phase", "C", 1.0, 1.0, tuple(heat)),
        _clock_panel("Highest CPU clock, energy phase", cpu),
        _clock_panel("GPU clock, energy phase", gpu),
    )
    return [panel for panel in panels if panel.lines]


def _clock_panel(title: str, lines: Sequence[Line]) -> Panel:
    known = tuple(line for line in lines if line.known())
    highest_hz = max((value for line in known for value in line.known()), default=0.0)
    unit, factor = ("GHz", 1e9) if highest_hz >= 1e9 else ("MHz", 1e6)
    return Panel(title, unit, factor, 0.05 * highest_hz or 1.0, known)


def place_in_column(column: int, times_s: Any, phase_s: float) -> Any:
    """Where times lie on an axis on which a column is 1 wide; all columns stand for the longest phase."""
    return column + _MARGIN + (1 - 2 * _MARGIN) * np.asarray(times_s) / (phase_s or 1.0)


def draw_panel(axes: Any, panel: Panel, marks: dict[str, Mark], phase_s: float) -> None:
    """The lines, shaded where a clock was too low; of temperatures also the states before and after each run."""
    values = [value for line in panel.lines for value in line.known()]
    if panel.is_heat:
        ends = [value for line in panel.lines for value in (line.run.hottest_before_c, line.run.hottest_after_c)]
        values += [value for value in ends if value is not None]
    low, high = min(values), max(values)
    margin = max(0.15 * (high - low), panel.least)
    axes.set_ylim(low - margin, high + margin)
    linear_axis(axes.yaxis, low - margin, high + margin, panel.unit, panel.factor)
    _draw_low(axes, panel, phase_s)
    _draw_throttling(axes, panel)
    for id_ in dict.fromkeys(line.row.id for line in panel.lines):
        lines = [line for line in panel.lines if line.row.id == id_]
        _draw_network(axes, lines, panel, marks[id_], phase_s)
        if panel.is_heat:
            _draw_before_and_after(axes, lines, marks[id_])


def _draw_network(axes: Any, lines: Sequence[Line], panel: Panel, mark: Mark, phase_s: float) -> None:
    """All runs of a network as one line with breaks: a drawing of many runs stays small."""
    xs: list[float] = []
    ys: list[float] = []
    for line in lines:
        xs += [*place_in_column(line.column, line.watch.times_s, phase_s), line.column + 1.0]
        ys += [*(np.nan if value is None else value for value in line.values), np.nan]
    known = [value / panel.factor for line in lines for value in line.known()]
    shape = {"marker": "o", "markersize": 2.5} if len(known) < 3 * len(lines) else {}
    (drawn,) = axes.plot(xs, ys, color=mark.colour, linestyle=mark.dash, linewidth=1.5, zorder=4, **shape)
    decimals = {"C": 1, "GHz": 3}.get(panel.unit, 0)
    span = f"{min(known):.{decimals}f} to {max(known):.{decimals}f} {panel.unit}"
    names = ", ".join(list(dict.fromkeys(line.name for line in lines))[:3])
    drawn.set_gid(tip(f"{squeeze(lines[0].row.name, _MAX_NAME)}: {names}, {span} in {plural(len(lines), 'run')}"))


def _whose(line: Line) -> str:
    return f"{squeeze(line.row.name, _MAX_NAME)}, run {line.run.round}"


def _draw_low(axes: Any, panel: Panel, phase_s: float) -> None:
    """Where a busy part ran below its clock in any of the runs of a column."""
    columns = sorted({line.column for line in panel.lines})
    for column in columns:
        lines = [line for line in panel.lines if line.column == column and line.watch.low_s]
        whose = shorten("; ".join(_whose(line) for line in lines), 2 * _MAX_NAME)
        ends_s = [span for line in lines for span in line.watch.low_s]
        for begin_s, end_s in merge_spans(ends_s, max(1, _MAX_SHADES // len(columns))):
            begin, end = place_in_column(column, [begin_s, end_s], phase_s)
            words = f"{whose}: a clock below the one that it was pinned to"
            shade = axes.axvspan(begin, end, color=INK, alpha=0.16, linewidth=0, zorder=1)
            shade.set_gid(tip(f"{words}, {begin_s:.1f} to {end_s:.1f} s"))


def merge_spans(spans: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Spans of time in order, those that touch as one; where there are more than `most`, short breaks are filled."""
    ordered = sorted(spans)
    if not ordered:
        return []
    breaks = [later[0] - earlier[1] for earlier, later in pairwise(_joined(ordered, 0.0))]
    widest = sorted(breaks, reverse=True)[most - 1] if len(breaks) >= most else 0.0
    return _joined(ordered, widest)


def _joined(ordered: Sequence[tuple[float, float]], least: float) -> list[tuple[float, float]]:
    """Without the breaks of at most `least`."""
    found = [ordered[0]]
    for begin, end in ordered[1:]:
        if begin - found[-1][1] <= least:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _draw_throttling(axes: Any, panel: Panel) -> None:
    """Counters tell that the board was slowed down, not when: a bar along the top, as wide as the run."""
    for column in sorted({line.column for line in panel.lines if line.run.throttling}):
        lines = [line for line in panel.lines if line.column == column and line.run.throttling]
        words = "; ".join(f"{_whose(line)}: {', '.join(line.run.throttling)}" for line in lines)
        bar = axes.axvspan(column, column + 1, ymin=0.95, color=INK, linewidth=0, zorder=3)
        bar.set_gid(tip(f"throttled: {shorten(words, 200)}"))


def _draw_before_and_after(axes: Any, lines: Sequence[Line], mark: Mark) -> None:
    """The hottest sensor before each run as an open mark, after it as a filled one, at the edges of the column."""
    for name, face, edge, values in (
        ("before", SURFACE, _MARGIN / 2, [line.run.hottest_before_c for line in lines]),
        ("after", mark.colour, 1 - _MARGIN / 2, [line.run.hottest_after_c for line in lines]),
    ):
        known = [(line.column + edge, value) for line, value in zip(lines, values, strict=True) if value is not None]
        if known:
            shape = {"marker": mark.marker, "markersize": 5, "markerfacecolor": face, "linestyle": "none"}
            (points,) = axes.plot(*zip(*known, strict=True), color=mark.colour, zorder=5, clip_on=False, **shape)
            figures = ", ".join(f"{value:.1f}" for _, value in known)
            whose = squeeze(lines[0].row.name, _MAX_NAME)
            points.set_gid(tip(f"{whose}: hottest sensor {name} the runs {figures} C"))

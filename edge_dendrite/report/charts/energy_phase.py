"""Temperature and clocks of the energy phase of each run: the panels below latency over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_dendrite.report.charts.draw import Mark
from edge_dendrite.report.charts.svg import INK, SURFACE, tip
from edge_dendrite.report.charts.ticks import linear_axis
from edge_dendrite.report.rows import Row
from edge_dendrite.report.series import RunTrace
from edge_dendrite.report.watch_series import WatchTrace

# Of a column, left free at both of its sides.
_MARGIN = 0.04


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
    for line in panel.lines:
        _draw_low(axes, line, phase_s)
        _draw_throttling(axes, line)
        _draw_line(axes, line, panel, marks[line.row.id], phase_s)
        if panel.is_heat:
            _draw_before_and_after(axes, line, marks[line.row.id])


def _draw_line(axes: Any, line: Line, panel: Panel, mark: Mark, phase_s: float) -> None:
    xs = place_in_column(line.column, line.watch.times_s, phase_s)
    values = np.array([np.nan if value is None else value for value in line.values])
    known = [value / panel.factor for value in line.known()]
    shape = {"marker": "o", "markersize": 2.5} if len(known) < 3 else {}
    opacity = 0.55 if line.run.reasons else 1.0
    (drawn,) = axes.plot(
        xs, values, color=mark.colour, alpha=opacity, linestyle=mark.dash, linewidth=1.5, zorder=4, **shape
    )
    decimals = {"C": 1, "GHz": 3}.get(panel.unit, 0)
    span = f"{min(known):.{decimals}f} to {max(known):.{decimals}f} {panel.unit}"
    drawn.set_gid(tip(f"{_whose(line)}: {line.name}, {span}"))


def _whose(line: Line) -> str:
    return f"{line.row.name}, run {line.column + 1}"


def _draw_low(axes: Any, line: Line, phase_s: float) -> None:
    """Where a busy part ran below its clock: shaded, with a bar along the upper edge."""
    for begin_s, end_s in line.watch.low_s:
        begin, end = place_in_column(line.column, [begin_s, end_s], phase_s)
        words = f"{_whose(line)}: a clock below the one that it was pinned to, {begin_s:.1f} to {end_s:.1f} s"
        for shade in (
            axes.axvspan(begin, end, color=INK, alpha=0.14, linewidth=0, zorder=1),
            axes.axvspan(begin, end, ymin=0.95, color=INK, linewidth=0, zorder=3),
        ):
            shade.set_gid(tip(words))


def _draw_throttling(axes: Any, line: Line) -> None:
    """Counters tell that the board was slowed down, not when: the bar is as wide as the run."""
    if line.run.throttling:
        bar = axes.axvspan(line.column, line.column + 1, ymin=0.95, color=INK, alpha=0.6, linewidth=0, zorder=3)
        bar.set_gid(tip(f"{_whose(line)}: throttled: {'; '.join(line.run.throttling)}"))


def _draw_before_and_after(axes: Any, line: Line, mark: Mark) -> None:
    """The hottest sensor before the run as an open mark, after it as a filled one, at the edges of the column."""
    for value, x, name, face in (
        (line.run.hottest_before_c, line.column + _MARGIN / 2, "before", SURFACE),
        (line.run.hottest_after_c, line.column + 1 - _MARGIN / 2, "after", mark.colour),
    ):
        if value is not None:
            shape = {"marker": mark.marker, "markersize": 5, "markerfacecolor": face}
            (point,) = axes.plot([x], [value], color=mark.colour, linestyle="none", zorder=5, clip_on=False, **shape)
            point.set_gid(tip(f"{_whose(line)}: hottest sensor {name} the run {value:.1f} C"))

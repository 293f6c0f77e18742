"""Latency over time, run by run, and below it temperature and clocks of the energy phase that followed each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import LEFT, RIGHT, WIDTH, Mark, canvas, marks_for, plot_axes
from edge_dendrite.report.charts.energy_phase import draw_panel, energy_phase_panels, place_in_column
from edge_dendrite.report.charts.heads import draw_head
from edge_dendrite.report.charts.svg import GRID, INK, MUTED, new_figure, style, tip, to_svg
from edge_dendrite.report.charts.ticks import linear_axis
from edge_dendrite.report.rows import Row
from edge_dendrite.report.series import LatencyTrace, RunTrace, evenly

# Panels, and runs in all of them together.
MAX_PANELS, _MAX_RUNS = 6, 24
# A pause so many bins long breaks a line.
_PAUSE = 3.5
_TOP, _RUNS, _HEAD, _PANEL, _GAP, _FOOT = 8.0, 20.0, 22.0, 80.0, 12.0, 30.0


def drawn_over_time(rows: Sequence[Row]) -> list[Row]:
    """The networks that have latencies over time, the first MAX_PANELS; of many with many runs, fewer runs of each."""
    known = [row for row in rows if any(run.latency for run in row.traces.runs)][:MAX_PANELS]
    most = _MAX_RUNS // max(1, len(known))
    return [replace(row, traces=replace(row.traces, runs=evenly(row.traces.runs, most))) for row in known]


def watched(rows: Sequence[Row]) -> bool:
    """Whether temperatures or clocks of any of the drawn runs are known."""
    return any(run.watch for row in drawn_over_time(rows) for run in row.traces.runs)


def phases_s(rows: Sequence[Row]) -> tuple[float, float]:
    """What the width of a column stands for: (seconds of the latency phase, seconds of the energy phase)."""
    runs = [run for row in drawn_over_time(rows) for run in row.traces.runs]
    latency_s = max((run.latency.duration_s for run in runs if run.latency), default=0.0)
    return latency_s, max((run.watch.duration_s for run in runs if run.watch), default=0.0)


def latency_over_time(rows: Sequence[Row], prefix: str = "time") -> str | None:
    """A panel per network with its runs side by side, and panels of the energy phase; None when none was timed."""
    drawn = drawn_over_time(rows)
    if not drawn:
        return None
    below = energy_phase_panels(drawn)
    num_columns = max(len(row.traces.runs) for row in drawn)
    height = _TOP + _RUNS + (_HEAD + _PANEL + _GAP) * (len(drawn) + len(below)) + _FOOT * (2 if below else 1)
    latency_s, energy_s = phases_s(drawn)
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        page, marks = canvas(figure, WIDTH, height), marks_for(rows)
        top = _TOP + _RUNS
        _draw_columns(page, _TOP, drawn, num_columns)
        for row in drawn:
            axes = _panel(figure, top, num_columns)
            _draw_network(page, axes, top, row, marks[row.id], latency_s)
            top += _HEAD + _PANEL + _GAP
        _draw_width(page, top, f"Width of a column: {fmt.seconds(latency_s)} of a run's latency phase")
        top += _FOOT
        for panel in below:
            page.text(12, top + 10, panel.title, va="center", color=MUTED)
            draw_panel(_panel(figure, top, num_columns), panel, marks, energy_s)
            top += _HEAD + _PANEL + _GAP
        if below:
            _draw_width(page, top, f"Width of a column: {fmt.seconds(energy_s)} of the energy phase of the same run")
        title = "Latency over time, one panel per network" + (", with temperature and clocks" if below else "")
        return to_svg(figure, prefix=prefix, title=title)


def _draw_columns(page: Any, top: float, drawn: Sequence[Row], num_columns: int) -> None:
    """Above each column which run of each network it holds, where that is the same of all."""
    pitch = (RIGHT - LEFT) / num_columns
    for column in range(num_columns):
        numbers = {row.traces.runs[column].round for row in drawn if column < len(row.traces.runs)}
        number = str(numbers.pop()) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"
        text = f"run {number}" if pitch > 50 else number
        page.text(LEFT + pitch * (column + 0.5), top + 8, text, ha="center", va="center", color=MUTED)


def _draw_width(page: Any, top: float, text: str) -> None:
    page.text(RIGHT, top + 2, fmt.typographic(text), ha="right", va="center", color=MUTED)


def _panel(figure: Any, top: float, num_columns: int) -> Any:
    """Axes with a column of width 1 per run and a line between two columns."""
    axes = plot_axes(figure, LEFT, top + _HEAD, RIGHT, top + _HEAD + _PANEL)
    axes.set_xlim(0, num_columns)
    axes.set_xticks(range(num_columns + 1), [""] * (num_columns + 1))
    return axes


def _draw_network(page: Any, axes: Any, top: float, row: Row, mark: Mark, phase_s: float) -> None:
    draw_head(page, top + 10, (12, RIGHT), row.name, _note(row), mark.colour)
    runs = list(enumerate(row.traces.runs))
    low, high = latency_limits([run for _, run in runs])
    axes.set_ylim(low, high)
    linear_axis(axes.yaxis, low, high, fmt.seconds(high).split()[1])
    for column, run in runs:
        _mark_run(axes, column, run, row)
    _draw_latency(axes, [(column, run, run.latency) for column, run in runs if run.latency], row, mark, phase_s)


def _note(row: Row) -> str:
    shown, total = len(row.traces.runs), row.traces.num_runs
    some = f", {shown} of {total} runs" if shown < total else ""
    if row.latency is None:
        return f"no valid run{some}"
    return f"median {fmt.seconds(row.latency.median_s)}, max {fmt.seconds(row.latency.max_s)}{some}"


def latency_limits(runs: Sequence[RunTrace]) -> tuple[float, float]:
    """Seconds: around p10 and p90 of the bins of the valid runs (else of all), up to the slowest if that is near."""
    known = [(run.latency, run.reasons) for run in runs if run.latency]
    bands = [band for latency, reasons in known if not reasons for band in latency.bands]
    bands = bands or [band for latency, _ in known for band in latency.bands]
    lows, highs = np.array([band[1] for band in bands]), np.array([band[3] for band in bands])
    low, high = float(np.quantile(lows, 0.01)), float(np.quantile(highs, 0.98))
    slowest = max(band[4] for band in bands)
    top = slowest if slowest < high + 1.5 * (high - low) else high + 0.5 * (high - low)
    # A clock that never moves still gets an axis that says so: one percent of the latency.
    margin = max(0.06 * (top - low), 0.005 * low)
    return max(0.0, low - margin), top + margin


def _mark_run(axes: Any, column: int, run: RunTrace, row: Row) -> None:
    """A run that enters no figure is shaded; whether it was left out or throttled stands on it."""
    is_throttled = bool(run.throttling or (run.watch and run.watch.low_s))
    if not run.reasons and not is_throttled:
        return
    why = fmt.shorten("; ".join((*run.reasons, *run.throttling)), 160)
    words = tip(f"{fmt.squeeze(row.name, 40)}, run {run.round}: {why}")
    if run.reasons:
        axes.axvspan(column, column + 1, color=GRID, alpha=0.8, linewidth=0, zorder=0).set_gid(words)
    place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center", "va": "center"}
    text = "throttled" if is_throttled else "left out"
    label = axes.annotate(text, (column + 0.5, 1), (0, -8), color=INK, fontsize=11, zorder=7, **place)
    if not run.reasons:
        label.set_gid(words)


def _draw_latency(
    axes: Any, runs: Sequence[tuple[int, RunTrace, LatencyTrace]], row: Row, mark: Mark, phase_s: float
) -> None:
    """p10 to p90 as a band, the median as a line, the slowest of each bin as a thin line that the axis cuts."""
    lines: list[Any] = []
    for column, run, latency in runs:
        times_s, lows, medians, highs, slowest = _with_gaps(latency)
        xs = place_in_column(column, times_s, phase_s)
        opacity = 0.15 if run.reasons else 0.3
        band = axes.fill_between(xs, lows, highs, color=mark.colour, alpha=opacity, linewidth=0, zorder=3)
        band.set_gid(tip(_latency_words(run, latency, row)))
        lines += [(xs, medians, slowest), ([column + 1], [np.nan], [np.nan])]
    xs, medians, slowest = (np.concatenate(parts) for parts in zip(*lines, strict=True))
    # What lies far above the axis becomes one level line just above it, which costs nothing.
    slowest = np.minimum(slowest, 1.02 * axes.get_ylim()[1])
    shape = {"marker": "o", "markersize": 3} if len(xs) < 4 * len(runs) else {}
    axes.plot(xs, slowest, color=mark.colour, alpha=0.38, linewidth=0.7, zorder=2)
    axes.plot(xs, medians, color=mark.colour, linewidth=1.3, zorder=4, **shape)


def _with_gaps(latency: LatencyTrace) -> Any:
    """The columns of the bands as arrays; nan where no inference began for so long that it is no matter of bins."""
    broken: list[tuple[float, ...]] = [latency.bands[0]]
    for band in latency.bands[1:]:
        if band[0] - broken[-1][0] > _PAUSE * latency.bin_s:
            broken.append((band[0],) + (np.nan,) * 4)
        broken.append(band)
    return np.array(broken).T


def _latency_words(run: RunTrace, latency: LatencyTrace, row: Row) -> str:
    slowest = max(latency.bands, key=lambda band: band[4])
    words = f"{fmt.squeeze(row.name, 40)}, run {run.round}: {latency.num_samples:,} samples"
    words += f", slowest {fmt.seconds(slowest[4])} at {fmt.seconds(slowest[0])}"
    heat = [f"{value:.1f}" for value in (run.hottest_before_c, run.hottest_after_c) if value is not None]
    return words + (f", hottest sensor before and after {' and '.join(heat)} C" if len(heat) == 2 else "")

"""Power over time: what the sensor said, the idle window, and the window from which the energy was taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import LEFT, RIGHT, WIDTH, Mark, canvas, marks_for, plot_axes
from edge_dendrite.report.charts.heads import draw_head
from edge_dendrite.report.charts.svg import GRID, INK, MUTED, new_figure, style, tip, to_svg
from edge_dendrite.report.charts.ticks import linear_axis
from edge_dendrite.report.power_series import PowerTrace
from edge_dendrite.report.rows import Row
from edge_dendrite.report.series import RunTrace

MAX_PANELS = 6
_TOP, _HEAD, _PANEL, _GAP, _FOOT = 8.0, 42.0, 104.0, 16.0, 44.0
# A pause so much longer than usual is one in which the sensor did not answer.
_PAUSE = 3.5

Drawn = tuple[Row, RunTrace, PowerTrace]


def drawn_power(rows: Sequence[Row]) -> list[Drawn]:
    """Of each network the valid run in the middle by its energy, else one that was left out; the first MAX_PANELS."""
    found: list[Drawn] = []
    for row in rows:
        runs = [(run, run.power) for run in row.traces.runs if run.power is not None]
        valid = [(run, power) for run, power in runs if not run.reasons]
        ordered = sorted(valid or runs, key=lambda pair: pair[1].gross_j)
        if ordered:
            run, power = ordered[(len(ordered) - 1) // 2]
            found.append((row, run, power))
    return found[:MAX_PANELS]


def power_traces(rows: Sequence[Row], prefix: str = "power") -> str | None:
    """A panel per network, all on one scale of watts and of time; None where no power was measured."""
    drawn = drawn_power(rows)
    if not drawn:
        return None
    height = _TOP + (_HEAD + _PANEL + _GAP) * len(drawn) + _FOOT
    begin_s, end_s = _limits([power for _, _, power in drawn])
    lowest_w, highest_w = _power_limits([power for _, _, power in drawn])
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        page, marks = canvas(figure, WIDTH, height), marks_for(rows)
        for index, (row, run, power) in enumerate(drawn):
            top = _TOP + (_HEAD + _PANEL + _GAP) * index
            _draw_head(page, top, row, run, power, marks[row.id])
            axes = plot_axes(figure, LEFT, top + _HEAD, RIGHT, top + _HEAD + _PANEL)
            axes.set_xlim(begin_s, end_s)
            axes.set_ylim(lowest_w, highest_w)
            axes.locator_params(axis="x", nbins=7)
            linear_axis(axes.yaxis, lowest_w, highest_w, "W", 1.0)
            axes.xaxis.set_major_formatter(lambda value, _: fmt.typographic(f"{value:g} s"))
            if index < len(drawn) - 1:
                axes.tick_params(axis="x", labelbottom=False)
            _draw_windows(axes, row, power)
            _draw_trace(axes, power, marks[row.id])
            _draw_means(axes, row, power)
        page.text(RIGHT, height - 10, "Time since the load began", ha="right", va="center", color=MUTED)
        return to_svg(figure, prefix=prefix, title="Power over time, idle and under load, one panel per network")


def _limits(powers: Sequence[PowerTrace]) -> tuple[float, float]:
    begin_s = min(power.idle_window_s[0] if power.idle_window_s else 0.0 for power in powers)
    end_s = max(power.load_window_s[1] for power in powers)
    margin_s = 0.01 * (end_s - begin_s)
    return begin_s - margin_s, end_s + margin_s


def _power_limits(powers: Sequence[PowerTrace]) -> tuple[float, float]:
    """From zero, where power is never negative; room for the labels above."""
    highs = [span[3] for power in powers for span in power.spans]
    lows = [span[1] for power in powers for span in power.spans]
    high = max(*highs, *(power.load_power_w for power in powers), 0.0)
    low = min(*lows, 0.0)
    return low, high + 0.2 * ((high - low) or 1.0)


def _draw_head(page: Any, top: float, row: Row, run: RunTrace, power: PowerTrace, mark: Mark) -> None:
    which = f"run {run.round}" + (", left out of all figures" if run.reasons else "")
    draw_head(page, top + 10, (12, RIGHT), row.name, which, mark.colour)
    figures = f"{fmt.joules(power.gross_j)} gross, {fmt.joules(power.net_j)} net of idle, per inference"
    page.text(12, top + 28, fmt.typographic(figures), va="center", color=INK)


def _draw_windows(axes: Any, row: Row, power: PowerTrace) -> None:
    """Shades the idle window and the energy window, with lines at the edges of what counts."""
    if power.idle_window_s:
        shade = axes.axvspan(*power.idle_window_s, color=MUTED, alpha=0.1, linewidth=0, zorder=0)
        shade.set_gid(tip(f"{fmt.squeeze(row.name, 40)}: idle window, {_span_words(power.idle_window_s)}"))
    if power.energy_window_s:
        shade = axes.axvspan(*power.energy_window_s, color=GRID, alpha=0.75, linewidth=0, zorder=0)
        shade.set_gid(tip(f"{fmt.squeeze(row.name, 40)}: energy window, {_span_words(power.energy_window_s)}"))
        for edge_s in power.energy_window_s:
            axes.axvline(edge_s, color=INK, linewidth=1.0, linestyle=(0, (2, 2)), zorder=4)


def _span_words(ends_s: tuple[float, float]) -> str:
    return f"{ends_s[0]:.2f} s to {ends_s[1]:.2f} s, {fmt.seconds(ends_s[1] - ends_s[0])} long"


def _draw_trace(axes: Any, power: PowerTrace, mark: Mark) -> None:
    """The mean of each bin as a line, lowest to highest as a band; broken where the sensor paused."""
    for part in _unbroken(power):
        times_s, lows, means, highs = zip(*part, strict=True)
        if lows != highs:
            axes.fill_between(times_s, lows, highs, color=mark.colour, alpha=0.28, linewidth=0, zorder=2)
        shape = {"marker": "o", "markersize": 3} if len(part) == 1 else {}
        axes.plot(times_s, means, color=mark.colour, linewidth=1.3, zorder=3, **shape)


def _unbroken(power: PowerTrace) -> list[list[tuple[float, float, float, float]]]:
    parts: list[list[tuple[float, float, float, float]]] = []
    for span in power.spans:
        crosses = (
            bool(parts) and power.idle_window_s is not None and parts[-1][-1][0] <= power.idle_window_s[1] < span[0]
        )
        if not parts or crosses or span[0] - parts[-1][-1][0] > _PAUSE * power.step_s:
            parts.append([])
        parts[-1].append(span)
    return parts


def _draw_means(axes: Any, row: Row, power: PowerTrace) -> None:
    """The mean of each window as a dashed line, and its watts above."""
    windows = [("idle", power.idle_window_s, power.idle_power_w)]
    windows.append(("load", power.energy_window_s or power.load_window_s, power.load_power_w))
    for name, ends_s, mean_w in windows:
        if ends_s is None:
            continue
        words = tip(f"{fmt.squeeze(row.name, 40)}: mean power {name} {fmt.watts(mean_w)}")
        (line,) = axes.plot(ends_s, [mean_w, mean_w], color=INK, linewidth=1.4, linestyle=(0, (5, 2)), zorder=5)
        line.set_gid(words)
        text = fmt.typographic(f"{name} {fmt.watts(mean_w)}")
        # Above all of the trace in this window, so that it covers nothing.
        highest_w = max((span[3] for span in power.spans if ends_s[0] <= span[0] <= ends_s[1]), default=mean_w)
        place = ((ends_s[0] + ends_s[1]) / 2, max(highest_w, mean_w))
        shape = {"textcoords": "offset points", "ha": "center", "va": "center", "zorder": 6}
        axes.annotate(text, place, (0, 9), color=INK, **shape).set_gid(words)

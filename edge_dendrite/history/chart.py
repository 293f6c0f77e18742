"""A metric over time as a picture, in the style of the report's charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import matplotlib
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from edge_dendrite.history.metrics import Metric
from edge_dendrite.history.trends import Line, Point
from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import LEGEND_PITCH, Mark, canvas, draw_legend, draw_marker, log_ticks, plot_axes
from edge_dendrite.report.charts.png import to_png
from edge_dendrite.report.charts.svg import GRID, MUTED, SERIES, SURFACE, new_figure, style, tip, to_svg

# More lines cannot be told apart; more points need no text each, and still more no mark and no bar.
MAX_LINES, MAX_TIPS, MAX_MARKS = 10, 600, 2000
_WIDTH, _LEFT, _PLOT = 960.0, 92.0, 330.0
_RIGHT = _WIDTH - 18
_LOG_FROM = 8.0
_MAX_NUMBERS = 20


@dataclass(frozen=True)
class Numbered:
    """A change with the number that marks it in the picture; lines that changed alike on one day share it."""

    number: int
    time: datetime
    board: str
    words: str
    networks: tuple[str, ...]


def drawn_lines(lines: Sequence[Line]) -> list[Line]:
    """The lines that have something to draw, as many as can be told apart."""
    return [line for line in lines if line.known()][:MAX_LINES]


def numbered_changes(lines: Sequence[Line]) -> list[Numbered]:
    """All changes of the lines in the order of time."""
    found: dict[tuple[str, str, str], tuple[datetime, list[str]]] = {}
    for line in lines:
        for change in line.changes:
            key = (f"{change.time:%Y-%m-%d}", line.board, change.words)
            time, networks = found.setdefault(key, (change.time, []))
            networks.append(line.name())
            found[key] = (min(time, change.time), networks)
    ordered = sorted(found.items(), key=lambda one: (one[1][0], one[0]))
    return [
        Numbered(number, time, board, words, tuple(dict.fromkeys(networks)))
        for number, ((_, board, words), (time, networks)) in enumerate(ordered, start=1)
    ]


def metric_svg(lines: Sequence[Line], metric: Metric) -> str | None:
    """The picture as inline SVG of a page; None when there is nothing to draw."""
    drawn = drawn_lines(lines)
    if not drawn:
        return None
    with matplotlib.rc_context(style()):
        title = f"{metric.title} over time, one line per board and network"
        return to_svg(_draw(drawn, metric), prefix="history", title=title)


def metric_png(lines: Sequence[Line], metric: Metric) -> bytes | None:
    """The picture as PNG on white; None when there is nothing to draw."""
    drawn = drawn_lines(lines)
    if not drawn:
        return None
    with matplotlib.rc_context(style()):
        return to_png(_draw(drawn, metric))


def _draw(lines: Sequence[Line], metric: Metric) -> Any:
    marks = _marks(lines)
    top = 8 + LEGEND_PITCH * len(lines) + 52
    height = top + _PLOT + 46
    figure = new_figure(_WIDTH, height)
    page, axes = canvas(figure, _WIDTH, height), plot_axes(figure, _LEFT, top, _RIGHT, top + _PLOT)
    many_boards = len({line.board for line in lines}) > 1
    draw_legend(page, 8, [_entry(mark, line, metric, many_boards) for mark, line in marks], "line")
    for index, (mark, _) in enumerate(marks):
        draw_marker(page, 24, 8 + LEGEND_PITCH * (index + 0.5), mark)
    where = "" if many_boards else f", on {fmt.squeeze(lines[0].board, 80)}"
    page.text(12, top - 34, f"{metric.title}{where}", va="center", color=MUTED)
    page.text(_LEFT, height - 8, "Start of the run (UTC)", va="center", color=MUTED)
    _time_axis(axes, lines)
    _value_axis(axes, lines, metric)
    for mark, line in reversed(marks):
        _draw_line(axes, line, mark, metric, sum(len(line.points) for line in lines))
    _draw_changes(axes, lines)
    return figure


def _marks(lines: Sequence[Line]) -> list[tuple[Mark, Line]]:
    colours, markers = SERIES[1:] + SERIES[:1], ("o", "s", "^", "D", "v", "P")
    dashes: tuple[Any, ...] = ("-", (0, (5, 2)))
    return [
        (Mark(colours[index % 6], markers[index % 6], dashes[index // 6 % 2]), line) for index, line in enumerate(lines)
    ]


def _entry(mark: Mark, line: Line, metric: Metric, many_boards: bool) -> tuple[Mark, str, str]:
    last = line.stretches[-1][-1].figure if line.stretches else None
    latest = f"last {metric.show(last.value)}, " if last else "no valid run, "
    name = f"{line.name()} on {line.board}" if many_boards else line.name()
    return mark, name, fmt.typographic(latest + fmt.plural(len(line.points), "run"))


def _time_axis(axes: Any, lines: Sequence[Line]) -> None:
    times = [point.time for line in lines for point in line.points]
    first, last = min(times), max(times)
    margin = max((last - first) * 0.03, timedelta(minutes=1) if last > first else timedelta(hours=12))
    axes.set_xlim(date2num(first - margin), date2num(last + margin))
    locator = AutoDateLocator(tz=timezone.utc, minticks=3, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=timezone.utc))
    # The formatter puts the year, or the day, at the end of the axis.
    axes.xaxis.get_offset_text().set_color(MUTED)


def _value_axis(axes: Any, lines: Sequence[Line], metric: Metric) -> None:
    """From the lowest to the highest figure: logarithmic where they are far apart. An interval may reach beyond."""
    values = [point.figure.value for line in lines for point in line.known() if point.figure]
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOG_FROM:
        low, high = low / 1.15, high * 1.15
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        ticks = log_ticks(low, high)
        axes.yaxis.set_minor_locator(NullLocator())
        labels = [metric.show_ticks([tick])[0] for tick in ticks]
    else:
        bounds = [bound for line in lines for point in line.known() for bound in _bounds(point)]
        span = high - low or 0.1 * abs(high) or 1.0
        low = max(low - 1.5 * span, min([low, *bounds])) - 0.06 * span
        high = min(high + 1.5 * span, max([high, *bounds])) + 0.06 * span
        axes.set_ylim(low, high)
        found = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        ticks = [float(tick) for tick in found if low <= tick <= high]
        labels = metric.show_ticks(ticks)
    words = dict(zip(ticks, map(fmt.typographic, labels), strict=True))
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: words.get(tick, "")))


def _bounds(point: Point) -> list[float]:
    figure = point.figure
    return [bound for bound in (figure.low, figure.high) if bound is not None] if figure else []


def _draw_line(axes: Any, line: Line, mark: Mark, metric: Metric, num_points: int) -> None:
    """num_points: of all lines."""
    has_tips, has_marks = num_points <= MAX_TIPS, num_points <= MAX_MARKS
    for stretch in line.stretches:
        times = [date2num(point.time) for point in stretch]
        values = [point.figure.value for point in stretch if point.figure]
        axes.plot(times, values, color=mark.colour, linestyle=mark.dash, linewidth=1.8, zorder=4)
    known = line.known()
    spans = [(date2num(point.time), _bounds(point)) for point in known if len(_bounds(point)) == 2]
    if spans and has_marks:
        starts, bounds = zip(*spans, strict=True)
        lows, highs = zip(*bounds, strict=True)
        axes.vlines(starts, lows, highs, color=mark.colour, linewidth=1.6, alpha=0.45, zorder=3)
    alone = {id(stretch[0]) for stretch in line.stretches if len(stretch) == 1}  # no line shows these
    marked = known if has_marks else [point for point in known if not point.is_valid or id(point) in alone]
    groups = [[point] for point in marked] if has_tips else _by_validity(marked)
    for group in groups:
        face = mark.colour if group[0].is_valid else SURFACE
        artist = axes.plot(
            [date2num(point.time) for point in group],
            [point.figure.value for point in group if point.figure],
            linestyle="none",
            marker=mark.marker,
            markersize=7 if has_tips else 4,
            markerfacecolor=face,
            markeredgecolor=SURFACE if group[0].is_valid else mark.colour,
            markeredgewidth=0.8 if group[0].is_valid else 1.6,
            zorder=6,
        )[0]
        if has_tips:
            artist.set_gid(tip(point_words(line, group[0], metric)))
    missing = [date2num(point.time) for point in line.points if point.figure is None]
    if missing:  # at the foot of the axes: the run is there, its figure is not
        place = axes.get_xaxis_transform()
        axes.plot(missing, [0.015] * len(missing), "x", color=mark.colour, markersize=6, transform=place, zorder=5)


def _by_validity(points: Sequence[Point]) -> list[list[Point]]:
    groups = [[point for point in points if point.is_valid is wanted] for wanted in (True, False)]
    return [group for group in groups if group]


def point_words(line: Line, point: Point, metric: Metric) -> str:
    """A point in words: what, when, in which state."""
    figure, run = point.figure, point.run
    value = metric.show(figure.value) if figure else "not measured"
    if figure and figure.low is not None and figure.high is not None:
        value += f" ({metric.show(figure.low)} to {metric.show(figure.high)})"
    validity = "" if point.is_valid else f"; {run.facts.status}: {'; '.join(run.facts.reasons) or 'no reason given'}"
    words = f"run {run.id}, {point.time:%Y-%m-%d %H:%M} UTC: {value}; {line.name()} on {line.board}; {run.state()}"
    return fmt.typographic(words + validity)


def _draw_changes(axes: Any, lines: Sequence[Line]) -> None:
    """A dotted line and a number for each change, the numbers of neighbours on different heights."""
    low, high = axes.get_xlim()
    last, level = -math.inf, 0
    for change in numbered_changes(lines)[:_MAX_NUMBERS]:
        x = date2num(change.time)
        level = (level + 1) % 2 if (x - last) / (high - low) < 0.03 else 0
        last = x
        axes.axvline(x, color=MUTED, linewidth=1.0, linestyle=(0, (1.5, 2)), zorder=2)
        axes.text(
            x,
            1.015 + 0.05 * level,
            str(change.number),
            ha="center",
            va="bottom",
            color=MUTED,
            transform=axes.get_xaxis_transform(),
        ).set_gid(tip(fmt.typographic(f"{change.time:%Y-%m-%d}: {change.words}")))
    axes.tick_params(axis="x", colors=GRID, labelcolor=MUTED)

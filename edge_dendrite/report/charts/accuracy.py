"""Accuracy against what it costs: parameters, and latency; with the front of those that nothing here beats."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import (
    LEFT,
    MAX_DRAWN,
    RIGHT,
    WIDTH,
    Mark,
    canvas,
    chart_height,
    draw_marker,
    log_axis,
    marks_for,
    plot_axes,
)
from edge_dendrite.report.charts.labels import Box, place_labels
from edge_dendrite.report.charts.svg import MUTED, new_figure, style, to_svg
from edge_dendrite.report.rows import Row

# All of these are drawn; MAX_DRAWN of them have room for their name.
MAX_POINTS = 100


@dataclass(frozen=True)
class _Point:
    """A network at its cost. spread: of the cost over the runs. beaten_by: cheaper and better, or as cheap, or as good;
    empty on the front.
    """

    row: Row
    cost: float
    value: float
    interval: tuple[float, float] | None
    spread: tuple[float, float] | None
    beaten_by: str


def accuracy_against_size(rows: Sequence[Row], prefix: str = "accuracy") -> str | None:
    """Accuracy over parameters (logarithmic), with 95 % intervals; None when no row has both."""
    points = find_points(rows, lambda row: row.num_parameters)
    return _draw(points, rows, prefix, "Parameters", lambda tick: fmt.count(round(tick)))


def accuracy_against_latency(rows: Sequence[Row], prefix: str = "accuracy-latency") -> str | None:
    """Accuracy over median latency (logarithmic), with 95 % intervals of the accuracy and the range of the runs'
    medians; None when no row has both.
    """
    points = find_points(rows, lambda row: row.latency.median_s if row.latency else None)
    return _draw(points, rows, prefix, "Median latency", lambda tick: fmt.typographic(fmt.tick_seconds(tick)))


def find_points(rows: Sequence[Row], cost: Callable[[Row], float | None]) -> list[_Point]:
    """The rows that have an accuracy, all of one metric, and a cost; at most MAX_POINTS."""
    known = [(row, cost(row) or 0.0) for row in rows if row.accuracy is not None and (cost(row) or 0) > 0]
    metric = known[0][0].accuracy.metric if known and known[0][0].accuracy else ""
    known = [(row, x) for row, x in known if row.accuracy and row.accuracy.metric == metric][:MAX_POINTS]
    values = [(row, x, row.accuracy.value) for row, x in known if row.accuracy]
    points = []
    for row, x, y in values:
        better = [other for other, ox, oy in values if ox <= x and oy >= y and (ox, oy) != (x, y)]
        runs = row.latency.run_medians_s if row.latency and x == row.latency.median_s else ()
        spread = (min(runs), max(runs)) if len(runs) > 1 else None
        interval = row.accuracy.interval if row.accuracy else None
        points.append(_Point(row, x, y, interval, spread, better[0].name if better else ""))
    return points


def _draw(
    points: Sequence[_Point], rows: Sequence[Row], prefix: str, what: str, show: Callable[[float], str]
) -> str | None:
    if not points or points[0].row.accuracy is None:
        return None
    metric = points[0].row.accuracy.metric
    # As high as the latency chart beside it.
    height = chart_height(min(len(points), MAX_DRAWN))
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        page, axes = canvas(figure, WIDTH, height), plot_axes(figure, LEFT, 36, RIGHT, height - 46)
        page.text(12, 16, fmt.shorten(metric, 50).capitalize(), va="center", color=MUTED)
        page.text(RIGHT, height - 10, what, ha="right", va="center", color=MUTED)
        _set_limits(axes, points, show)
        _draw_points(page, axes, points, marks_for(rows), Box(LEFT, 24, RIGHT, height - 46), show)
        front = ", ".join(fmt.shorten(point.row.name, 60) for point in points if not point.beaten_by)
        title = f"{metric} against {what.lower()}, one point per network; on the front: {fmt.shorten(front, 300)}"
        return to_svg(figure, prefix=prefix, title=title)


def _set_limits(axes: Any, points: Sequence[_Point], show: Callable[[float], str]) -> None:
    costs = [cost for point in points for cost in (point.cost, *(point.spread or ()))]
    low, high = min(costs) / 1.6, max(costs) * 1.6
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_axis(axes.xaxis, low, high, show)
    bounds = [bound for point in points for bound in (point.interval or (point.value,) * 2)]
    bottom, top = min(bounds), max(bounds)
    margin = 0.12 * (top - bottom) or 0.05 * abs(top) or 1.0
    axes.set_ylim(bottom - margin, top + margin)
    if points[0].interval:
        axes.set_ylim(bottom - margin, min(top + margin, 1.0 + 0.3 * margin))
        span = 100 * (axes.get_ylim()[1] - axes.get_ylim()[0])
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.{1 if span < 4 else 0}f} %")
    axes.locator_params(axis="y", nbins=6)


def _draw_points(
    page: Any,
    axes: Any,
    points: Sequence[_Point],
    marks: dict[str, Mark],
    frame: Box,
    show: Callable[[float], str],
) -> None:
    spots, obstacles = _spread(page, axes, points), []
    _draw_front(page, frame, [spot for spot, point in zip(spots, points, strict=True) if not point.beaten_by])
    for point, (x, y) in zip(points, spots, strict=True):
        mark, faint = marks[point.row.id], 0.3 if point.beaten_by else 0.55
        if point.interval is not None:
            ends = [_to_page(page, axes, point.cost, bound)[1] for bound in point.interval]
            page.plot([x, x], ends, color=mark.colour, linewidth=2, alpha=faint, solid_capstyle="round")
            obstacles.append(Box(x - 3, min(ends), x + 3, max(ends)))
        if point.spread is not None:
            ends = [_to_page(page, axes, cost, point.value)[0] for cost in point.spread]
            page.plot(ends, [y, y], color=mark.colour, linewidth=2, alpha=faint, solid_capstyle="round")
        draw_marker(page, x, y, mark, hollow=bool(point.beaten_by), tooltip=_tooltip(point, show))
        obstacles.append(Box(x - 7, y - 7, x + 7, y + 7))
    named = _named(points)
    texts = [fmt.squeeze(points[index].row.name, 26) for index in named]
    boxes = place_labels([spots[index] for index in named], texts, obstacles, frame)
    for index, text, box in zip(named, texts, boxes, strict=True):
        _label(page, *spots[index], text, box, marks[points[index].row.id])


def _named(points: Sequence[_Point]) -> list[int]:
    """Which points have their name beside them: all of a few, of many the first ones of the front."""
    front = [index for index, point in enumerate(points) if not point.beaten_by]
    return list(range(len(points))) if len(points) <= MAX_DRAWN else front[:MAX_DRAWN]


def _tooltip(point: _Point, show: Callable[[float], str]) -> str:
    """The network with its role and figures, and where it stands."""
    value = fmt.percent(point.value, 2) if point.interval else f"{point.value:.4g}"
    if point.interval:
        value += f" (95 %: {100 * point.interval[0]:.2f} to {100 * point.interval[1]:.2f} %)"
    cost = show(point.cost) if point.row.latency and point.cost == point.row.latency.median_s else ""
    cost = cost or f"{point.cost:,.0f} parameters"
    stands = f"dominated by {fmt.squeeze(point.beaten_by, 60)}" if point.beaten_by else "on the front"
    who = f"{fmt.squeeze(point.row.name, 60)} ({fmt.squeeze(point.row.role, 60)})"
    return fmt.typographic(f"{who}: {value}, {cost}; {stands}")


def _draw_front(page: Any, frame: Box, spots: Sequence[tuple[float, float]]) -> None:
    """Steps through the points that nothing beats: each is the best that there is up to the cost of the next."""
    corners: list[tuple[float, float]] = []
    for x, y in sorted(spots):
        corners += [(x, corners[-1][1] if corners else frame.bottom), (x, y)]
    if corners:
        corners.append((frame.right, corners[-1][1]))
        xs, ys = zip(*corners, strict=True)
        page.plot(xs, ys, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), zorder=1)


def _label(page: Any, x: float, y: float, text: str, box: Box, mark: Mark) -> None:
    """The text on the side of its box that faces the point, and a thin leader when they are apart."""
    middle = (box.top + box.bottom) / 2
    side, anchor = ("left", box.left) if box.left > x else ("right", box.right)
    if box.left <= x <= box.right:
        side, anchor = "center", (box.left + box.right) / 2
    if side != "center" and math.hypot(anchor - x, middle - y) > 14:
        page.plot([x, anchor], [y, middle], color=mark.colour, linewidth=0.9)
    page.text(anchor, middle, text, ha=side, va="center", color=mark.colour)


def _spread(page: Any, axes: Any, points: Sequence[_Point]) -> list[tuple[float, float]]:
    """Page positions of the points; networks of (nearly) the same cost stand side by side, in order of it."""
    spots = [_to_page(page, axes, point.cost, point.value) for point in points]
    groups: list[list[int]] = []
    for index in sorted(range(len(spots)), key=lambda i: spots[i][0]):
        if groups and spots[index][0] - spots[groups[-1][0]][0] < 12:
            groups[-1].append(index)
        else:
            groups.append([index])
    for group in groups:
        centre = sum(spots[index][0] for index in group) / len(group)
        pitch = min(16.0, 64.0 / len(group))
        for place, index in enumerate(group):
            spots[index] = (centre + pitch * (place - (len(group) - 1) / 2), spots[index][1])
    return spots


def _to_page(page: Any, axes: Any, x: float, y: float) -> tuple[float, float]:
    place = page.transData.inverted().transform(axes.transData.transform((x, y)))
    return float(place[0]), float(place[1])

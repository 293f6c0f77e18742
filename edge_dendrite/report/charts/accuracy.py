"""Accuracy against size."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def accuracy_against_size(rows: Sequence[Row], prefix: str = "accuracy") -> str | None:
    """Accuracy over parameters (logarithmic), with 95 % intervals; None when no row has both."""
    known = [row for row in rows if row.accuracy is not None and row.num_parameters][:MAX_DRAWN]
    metric = known[0].accuracy.metric if known and known[0].accuracy else ""
    known = [row for row in known if row.accuracy and row.accuracy.metric == metric]
    if not known:
        return None
    # As high as the latency chart beside it.
    height = chart_height(len(known))
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        page, axes = canvas(figure, WIDTH, height), plot_axes(figure, LEFT, 36, RIGHT, height - 46)
        page.text(12, 16, fmt.shorten(metric, 50).capitalize(), va="center", color=MUTED)
        page.text(RIGHT, height - 10, "Parameters", ha="right", va="center", color=MUTED)
        _set_size_limits(axes, known)
        _draw_points(page, axes, known, Box(LEFT, 24, RIGHT, height - 46))
        return to_svg(figure, prefix=prefix, title=f"{metric} against number of parameters, one point per network")


def _set_size_limits(axes: Any, rows: Sequence[Row]) -> None:
    sizes = [row.num_parameters or 1 for row in rows]
    low, high = min(sizes) / 1.6, max(sizes) * 1.6
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    log_axis(axes.xaxis, low, high, lambda tick: fmt.count(round(tick)))
    bounds = [bound for row in rows if row.accuracy for bound in (row.accuracy.interval or (row.accuracy.value,) * 2)]
    bottom, top = min(bounds), max(bounds)
    margin = 0.12 * (top - bottom) or 0.05 * abs(top) or 1.0
    axes.set_ylim(bottom - margin, top + margin)
    if rows[0].accuracy and rows[0].accuracy.interval:
        axes.set_ylim(bottom - margin, min(top + margin, 1.0 + 0.3 * margin))
        span = 100 * (axes.get_ylim()[1] - axes.get_ylim()[0])
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.{1 if span < 4 else 0}f} %")
    axes.locator_params(axis="y", nbins=6)


def _draw_points(page: Any, axes: Any, rows: Sequence[Row], frame: Box) -> None:
    marks = marks_for(rows)
    spots, obstacles = _spread(page, axes, rows), []
    for row, (x, y) in zip(rows, spots, strict=True):
        assert row.accuracy is not None
        mark = marks[row.id]
        if row.accuracy.interval is not None:
            ends = [_to_page(page, axes, 1.0, bound)[1] for bound in row.accuracy.interval]
            page.plot([x, x], ends, color=mark.colour, linewidth=2, alpha=0.55, solid_capstyle="round")
            obstacles.append(Box(x - 3, min(ends), x + 3, max(ends)))
        draw_marker(page, x, y, mark)
        obstacles.append(Box(x - 7, y - 7, x + 7, y + 7))
    texts = [fmt.squeeze(row.name, 26) for row in rows]
    boxes = place_labels(spots, texts, obstacles, frame)
    for row, (x, y), text, box in zip(rows, spots, texts, boxes, strict=True):
        _label(page, x, y, text, box, marks[row.id])


def _label(page: Any, x: float, y: float, text: str, box: Box, mark: Mark) -> None:
    """The text on the side of its box that faces the point, and a thin leader when they are apart."""
    middle = (box.top + box.bottom) / 2
    side, anchor = ("left", box.left) if box.left > x else ("right", box.right)
    if box.left <= x <= box.right:
        side, anchor = "center", (box.left + box.right) / 2
    if side != "center" and math.hypot(anchor - x, middle - y) > 14:
        page.plot([x, anchor], [y, middle], color=mark.colour, linewidth=0.9)
    page.text(anchor, middle, text, ha=side, va="center", color=mark.colour)


def _spread(page: Any, axes: Any, rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Page positions of the points; networks of (nearly) the same size stand side by side."""
    spots = [_to_page(page, axes, row.num_parameters or 1, row.accuracy.value) for row in rows if row.accuracy]
    groups: list[list[int]] = []
    for index in sorted(range(len(spots)), key=lambda i: spots[i][0]):
        if groups and spots[index][0] - spots[groups[-1][0]][0] < 12:
            groups[-1].append(index)
        else:
            groups.append([index])
    for group in groups:
        centre = sum(spots[index][0] for index in group) / len(group)
        for place, index in enumerate(sorted(group)):
            spots[index] = (centre + 16 * (place - (len(group) - 1) / 2), spots[index][1])
    return spots


def _to_page(page: Any, axes: Any, x: float, y: float) -> tuple[float, float]:
    place = page.transData.inverted().transform(axes.transData.transform((x, y)))
    return float(place[0]), float(place[1])

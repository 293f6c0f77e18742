"""How latency is distributed, as a ridge per network: where its samples lie, with median, p90 and p99."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib

from edge_dendrite.report import format as fmt
from edge_dendrite.report.binning import BINS_PER_DECADE
from edge_dendrite.report.charts.draw import MAX_DRAWN, RIGHT, WIDTH, Mark, canvas, log_axis, marks_for, plot_axes
from edge_dendrite.report.charts.heads import draw_head
from edge_dendrite.report.charts.latency import ecdf_limits
from edge_dendrite.report.charts.svg import INK, MUTED, SURFACE, new_figure, style, tip, to_svg
from edge_dendrite.report.rows import Row

_LEFT = 12.0
_NAMES, _RIDGE, _PITCH = 22.0, 52.0, 88.0
_MAX_BINS = 200


def latency_ridges(rows: Sequence[Row], prefix: str = "ridges") -> str | None:
    """A ridge per network on one logarithmic axis, its height by its own fullest bin; None when none was timed."""
    known = [row for row in rows if row.latency is not None and row.traces.histogram][:MAX_DRAWN]
    if not known:
        return None
    height = 8 + _PITCH * len(known) + 46
    bottom = height - 46
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        axes, page = plot_axes(figure, _LEFT, 8, RIGHT, bottom), canvas(figure, WIDTH, height)
        low, high = ecdf_limits(known)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(bottom, 8)
        log_axis(axes.xaxis, low, high, lambda tick: fmt.typographic(fmt.tick_seconds(tick)))
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        page.text(RIGHT, height - 10, "Latency", ha="right", va="center", color=MUTED)
        marks = marks_for(rows)
        for index, row in enumerate(known):
            top = 8 + _PITCH * index
            _draw_name(page, top, row, marks[row.id])
            _draw_ridge(axes, top + _NAMES + _RIDGE, row, marks[row.id], (low, high))
        return to_svg(figure, prefix=prefix, title="Distribution of latency, one ridge per network")


def ridge_bins(
    histogram: Sequence[tuple[int, int]], low: float, high: float, max_bins: int = _MAX_BINS
) -> list[tuple[float, float, int]]:
    """(begin, end, samples) in seconds: the fixed bins between `low` and `high`, some together where they are many.

    Empty bins between full ones are there too; samples beyond `high` are in none.
    """
    first, last = math.floor(math.log10(low) * BINS_PER_DECADE), math.floor(math.log10(high) * BINS_PER_DECADE)
    together = max(1, -(-(last - first + 1) // max_bins))
    counts: dict[int, int] = {}
    for index, count in histogram:
        if first <= index <= last:
            counts[(index - first) // together] = counts.get((index - first) // together, 0) + count
    edges = [10.0 ** ((first + together * place) / BINS_PER_DECADE) for place in range(max(counts, default=-1) + 2)]
    return [(edges[place], edges[place + 1], counts.get(place, 0)) for place in range(len(edges) - 1)]


def _draw_name(page: Any, top: float, row: Row, mark: Mark) -> None:
    assert row.latency is not None
    words = [f"median {fmt.seconds(row.latency.median_s)}"]
    words.append(f"p99 {fmt.seconds(row.latency.p99_s)}" if row.latency.p99_s is not None else "p99: too few samples")
    draw_head(page, top + 10, (_LEFT, RIGHT), row.name, ", ".join(words), mark.colour)


def _draw_ridge(axes: Any, base: float, row: Row, mark: Mark, limits: tuple[float, float]) -> None:
    """The ridge stands on `base` (pixels, downwards); a network that lies beyond the axis has none."""
    assert row.latency is not None
    bins = ridge_bins(row.traces.histogram, *limits)
    highest = max((count for _, _, count in bins), default=0)
    if highest:
        xs, ys = _outline(bins, base, _RIDGE / highest)
        (ridge,) = axes.fill(
            [*xs, xs[-1], xs[0]], [*ys, base, base], color=mark.colour, alpha=0.32 * mark.opacity, linewidth=0, zorder=2
        )
        ridge.set_gid(tip(_summary(row)))
        axes.plot(xs, ys, color=mark.colour, linewidth=1.2, zorder=3)
    axes.plot(limits, [base, base], color=MUTED, linewidth=0.8, zorder=1)
    latency = row.latency
    for name, value_s, share, width in (
        ("median", latency.median_s, 1.0, 2.2),
        ("p90", latency.p90_s, 0.8, 1.6),
        ("p99", latency.p99_s, 0.45, 1.6),
    ):
        if value_s is not None:
            _draw_mark(axes, (base, base - _RIDGE * share), name, value_s, width, limits, row.name)


def _outline(bins: Sequence[tuple[float, float, int]], base: float, scale: float) -> tuple[list[float], list[float]]:
    """The upper edge of the bins, with a point only where the height changes."""
    points = [(bins[0][0], 0)]
    for begin, _end, count in bins:
        if count != points[-1][1]:
            points += [(begin, points[-1][1]), (begin, count)]
    points.append((bins[-1][1], points[-1][1]))
    return [x for x, _ in points], [base - scale * count for _, count in points]


def _draw_mark(
    axes: Any, ends: tuple[float, float], name: str, value_s: float, width: float, limits: tuple[float, float], of: str
) -> None:
    """A line from the base up, its name beside it; an arrow at the edge where it lies beyond the axis."""
    base, top = ends
    words = tip(f"{fmt.squeeze(of, 40)}: {name} {fmt.seconds(value_s)}")
    if value_s > limits[1]:
        (line,) = axes.plot([limits[1]], [base - 6], marker=">", markersize=8, color=INK, clip_on=False, zorder=6)
        line.set_gid(words)
        return
    # A wider line in the page's colour below it keeps it apart from a ridge of any colour.
    axes.plot([value_s] * 2, [base, top], color=SURFACE, linewidth=width + 2, zorder=4, solid_capstyle="butt")
    (line,) = axes.plot([value_s] * 2, [base, top], color=INK, linewidth=width, zorder=5, solid_capstyle="butt")
    line.set_gid(words)
    if name != "median":
        # At two heights, and p99 to the right: p90 and p99 may be close.
        shape = {"ha": "left", "va": "center"} if name == "p99" else {"ha": "center", "va": "bottom"}
        offset = (5, -4) if name == "p99" else (0, 1)
        label = axes.annotate(
            name, (value_s, top), offset, textcoords="offset points", color=INK, fontsize=11, zorder=6, **shape
        )
        label.set_gid(words)


def _summary(row: Row) -> str:
    assert row.latency is not None
    latency = row.latency
    spread = f"{fmt.seconds(latency.min_s)} to {fmt.seconds(latency.max_s)}"
    words = f"{latency.num_samples:,} samples, {spread}, median {fmt.seconds(latency.median_s)}"
    return f"{fmt.squeeze(row.name, 40)}: {words}"

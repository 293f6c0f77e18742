"""How latency is distributed."""

from __future__ import annotations

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
    draw_legend,
    log_axis,
    marks_for,
    plot_axes,
)
from edge_dendrite.report.charts.svg import MUTED, SURFACE, new_figure, style, tip, to_svg
from edge_dendrite.report.rows import Row


def latency_ecdf(rows: Sequence[Row], prefix: str = "latency") -> str | None:
    """Share of inferences that took at most so long, a step line per network; None when none was timed."""
    known = [row for row in rows if row.latency is not None][:MAX_DRAWN]
    if not known:
        return None
    height = chart_height(len(known))
    top = height - 46 - 270
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        page, axes = canvas(figure, WIDTH, height), plot_axes(figure, LEFT, top, RIGHT, top + 270)
        marks = marks_for(rows)
        draw_legend(page, 8, [(marks[row.id], row.name, _latency_words(row)) for row in known], "line")
        page.text(12, top - 18, "Inferences that took at most this long", va="center", color=MUTED)
        page.text(RIGHT, height - 10, "Latency", ha="right", va="center", color=MUTED)
        low, high = ecdf_limits(known)
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        log_axis(axes.xaxis, low, high, lambda tick: fmt.typographic(fmt.tick_seconds(tick)))
        axes.set_ylim(0, 1.02)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.9, 1.0], ["0 %", "25 %", "50 %", "75 %", "90 %", "100 %"])
        for row in reversed(known):
            _draw_steps(axes, row, marks[row.id])
        return to_svg(figure, prefix=prefix, title="Cumulative distribution of latency, one line per network")


def _draw_steps(axes: Any, row: Row, mark: Mark) -> None:
    assert row.latency is not None
    shares, times = zip(*row.latency.ecdf, strict=True)
    axes.step([times[0], *times], [0, *shares], where="post", color=mark.colour, linestyle=mark.dash, linewidth=1.8)
    known = ((0.5, row.latency.median_s), (0.9, row.latency.p90_s), (0.99, row.latency.p99_s))
    for share, value_s in known:
        if value_s is None:
            continue
        (point,) = axes.plot(
            value_s, share, "o", markersize=7, color=mark.colour, markeredgecolor=SURFACE, markeredgewidth=1.2
        )
        words = f"{row.name}: {100 * share:.0f} % of inferences took at most {fmt.seconds(value_s)}"
        point.set_gid(tip(fmt.typographic(words)))


def _latency_words(row: Row) -> str:
    assert row.latency is not None
    median, slowest = fmt.seconds(row.latency.median_s), fmt.seconds(row.latency.max_s)
    return fmt.typographic(f"median {median}, max {slowest}")


def ecdf_limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Seconds: from the fastest sample to a little above the largest p99.5, so that one outlier hides nothing."""
    latencies = [row.latency for row in rows if row.latency is not None]
    late = max(min(value for share, value in one.ecdf if share >= 0.995) for one in latencies)
    slowest, fastest = max(one.max_s for one in latencies), min(one.min_s for one in latencies)
    high = slowest if slowest < 2 * late else 1.15 * late
    return fastest / 1.05, max(high * 1.03, fastest * 1.2)

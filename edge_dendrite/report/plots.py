"""The charts of a report, each as one inline SVG. They show what the rows hold and compute nothing of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib

from edge_dendrite.report import format as fmt
from edge_dendrite.report.compare import compare_latency
from edge_dendrite.report.draw import (
    LEGEND_PITCH,
    MAX_DRAWN,
    Mark,
    canvas,
    draw_legend,
    draw_marker,
    log_axis,
    marks_for,
    plot_axes,
    role_colour,
)
from edge_dendrite.report.labels import Box, place_labels, text_width
from edge_dendrite.report.rows import Epoch, Row
from edge_dendrite.report.svg import INK, MUTED, SERIES, new_figure, style, to_svg
from edge_dendrite.roles import BASELINE

_WIDTH = 480.0
_LEFT, _RIGHT = 64.0, _WIDTH - 16
_BAR, _GROUP_HEAD = 17.0, 28.0
# (metric, [(row, share of the baseline's, label)]).
Group = tuple[str, list[tuple[Row, float, str]]]


def accuracy_against_size(rows: Sequence[Row], prefix: str = "accuracy") -> str | None:
    """Accuracy over parameters (logarithmic), with 95 % intervals; None when no row has both."""
    known = [row for row in rows if row.accuracy is not None and row.num_parameters][:MAX_DRAWN]
    metric = known[0].accuracy.metric if known and known[0].accuracy else ""
    known = [row for row in known if row.accuracy and row.accuracy.metric == metric]
    if not known:
        return None
    # As high as the latency chart beside it.
    height = _chart_height(len(known))
    with matplotlib.rc_context(style()):
        figure = new_figure(_WIDTH, height)
        page, axes = canvas(figure, _WIDTH, height), plot_axes(figure, _LEFT, 36, _RIGHT, height - 46)
        page.text(12, 16, fmt.shorten(metric, 50).capitalize(), va="center", color=MUTED)
        page.text(_RIGHT, height - 10, "Parameters", ha="right", va="center", color=MUTED)
        _set_size_limits(axes, known)
        _draw_points(page, axes, known, Box(_LEFT, 24, _RIGHT, height - 46))
        return to_svg(figure, prefix=prefix, title=f"{metric} against number of parameters, one point per network")


def _chart_height(num_legend: int) -> float:
    """Pixels of a chart with that many lines of legend above it."""
    return 8 + LEGEND_PITCH * num_legend + 34 + 270 + 46


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


def latency_ecdf(rows: Sequence[Row], prefix: str = "latency") -> str | None:
    """Share of inferences that took at most so long, a step line per network; None when none was timed."""
    known = [row for row in rows if row.latency is not None][:MAX_DRAWN]
    if not known:
        return None
    height = _chart_height(len(known))
    top = height - 46 - 270
    with matplotlib.rc_context(style()):
        figure = new_figure(_WIDTH, height)
        page, axes = canvas(figure, _WIDTH, height), plot_axes(figure, _LEFT, top, _RIGHT, top + 270)
        marks = marks_for(rows)
        draw_legend(page, 8, [(marks[row.id], row.name, _latency_words(row)) for row in known], "line")
        page.text(12, top - 18, "Inferences that took at most this long", va="center", color=MUTED)
        page.text(_RIGHT, height - 10, "Latency", ha="right", va="center", color=MUTED)
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


def relative_sizes(rows: Sequence[Row], prefix: str = "relative") -> str | None:
    """Bars of parameters, MACs, file size and median latency, the baseline as 100 %; None without a baseline."""
    baseline = next((row for row in rows if row.role == BASELINE), None)
    others = [row for row in rows if row is not baseline][: MAX_DRAWN - 1]
    groups = _relative_groups(others, baseline) if baseline else []
    if baseline is None or not groups:
        return None
    top = 8 + LEGEND_PITCH * (len(others) + 1) + 14
    height = top + sum(_GROUP_HEAD + _BAR * len(bars) for _, bars in groups) + 12
    scale = min((_WIDTH - 48 - text_width(label)) / max(1.0, share) for _, bars in groups for _, share, label in bars)
    with matplotlib.rc_context(style()):
        figure = new_figure(_WIDTH, height)
        page, marks = canvas(figure, _WIDTH, height), marks_for(rows)
        entries = [(marks[row.id], row.name, "") for row in others]
        draw_legend(page, 8, [(marks[baseline.id], baseline.name, "100 %: the line"), *entries], "bar")
        page.plot([12 + scale] * 2, [top, height - 8], color=marks[baseline.id].colour, linewidth=1.6)
        _draw_bars(page, top, groups, marks, scale)
        return to_svg(figure, prefix=prefix, title="Size and latency of each network relative to the baseline")


def _draw_bars(page: Any, top: float, groups: Sequence[Group], marks: dict[str, Mark], scale: float) -> None:
    """`scale`: pixels of 100 %."""
    y = top
    for name, bars in groups:
        page.text(12, y + 12, name, va="center", color=MUTED)
        y += _GROUP_HEAD - 4
        for row, share, label in bars:
            mark = marks[row.id]
            page.barh(y + _BAR / 2, scale * share, _BAR - 4, left=12, color=mark.colour, alpha=mark.opacity)
            page.text(18 + scale * share, y + _BAR / 2, fmt.typographic(label), va="center", color=INK)
            y += _BAR
        y += 4


def _relative_groups(rows: Sequence[Row], baseline: Row) -> list[Group]:
    """Only what a row and the baseline both have."""
    groups: list[Group] = []
    for name, key in (("Parameters", "num_parameters"), ("MACs", "num_macs"), ("ONNX file", "onnx_bytes")):
        before = getattr(baseline, key)
        known = [(row, getattr(row, key) / before) for row in rows if before and getattr(row, key) is not None]
        groups.append((name, [(row, share, fmt.percent(share)) for row, share in known]))
    remarks = {"one round": " (one round)", "not distinguishable": " (no difference shown)"}
    compared = [(row, compare_latency(row, baseline)) for row in rows]
    bars = [
        (row, found.ratio, fmt.percent(found.ratio) + remarks.get(found.outcome, ""))
        for row, found in compared
        if found
    ]
    return [(name, bars) for name, bars in [*groups, ("Median latency", bars)] if bars]


def training_curves(history: Sequence[Epoch], prefix: str = "training") -> str | None:
    """Validation metric and training loss over the epochs of each stage; None without history."""
    stages = list(dict.fromkeys(epoch.stage for epoch in history))[:MAX_DRAWN]
    if not stages:
        return None
    top = 8 + LEGEND_PITCH * len(stages) + 34
    height = top + 150 + 44 + 110 + 46
    with matplotlib.rc_context(style()):
        figure = new_figure(_WIDTH, height)
        page = canvas(figure, _WIDTH, height)
        upper = plot_axes(figure, _LEFT, top, _RIGHT, top + 150)
        lower = plot_axes(figure, _LEFT, top + 194, _RIGHT, top + 304)
        page.text(12, top - 18, "Validation metric", va="center", color=MUTED)
        page.text(12, top + 176, "Training loss", va="center", color=MUTED)
        page.text(_RIGHT, height - 10, "Epoch of the stage", ha="right", va="center", color=MUTED)
        entries = []
        for index, stage in enumerate(stages):
            stage_epochs = [epoch for epoch in history if epoch.stage == stage]
            epochs = thin(stage_epochs)
            mark = Mark(SERIES[_stage_colour(stage)], "o", "-")
            xs = [epoch.epoch for epoch in epochs]
            for axes, key in ((upper, "val_metric"), (lower, "train_loss")):
                ys = [getattr(epoch, key) for epoch in epochs]
                shape = {"marker": "o", "markersize": 4} if len(xs) < 2 else {}
                axes.plot(xs, ys, color=mark.colour, linewidth=1.8, zorder=3 + index, **shape)
            entries.append((mark, stage, f"{fmt.plural(len(stage_epochs), 'epoch')}, last {epochs[-1].val_metric:.4g}"))
        draw_legend(page, 8, entries, "line")
        for axes in (upper, lower):
            axes.locator_params(axis="x", integer=True, nbins=8)
            axes.locator_params(axis="y", nbins=5)
        upper.set_xticklabels([])
        return to_svg(figure, prefix=prefix, title="Validation metric and training loss per epoch, one line per stage")


def thin(epochs: Sequence[Epoch], limit: int = 300) -> list[Epoch]:
    """Evenly spaced epochs, the last one always among them."""
    step = -(-len(epochs) // limit)
    return [*epochs[:-1:step], epochs[-1]] if len(epochs) > limit else list(epochs)


def _stage_colour(stage: str) -> int:
    return role_colour({"distil": "compressed"}.get(stage, stage))

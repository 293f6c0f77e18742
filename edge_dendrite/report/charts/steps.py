"""What each step of compressing did: parameters that fall, and the metric on validation data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import Mark, canvas, draw_marker
from edge_dendrite.report.charts.labels import CHAR_WIDTH
from edge_dendrite.report.charts.svg import GRID, INK, MUTED, SERIES, new_figure, style, tip, to_svg
from edge_dendrite.report.steps import Step, step_cells

MAX_STEPS = 16
_WIDTH, _HEAD, _PITCH = 700.0, 34.0, 60.0
# Columns in pixels, under a line with the method: words, bars of parameters, points of the metric.
_BARS, _BARS_END, _POINTS, _POINTS_END = 262.0, 462.0, 484.0, 614.0
_BAR = 15.0


def step_chart(steps: Sequence[Step], prefix: str = "steps") -> str | None:
    """A line for each step, the first on top: what was done, bars of parameters, points of the metric; None for fewer
    than two steps.
    """
    steps = steps[:MAX_STEPS]
    if len(steps) < 2:
        return None
    with matplotlib.rc_context(style()):
        height = _HEAD + _PITCH * len(steps) + 8
        figure = new_figure(_WIDTH, height)
        page = canvas(figure, _WIDTH, height)
        heads = ((12, "Step", "left"), (_BARS, "Parameters", "left"), (_POINTS, "Validation metric", "left"))
        for x, text, side in heads:
            page.text(x, 16, text, ha=side, va="center", color=MUTED)
        _draw_bars(page, steps)
        _draw_points(page, steps)
        for index, step in enumerate(steps):
            _draw_words(page, step, _row(index))
        title = f"{len(steps)} steps, from {steps[0].num_parameters:,} to {steps[-1].num_parameters:,} parameters"
        return to_svg(figure, prefix=prefix, title=title)


def _row(index: int) -> float:
    """The middle of the bar of a line, in pixels."""
    return _HEAD + _PITCH * index + 40


def _draw_words(page: Any, step: Step, y: float) -> None:
    text = fmt.squeeze(step.method, int((_WIDTH - 24) / CHAR_WIDTH))
    page.text(12, y - 24, text, va="center", color=INK)
    words = f"{step.epochs:.3g} epochs" if step.epochs else "no training"
    tried = sum(isinstance(loss, float) for loss in step.trials.values())
    words += f", {fmt.plural(tried, 'candidate')} tried" if tried else ""
    page.text(12, y, words, va="center", color=MUTED)


def _draw_bars(page: Any, steps: Sequence[Step]) -> None:
    """Bars on one scale from zero; pale, what was there before the step."""
    largest = max(step.num_parameters for step in steps) or 1
    room = _BARS_END - _BARS - 64
    for index, step in enumerate(steps):
        y, width = _row(index), room * step.num_parameters / largest
        if index and steps[index - 1].num_parameters > step.num_parameters:
            before = room * steps[index - 1].num_parameters / largest
            page.barh(y, before, _BAR, left=_BARS, color=SERIES[0], alpha=0.18)
        colour = SERIES[1] if index else SERIES[0]
        (bar,) = page.barh(y, max(width, 1.5), _BAR, left=_BARS, color=colour)
        change = (
            f", {fmt.change(steps[0].num_parameters, step.num_parameters)}" if index and steps[0].num_parameters else ""
        )
        bar.set_gid(tip(f"{step.num_parameters:,} parameters{change}"))
        page.text(_BARS + width + 7, y, fmt.compact_count(step.num_parameters), va="center", color=INK)


def _draw_points(page: Any, steps: Sequence[Step]) -> None:
    """Points on a scale of their own, joined in the order of the steps."""
    values = [step.val_metric for step in steps]
    low, high = min(values), max(values)
    reach = (high - low) or 1.0
    xs = [_POINTS + 8 + (_POINTS_END - _POINTS - 16) * (value - low) / reach for value in values]
    if high == low:
        xs = [(_POINTS + _POINTS_END) / 2] * len(values)
    ys = [_row(index) for index in range(len(steps))]
    for y in ys:
        page.plot([_POINTS, _POINTS_END], [y, y], color=GRID, linewidth=0.8)
    page.plot(xs, ys, color=SERIES[2], linewidth=1.6)
    cells = step_cells(steps)
    for index, (x, y) in enumerate(zip(xs, ys, strict=True)):
        gained = f", {cells[index][4]} by this step" if index else ""
        mark = Mark(SERIES[2], "o", "-")
        draw_marker(page, x, y, mark, tooltip=f"{steps[index].method}: {cells[index][3]}{gained}")
        page.text(_POINTS_END + 12, y - (8 if index else 0), cells[index][3], va="center", color=INK)
        if index:
            page.text(_POINTS_END + 12, y + 10, fmt.typographic(cells[index][4]), va="center", color=MUTED)

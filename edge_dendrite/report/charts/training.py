"""Training curves."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import (
    LEFT,
    LEGEND_PITCH,
    MAX_DRAWN,
    RIGHT,
    WIDTH,
    Mark,
    canvas,
    draw_legend,
    plot_axes,
    role_colour,
)
from edge_dendrite.report.charts.svg import MUTED, SERIES, new_figure, style, tip, to_svg
from edge_dendrite.report.rows import Epoch


def training_curves(history: Sequence[Epoch], prefix: str = "training") -> str | None:
    """Validation metric and training loss over the epochs of each stage; None without history."""
    stages = list(dict.fromkeys(epoch.stage for epoch in history))[:MAX_DRAWN]
    if not stages:
        return None
    top = 8 + LEGEND_PITCH * len(stages) + 34
    height = top + 150 + 44 + 110 + 46
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        page = canvas(figure, WIDTH, height)
        upper = plot_axes(figure, LEFT, top, RIGHT, top + 150)
        lower = plot_axes(figure, LEFT, top + 194, RIGHT, top + 304)
        page.text(12, top - 18, "Validation metric", va="center", color=MUTED)
        page.text(12, top + 176, "Training loss", va="center", color=MUTED)
        page.text(RIGHT, height - 10, "Epoch of the stage", ha="right", va="center", color=MUTED)
        entries = []
        for index, stage in enumerate(stages):
            stage_epochs = [epoch for epoch in history if epoch.stage == stage]
            epochs = thin(stage_epochs)
            mark = Mark(SERIES[_stage_colour(stage)], "o", "-")
            xs = [epoch.epoch for epoch in epochs]
            for axes, key, what in ((upper, "val_metric", "validation metric"), (lower, "train_loss", "training loss")):
                ys = [getattr(epoch, key) for epoch in epochs]
                shape = {"marker": "o", "markersize": 4} if len(xs) < 2 else {}
                (line,) = axes.plot(xs, ys, color=mark.colour, linewidth=1.8, zorder=3 + index, **shape)
                line.set_gid(tip(f"{stage}: {what} {ys[-1]:.4g} after epoch {xs[-1]}"))
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

"""Sizes and latency as shares of the baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import (
    LEGEND_PITCH,
    MAX_DRAWN,
    WIDTH,
    Mark,
    canvas,
    draw_legend,
    marks_for,
)
from edge_dendrite.report.charts.labels import text_width
from edge_dendrite.report.charts.svg import INK, MUTED, new_figure, style, tip, to_svg
from edge_dendrite.report.rounds import compare_latency
from edge_dendrite.report.rows import Row
from edge_dendrite.roles import BASELINE

_BAR, _GROUP_HEAD = 17.0, 28.0
# As they stand in a sentence.
_WORDS = {"Parameters": "parameters", "Median latency": "median latency"}
# (metric, [(row, share of the baseline's, label)]).
Group = tuple[str, list[tuple[Row, float, str]]]


def relative_sizes(rows: Sequence[Row], prefix: str = "relative") -> str | None:
    """Bars of parameters, MACs, file size and median latency, the baseline as 100 %; None without a baseline."""
    baseline = next((row for row in rows if row.role == BASELINE), None)
    others = [row for row in rows if row is not baseline][: MAX_DRAWN - 1]
    groups = _relative_groups(others, baseline) if baseline else []
    if baseline is None or not groups:
        return None
    top = 8 + LEGEND_PITCH * (len(others) + 1) + 14
    height = top + sum(_GROUP_HEAD + _BAR * len(bars) for _, bars in groups) + 12
    scale = min((WIDTH - 48 - text_width(label)) / max(1.0, share) for _, bars in groups for _, share, label in bars)
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        page, marks = canvas(figure, WIDTH, height), marks_for(rows)
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
            (bar,) = page.barh(y + _BAR / 2, scale * share, _BAR - 4, left=12, color=mark.colour, alpha=mark.opacity)
            bar.set_gid(tip(fmt.typographic(f"{row.name}: {label} of the baseline's {_WORDS.get(name, name)}")))
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

"""How long each layer takes, the networks beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import LEGEND_PITCH, WIDTH, Mark, canvas, draw_legend, marks_for
from edge_dendrite.report.charts.labels import CHAR_WIDTH, text_width
from edge_dendrite.report.charts.svg import GRID, INK, MUTED, new_figure, style, tip, to_svg
from edge_dendrite.report.layer_times import LayerTime, LayerTimes
from edge_dendrite.report.rows import Row
from edge_dendrite.roles import BASELINE, COMPRESSED

MAX_LAYERS = 20
# Side by side more bars per layer than these are no longer read as one layer.
_MAX_NETWORKS = 3
_BAR, _GAP, _NAMES = 13.0, 9.0, 170.0


@dataclass(frozen=True)
class _Line:
    """A layer with a bar for each network that has it."""

    name: str
    bars: tuple[tuple[Row, float, str], ...]


def profiled_rows(rows: Sequence[Row]) -> list[Row]:
    """The networks of the chart: baseline and compressed ones whose layers were profiled; where none was, others."""
    known = [row for row in rows if row.layer_times is not None and row.layer_times.layers]
    return ([row for row in known if row.role in (BASELINE, COMPRESSED)] or known)[:_MAX_NETWORKS]


def layer_times(rows: Sequence[Row], prefix: str = "layers") -> str | None:
    """Bars of the slowest layers, the slowest first; the others together. None when no network was profiled."""
    drawn = profiled_rows(rows)
    lines = _lines(drawn)
    if not lines:
        return None
    top = 8 + LEGEND_PITCH * len(drawn) + 14
    height = top + sum(_BAR * len(line.bars) + _GAP for line in lines) + 4
    labelled = [(time_s, fmt.tick_seconds(time_s)) for line in lines for _, time_s, _ in line.bars]
    room = WIDTH - _NAMES - 18
    scale = min((room - text_width(label)) / time_s for time_s, label in labelled)
    with matplotlib.rc_context(style()):
        figure = new_figure(WIDTH, height)
        page, marks = canvas(figure, WIDTH, height), marks_for(rows)
        draw_legend(page, 8, [(marks[row.id], row.name, _legend(row)) for row in drawn], "bar")
        page.plot([_NAMES] * 2, [top - 4, height - 8], color=GRID, linewidth=0.8)
        y = top
        for line in lines:
            _draw_line(page, y, line, marks, scale)
            y += _BAR * len(line.bars) + _GAP
        return to_svg(figure, prefix=prefix, title="Time of each layer in an inference, a bar per network")


def _draw_line(page: Any, y: float, line: _Line, marks: dict[str, Mark], scale: float) -> None:
    """`scale`: pixels of a second."""
    name = fmt.squeeze(line.name, int((_NAMES - 20) / CHAR_WIDTH))
    page.text(_NAMES - 8, y + _BAR * len(line.bars) / 2, name, va="center", ha="right", color=INK)
    for row, time_s, words in line.bars:
        mark = marks[row.id]
        (bar,) = page.barh(
            y + _BAR / 2, max(1.0, scale * time_s), _BAR - 3, left=_NAMES, color=mark.colour, alpha=mark.opacity
        )
        bar.set_gid(tip(words))
        label = fmt.typographic(fmt.tick_seconds(time_s))
        page.text(_NAMES + 6 + scale * time_s, y + _BAR / 2, label, va="center", color=MUTED, fontsize=11)
        y += _BAR


def _legend(row: Row) -> str:
    assert row.layer_times is not None
    return fmt.typographic(f"all layers {fmt.tick_seconds(row.layer_times.sum_s)}")


def _lines(rows: Sequence[Row]) -> list[_Line]:
    by_row = [(row, row.layer_times, {layer.name: layer for layer in row.layer_times.layers})
              for row in rows if row.layer_times is not None]  # fmt: skip
    names = dict.fromkeys(name for _, _, layers in by_row for name in layers)
    slowest = sorted(names, key=lambda name: -max(layers[name].time_s for _, _, layers in by_row if name in layers))
    shown = slowest if len(slowest) <= MAX_LAYERS + 1 else slowest[:MAX_LAYERS]
    lines = [
        _Line(
            name,
            tuple(
                (row, layers[name].time_s, _words(row, times, layers[name]))
                for row, times, layers in by_row
                if name in layers
            ),
        )
        for name in shown
    ]
    others = slowest[len(shown) :]
    if others:
        bars = []
        for row, times, layers in by_row:
            left = [layers[name].time_s for name in others if name in layers]
            if left:
                words = f"{row.name}: {fmt.plural(len(left), 'other layer')}, {_figure(sum(left), times)}"
                bars.append((row, sum(left), words))
        lines.append(_Line(f"{len(others)} others", tuple(bars)))
    return lines


def _words(row: Row, times: LayerTimes, layer: LayerTime) -> str:
    kinds = f" ({', '.join(layer.kinds)})" if layer.kinds else ""
    parts = fmt.shorten(", ".join(layer.parts), 200)
    made_of = "" if parts == layer.name else f"; {parts}"
    return f"{layer.name}{kinds}, {row.name}: {_figure(layer.time_s, times)}{made_of}"


def _figure(time_s: float, times: LayerTimes) -> str:
    share = f", {fmt.percent(time_s / times.sum_s)} of its layers" if times.sum_s > 0 else ""
    return fmt.typographic(f"{fmt.tick_seconds(time_s)}{share}")

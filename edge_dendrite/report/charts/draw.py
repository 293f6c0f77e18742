"""What the pictures share: marks per network, legends, axes in pixels and ticks on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from edge_dendrite.report.charts.labels import CHAR_WIDTH, text_width
from edge_dendrite.report.charts.svg import INK, MUTED, SERIES, SURFACE, tip
from edge_dendrite.report.format import squeeze
from edge_dendrite.report.rows import Row
from edge_dendrite.roles import BASELINE, COMPRESSED, CONTROL, DENSE_LONGER, FROM_SCRATCH, PEER

# More networks than this cannot be told apart in one picture.
MAX_DRAWN = 12
LEGEND_PITCH = 21.0
# Of a chart on half of the page, in pixels: its width, and the frame of its axes.
WIDTH = 480.0
LEFT, RIGHT = 64.0, WIDTH - 16
_ROLE_COLOURS = {BASELINE: 0, COMPRESSED: 1, DENSE_LONGER: 2, FROM_SCRATCH: 3}
_MARKERS = ("o", "s", "^", "D", "v", "P")
_PEER_MARKERS = ("*", "X", "p", "h")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.8)), (0, (6, 2, 1.5, 2)))


@dataclass(frozen=True)
class Mark:
    """How a network looks in every picture: the colour tells the role, the rest which one of that role it is."""

    colour: str
    marker: str
    dash: Any
    opacity: float = 1.0


def marks_for(rows: Sequence[Row]) -> dict[str, Mark]:
    """A mark per row id."""
    marks: dict[str, Mark] = {}
    seen: dict[int, int] = {}
    for row in rows:
        colour, is_peer = role_colour(row.role), row.role.startswith(PEER)
        index = seen.get(colour, 0)
        seen[colour] = index + 1
        # Roles start at different markers, so that they differ without colour too; those of peers nobody else has.
        start = 0 if is_peer else colour
        marker = (_PEER_MARKERS if is_peer else _MARKERS)[(start + index) % (4 if is_peer else 6)]
        marks[row.id] = Mark(SERIES[colour], marker, _DASHES[index % len(_DASHES)], max(0.4, 1 - 0.25 * index))
    return marks


def role_colour(role: str) -> int:
    """The index into SERIES of a role; other controls share one colour, peers and all others the last one."""
    return _ROLE_COLOURS.get(role, 4 if role.startswith(CONTROL) else 5)


def canvas(figure: Any, width: float, height: float) -> Any:
    """Axes over the whole figure, in pixels from the upper left corner, that show nothing of themselves."""
    axes = figure.add_axes((0, 0, 1, 1), zorder=5)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    return axes


def plot_axes(figure: Any, left: float, top: float, right: float, bottom: float) -> Any:
    """Axes whose frame has these edges, in pixels from the upper left corner of the figure."""
    width, height = (72 * size for size in figure.get_size_inches())
    return figure.add_axes((left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height))


def chart_height(num_legend: int) -> float:
    """Pixels of a chart with that many lines of legend above it."""
    return 8 + LEGEND_PITCH * num_legend + 34 + 270 + 46


def draw_legend(
    page: Any, top: float, entries: Sequence[tuple[Mark, str, str]], swatch: Literal["line", "bar"]
) -> None:
    """A line per network: its mark, its name, a figure."""
    for index, (mark, name, figure) in enumerate(entries):
        y = top + LEGEND_PITCH * (index + 0.5)
        if swatch == "line":
            page.plot([12, 36], [y, y], color=mark.colour, linestyle=mark.dash, linewidth=2.2)
        else:
            page.barh(y, 24, 12, left=12, color=mark.colour, alpha=mark.opacity)
        end = page.get_xlim()[1] - 12
        room = end - 44 - text_width(figure + "  ")
        page.text(44, y, squeeze(name, int(room / CHAR_WIDTH)), va="center", color=INK)
        page.text(end, y, figure, va="center", ha="right", color=MUTED)


def draw_marker(axes: Any, x: float, y: float, mark: Mark, *, hollow: bool = False, tooltip: str = "") -> None:
    """One marker with a rim of the page's colour, so that neighbours stay apart; a hollow one has its own colour as
    rim.
    """
    line = Line2D(
        [x],
        [y],
        marker=mark.marker,
        # Stars and crosses have less area than what they are drawn in.
        markersize={"*": 15, "X": 11}.get(mark.marker, 9) - 2 * hollow,
        markerfacecolor=SURFACE if hollow else mark.colour,
        markeredgecolor=mark.colour if hollow else SURFACE,
        markeredgewidth=1.8 if hollow else 1.2,
        linestyle="none",
        clip_on=False,
        zorder=6,
        transform=axes.transData,
    )
    if tooltip:
        line.set_gid(tip(tooltip))
    axes.add_artist(line)


def log_axis(axis: Any, low: float, high: float, show: Callable[[float], str]) -> None:
    """Between three and six labelled ticks between `low` and `high` on a logarithmic axis."""
    ticks = log_ticks(low, high)
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([show(tick) for tick in ticks]))
    axis.set_minor_locator(NullLocator())


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers in the range: the coarsest set that has at least three, thinned to at most six."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in (
        (1.0,),
        (1.0, 3.0),
        (1.0, 2.0, 5.0),
        (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
        tuple(s / 10 for s in range(10, 100)),
    ):
        candidates = (step * 10.0**decade for decade in decades for step in steps)
        ticks = sorted({float(f"{tick:.3g}") for tick in candidates if low <= tick <= high})
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 6)] if ticks else [low, high]

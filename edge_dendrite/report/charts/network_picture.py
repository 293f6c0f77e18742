"""The picture of a network before and after: units as cells of blocks, parameters as lines between the blocks.

It is to scale: both sides have one scale for units, and one line stands for the same number of parameters on both.
What was removed stays in the picture of the compressed network, pale.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from edge_bench.stats import median
from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.draw import canvas
from edge_dendrite.report.charts.svg import INK, MUTED, SERIES, new_figure, style, to_svg
from edge_dendrite.report.pool import Layer
from edge_dendrite.report.rows import Row

MAX_LAYERS = 24
_WIDTH, _GUTTER, _MARGIN = 540.0, 152.0, 6.0
_SIDE = (_WIDTH - _GUTTER) / 2 - _MARGIN
_HEAD, _BLOCK = 62.0, 13.0
_NUM_LINES = 900
_UNEVEN = 6
# Steps of the R2 sequence (Roberts 2018): points that fill a square evenly, without a random number.
_STEP_X, _STEP_Y = 0.7548776662466927, 0.5698402909980532


@dataclass(frozen=True)
class _Level:
    """One layer in both networks; None where a network does not have it. Units 0: not there."""

    name: str
    before: Layer | None
    after: Layer | None


@dataclass(frozen=True)
class _Block:
    """A drawn block: y of its upper edge, x of its left edge, number of cells and the width of one, pixels."""

    left: float
    top: float
    num_units: int
    cell: float

    @property
    def width(self) -> float:
        return self.cell * self.num_units


def network_picture(before: Row, after: Row, prefix: str = "network") -> str | None:
    """Both networks side by side, first layer on top; None when one of them states no layers."""
    levels = merge_layers(drawn_layers(before), drawn_layers(after))
    if not levels or not any(level.before for level in levels) or not any(level.after for level in levels):
        return None
    pitch = max(40.0, min(74.0, 620.0 / len(levels)))
    height = _HEAD + pitch * len(levels) + _BLOCK + 16
    with matplotlib.rc_context(style()):
        figure = new_figure(_WIDTH, height)
        page = canvas(figure, _WIDTH, height)
        _draw_heads(page, before, after)
        _draw_networks(page, levels, pitch, line_value(levels))
        _draw_gutter(page, levels, pitch)
        title = f"{before.name} and {after.name}: units per layer and parameters between layers, before and after"
        return to_svg(figure, prefix=prefix, title=title)


def drawn_layers(row: Row) -> list[Layer]:
    """The layers that multiply (all of them where none does); of a deep network those with the most parameters."""
    layers = [layer for layer in row.layers if layer.num_macs] or list(row.layers)
    layers = [layer for layer in layers if layer.num_units]
    largest = sorted(layers, key=lambda layer: -layer.num_parameters)[:MAX_LAYERS]
    return [layer for layer in layers if layer in largest][:MAX_LAYERS]


def merge_layers(before: Sequence[Layer], after: Sequence[Layer]) -> list[_Level]:
    """Levels from top to bottom: layers of the same name share one, others get one of their own."""
    names = [layer.name for layer in before], [layer.name for layer in after]
    levels: list[_Level] = []
    for kind, start, stop, other_start, other_stop in difflib.SequenceMatcher(None, *names, False).get_opcodes():
        if kind == "equal":
            pairs = zip(before[start:stop], after[other_start:other_stop], strict=True)
            levels += [_Level(old.name, old, new) for old, new in pairs]
            continue
        levels += [_Level(old.name, old, None) for old in before[start:stop]]
        levels += [_Level(new.name, None, new) for new in after[other_start:other_stop]]
    return levels


def line_value(levels: Sequence[_Level]) -> int:
    """How many parameters a line stands for: a round number that gives at most about 900 lines."""
    totals = [
        sum(layer.num_parameters for layer in side if layer)
        for side in ([level.before for level in levels], [level.after for level in levels])
    ]
    wanted = max(1.0, max(totals) / _NUM_LINES)
    decade = 10.0 ** math.floor(math.log10(wanted))
    return round(next(step * decade for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * decade >= wanted))


def _num_lines(layer: Layer | None, value: int) -> int:
    return max(1, round(layer.num_parameters / value)) if layer and layer.num_parameters else 0


def _draw_networks(page: Any, levels: Sequence[_Level], pitch: float, value: int) -> None:
    """The left side in the neutral colour; the right side first pale as it was, then as it is."""
    old = [level.before for level in levels]
    new = [level.after for level in levels]
    left, right = _MARGIN + _SIDE / 2, _WIDTH - _MARGIN - _SIDE / 2
    cells = _cell_widths(levels)
    plain = _blocks(old, left, pitch, cells)
    _draw_side(page, plain, old, [_num_lines(layer, value) for layer in old], SERIES[0], 1.0)
    ghosts = _blocks(old, right, pitch, cells)
    kept = _blocks(new, right, pitch, cells, ghosts)
    removed = [
        max(0, _num_lines(before, value) - _num_lines(after, value)) for before, after in zip(old, new, strict=True)
    ]
    _draw_side(page, ghosts, old, removed, SERIES[0], 0.3)
    _draw_side(page, kept, new, [_num_lines(layer, value) for layer in new], SERIES[1], 1.0)


def _first_inputs(layers: Sequence[Layer | None]) -> int:
    return next((layer.num_inputs for layer in layers if layer), 1)


def _sizes(layers: Sequence[Layer | None]) -> list[int]:
    """Units of the input and of every level, 0 where there is no layer."""
    return [_first_inputs(layers), *(layer.num_units if layer else 0 for layer in layers)]


def _level_sizes(levels: Sequence[_Level]) -> list[int]:
    """Units of the input and of every level, in whichever network has more of them."""
    old, new = _sizes([level.before for level in levels]), _sizes([level.after for level in levels])
    return [max(1, *pair) for pair in zip(old, new, strict=True)]


def is_uneven(levels: Sequence[_Level]) -> bool:
    """Whether one layer is so wide that the others would vanish; widths then go by the square root of the units."""
    sizes = _level_sizes(levels)
    return max(sizes) > _UNEVEN * median(sizes)


def _cell_widths(levels: Sequence[_Level]) -> list[float]:
    """Pixels of a unit at each level, the same on both sides. No block is narrower than 5 pixels."""
    sizes, power = _level_sizes(levels), 0.5 if is_uneven(levels) else 1.0
    return [max(5.0, _SIDE * (size / max(sizes)) ** power) / size for size in sizes]


def _blocks(
    layers: Sequence[Layer | None],
    centre: float,
    pitch: float,
    cells: Sequence[float],
    ghosts: Sequence[_Block | None] = (),
) -> list[_Block | None]:
    """The input's block and one per layer. Kept units stand on cells of the block that was there before."""
    blocks: list[_Block | None] = []
    for index, (size, cell) in enumerate(zip(_sizes(layers), cells, strict=True)):
        top = _HEAD + pitch * index
        ghost = ghosts[index] if index < len(ghosts) else None
        left = centre - cell * size / 2
        if ghost and ghost.num_units >= size:
            left = ghost.left + cell * ((ghost.num_units - size) // 2)
        blocks.append(_Block(left, top, size, cell) if size else None)
    return blocks


def _draw_side(
    page: Any,
    blocks: Sequence[_Block | None],
    layers: Sequence[Layer | None],
    lines: Sequence[int],
    colour: str,
    strength: float,
) -> None:
    present = blocks[0]
    for block, layer, number in zip(blocks[1:], layers, lines, strict=True):
        if block is None or layer is None or present is None:
            continue
        page.add_patch(PathPatch(_envelope(present, block), facecolor=colour, alpha=0.10 * strength, linewidth=0))
        if number:
            path = _lines(present, block, number)
            page.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=0.7, alpha=0.55 * strength))
        present = block
    for block in blocks:
        if block is not None:
            page.add_patch(PathPatch(_cells(block), facecolor=colour, linewidth=0, alpha=max(0.28, strength)))


def _envelope(upper: _Block, lower: _Block) -> Path:
    """The band between two blocks, with curved sides."""
    y0, y1 = upper.top + _BLOCK, lower.top
    middle = (y0 + y1) / 2
    points = [
        (upper.left, y0),
        *((upper.left, middle), (lower.left, middle), (lower.left, y1)),
        (lower.left + lower.width, y1),
        *((lower.left + lower.width, middle), (upper.left + upper.width, middle), (upper.left + upper.width, y0)),
        (upper.left, y0),
    ]
    curve = [Path.CURVE4] * 3
    return Path(points, [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY])


def _lines(upper: _Block, lower: _Block, number: int) -> Path:
    """Curves from units to units, spread evenly over all pairs."""
    y0, y1 = upper.top + _BLOCK, lower.top
    middle = (y0 + y1) / 2
    points = []
    for index in range(number):
        x0 = upper.left + upper.cell * (int(upper.num_units * ((0.5 + _STEP_X * index) % 1)) + 0.5)
        x1 = lower.left + lower.cell * (int(lower.num_units * ((0.5 + _STEP_Y * index) % 1)) + 0.5)
        points += [(x0, y0), (x0, middle), (x1, middle), (x1, y1)]
    return Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4] * number)


def _cells(block: _Block) -> Path:
    """A rectangle per unit, or one for all where units are too narrow to be seen."""
    wide = block.cell >= 2.4
    gap = min(1.4, 0.28 * block.cell) if wide else 0.0
    edges = [block.left + block.cell * unit for unit in range(block.num_units)] if wide else [block.left]
    width = block.cell - gap if wide else block.width
    points = []
    for edge in edges:
        x0, x1 = edge + gap / 2, edge + gap / 2 + width
        y0, y1 = block.top, block.top + _BLOCK
        points += [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    return Path(points, [Path.MOVETO, *([Path.LINETO] * 3), Path.CLOSEPOLY] * len(edges))


def _draw_heads(page: Any, before: Row, after: Row) -> None:
    for x, row, colour in ((_MARGIN + _SIDE / 2, before, SERIES[0]), (_WIDTH - _MARGIN - _SIDE / 2, after, SERIES[1])):
        page.text(x, 16, fmt.squeeze(row.name, 24), ha="center", va="center", color=colour, fontsize=15, weight="bold")
        if row.num_parameters is not None:
            size = row.num_parameters
            text = f"{size:,} parameters" if size < 1_000_000 else f"{fmt.compact_count(size)} parameters"
            if row is after and before.num_parameters:
                text += f" ({fmt.change(before.num_parameters, row.num_parameters)})"
            page.text(x, 36, fmt.typographic(text), ha="center", va="center", color=MUTED)


def _draw_gutter(page: Any, levels: Sequence[_Level], pitch: float) -> None:
    """Between the two networks: per layer its name and units, and in the band above it its parameters."""
    x, roomy = _WIDTH / 2, pitch >= 56
    page.text(x, _HEAD + _BLOCK / 2, "input", ha="center", va="center", color=INK, fontsize=14, weight="bold")
    for index, level in enumerate(levels, 1):
        y = _HEAD + pitch * index + _BLOCK / 2
        name = fmt.squeeze(level.name, 20)
        page.text(x, y - (0 if roomy else 7), name, ha="center", va="center", color=INK, fontsize=14, weight="bold")
        units = _both(level, "num_units", "unit")
        page.text(x, y + (17 if roomy else 7), units, ha="center", va="center", color=MUTED)
        if roomy:
            weights = _both(level, "num_parameters", "param")
            page.text(x, y - 25, weights, ha="center", va="center", color=MUTED)


def _both(level: _Level, key: str, noun: str) -> str:
    """'64 -> 26 units', '64 units' where nothing changed, '64 units, removed' where a layer is gone."""
    sizes = [getattr(layer, key) for layer in (level.before, level.after) if layer]
    shown = " -> ".join(dict.fromkeys(fmt.compact_count(size) for size in sizes))
    fate = "" if level.before and level.after else ", removed" if level.before else ", new"
    return fmt.typographic(f"{shown} {noun}{'' if sizes[-1] == 1 else 's'}{fate}")


def is_chain(layers: Sequence[Layer]) -> bool:
    """Whether each layer can be fed by the one before it: as many inputs as units, or a multiple after flattening."""
    return all(later.num_inputs % earlier.num_units == 0 for earlier, later in zip(layers, layers[1:], strict=False))

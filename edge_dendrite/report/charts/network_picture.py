"""The picture of a network before and after: units as cells of blocks, parameters as lines between the blocks.

It is to scale: both sides have one scale for units, and one line stands for the same number of parameters on both.
What was removed stays in the picture of the compressed network, pale. Branches and dendrites have a colour of their own
and stand between the layers that they join.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts import network_shapes as shapes
from edge_dendrite.report.charts.draw import canvas
from edge_dendrite.report.charts.network_levels import (
    Level,
    Side,
    find_levels,
    is_uneven,
    level_sizes,
    line_value,
    unit_sizes,
)
from edge_dendrite.report.charts.network_shapes import Block
from edge_dendrite.report.charts.svg import INK, MUTED, SERIES, new_figure, style, tip, to_svg
from edge_dendrite.report.pool import Layer
from edge_dendrite.report.rows import Row

_WIDTH, _GUTTER, _MARGIN = 564.0, 156.0, 16.0
_SIDE = (_WIDTH - _GUTTER) / 2 - _MARGIN
_LEFT, _RIGHT = _MARGIN + _SIDE / 2, _WIDTH - _MARGIN - _SIDE / 2
_HEAD, _BLOCK, _SMALL = 62.0, 13.0, 9.0
# What a row of branches or dendrites takes above a layer.
_MIDDLE = 40.0
_BEFORE, _AFTER, _DENDRITE, _GATE = SERIES[0], SERIES[1], SERIES[2], SERIES[3]


def network_picture(before: Row, after: Row, prefix: str = "network") -> str | None:
    """Both networks side by side, first layer on top; None when one of them states no layers."""
    levels = find_levels(before.layers, after.layers)
    if not any(level.before for level in levels) or not any(level.after for level in levels):
        return None
    tops = _tops(levels)
    height = tops[-1] + _BLOCK + 18
    with matplotlib.rc_context(style()):
        figure = new_figure(_WIDTH, height)
        page = canvas(figure, _WIDTH, height)
        _draw_heads(page, before, after)
        _draw_networks(page, levels, tops)
        _draw_gutter(page, levels, tops)
        title = f"{before.name} and {after.name}: units per layer and parameters between layers, before and after"
        return to_svg(figure, prefix=prefix, title=title)


def _tops(levels: Sequence[Level]) -> list[float]:
    """The upper edge of the input's block and of each level's, in pixels."""
    pitch = max(40.0, min(74.0, 620.0 / len(levels)))
    tops = [_HEAD]
    for level in levels:
        tops.append(tops[-1] + pitch + (_MIDDLE if level.has_middle else 0.0))
    return tops


def _num_lines(layer: Layer | None, value: int) -> int:
    return max(1, round(layer.num_parameters / value)) if layer and layer.num_parameters else 0


def _draw_networks(page: Any, levels: Sequence[Level], tops: Sequence[float]) -> None:
    """The left side in the neutral colour; the right side first pale as it was, then as it is."""
    value = line_value(levels)
    old, new = [level.before for level in levels], [level.after for level in levels]
    cells = _cell_widths(levels)
    plain = _blocks(old, _LEFT, tops, cells)
    ghosts = _blocks(old, _RIGHT, tops, cells)
    kept = _blocks(new, _RIGHT, tops, cells, ghosts)
    _Drawing(page, levels, value, _BEFORE).draw(plain, old)
    for at, level in enumerate(levels):
        above = next((block for block in reversed(ghosts[: at + 1]) if block), None)
        ghost, removed = ghosts[at + 1], _num_removed(level, value)
        if above and ghost:
            _draw_band(page, above, ghost, _BEFORE, 0.3)
            _draw_lines(page, shapes.lines(above, ghost, removed), _BEFORE, 0.3)
    for block in ghosts:
        if block:
            page.add_patch(PathPatch(shapes.cells(block), facecolor=_BEFORE, linewidth=0, alpha=0.28))
    _Drawing(page, levels, value, _AFTER).draw(kept, new)
    _draw_gates(page, levels, tops)


def _num_removed(level: Level, value: int) -> int:
    """Lines of a layer that are gone; a layer that is gone loses all of them."""
    before = sum(_num_lines(part, value) for part in _parts(level.before))
    after = sum(_num_lines(part, value) for part in _parts(level.after))
    return max(0, before - after)


def _parts(side: Side | None) -> list[Layer]:
    return [part for part in (side.branches, side.dendrites, side.layer) if part] if side else []


class _Drawing:
    """One network, drawn level by level."""

    def __init__(self, page: Any, levels: Sequence[Level], value: int, colour: str) -> None:
        self._page, self._levels, self._value, self._colour = page, levels, value, colour
        largest = max(level_sizes(levels))
        middles = [part.num_units for level in levels for side in level.sides for part in _middles(side)]
        self._largest, self._power = max([largest, *middles]), 0.5 if is_uneven(levels) else 1.0

    def draw(self, blocks: Sequence[Block | None], sides: Sequence[Side | None]) -> None:
        """blocks: the input's and one for each level."""
        above = blocks[0]
        for level, block, side in zip(self._levels, blocks[1:], sides, strict=True):
            if block is None or side is None or above is None:
                continue
            self._draw_level(level, above, block, side)
            above = block
        for level, block, side in zip(self._levels, blocks[1:], sides, strict=True):
            if block is not None and side is not None:
                self._draw_cells(block, self._colour, _tooltip(level.name, side))
        if blocks[0] is not None:
            self._draw_cells(blocks[0], self._colour, f"input: {fmt.plural(blocks[0].num_units, 'unit')}")

    def _draw_level(self, level: Level, above: Block, block: Block, side: Side) -> None:
        share = level.read_share if side is level.after else 1.0
        number = _num_lines(side.layer, self._value)
        if side.branches:
            middle = self._middle(block, side.branches)
            number_in = _num_lines(side.branches, self._value)
            path = shapes.lines(above, middle, number_in, side.branches.num_groups, share)
            _draw_lines(self._page, path, _DENDRITE, 1.0, strong=True)
            _draw_lines(self._page, shapes.lines(middle, block, number), self._colour, 1.0)
            words = f"{level.name}: {_branch_words(side.branches)}"
            self._draw_cells(middle, _DENDRITE, words)
        else:
            if side.layer.num_groups == 1 and share == 1.0:
                _draw_band(self._page, above, block, self._colour, 1.0)
            path = shapes.lines(above, block, number, side.layer.num_groups, share)
            _draw_lines(self._page, path, self._colour, 1.0)
        if side.dendrites:
            middle = self._middle(block, side.dendrites)
            # What is written in the record is the sum of what comes in and what goes out.
            half = max(1, _num_lines(side.dendrites, self._value) // 2)
            _draw_lines(self._page, shapes.lines(above, middle, half), _DENDRITE, 1.0, strong=True)
            _draw_lines(self._page, shapes.lines(middle, block, half), _DENDRITE, 1.0, strong=True)
            self._draw_cells(middle, _DENDRITE, f"{level.name}: {_dendrite_words(side.dendrites)}")

    def _middle(self, block: Block, part: Layer) -> Block:
        """The row of branches or dendrites above a layer's block."""
        width = min(_SIDE, max(6.0, _SIDE * (part.num_units / self._largest) ** self._power))
        centre = _LEFT if block.left + block.width / 2 < _WIDTH / 2 else _RIGHT
        return Block(centre - width / 2, block.top - _MIDDLE, part.num_units, width / part.num_units, _SMALL)

    def _draw_cells(self, block: Block, colour: str, tooltip: str) -> None:
        patch = PathPatch(shapes.cells(block), facecolor=colour, linewidth=0)
        patch.set_gid(tip(fmt.typographic(tooltip)))
        self._page.add_patch(patch)


def _middles(side: Side) -> list[Layer]:
    return [part for part in (side.branches, side.dendrites) if part]


def _draw_band(page: Any, upper: Block, lower: Block, colour: str, strength: float) -> None:
    page.add_patch(PathPatch(shapes.envelope(upper, lower), facecolor=colour, alpha=0.10 * strength, linewidth=0))


def _draw_lines(page: Any, path: Path, colour: str, strength: float, *, strong: bool = False) -> None:
    if len(path.vertices) > 1:
        width, alpha = (1.2, 0.8) if strong else (0.7, 0.55)
        page.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=width, alpha=alpha * strength))


def _draw_gates(page: Any, levels: Sequence[Level], tops: Sequence[float]) -> None:
    """Beside the compressed network: a diamond where a gate decides, and the way around its block."""
    gates = [level.after.gate if level.after else None for level in levels]
    for gate in dict.fromkeys(gate for gate in gates if gate is not None):
        at = [index for index, one in enumerate(gates) if one == gate]
        top, bottom = tops[at[0]] + _BLOCK + 8, tops[at[-1] + 1] + _BLOCK / 2
        edge, start = _WIDTH - 7, _WIDTH - _MARGIN - 6
        page.plot(
            [start, edge, edge, start], [top, top, bottom, bottom], color=_GATE, linewidth=1.6, linestyle=(0, (4, 2))
        )
        page.plot([start], [top], marker="D", markersize=8, color=_GATE).pop().set_gid(tip(f"gate of {gate}"))


def _cell_widths(levels: Sequence[Level]) -> list[float]:
    """Pixels of a unit at each level, the same on both sides. No block is narrower than 5 pixels."""
    sizes, power = level_sizes(levels), 0.5 if is_uneven(levels) else 1.0
    return [max(5.0, _SIDE * (size / max(sizes)) ** power) / size for size in sizes]


def _blocks(
    sides: Sequence[Side | None],
    centre: float,
    tops: Sequence[float],
    cells: Sequence[float],
    ghosts: Sequence[Block | None] = (),
) -> list[Block | None]:
    """The input's block and one per layer. Kept units stand on cells of the block that was there before."""
    blocks: list[Block | None] = []
    for index, (size, cell, top) in enumerate(zip(unit_sizes(sides), cells, tops, strict=True)):
        ghost = ghosts[index] if index < len(ghosts) else None
        left = centre - cell * size / 2
        if ghost and ghost.num_units >= size:
            left = ghost.left + cell * ((ghost.num_units - size) // 2)
        blocks.append(Block(left, top, size, cell, _BLOCK) if size else None)
    return blocks


def _draw_heads(page: Any, before: Row, after: Row) -> None:
    for x, row, colour in ((_LEFT, before, _BEFORE), (_RIGHT, after, _AFTER)):
        page.text(x, 16, fmt.squeeze(row.name, 24), ha="center", va="center", color=colour, fontsize=15, weight="bold")
        if row.num_parameters is not None:
            size = row.num_parameters
            text = f"{size:,} parameters" if size < 1_000_000 else f"{fmt.compact_count(size)} parameters"
            if row is after and before.num_parameters:
                text += f" ({fmt.change(before.num_parameters, row.num_parameters)})"
            page.text(x, 36, fmt.typographic(text), ha="center", va="center", color=MUTED)


def _draw_gutter(page: Any, levels: Sequence[Level], tops: Sequence[float]) -> None:
    """Between the two networks: per layer its name and units, and in the band above it its parameters."""
    x = _WIDTH / 2
    page.text(x, _HEAD + _BLOCK / 2, "input", ha="center", va="center", color=INK, fontsize=14, weight="bold")
    for level, above, top in zip(levels, tops, tops[1:], strict=False):
        y, roomy = top + _BLOCK / 2, top - above >= 56
        name = fmt.squeeze(level.name, 20)
        page.text(x, y - (0 if roomy else 7), name, ha="center", va="center", color=INK, fontsize=14, weight="bold")
        units = _both([side.layer.num_units for side in level.sides], level, "unit")
        page.text(x, y + (17 if roomy else 7), units, ha="center", va="center", color=MUTED)
        if roomy:
            weights = _both([side.num_parameters for side in level.sides], level, "param")
            page.text(x, y - 25, weights, ha="center", va="center", color=MUTED)
        if level.has_middle:
            words = next(_middle_words(side) for side in reversed(level.sides) if _middles(side))
            place = top - _MIDDLE + _SMALL / 2 - (3 if roomy else 0)
            page.text(x, place, fmt.squeeze(words, 24), ha="center", va="center", color=_DENDRITE)


def _middle_words(side: Side) -> str:
    words = [_num_branches(side.branches)] if side.branches else []
    return ", ".join([*words, *([fmt.plural(side.dendrites.num_units, "dendrite")] if side.dendrites else [])])


def _num_branches(branches: Layer) -> str:
    return f"{branches.num_units:,} branch{'' if branches.num_units == 1 else 'es'}"


def _branch_words(branches: Layer) -> str:
    fields = f" in {fmt.plural(branches.num_groups, 'field')}" if branches.num_groups > 1 else ""
    return f"{_num_branches(branches)}{fields}, {fmt.plural(branches.num_parameters, 'parameter')}"


def _dendrite_words(dendrites: Layer) -> str:
    number = fmt.plural(dendrites.num_units, "dendrite")
    return f"{number}, {fmt.plural(dendrites.num_parameters, 'parameter')} with their soma"


def _tooltip(name: str, side: Side) -> str:
    layer = side.layer
    text = f"{fmt.squeeze(name, 80)} ({fmt.squeeze(layer.kind, 40)}): {fmt.plural(layer.num_units, 'unit')}"
    text += f" of {layer.num_inputs:,} inputs, {fmt.plural(layer.num_parameters, 'parameter')}"
    text += f", {layer.num_groups:,} groups" if layer.num_groups > 1 else ""
    return text + (f", {layer.num_macs:,} MACs" if layer.num_macs else "")


def _both(sizes: Sequence[int], level: Level, noun: str) -> str:
    """'64 -> 26 units', '64 units' where nothing changed, '64 units, removed' where a layer is gone."""
    shown = " -> ".join(dict.fromkeys(fmt.compact_count(size) for size in sizes))
    fate = "" if level.before and level.after else ", removed" if level.before else ", new"
    return fmt.typographic(f"{shown} {noun}{'' if sizes[-1] == 1 else 's'}{fate}")

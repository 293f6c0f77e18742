"""Shapes of the picture of a network: blocks of cells, and lines between blocks."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.path import Path

# Steps of the R2 sequence (Roberts 2018): points that fill a square evenly, without a random number.
_STEP_X, _STEP_Y = 0.7548776662466927, 0.5698402909980532


@dataclass(frozen=True)
class Block:
    """A drawn block: y of its upper edge, x of its left edge, number of cells, the width of one and their height."""

    left: float
    top: float
    num_units: int
    cell: float
    height: float

    @property
    def width(self) -> float:
        """Of all cells together."""
        return self.cell * self.num_units

    @property
    def bottom(self) -> float:
        """The y of the lower edge."""
        return self.top + self.height


def envelope(upper: Block, lower: Block) -> Path:
    """The band between two blocks, with curved sides."""
    y0, y1 = upper.bottom, lower.top
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


def lines(upper: Block, lower: Block, number: int, num_groups: int = 1, read_share: float = 1.0) -> Path:
    """Curves from units to units, spread evenly: over all pairs, over those inside of groups that stand side by side,
    or over those with the share of the upper units that is read.
    """
    y0, y1 = upper.bottom, lower.top
    middle = (y0 + y1) / 2
    num_read = max(1, round(read_share * upper.num_units))
    points: list[tuple[float, float]] = []
    for index in range(number):
        along, across = (0.5 + _STEP_X * index) % 1, (0.5 + _STEP_Y * index) % 1
        across = (int(along * num_groups) + across) / num_groups
        # Units that are read are spread over all of them.
        unit = int((int(along * num_read) + 0.5) * upper.num_units / num_read)
        x0 = upper.left + upper.cell * (unit + 0.5)
        x1 = lower.left + lower.cell * (min(lower.num_units - 1, int(lower.num_units * across)) + 0.5)
        points += [(x0, y0), (x0, middle), (x1, middle), (x1, y1)]
    curve = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    return Path(points, curve * number) if points else Path([(0.0, 0.0)])


def cells(block: Block) -> Path:
    """A rectangle per unit, or one for all where units are too narrow to be seen."""
    wide = block.cell >= 2.4
    gap = min(1.4, 0.28 * block.cell) if wide else 0.0
    edges = [block.left + block.cell * unit for unit in range(block.num_units)] if wide else [block.left]
    width = block.cell - gap if wide else block.width
    points = []
    for edge in edges:
        x0, x1 = edge + gap / 2, edge + gap / 2 + width
        points += [(x0, block.top), (x1, block.top), (x1, block.bottom), (x0, block.bottom), (x0, block.top)]
    return Path(points, [Path.MOVETO, *([Path.LINETO] * 3), Path.CLOSEPOLY] * len(edges))

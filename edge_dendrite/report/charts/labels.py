"""Places for labels beside points, so that they cover neither points, error bars nor each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Generous, for a 13-pixel font: which font a browser takes is not known here.
CHAR_WIDTH = 7.0
_HEIGHT = 16.0
_GAP = 10.0


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The common area in square pixels."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return width * height if width > 0 and height > 0 else 0.0


def text_width(text: str) -> float:
    """An estimate in pixels."""
    return CHAR_WIDTH * len(text)


def place_labels(
    points: Sequence[tuple[float, float]], texts: Sequence[str], obstacles: Sequence[Box], frame: Box
) -> list[Box]:
    """A box per text near its point (pixels, y downwards). Greedy, in order, the cheapest of fixed candidates."""
    placed: list[Box] = []
    for (x, y), text in zip(points, texts, strict=True):
        candidates = _candidates(x, y, text_width(text))
        costs = [_cost(box, x, y, [*obstacles, *placed], frame) for box in candidates]
        placed.append(candidates[costs.index(min(costs))])
    return placed


def _candidates(x: float, y: float, width: float) -> list[Box]:
    boxes = []
    for lift in (0, -16, 16, -32, 32, -48, 48, -64, 64, -80, 80):
        for gap in (_GAP, 3 * _GAP):
            boxes.append(_box(x + gap, y + lift, width))
            boxes.append(_box(x - gap - width, y + lift, width))
    for lift in (-22, 22, -38, 38, -54, 54):
        boxes.append(_box(x - width / 2, y + lift, width))
    return boxes


def _box(left: float, centre: float, width: float) -> Box:
    return Box(left, centre - _HEIGHT / 2, left + width, centre + _HEIGHT / 2)


def _cost(box: Box, x: float, y: float, others: Sequence[Box], frame: Box) -> float:
    covered = sum(box.overlap(other) for other in others)
    outside = (box.right - box.left) * (box.bottom - box.top) - box.overlap(frame)
    nearest_x = min(max(x, box.left), box.right)
    distance = abs(nearest_x - x) + 1.5 * abs((box.top + box.bottom) / 2 - y)
    return 10 * covered + 50 * outside + distance

"""The line above a panel of one network: its name in its colour, and a few words at the right."""

from __future__ import annotations

from typing import Any

from edge_dendrite.report.charts.labels import text_width
from edge_dendrite.report.charts.svg import MUTED
from edge_dendrite.report.format import squeeze, typographic

# Generous, as for plain text (labels.py), for a bold 13-pixel font.
_BOLD_WIDTH = 8.2


def draw_head(page: Any, y: float, ends: tuple[float, float], name: str, words: str, colour: str) -> None:
    """Between the two ends (pixels); a name that has no room loses its middle."""
    left, right = ends
    room = right - left - text_width(words + "  ")
    page.text(left, y, squeeze(name, max(8, int(room / _BOLD_WIDTH))), va="center", color=colour, weight="bold")
    page.text(right, y, typographic(words), va="center", ha="right", color=MUTED)

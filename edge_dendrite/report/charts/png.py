"""A figure of the charts as PNG, for places that show no SVG."""

from __future__ import annotations

import io
import warnings
from typing import Any

from matplotlib.colors import to_hex

from edge_dendrite.report.charts.svg import SURFACE, plain_colour

_DPI = 144
_COLOURED = ("color", "markerfacecolor", "markeredgecolor", "facecolor", "edgecolor")


def to_png(figure: Any) -> bytes:
    """The figure on a light page. In place: its stand-in colours become those that they stand for."""
    figure.draw_without_rendering()  # ticks are made by drawing
    for artist in figure.findobj():
        for name in _COLOURED:
            getter, setter = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if getter is not None and setter is not None:
                _recolour(getter(), setter)
    figure.patch.set_visible(True)
    figure.patch.set_facecolor(plain_colour(SURFACE))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Names may be in any script; what the font does not have becomes a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", dpi=_DPI)
    return buffer.getvalue()


def _recolour(colour: Any, setter: Any) -> None:
    """A collection has an array of colours, other artists one; what stands for none stays."""
    if isinstance(colour, str) and colour in ("none", "auto", "None"):
        return
    many = not isinstance(colour, (str, tuple))
    rows = [tuple(row) for row in colour] if many else [colour]
    old = [to_hex(row) for row in rows]
    new = [plain_colour(one) for one in old]
    if new != old:
        # Alpha stands beside the colour, in an artist's own field.
        setter(new if many else new[0])

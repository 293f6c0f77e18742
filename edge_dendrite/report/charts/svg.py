"""Figures by matplotlib as inline SVG that follows the colours of the page and never collides with another figure.

Matplotlib knows no CSS variables. So it draws with stand-in colours, and these become `var(--name, fallback)` in the
finished SVG; the page gives the names their values for light and dark, the fallback serves outside of the page.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

_SVG = "{http://www.w3.org/2000/svg}"
_XLINK_HREF = "{http://www.w3.org/1999/xlink}href"
# Stand-ins that no palette uses, and what they become. Series colours are Okabe-Ito's, dark
# enough for text on white; `s0` is the neutral baseline.
INK, MUTED, GRID, SURFACE = "#010101", "#010102", "#010103", "#010104"
SERIES = ("#010110", "#010111", "#010112", "#010113", "#010114", "#010115")
_VARIABLES = {
    INK: "var(--ink, #1b1f24)",
    MUTED: "var(--muted, #59636e)",
    GRID: "var(--grid, #e1e6eb)",
    SURFACE: "var(--surface, #ffffff)",
    SERIES[0]: "var(--s0, #57606a)",
    SERIES[1]: "var(--s1, #0072b2)",
    SERIES[2]: "var(--s2, #00805d)",
    SERIES[3]: "var(--s3, #c04f00)",
    SERIES[4]: "var(--s4, #a84f82)",
    SERIES[5]: "var(--s5, #806600)",
}
_STAND_IN = re.compile("|".join(_VARIABLES))
_VARIABLE = re.compile(r"var\(--[a-z0-9]+, (#[0-9a-f]{6})\)")
_TIP = "tip:"
_FONT = re.compile(r"font: ?((?:[a-z]+ |\d+ )*)([\d.]+px) [^;]*")
# Matplotlib writes six decimals of a pixel; two are more than a screen shows, and half of the bytes.
_DECIMALS = re.compile(r"(\.\d\d)\d+")
_AROUND_COMMAND = re.compile(r"\s*([A-Za-z])\s*")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FONT_STACK = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_STYLE = {
    "svg.fonttype": "none",
    # Names from bundles may hold dollar signs; they are not formulas.
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 13.0,
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 0.0,
    # Far enough below the lowest label of the other axis.
    "xtick.major.pad": 7.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
}


def style() -> matplotlib.RcParams:
    """The settings to draw under: `with matplotlib.rc_context(style()): ...`, around drawing and `to_svg`."""
    return matplotlib.RcParams(_STYLE)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many pixels; one point of a font or a line is one pixel."""
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    return figure


def plain_colour(stand_in: str) -> str:
    """What a stand-in is outside of a page; any other colour is itself."""
    variable = _VARIABLES.get(stand_in)
    return variable.partition(", ")[2].rstrip(")") if variable else stand_in


def plain(svg: str) -> str:
    """The same SVG with the colours of a light page, for programs that know no CSS variables."""
    return _VARIABLE.sub(lambda match: match[1], svg)


def tip(text: str) -> str:
    """For `artist.set_gid`: the finished element carries this text as `data-tip`, which the page shows beside it."""
    return _TIP + text


def to_svg(figure: Figure, *, prefix: str, title: str) -> str:
    """The figure as one <svg> element: the same drawing gives the same bytes, and every id starts with `prefix`."""
    buffer = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": prefix}), warnings.catch_warnings():
        # Names may be in any script. The browser has the fonts; matplotlib only estimates widths with its own.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata=nothing)
    root = ElementTree.fromstring(buffer.getvalue())
    _tidy(root, prefix)
    # An image hides from screen readers what it is made of; one that has tooltips is a group of images.
    has_tips = any("data-tip" in element.attrib for element in root.iter())
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": root.attrib["viewBox"],
        "role": "group" if has_tips else "img",
        "aria-label": title,
        "stroke-linejoin": "round",
    }
    label = ElementTree.Element("title")
    label.text = title
    root.insert(0, label)
    return ElementTree.tostring(root, encoding="unicode")


def _tidy(root: ElementTree.Element, prefix: str) -> None:
    """In place: plain tag names, ids only where they are used, theme colours, the page's fonts; no <style>."""
    used = {reference for element in root.iter() for reference in _references(element)}
    for parent in list(root.iter()):
        parent.tag = parent.tag.replace(_SVG, "")
        for child in list(parent):
            if child.tag in (f"{_SVG}style", f"{_SVG}metadata"):
                parent.remove(child)
        if parent.get("id", "").startswith(_TIP):
            _add_tip(parent, parent.attrib["id"][len(_TIP) :])
        if parent.get("id") not in used:
            parent.attrib.pop("id", None)
        else:
            parent.set("id", f"{prefix}-{parent.get('id')}")
        if _XLINK_HREF in parent.attrib:
            parent.set("href", f"#{prefix}-{parent.attrib.pop(_XLINK_HREF)[1:]}")
        for key in ("clip-path", "style", "fill", "stroke"):
            if key in parent.attrib:
                parent.set(key, _page_style(parent.attrib[key], prefix))
        if parent.text and parent.text.isspace():
            parent.text = None
        if parent.tail and parent.tail.isspace():
            parent.tail = None
        if "d" in parent.attrib:
            parent.set("d", _AROUND_COMMAND.sub(r"\1", _DECIMALS.sub(r"\1", parent.attrib["d"])))
        if parent.tag == "text":
            halo = f"paint-order: stroke; stroke: {_VARIABLES[SURFACE]}; stroke-width: 3px"
            parent.set("style", f"{parent.get('style', '')}; {halo}".lstrip("; "))


def _add_tip(element: ElementTree.Element, text: str) -> None:
    """What the page's script shows, and beside it what a browser shows and reads by itself."""
    element.set("data-tip", text)
    element.set("role", "img")
    title = ElementTree.Element("title")
    title.text = text
    element.insert(0, title)


def _references(element: ElementTree.Element) -> list[str]:
    found = [reference for value in element.attrib.values() for reference in _REFERENCE.findall(value)]
    link = element.get(_XLINK_HREF)
    return [*found, link[1:]] if link else found


def _page_style(value: str, prefix: str) -> str:
    value = _STAND_IN.sub(lambda match: _VARIABLES[match.group()], value)
    value = _FONT.sub(rf"font: \1\2 {_FONT_STACK}", value)
    return _REFERENCE.sub(rf"url(#{prefix}-\1)", value)

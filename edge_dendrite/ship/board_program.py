"""The programs of `on_board/` as one text each, which a board's Python runs from its standard input."""

from __future__ import annotations

from pathlib import Path

from edge_dendrite.ship import on_board
from edge_dendrite.ship.agent import bare

# Each with the modules that it imports, in the order of their imports.
_PARTS = {"store": ("files", "places", "channel", "incoming", "bundles", "store"), "watch": ("files", "watch")}


def board_program(name: str) -> bytes:
    """A text that makes modules of the parts under their own names, and runs the last one as the program."""
    *modules, main = _PARTS[name]
    lines = ["import sys, types"]
    for module in modules:
        full_name = f"{on_board.__name__}.{module}"
        lines.append(f"m = sys.modules[{full_name!r}] = types.ModuleType({full_name!r})")
        lines.append(f"exec(compile({_source(module)}, {module!r}, 'exec'), m.__dict__)")
    lines.append(f"exec(compile({_source(main)}, {main!r}, 'exec'))")
    return ("\n".join(lines) + "\n").encode("ascii")


def _source(module: str) -> str:
    path = Path(on_board.__file__).parent / f"{module}.py"
    return ascii(bare(path.read_bytes()).decode("utf-8"))

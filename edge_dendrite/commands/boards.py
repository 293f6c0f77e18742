"""The boards that are known."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from edge_dendrite.options import JsonOption
from edge_dendrite.terminal import print_table


def boards(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="a board; without, all of them")] = None,
    as_json: JsonOption = False,
) -> None:
    """The boards that are known, and every figure with its source."""
    from edge_dendrite.boards import list_boards, load_board

    found = [load_board(name)] if name else list_boards()
    if as_json:
        typer.echo(json.dumps([board.to_dict() for board in found], sort_keys=True))
    elif name:
        rows = [[key, _text(one["value"]), one["source"] or "-"] for key, one in found[0].figures.items()]
        print_table(found[0].title, ["figure", "value", "source"], rows, num_text_columns=3)
    else:
        keys = ("soc", "jetpack", "python", "tensorrt", "max_opset")
        rows = [[one.name, one.title, *(_text(one.figures[key]["value"]) for key in keys)] for one in found]
        print_table("boards", ["name", "title", *keys], rows, num_text_columns=7)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)

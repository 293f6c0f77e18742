"""What this workstation has."""

from __future__ import annotations

import json

import typer

from edge_dendrite.commands.guard import EXIT_FAILED
from edge_dendrite.options import JsonOption
from edge_dendrite.terminal import print_table


def doctor(as_json: JsonOption = False) -> None:
    """What this workstation has, and the command that fixes what is missing."""
    from edge_dendrite.ship.doctor import diagnose_host

    rows = diagnose_host()
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        cells = [[row["name"], row["state"], row["purpose"], row["fix"]] for row in rows]
        print_table("this workstation", ["part", "state", "needed for", "how to get it"], cells, num_text_columns=4)
    if not all(row["works"] for row in rows if row["required"]):
        raise typer.Exit(EXIT_FAILED)

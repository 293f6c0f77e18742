"""Whether a bundle is whole, and whose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edge_dendrite.options import JsonOption, SignersOption


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder or .tar that `export` wrote")],
    allowed_signers: SignersOption = None,
    signer: Annotated[str | None, typer.Option("--signer", help="who must have signed, a name in that file")] = None,
    signature: Annotated[
        Path | None, typer.Option("--signature", help="detached signature  [default: NAME.sig beside]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a bundle is whole, and with --allowed-signers and --signer also who made it."""
    from edge_bench.render import render_verified
    from edge_dendrite.export.bundle_files import Bundle

    found = Bundle.verify(bundle, signature=signature, allowed_signers=allowed_signers, signer=signer)
    result = {"path": str(bundle), "id": found.id, "signer": signer}
    typer.echo(json.dumps(result) if as_json else render_verified(result))

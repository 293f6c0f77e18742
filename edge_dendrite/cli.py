"""edge-dendrite: compress a network, export it, ship it to a board, measure it there, report what was gained.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings
under --strict, 4 an invalid run, 130 interrupted (what was finished is kept).
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_dendrite import __version__
from edge_dendrite.commands.boards import boards
from edge_dendrite.commands.compare import compare
from edge_dendrite.commands.compress import compress
from edge_dendrite.commands.demo import demo
from edge_dendrite.commands.deploy import deploy
from edge_dendrite.commands.doctor import doctor
from edge_dendrite.commands.export import export
from edge_dendrite.commands.guard import EXIT_FAILED, EXIT_INTERRUPTED, guarded
from edge_dendrite.commands.history import app as history
from edge_dendrite.commands.report import report
from edge_dendrite.commands.verify import verify
from edge_dendrite.terminal import say

app = typer.Typer(
    help=__doc__.partition("\n\n")[0],
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (demo, compress, export, verify, deploy, report, compare, boards, doctor):
    app.command()(guarded(_command))
app.add_typer(history, name="history")


def run() -> None:
    """Run one command line in a process of its own, as the console script does."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # started with `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - stays open
    # SIGTERM, and the end of the terminal, are interrupts: a run on a board is ended, what it has is kept.
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        Path.cwd()
    except OSError:
        say("error: the working folder was deleted; change into another one")
        sys.exit(EXIT_FAILED)
    try:
        app(prog_name="edge-dendrite")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="print the version and end")] = False,
) -> None:
    if version:
        typer.echo(f"edge-dendrite {__version__}")
        raise typer.Exit()

"""What commands write: results to stdout, the rest to stderr, never more than ASCII; and their exit codes."""

import argparse
import json
import os
import sys
import time
from typing import Any, Callable, Dict, Optional

from edge_bench import render
from edge_bench.errors import EdgeBenchError
from edge_bench.measure.settings import Progress

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_WARNINGS, EXIT_INVALID, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130


def print_result(result: Dict[str, Any], to_text: Callable[[Dict[str, Any]], str], as_json: bool) -> None:
    print_text(json.dumps(result, sort_keys=True) if as_json else to_text(result))


def print_text(text: str) -> None:
    """Write to stdout a text and the end of its line."""
    write_text(text + "\n")


def write_text(text: str) -> None:
    """Write to stdout, at once. Raises BrokenPipeError when its reader went away, EdgeBenchError on other failures."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _silence(1)
        if isinstance(error, BrokenPipeError):
            raise
        raise EdgeBenchError("cannot write to stdout (%s)" % (error.strerror or error)) from error


def refuse_inside(flag: str, path: str, measured: str) -> None:
    """Raise EdgeBenchError when a result would be written over what is measured, or into a bundle."""
    target, place = os.path.realpath(path), os.path.realpath(measured)
    if target == place or target.startswith(place + os.sep):
        raise EdgeBenchError("%s %s lies in %s, which it would damage; give another path" % (flag, path, measured))


def refuse_dash(given: argparse.Namespace, flag: str, path: Optional[str]) -> None:
    """End with a line on usage where - is given for a file: elsewhere that is stdout, and here a file of that name."""
    if path == "-":
        given.fail("%s - is no file; for JSON on stdout give --json, for a file of that name ./-" % flag)


def progress_writer() -> Progress:
    """A bar on a terminal; elsewhere a line per phase and fifth of it, `edge-bench: PHASE N %`: hosts may read it."""
    on_terminal = sys.stderr.isatty()
    seen = {"phase": "", "drawn": 0.0, "fifth": 0}  # type: Dict[str, Any]

    def progress(phase: str, share: float) -> None:
        new_phase = phase != seen["phase"]
        now = time.perf_counter()
        if on_terminal and (new_phase or share >= 1.0 or now - seen["drawn"] > 0.1):
            bar = "#" * int(30 * share)
            write_error("\r%-12s [%-30s] %3.0f %%" % (phase, bar, 100 * share) + ("\n" if share >= 1.0 else ""))
            seen["drawn"] = now
        fifth = int(5 * share)
        if not on_terminal and (new_phase or fifth > seen["fifth"]):
            say("%s %d %%" % (phase, 20 * fifth))
        seen["phase"], seen["fifth"] = phase, fifth

    return progress


def say(text: str) -> None:
    write_error("edge-bench: %s\n" % render.to_ascii(text))


def write_error(text: str) -> None:
    """Write to stderr; a terminal that went away or a full disk there is no reason to lose a measurement."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _silence(2)


def _silence(descriptor: int) -> None:
    """Send a broken stream to the null device: Python tries to write the rest at its end and would exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def replace_closed_streams() -> None:
    """Started with `>&-` Python has no stdout, and the next file that is opened would get stdout's number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - stays open

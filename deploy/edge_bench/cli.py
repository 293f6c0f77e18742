"""edge-bench: measure networks on this board.

Results go to stdout, progress to stderr. Exit codes: 0 done or PASS, 1 failed or FAIL, 2 usage, 3 done with warnings
under --strict, 4 an invalid run or INCONCLUSIVE, 130 interrupted (what was measured is in the output file, marked
partial).
"""

import argparse
import importlib
import os
import signal
import sys
from typing import Any, List, Optional

from edge_bench import __version__
from edge_bench.commands import arguments, output
from edge_bench.errors import EdgeBenchError

_COMMANDS = (
    ("run", "verify and measure a bundle, a model, an engine or any command"),
    ("build", "build a TensorRT engine of a bundle on this board"),
    ("verify", "check that a bundle is whole, and who signed it"),
    ("doctor", "what this board is and can do, with the fix for each problem"),
    ("classify", "label images or the frames of a camera, live"),
    ("monitor", "load, clocks, temperatures and power, live"),
    ("show", "print a measurement"),
    ("validate", "check measurements against requirements: PASS, FAIL or INCONCLUSIVE"),
    ("compare", "compare measurements of two networks, or say that they cannot be told apart"),
    ("parse", "read what tegrastats or trtexec wrote"),
    ("replay", "feed a recorded tegrastats log through the path of a live one"),
)


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; returns the exit code and never lets a user's mistake end in a traceback."""
    output.replace_closed_streams()
    argv = sys.argv[1:] if argv is None else argv
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        given = build_parser(argv).parse_args(argv)  # in here: on a small board its imports take a second
        return given.handler(given)  # type: ignore[no-any-return,unused-ignore]
    except KeyboardInterrupt:
        output.say("interrupted")
        return output.EXIT_INTERRUPTED
    except EdgeBenchError as error:
        output.say("error: %s%s" % (error, _of_the_folder()))
        return output.EXIT_FAILED
    except BrokenPipeError:
        return output.EXIT_FAILED  # the reader of our output went away: `edge-bench show M.json | head`
    except OSError as error:
        output.say("error: %s%s" % (error, _of_the_folder()))
        return output.EXIT_FAILED


def build_parser(argv: List[str]) -> argparse.ArgumentParser:
    """The command line; every default is shown in the help.

    Only the module of the command that is asked for is imported: from the one file each has to be compiled anew, and
    on a small board that is a good part of the time until the first inference.
    """
    parser = arguments.Parser(prog="edge-bench", description="Measure networks on this board.")
    parser.add_argument("--version", action="version", version="edge-bench " + __version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True  # an argument of add_subparsers only from Python 3.7 on
    asked = next((word for word in argv if not word.startswith("-")), "")
    for name, words in _COMMANDS:
        command = commands.add_parser(name, help=words, formatter_class=arguments.Formatter)
        command.description = words[0].upper() + words[1:] + "."
        if name == asked:
            importlib.import_module("edge_bench.commands." + name).add_arguments(command)
    return parser


def _of_the_folder() -> str:
    """What a relative path cannot say of itself: that the folder is gone in which it would lie."""
    try:
        os.getcwd()
    except OSError:
        return "; the working folder is gone: go to one that is there"
    return ""


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt()

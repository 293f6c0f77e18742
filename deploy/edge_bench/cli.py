"""edge-bench: measure networks on this board.

Results go to stdout, progress to stderr. Exit codes: 0 done or PASS, 1 failed or FAIL, 2 usage, 3 done with warnings
under --strict, 4 an invalid run or INCONCLUSIVE, 130 interrupted (what was measured is in the output file, marked
partial).
"""

import argparse
import signal
from typing import Any, List, Optional

from edge_bench import __version__
from edge_bench.commands import classify, doctor, output, run, show, verify
from edge_bench.errors import EdgeBenchError


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; returns the exit code and never lets a user's mistake end in a traceback."""
    output.replace_closed_streams()
    arguments = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        return arguments.handler(arguments)  # type: ignore[no-any-return,unused-ignore]
    except KeyboardInterrupt:
        output.say("interrupted")
        return output.EXIT_INTERRUPTED
    except EdgeBenchError as error:
        output.say("error: %s" % error)
        return output.EXIT_FAILED
    except BrokenPipeError:
        return output.EXIT_FAILED  # the reader of our output went away: `edge-bench show M.json | head`
    except OSError as error:
        output.say("error: %s" % error)
        return output.EXIT_FAILED


def build_parser() -> argparse.ArgumentParser:
    """The command line; every default is shown in the help."""
    parser = argparse.ArgumentParser(prog="edge-bench", description="Measure networks on this board.")
    parser.add_argument("--version", action="version", version="edge-bench " + __version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True  # an argument of add_subparsers only from Python 3.7 on
    for command in (run, verify, doctor, show, classify):
        command.add(commands, argparse.ArgumentDefaultsHelpFormatter)
    return parser


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt()

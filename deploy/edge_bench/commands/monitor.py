"""`edge-bench monitor`: the board live."""

import argparse
import json
import time

from edge_bench.board.describe import describe_board
from edge_bench.commands import arguments, output
from edge_bench.monitor import screen, terminal
from edge_bench.monitor.history import History
from edge_bench.monitor.live import Live

# Often enough to see something move, seldom enough not to be the load (a program for each sample on a Raspberry Pi).
_MIN_INTERVAL_S = 0.2
_FIRST_S = 0.3


def add_arguments(monitor: argparse.ArgumentParser) -> None:
    """Its command line."""
    monitor.description = "On a terminal drawn in place (q or Ctrl-C ends it); elsewhere a line for each interval."
    monitor.add_argument("--interval", type=_interval, default=1.0, metavar="S", help="seconds between two readings")
    monitor.add_argument("--count", type=arguments.positive_int, metavar="N", help="end after N readings")
    monitor.add_argument(
        "--tegrastats", metavar="PROGRAM", help="run this tegrastats too, and take from it what /sys does not have"
    )
    arguments.add_root(monitor)
    monitor.add_argument("--json", action="store_true", help="print a JSON object for each reading, one a line")
    monitor.set_defaults(handler=_monitor)


def _interval(text: str) -> float:
    value = arguments.positive(text)
    if value < _MIN_INTERVAL_S:
        raise argparse.ArgumentTypeError(
            "%s s is too often, it would load the board: at least %g s" % (text, _MIN_INTERVAL_S)
        )
    return value


def _monitor(given: argparse.Namespace) -> int:
    with Live(given.root, given.tegrastats, given.interval) as live:
        if given.json or not terminal.can_draw():
            _print_lines(live, given)
        else:
            _draw(live, given)
    return output.EXIT_DONE


def _print_lines(live: Live, given: argparse.Namespace) -> None:
    num_printed, said = 0, ()
    time.sleep(min(given.interval, _FIRST_S))
    while True:
        sample = live.sample()
        for problem in sample["problems"]:
            if problem not in said:
                output.say(problem)
        said = tuple(sample["problems"])
        output.print_text(json.dumps(sample, sort_keys=True) if given.json else screen.one_line(sample))
        num_printed += 1
        if num_printed == given.count:
            return
        time.sleep(given.interval)


def _draw(live: Live, given: argparse.Namespace) -> None:
    board = describe_board(given.root)
    title = board["model"] or board["cpu"] or ""
    hint, colour, history = "every %g s; q ends" % given.interval, terminal.wants_colour(), History()
    num_shown, wait_s = 0, min(given.interval, _FIRST_S)
    with terminal.Terminal() as shown:
        sample = None
        while True:
            key = shown.wait(wait_s)
            if key is not None and ("q" in key or "Q" in key):
                return
            if key != "resize" or sample is None:
                sample = live.sample()
                history.add(sample["total_power_w"])
                num_shown += 1
                wait_s = given.interval
            shown.draw(screen.draw(sample, title, history, shown.size(), hint, colour))
            if num_shown == given.count:
                return

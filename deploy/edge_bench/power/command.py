"""`--power-cmd`: any program that prints one number of watts per line, such as a reader of a USB meter."""

import math
import os
import shlex
from typing import Any, Dict, List, Optional

from edge_bench.errors import EdgeBenchError
from edge_bench.power.jetson import Found
from edge_bench.power.lines import LinesFeed
from edge_bench.power.window import Meter

_RAIL = "command"
# How often it prints is seen from its lines; this only bounds what counts as a gap from below.
_INTERVAL_S = 0.1


class CommandFeed(LinesFeed):
    """The lines of a program of the user's own: one that is no number is a mistake there, and is said."""

    def notes(self) -> Dict[str, Any]:
        notes = super().notes()
        if self.num_strange and self.has_values:
            text = "%d lines were no number of watts, the first: %s"
            notes["problems"].append(text % (self.num_strange, self.first_strange))
        return notes


def find(text: str, interval_s: Optional[float]) -> Found:
    """The meter by that program. Raises EdgeBenchError when the text is no command.

    The words are split as a shell does it, but no shell sees them.
    """
    try:
        command = shlex.split(text)
    except ValueError as error:
        raise EdgeBenchError("--power-cmd %s: not a command: %s; close its quotes" % (text, error)) from error
    if not command:
        raise EdgeBenchError("--power-cmd is empty; give a program that prints watts, one number per line")
    every_s = interval_s or _INTERVAL_S
    cwd = os.getcwd()  # its words may name files of the user's folder
    meter = Meter(
        "command",
        (_RAIL,),
        "what the program measures",
        every_s,
        lambda clock: CommandFeed(command, lambda: parse_watts, every_s, clock, cwd),
        details={"command": command},
    )
    return meter, []


def parse_watts(line: str) -> Optional[Dict[str, float]]:
    """The finite number of a line that holds nothing else, as watts."""
    words: List[str] = line.split()
    try:
        watts = float(words[0]) if len(words) == 1 else math.nan
    except ValueError:
        return None
    return {_RAIL: watts} if math.isfinite(watts) else None

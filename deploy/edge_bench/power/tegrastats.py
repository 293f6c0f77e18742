"""NVIDIA's tegrastats as a child process: the first power figure of each line, stamped on arrival.

The second figure is the mean since tegrastats started, so it holds load from before the window and is never
integrated. But it tells when lines were lost: logs/running_means.py.
"""

import os
import shutil
from typing import Any, Dict, List, Optional

from edge_bench.logs.running_means import RunningMeans
from edge_bench.logs.tegrastats import parse_line
from edge_bench.power.jetson import Found
from edge_bench.power.lines import LinesFeed, Parse, first_values
from edge_bench.power.totals import has_no_sensor, no_total, total_of
from edge_bench.power.window import FIRST_VALUE_S, Clock, Meter, Values
from edge_bench.schema import unavailable

_INTERVAL_S = 0.1
# One step of the INA3221 behind it: 8 mA at 5 V. On a higher bus voltage it is more, and then shows in the data.
_ASSUMED_STEP_W = 0.04


class TegrastatsFeed(LinesFeed):
    """The lines of tegrastats, with a check whether all arrived."""

    def __init__(self, command: List[str], interval_s: float, clock: Clock):
        super().__init__(command, self._new_parser, interval_s, clock)
        self._means = RunningMeans()
        self._num_lines = 0
        self._lines_lost = False

    def _new_parser(self) -> Parse:
        self._means = RunningMeans()  # they begin anew with the program
        return self._parse

    def _parse(self, line: str) -> Values:
        found = parse_line(line)
        rails = (found or {}).get("power_w") or {}
        self._num_lines += 1
        self._lines_lost |= self._means.add(rails, self._num_lines) is not None
        values = {name: figures["current"] for name, figures in rails.items() if figures.get("current") is not None}
        return values or None

    def notes(self) -> Dict[str, Any]:
        notes = super().notes()
        notes["lines_lost"] = self._lines_lost
        if notes["lines_lost"]:
            notes["problems"].append("lines of tegrastats were lost: its running mean is not that of the lines read")
        return notes


def find(interval_s: Optional[float], root: str) -> Found:
    """The meter by tegrastats; (None, []) where the program is not there. Runs it until its first line."""
    program = _program(root)
    if program is None or has_no_sensor(root):
        return None, []
    every_s = interval_s or _INTERVAL_S
    command = [program, "--interval", "%d" % max(1, round(1e3 * every_s))]
    values, seen = first_values(TegrastatsFeed(command, every_s, Clock()), FIRST_VALUE_S + every_s)
    if values is None:
        reason = "tegrastats prints no power rails for this user: %s" % seen
        return None, [unavailable("energy", reason, "run edge-bench as root (sudo)")]
    total = total_of(values)
    if total is None:
        fix = "run edge-bench as root (sudo); else the board's total rail has to be documented"
        return None, [unavailable("energy", "tegrastats: " + no_total(values), fix)]
    names, scope = total
    return Meter(
        "tegrastats",
        names,
        scope,
        every_s,
        lambda clock: TegrastatsFeed(command, every_s, clock),
        _ASSUMED_STEP_W * len(names),
        {"command": command, "other_rails": sorted(set(values) - set(names))},
        step_is_assumed=True,
    ), []


def _program(root: str) -> Optional[str]:
    # Below another root lies another system's program: only its /sys is of use to us.
    return shutil.which("tegrastats") or next(
        (path for path in ("/usr/bin/tegrastats",) if root == "/" and os.access(path, os.X_OK)), None
    )

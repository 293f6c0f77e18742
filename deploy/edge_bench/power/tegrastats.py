"""NVIDIA's tegrastats as a child process: the first power figure of each line, stamped on arrival.

The second figure is the mean since tegrastats started, so it holds load from before the window and is never
integrated. But it equals the running mean of the first figures to 1 mW, so it tells when lines were lost.
"""

import os
import shutil
from typing import Any, Dict, List, Optional

from edge_bench.logs.tegrastats import parse_line
from edge_bench.power.jetson import Found
from edge_bench.power.lines import LinesFeed, Parse, first_values
from edge_bench.power.totals import has_no_sensor, no_total, total_of
from edge_bench.power.window import FIRST_VALUE_S, Clock, Meter, Values
from edge_bench.schema import unavailable

_INTERVAL_S = 0.1
# The printed mean is a whole number of milliwatts, rounded or cut.
_MEAN_TOLERANCE_W = 1.5e-3
# One step of the INA3221 behind it: 8 mA at 5 V. On a higher bus voltage it is more, and then shows in the data.
_ASSUMED_STEP_W = 0.04


class RunningMean:
    """Checks the printed mean of one rail against the mean of the lines that arrived."""

    def __init__(self) -> None:
        self._sum_w = 0.0
        self._count = 0
        self.lost = False

    def add(self, current_w: float, average_w: float) -> None:
        self._sum_w += current_w
        self._count += 1
        if abs(average_w - self._sum_w / self._count) <= _MEAN_TOLERANCE_W:
            return
        if self._count == 1 and abs(average_w - current_w / 2.0) <= _MEAN_TOLERANCE_W:
            self._count = 2  # tegrastats counted a zero before its first line: `VIN 87426mW/43713mW`
            return
        self.lost = True


class TegrastatsFeed(LinesFeed):
    """The lines of tegrastats, with a check whether all arrived."""

    def __init__(self, command: List[str], interval_s: float, clock: Clock):
        super().__init__(command, self._new_parser, interval_s, clock)
        self._means: List[Dict[str, RunningMean]] = []

    def _new_parser(self) -> Parse:
        self._means.append({})
        return self._parse

    def _parse(self, line: str) -> Values:
        found = parse_line(line)
        rails = (found or {}).get("power_w") or {}
        for name, figures in rails.items():
            if figures.get("average") is not None and figures.get("current") is not None:
                self._means[-1].setdefault(name, RunningMean()).add(figures["current"], figures["average"])
        values = {name: figures["current"] for name, figures in rails.items() if figures.get("current") is not None}
        return values or None

    def notes(self) -> Dict[str, Any]:
        notes = super().notes()
        notes["lines_lost"] = any(mean.lost for means in self._means for mean in means.values())
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

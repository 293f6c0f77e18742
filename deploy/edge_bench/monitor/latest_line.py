"""tegrastats beside /sys: where the board's own files have no figure (old releases, containers), its lines may."""

import contextlib
import os
import select
import subprocess
from typing import Any, Dict, List, Optional

from edge_bench import child
from edge_bench.logs.tegrastats import parse_line

# Of one look: a program that floods its output must not keep us.
_MAX_READS = 64


class LatestLine:
    """A context manager: runs the program, latest() is what its last whole line says. Raises OSError at its start.

    problem: why there are no figures of it, in words; empty while there are, and before it said anything.
    """

    def __init__(self, program: str, interval_s: float):
        self.problem = ""
        self._command = [program, "--interval", "%d" % max(interval_s * 1000, 100)]
        self._resources = contextlib.ExitStack()
        self._cutter = child.LineCutter()
        self._said = ""
        self._latest = {}  # type: Dict[str, Any]
        self._child = None  # type: Any

    def __enter__(self) -> "LatestLine":
        # What it complains of is what tells why it gives nothing.
        self._child = self._resources.enter_context(child.started(self._command, stderr=subprocess.STDOUT))
        return self

    def __exit__(self, *_raised: Any) -> None:
        self._resources.close()

    def latest(self) -> Dict[str, Any]:
        """Never waits. Empty before the first line and after the program's end: old figures are no figures."""
        for line in self._new_lines():
            found = parse_line(line)
            if found is not None:
                self._latest, self.problem = found, ""
            elif line.strip() and not self._latest:
                self._said = line.strip()[:200]
                self.problem = "%s gives no lines of tegrastats; it said: %s" % (self._command[0], self._said)
        return self._latest

    def _new_lines(self) -> List[str]:
        lines = []  # type: List[str]
        for _ in range(_MAX_READS):
            if self._child is None or not select.select([self._child.stdout], [], [], 0)[0]:
                break
            data = os.read(self._child.stdout.fileno(), 65536)
            lines += self._cutter.lines(data)
            if not data:
                words = [line.strip()[:200] for line in lines + self._cutter.rest() if parse_line(line) is None]
                said = next((line for line in reversed(words) if line), self._said)
                how = child.wait_for_end(self._child)
                self.problem = "%s ended (%s)%s" % (self._command[0], how, said and "; it said: " + said)
                self._child, self._latest = None, {}
                return []
        return lines


def fill_gaps(sample: Dict[str, Any], read: Dict[str, Any]) -> None:
    """Put what a line of tegrastats says where a sample has nothing; what /sys says stays.

    `read` is what edge_bench.logs.tegrastats.parse_line gives.
    """
    engines = read.get("engines") or {}
    if not sample["power_w"]:
        watts = {rail: figures.get("current") for rail, figures in (read.get("power_w") or {}).items()}
        sample["power_w"] = {rail: value for rail, value in watts.items() if value is not None}
    if not sample["temperatures_c"]:
        degrees = read.get("temperature_c") or {}
        sample["temperatures_c"] = {zone: value for zone, value in degrees.items() if value is not None}
    if not sample["cpu_clocks_hz"]:
        for number, core in enumerate(read.get("cpu") or []):
            if core is not None and core.get("clock_mhz") is not None:
                sample["cpu_clocks_hz"]["cpu%d" % number] = core["clock_mhz"] * 1e6
    if sample["emc_clock_hz"] is None:
        sample["emc_clock_hz"] = _clock_hz(engines.get("EMC_FREQ") or engines.get("EMC"))
    if not [value for value in sample["gpu_load"].values() if value is not None]:
        graphics = engines.get("GR3D_FREQ") or engines.get("GR3D")
        if graphics is not None:
            name = sorted(sample["gpu_load"])[0] if sample["gpu_load"] else "GR3D"
            percent = graphics.get("load_percent")
            sample["gpu_load"][name] = None if percent is None else percent / 100.0
            if sample["gpu_clocks_hz"].get(name) is None:
                sample["gpu_clocks_hz"][name] = _clock_hz(graphics)


def _clock_hz(engine: Optional[Dict[str, Any]]) -> Optional[float]:
    clocks = [clock for clock in (engine or {}).get("clocks_mhz") or [] if clock is not None]
    return max(clocks) * 1e6 if clocks else None

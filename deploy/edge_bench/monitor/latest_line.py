"""tegrastats beside /sys: where the board's own files have no figure (old releases, containers), its lines may."""

import contextlib
import os
import select
from typing import Any, Dict, List, Optional

from edge_bench import child
from edge_bench.logs.tegrastats import parse_line

_MAX_WAITING_BYTES = 1 << 16


class LatestLine:
    """A context manager: runs the program, latest() is what its last whole line says. Raises OSError at its start."""

    def __init__(self, program: str, interval_s: float):
        self._command = [program, "--interval", "%d" % max(interval_s * 1000, 100)]
        self._resources = contextlib.ExitStack()
        self._waiting = b""
        self._latest = {}  # type: Dict[str, Any]
        self._stdout = None  # type: Any

    def __enter__(self) -> "LatestLine":
        self._stdout = self._resources.enter_context(child.started(self._command)).stdout
        return self

    def __exit__(self, *_raised: Any) -> None:
        self._resources.close()

    def latest(self) -> Dict[str, Any]:
        """Never waits. Empty before the first line and after the program's end: old figures are no figures."""
        for line in self._new_lines():
            self._latest = parse_line(line) or self._latest
        return self._latest

    def _new_lines(self) -> List[str]:
        while self._stdout is not None and select.select([self._stdout], [], [], 0)[0]:
            data = os.read(self._stdout.fileno(), 65536)
            if not data:
                self._stdout, self._latest, self._waiting = None, {}, b""
                return []
            self._waiting = (self._waiting + data)[-_MAX_WAITING_BYTES:]
        lines = self._waiting.split(b"\n")
        self._waiting = lines.pop()
        return [line.decode("utf-8", "replace") for line in lines]


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

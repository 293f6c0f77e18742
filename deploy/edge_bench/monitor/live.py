"""The board at this moment, again and again: what `edge-bench monitor` shows.

Keys of a sample: time_s (since 1970), cpu_load and gpu_load (0 to 1), cpu_clocks_hz, gpu_clocks_hz and their highest
ones, emc_clock_hz, temperatures_c, limits_c (where the kernel begins to slow down), power_w by rail, total_power_w
with power_scope, memory (bytes), fans, throttling (what slows the board down now), throttle_events (counted since the
monitor began), power_mode, clocks_pinned, problems (in words: what was asked for and gives nothing). What is not known
is None or not there, never 0.
"""

import contextlib
import time
from typing import Any, Dict, Optional

from edge_bench.board import thermal, throttle
from edge_bench.board.clocks import devfreq_folders, is_gpu, read_clocks
from edge_bench.board.load import busy_share, core_ticks
from edge_bench.board.memory import system_memory
from edge_bench.board.power_mode import read_power_mode
from edge_bench.board.state import swap_used, throttling_now
from edge_bench.board.watch import gpu_busy
from edge_bench.monitor.latest_line import LatestLine, fill_gaps
from edge_bench.power import meter as power

# nvpmodel and vcgencmd are programs: they are asked this seldom.
_ASK_PROGRAMS_S = 5.0
_MAX_POWER_FAILURES = 3


class Live:
    """sample() gives the board since the sample before. A context manager: it may have a child and a power window."""

    def __init__(self, root: str = "/", tegrastats: Optional[str] = None, interval_s: float = 1.0):
        self._root = root
        self._tegrastats, self._interval_s = tegrastats, interval_s
        self._resources = contextlib.ExitStack()
        self._feed = None  # type: Optional[LatestLine]
        self._power = _Power(root)
        self._ticks = core_ticks(root)
        self._first_counts = throttle.throttle_counts(root)
        self._trips = thermal.trip_points(root)
        self._asked = {}  # type: Dict[str, Any]
        self._asked_at = None  # type: Optional[float]

    def __enter__(self) -> "Live":
        """Raises OSError when the tegrastats that was asked for cannot be started."""
        if self._tegrastats is not None:
            self._feed = self._resources.enter_context(LatestLine(self._tegrastats, self._interval_s))
        return self

    def __exit__(self, *_raised: Any) -> None:
        self._resources.close()

    def sample(self) -> Dict[str, Any]:
        """One reading of everything."""
        root, ticks = self._root, core_ticks(self._root)
        clocks, memory, counts = read_clocks(root), system_memory(root), throttle.throttle_counts(root)
        gpus = {name: folder for name, folder in devfreq_folders(root).items() if is_gpu(name)}
        state = {
            "cooling_states": thermal.cooling_states(root),
            "alarms": throttle.alarms(root),
            "temperatures_c": thermal.temperatures(root),
            "trip_points_c": self._trips,
        }
        state.update(self._ask_programs())
        sample = {
            "time_s": time.time(),
            "power_mode": state["power_mode"],
            "clocks_pinned": clocks["clocks_pinned"]["answer"],
            "governors": clocks["governors"],
            "cpu_load": busy_share(self._ticks, ticks),
            "cpu_clocks_hz": clocks["cpu_clocks_hz"],
            "cpu_max_hz": {cpu: limits[1] for cpu, limits in clocks["cpu_clock_limits_hz"].items()},
            "gpu_load": {name: gpu_busy(folder) for name, folder in gpus.items()},
            "gpu_clocks_hz": {name: clocks["devfreq"][name]["cur_freq_hz"] for name in gpus},
            "gpu_max_hz": {name: clocks["devfreq"][name]["max_freq_hz"] for name in gpus},
            "emc_clock_hz": clocks["emc_clock_hz"],
            "temperatures_c": state["temperatures_c"],
            "limits_c": {name: kinds["passive"] for name, kinds in self._trips.items() if "passive" in kinds},
            "memory": {
                "total_bytes": memory.get("MemTotal"),
                "available_bytes": memory.get("MemAvailable"),
                "swap_total_bytes": memory.get("SwapTotal"),
                "swap_used_bytes": swap_used(memory),
            },
            "fans": thermal.fans(root),
            "throttling": throttling_now(state),
            "throttle_events": {
                name: count - self._first_counts[name]
                for name, count in counts.items()
                if count > self._first_counts.get(name, count)
            },
            "problems": [],
        }  # type: Dict[str, Any]
        self._ticks = ticks
        sample.update(self._power.read())
        if self._feed is not None:
            fill_gaps(sample, self._feed.latest())
            sample["problems"] += [self._feed.problem] if self._feed.problem else []
        return sample

    def _ask_programs(self) -> Dict[str, Any]:
        now = time.monotonic()
        if self._asked_at is None or now - self._asked_at >= _ASK_PROGRAMS_S:
            self._asked_at = now
            self._asked = dict(read_power_mode(self._root), throttled_bits=throttle.throttled_bits(self._root))
        return self._asked


class _Power:
    """Mean power between two readings: each is a window of the board's meter."""

    def __init__(self, root: str):
        self._meter = power.find_meter(root=root)[0]
        self._window = None  # type: Any
        self._num_failures = 0

    def read(self) -> Dict[str, Any]:
        result = None if self._window is None else self._window.stop()
        if self._window is not None:
            self._num_failures = 0 if result is not None else self._num_failures + 1
        self._window = None
        if self._meter is not None and self._num_failures < _MAX_POWER_FAILURES:
            self._window = self._meter.open_window()
            self._window.start()
        if self._meter is None or result is None:
            return {"power_w": {}, "total_power_w": None, "power_scope": None}
        total = result["mean_power_w"]
        rails = result.get("rail_power_w") or {" + ".join(self._meter.rails): total}
        scope = "%s: %s" % (self._meter.scope, " + ".join(self._meter.rails))
        return {"power_w": rails, "total_power_w": total, "power_scope": scope}

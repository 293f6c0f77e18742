"""The board during a run: a light thread that reads clocks, temperatures and free memory a few times a second.

For the energy phase only: in the latency phase nothing may run beside what is timed. Which files there are is looked
up once; a sample is then a read of each. What the samples mean is for watch_findings.py to say.
"""

import os
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from edge_bench.board.clocks import devfreq_folders, is_gpu
from edge_bench.board.files import find_paths, read_number
from edge_bench.board.load import Ticks, busy_share, core_ticks
from edge_bench.board.memory import system_memory
from edge_bench.board.thermal import read_celsius, temperature_files

MIN_INTERVAL_S, DEFAULT_INTERVAL_S = 0.2, 0.5
# A longer run keeps every second sample and looks half as often.
_MAX_SAMPLES = 1200


class Watch:
    """start(), the load, stop(): a dict of series. A `with` block ends the thread whatever happens inside.

    times_s                  since start()
    cpu_clocks_hz, cpu_busy  by core; busy is the share of the interval before the sample
    gpu_clocks_hz, gpu_busy  by devfreq device
    temperatures_c           by sensor
    memory_available_bytes
    What did not answer at a moment is None in its series.
    """

    def __init__(self, root: str = "/", interval_s: float = DEFAULT_INTERVAL_S):
        self._root = root
        self.interval_s = max(interval_s, MIN_INTERVAL_S)
        cpus = find_paths(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
        self._cpus = {path.split(os.sep)[-3]: path for path in cpus}
        self._gpus = {name: folder for name, folder in devfreq_folders(root).items() if is_gpu(name)}
        self._sensors = temperature_files(root)
        self._times: List[float] = []
        self._rows = []  # type: List[Dict[Tuple[str, str], Optional[float]]]
        self._ticks: Dict[str, Ticks] = {}
        self._began = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="edge-bench watch")
        self._thread.daemon = True

    def start(self) -> None:
        self._began = time.perf_counter()
        self._ticks = core_ticks(self._root)
        self._thread.start()

    def stop(self) -> Dict[str, Any]:
        self._stop.set()
        self._thread.join()
        return self._series()

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_raised: Any) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(self.interval_s):
            self._times.append(time.perf_counter() - self._began)
            self._rows.append(self._read())
            if len(self._rows) >= _MAX_SAMPLES:
                self._times, self._rows = self._times[1::2], self._rows[1::2]
                self.interval_s *= 2

    def _read(self) -> Dict[Tuple[str, str], Optional[float]]:
        row = {}  # type: Dict[Tuple[str, str], Optional[float]]
        ticks = core_ticks(self._root)
        for cpu, share in busy_share(self._ticks, ticks).items():
            row["cpu_busy", cpu] = share
        self._ticks = ticks
        for cpu, path in self._cpus.items():
            row["cpu_clocks_hz", cpu] = _scaled(read_number(path), 1e3)
        for name, folder in self._gpus.items():
            row["gpu_clocks_hz", name] = read_number(os.path.join(folder, "cur_freq"))
            row["gpu_busy", name] = gpu_busy(folder)
        for path, name in self._sensors.items():
            row["temperatures_c", name] = read_celsius(path)
        row["memory_available_bytes", ""] = system_memory(self._root).get("MemAvailable")
        return row

    def _series(self) -> Dict[str, Any]:
        names = sorted({key for row in self._rows for key in row})
        series = {
            "times_s": list(self._times),
            "cpu_clocks_hz": {},
            "cpu_busy": {},
            "gpu_clocks_hz": {},
            "gpu_busy": {},
            "temperatures_c": {},
            "memory_available_bytes": [row.get(("memory_available_bytes", "")) for row in self._rows],
        }  # type: Dict[str, Any]
        for group, name in names:
            if name:
                values = [row.get((group, name)) for row in self._rows]
                if any(value is not None for value in values):
                    series[group][name] = values
        return series


def gpu_busy(folder: str) -> Optional[float]:
    """The load of a Jetson's GPU, 0 to 1; its file gives thousandths. None where there is no such file (Thor)."""
    for path in (os.path.join(folder, "device", "load"), os.path.join(folder, "..", "..", "load")):
        thousandths = read_number(path)
        if thousandths is not None and 0 <= thousandths <= 1000:
            return thousandths / 1000.0
    return None


def _scaled(value: Optional[float], factor: float) -> Optional[float]:
    return None if value is None else value * factor

"""Power sensors that a plain user can read, and energy over a window from them.

* INA3221 by hwmon (JetPack 5 and newer) and by IIO (JetPack 4), with rails and totals as in NVIDIA's device
  trees and jetson_stats (its issue 51: the rails of a Nano must not be added);
* x86 RAPL (`/sys/class/powercap`), a counter of energy.

A sensor of instantaneous power is sampled by a thread with our own monotonic time stamps and integrated by the
trapezoidal rule. Where no rail is known to carry the whole load there is no figure: rails are not added by guess.
"""

import functools
import glob
import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from edge_bench.board.files import read_number, read_text
from edge_bench.schema import unavailable

# Total rails, first match wins: (rails that are added, what the sum covers).
_TOTALS = (
    (("POM_5V_IN",), "module input"),
    (("VDD_IN",), "module input"),
    (("VIN",), "system input"),
    # AGX Orin: VDDQ_VDD2_1V8AO is already inside VIN_SYS_5V0 and must not be added.
    (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "sum of rails"),
    (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "sum of rails"),
)  # type: Tuple[Tuple[Tuple[str, ...], str], ...]

SAMPLE_INTERVAL_S = 0.05


class PowerSensor:
    """Instantaneous power of one or several rails. `read()` gives watts, or None when a rail did not answer."""

    def __init__(self, source: str, rails: Tuple[str, ...], scope: str, readers: List[Callable[[], Optional[float]]]):
        self.source = source
        self.rails = rails
        self.scope = scope
        self._readers = readers

    def read(self) -> Optional[float]:
        total = 0.0
        for reader in self._readers:
            watts = reader()
            if watts is None:
                return None
            total += watts
        return total


class SampledWindow:
    """Energy between start() and stop(), integrated from samples of a PowerSensor by the trapezoidal rule."""

    def __init__(self, sensor: PowerSensor):
        self._sensor = sensor
        self._samples = []  # type: List[Tuple[float, float]]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.daemon = True

    def start(self) -> None:
        self._thread.start()

    def _sample(self) -> None:
        while True:
            watts = self._sensor.read()
            if watts is not None:
                self._samples.append((time.perf_counter(), watts))
            if self._stop.wait(SAMPLE_INTERVAL_S):
                return

    def stop(self) -> Optional[Dict[str, Any]]:
        """Mean power (W) over the sampled span, its length (s) and the samples; None with fewer than two."""
        self._stop.set()
        self._thread.join()
        if len(self._samples) < 2:
            return None
        energy_j = 0.0
        for (earlier, first), (later, second) in zip(self._samples, self._samples[1:]):
            energy_j += (later - earlier) * (first + second) / 2.0
        origin = self._samples[0][0]
        duration_s = self._samples[-1][0] - origin
        samples = [[moment - origin, watts] for moment, watts in self._samples]
        return {"mean_power_w": energy_j / duration_s, "duration_s": duration_s, "power_samples_s_w": samples}


class RaplWindow:
    """Energy between start() and stop() from RAPL's counters, which wrap at `max_energy_range_uj`."""

    def __init__(self, counters: List[Tuple[str, float]]):
        self._counters = counters
        self._began = 0.0
        self._first = []  # type: List[Optional[float]]

    def start(self) -> None:
        self._began = time.perf_counter()
        self._first = [read_number(path) for path, _range in self._counters]

    def stop(self) -> Optional[Dict[str, Any]]:
        duration_s = time.perf_counter() - self._began
        energy_j = 0.0
        for (path, wrap_uj), first in zip(self._counters, self._first):
            last = read_number(path)
            if first is None or last is None:
                return None
            energy_j += ((last - first) if last >= first else (last + wrap_uj - first)) / 1e6
        return {"mean_power_w": energy_j / duration_s, "duration_s": duration_s}


class EnergyMeter:
    """One way to measure energy on this board: names it and opens windows."""

    def __init__(self, source: str, rails: Tuple[str, ...], scope: str, open_window: Callable[[], Any]):
        self.source = source
        self.rails = rails
        self.scope = scope
        self.open_window = open_window


def find_meter(root: str = "/") -> Tuple[Optional[EnergyMeter], List[Dict[str, str]]]:
    """The best meter of this board, or None and the reason why there is none."""
    rails = read_rails(root)
    for names, scope in _TOTALS:
        if all(name in rails for name in names):
            sensor = PowerSensor("ina3221", names, scope, [rails[name] for name in names])
            if sensor.read() is None:
                return None, [_unreadable("the INA3221 rails %s" % ", ".join(names))]
            return EnergyMeter(sensor.source, names, scope, functools.partial(SampledWindow, sensor)), []
    if rails:
        reason = "the rails %s are readable, but none is known to carry the whole load" % ", ".join(sorted(rails))
        return None, [unavailable("energy", reason, "tell us the board: its total rail has to be documented")]
    return _find_rapl(root)


def read_rails(root: str = "/") -> Dict[str, Callable[[], Optional[float]]]:
    """Readers of INA3221 rails by name, each giving watts or None."""
    rails = {}  # type: Dict[str, Callable[[], Optional[float]]]
    for folder in sorted(glob.glob(os.path.join(root, "sys/class/hwmon/hwmon*"))):
        if read_text(os.path.join(folder, "name")) == "ina3221":
            for channel in (1, 2, 3):
                name = read_text(os.path.join(folder, "in%d_label" % channel))
                if name and name != "NC":
                    rails[name] = _hwmon_reader(folder, channel)
    for pattern in ("iio:device*", "iio_device*"):
        for folder in sorted(glob.glob(os.path.join(root, "sys/bus/i2c/drivers/ina3221x/*", pattern))):
            for channel in (0, 1, 2):
                name = read_text(os.path.join(folder, "rail_name_%d" % channel))
                if name and name != "NC":
                    rails[name] = _iio_reader(folder, channel)
    return rails


def _hwmon_reader(folder: str, channel: int) -> Callable[[], Optional[float]]:
    def read() -> Optional[float]:
        millivolts = read_number(os.path.join(folder, "in%d_input" % channel))
        milliamperes = read_number(os.path.join(folder, "curr%d_input" % channel))
        if millivolts is None or milliamperes is None:
            return None
        return millivolts * milliamperes / 1e6

    return read


def _iio_reader(folder: str, channel: int) -> Callable[[], Optional[float]]:
    def read() -> Optional[float]:
        milliwatts = read_number(os.path.join(folder, "in_power%d_input" % channel))
        return None if milliwatts is None else milliwatts / 1e3

    return read


def _find_rapl(root: str) -> Tuple[Optional[EnergyMeter], List[Dict[str, str]]]:
    # Only the packages: cores and memory ("intel-rapl:0:0") are parts of them, and a zone "psys" contains them.
    folders = sorted(glob.glob(os.path.join(root, "sys/class/powercap/intel-rapl:[0-9]*")))
    names = {folder: read_text(os.path.join(folder, "name")) or "" for folder in folders}
    packages = [folder for folder in folders if names[folder].startswith("package")]
    if not packages:
        reason = "no INA3221, no RAPL: this machine shows no power sensor"
        return None, [unavailable("energy", reason, "measure on a board with a sensor, or with a meter at the wall")]
    counters = []
    for folder in packages:
        wrap_uj = read_number(os.path.join(folder, "max_energy_range_uj"))
        path = os.path.join(folder, "energy_uj")
        if wrap_uj is None or read_number(path) is None:
            return None, [_unreadable(path)]
        counters.append((path, wrap_uj))
    rails = tuple(names[folder] for folder in packages)
    return EnergyMeter("rapl", rails, "processor packages", lambda: RaplWindow(counters)), []


def _unreadable(what: str) -> Dict[str, str]:
    return unavailable("energy", "%s cannot be read by this user" % what, "run edge-bench as root (sudo)")

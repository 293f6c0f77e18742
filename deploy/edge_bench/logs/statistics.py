"""A whole tegrastats log: mean power and energy of each rail, peaks and loads, and where the log is broken.

Energy is integrated by the trapezoidal rule from the first figure of each rail, never from tegrastats' own means. Its
times are the stamps of the lines, which are whole seconds: lines of one second count as one point, their mean. Or lines
are `interval_s` apart, where that is given. A step that is much longer than the others is a gap: what happened there is
not known, so nothing is integrated over it. Held is a few numbers for each name, whatever the length of the log.
"""

import math
from typing import Any, Dict, List, Optional

from edge_bench.logs.running_means import Break, RunningMeans
from edge_bench.logs.times import seconds_of

# A gap is a step of more than three times the shortest one, and of more than 3 s: stamps are whole seconds. Of the
# first step only this much is believed.
_GAP_STEPS, _MIN_GAP_S, _MAX_FIRST_STEP_S = 3.0, 3.0, 60.0
# Of each kind so many are named; all are counted.
_MAX_NAMED = 100
_MAX_NAMES = 1000


class LogStatistics:
    """Takes samples as parse_line gives them, one after the other; `result()` once, at the end."""

    def __init__(self, interval_s: Optional[float] = None):
        self._interval_s = interval_s
        self._num_samples = 0
        self._stamps = []  # type: List[Optional[str]]
        self._rails = {}  # type: Dict[str, _Figures]
        self._loads = {}  # type: Dict[str, _Figures]
        self._peaks = {}  # type: Dict[str, float]
        self._peak_ram_mb = None  # type: Optional[float]
        self._energy = _Energy(interval_s)
        self._means = RunningMeans()
        self._breaks = {Break.RESTART: [], Break.LOST: []}  # type: Dict[str, List[int]]
        self._num_breaks = dict.fromkeys(self._breaks, 0)  # type: Dict[str, int]

    def add(self, sample: Dict[str, Any], line_number: int) -> None:
        self._num_samples += 1
        self._stamps = (self._stamps or [sample["timestamp"]])[:1] + [sample["timestamp"]]
        powers = {rail: values["current"] for rail, values in sample["power_w"].items()}
        for rail, power_w in powers.items():
            _figures(self._rails, rail).add(power_w)
        for name, load_percent in _loads(sample):
            _figures(self._loads, name).add(load_percent)
        for zone, temperature_c in sample["temperature_c"].items():
            if temperature_c is not None and (zone in self._peaks or len(self._peaks) < _MAX_NAMES):
                self._peaks[zone] = max(temperature_c, self._peaks.get(zone, temperature_c))
        if sample["ram"] is not None:
            self._peak_ram_mb = max(self._peak_ram_mb or 0, sample["ram"]["used_mb"])
        self._energy.add(sample["timestamp"], powers)
        found = self._means.add(sample["power_w"], line_number)
        if found is not None:
            self._num_breaks[found.kind] += 1
            if len(self._breaks[found.kind]) < _MAX_NAMED:
                self._breaks[found.kind].append(found.line_number)

    def result(self) -> Dict[str, Any]:
        """num_samples, first_timestamp, last_timestamp; duration_s, without gaps, with duration_error_s (stamps are
        whole seconds), and times_from ("time stamps", "interval", or null where nothing tells a time); num_gaps, gap_s;
        power by rail: num_samples, mean_power_w, min_power_w, max_power_w, energy_j (null without a time);
        mean_load_percent, peak_temperature_c, peak_ram_mb; restart_lines and lost_before_lines, numbers of lines where
        tegrastats began anew or before which some miss, and how many there are: num_restarts, num_losses.
        """
        energy = self._energy.result()
        return {
            "num_samples": self._num_samples,
            "first_timestamp": self._stamps[0] if self._stamps else None,
            "last_timestamp": self._stamps[-1] if self._stamps else None,
            "duration_s": energy["duration_s"],
            "duration_error_s": energy["duration_error_s"],
            "times_from": energy["times_from"],
            "num_gaps": energy["num_gaps"],
            "gap_s": energy["gap_s"],
            "power": {
                rail: {
                    "num_samples": figures.num,
                    "mean_power_w": figures.mean(),
                    "min_power_w": figures.low,
                    "max_power_w": figures.high,
                    "energy_j": energy["energy_j"].get(rail),
                }
                for rail, figures in self._rails.items()
            },
            "mean_load_percent": {name: figures.mean() for name, figures in self._loads.items()},
            "peak_temperature_c": self._peaks,
            "peak_ram_mb": self._peak_ram_mb,
            "num_restarts": self._num_breaks[Break.RESTART],
            "restart_lines": self._breaks[Break.RESTART],
            "num_losses": self._num_breaks[Break.LOST],
            "lost_before_lines": self._breaks[Break.LOST],
        }


def _loads(sample: Dict[str, Any]) -> List[Any]:
    """Of the cores that are on line together, and of each engine whose load is known; one that is off does nothing."""
    cores = [core["load_percent"] for core in sample["cpu"] if core is not None]
    loads = [("CPU", math.fsum(cores) / len(cores))] if cores else []
    for name, engine in sample["engines"].items():
        if not engine["is_on"]:
            loads.append((name, 0.0))
        elif engine["load_percent"] is not None:
            loads.append((name, engine["load_percent"]))
    return loads


class _Figures:
    """Mean, least and largest of numbers that are not kept."""

    def __init__(self) -> None:
        self.num = 0
        self.total = 0.0
        self.low = math.inf
        self.high = -math.inf

    def add(self, value: float) -> None:
        self.num += 1
        self.total += value
        self.low = min(self.low, value)
        self.high = max(self.high, value)

    def mean(self) -> float:
        return self.total / self.num


def _figures(places: Dict[str, _Figures], name: str) -> _Figures:
    """That of a name; of a log of garbage with ever new names the rest shares one."""
    if name not in places and len(places) >= _MAX_NAMES:
        name = "(more names)"
    return places.setdefault(name, _Figures())


class _Energy:
    """The trapezoidal rule over points as they come."""

    def __init__(self, interval_s: Optional[float]):
        self._interval_s = interval_s
        self._last_time_s = None  # type: Optional[float]
        self._last_powers = {}  # type: Dict[str, float]
        self._time_s = None  # type: Optional[float]
        self._point = {}  # type: Dict[str, _Figures]
        self._num_lines = 0
        self._shortest_s = math.inf
        self._duration_s = 0.0
        self._num_steps = 0
        self._num_gaps = 0
        self._gap_s = 0.0
        self._energy_j = {}  # type: Dict[str, float]

    def add(self, timestamp: Optional[str], powers: Dict[str, float]) -> None:
        time_s = seconds_of(timestamp) if self._interval_s is None else self._num_lines * self._interval_s
        self._num_lines += 1
        if time_s is None:
            return
        if self._time_s is not None and time_s != self._time_s:
            self._step()
        self._time_s = time_s
        for rail, power_w in powers.items():
            _figures(self._point, rail).add(power_w)

    def _step(self) -> None:
        """The point is complete: integrate from the one before."""
        assert self._time_s is not None
        powers = {rail: figures.mean() for rail, figures in self._point.items()}
        if self._last_time_s is not None:
            self._integrate(self._time_s - self._last_time_s, powers)
        self._last_time_s, self._last_powers, self._point = self._time_s, powers, {}

    def _integrate(self, step_s: float, powers: Dict[str, float]) -> None:
        limit_s = max(_MIN_GAP_S, _GAP_STEPS * self._shortest_s) if self._num_steps else _MAX_FIRST_STEP_S
        if step_s < 0 or step_s > limit_s and self._interval_s is None:
            self._num_gaps += 1
            self._gap_s += max(step_s, 0.0)
            return
        self._shortest_s = min(self._shortest_s, step_s)
        self._duration_s += step_s
        self._num_steps += 1
        energy_j = self._energy_j
        for rail, power_w in powers.items():
            if rail in self._last_powers and (rail in energy_j or len(energy_j) < _MAX_NAMES):
                area_j = 0.5 * step_s * (power_w + self._last_powers[rail])
                energy_j[rail] = energy_j.get(rail, 0.0) + area_j

    def result(self) -> Dict[str, Any]:
        if self._time_s is not None and self._point:
            self._step()
        known = self._num_steps > 0
        source = "time stamps" if self._interval_s is None else "interval"
        return {
            "times_from": source if known else None,
            "duration_s": self._duration_s if known else None,
            "duration_error_s": None if not known else 1.0 if self._interval_s is None else 0.0,
            "num_gaps": self._num_gaps,
            "gap_s": self._gap_s,
            "energy_j": dict(self._energy_j) if known else {},
        }

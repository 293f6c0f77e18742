"""Energy as a function of time, from what a sensor said at moments of our own monotonic clock."""

import bisect
from typing import Any, Dict, List, Sequence


class PowerCurve:
    """Energy from samples of power by the trapezoidal rule; before the first and after the last the value is held."""

    def __init__(self, times_s: Sequence[float], powers_w: Sequence[float]):
        self.times_s = times_s
        self._powers_w = powers_w
        self._energies_j = [0.0]
        for i in range(1, len(times_s)):
            area = (times_s[i] - times_s[i - 1]) * (powers_w[i] + powers_w[i - 1]) / 2.0
            self._energies_j.append(self._energies_j[-1] + area)

    def at(self, time_s: float) -> float:
        """Joules between the first sample and `time_s` (negative before it)."""
        i = bisect.bisect_right(self.times_s, time_s) - 1
        if i < 0:
            return (time_s - self.times_s[0]) * self._powers_w[0]
        elapsed_s = time_s - self.times_s[i]
        if i == len(self.times_s) - 1:
            return self._energies_j[i] + elapsed_s * self._powers_w[i]
        slope = (self._powers_w[i + 1] - self._powers_w[i]) / (self.times_s[i + 1] - self.times_s[i])
        return self._energies_j[i] + elapsed_s * (self._powers_w[i] + slope * elapsed_s / 2.0)


class CounterCurve:
    """Energy from readings of a counter: straight lines between them, the last slope beyond them."""

    def __init__(self, times_s: Sequence[float], energies_j: Sequence[float]):
        self.times_s = times_s
        self._energies_j = energies_j

    def at(self, time_s: float) -> float:
        """Joules that the counter would show at `time_s`."""
        i = min(max(bisect.bisect_right(self.times_s, time_s) - 1, 0), len(self.times_s) - 2)
        slope = (self._energies_j[i + 1] - self._energies_j[i]) / (self.times_s[i + 1] - self.times_s[i])
        return self._energies_j[i] + slope * (time_s - self.times_s[i])


class ConstantCurve:
    """A window of which only the mean power is known."""

    def __init__(self, power_w: float):
        self.times_s: List[float] = []
        self._power_w = power_w

    def at(self, time_s: float) -> float:
        return self._power_w * time_s


def curve_of(window: Dict[str, Any]) -> Any:
    """The curve of a window's result; times from its begin."""
    for key, kind in (("power_samples_s_w", PowerCurve), ("energy_samples_s_j", CounterCurve)):
        samples = window.get(key)
        if samples and len(samples) > 1:
            return kind([pair[0] for pair in samples], [pair[1] for pair in samples])
    return ConstantCurve(window["mean_power_w"])

"""What was watched beside the energy phase as short series: temperatures, clocks, and when a clock was too low."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edge_dendrite.report import fields
from edge_dendrite.report.format import clean_text
from edge_dendrite.report.runs import Measurement

Values = tuple[float | None, ...]

# The agent keeps 1200 at most and halves them then.
_MAX_STORED = 5000
_MAX_SENSORS, _MAX_NAMES = 3, 256
_COLDEST_C, _HOTTEST_C, _MAX_CLOCK_HZ = -80.0, 200.0, 1e11
# As the agent judges (deploy/edge_bench/board/watch_findings.py).
_CLOCK_TOLERANCE, _MIN_BUSY_SHARE = 0.03, 0.5
_LONGEST_S = 1e7


@dataclass(frozen=True)
class WatchTrace:
    """Seconds since the energy phase began; None in a series: the sensor did not answer.

    `temperatures_c`: the hottest sensors, the hottest first. `cpu_clock_hz`: the highest of all cores; `gpu_clock_hz`:
    the highest of the GPU's parts. Where a moment stands for several it has their highest temperature and lowest
    clock. `low_s`: (begin, end) where a busy part ran below the clock that it was pinned to, from all moments.
    """

    duration_s: float
    times_s: tuple[float, ...]
    temperatures_c: tuple[tuple[str, Values], ...]
    cpu_clock_hz: Values
    gpu_clock_hz: Values
    expected_cpu_hz: float | None
    expected_gpu_hz: float | None
    low_s: tuple[tuple[float, float], ...]


def read_watch(measurement: Measurement, max_moments: int, dropped: list[str]) -> WatchTrace | None:
    """From `watch` of a measurement; None where nothing was watched. What makes no sense is named in `dropped`."""
    series = fields.mapping(fields.mapping(measurement, "watch"), "series")
    if not series:
        return None
    stored = fields.series(series, "times_s")
    kept = _forward(stored)
    if len(kept) < 2 or len(stored) > _MAX_STORED:
        dropped.append(f"temperatures and clocks: no list of 2 to {_MAX_STORED:,} times that move forward")
        return None
    if len(kept) < len(stored):
        dropped.append(f"temperatures and clocks: {len(stored) - len(kept)} times make no sense or go back")
    state = fields.mapping(measurement, "state_before")
    take = _Taker(series, len(stored), kept, dropped)
    heat = take.group("temperatures_c", _COLDEST_C, _HOTTEST_C)
    cpu, gpu = take.group("cpu_clocks_hz", 0.0, _MAX_CLOCK_HZ), take.group("gpu_clocks_hz", 0.0, _MAX_CLOCK_HZ)
    expected = {**_pinned_cpus(state), **_pinned_gpus(state)}
    busy = {**take.group("cpu_busy", 0.0, 1.0), **take.group("gpu_busy", 0.0, 1.0)}
    times_s = [stored[index] or 0.0 for index in kept]
    low = _low_moments({**cpu, **gpu}, busy, expected, len(times_s))
    if not any((heat, cpu, gpu)):
        return None
    every = -(-len(times_s) // max_moments)
    hottest = sorted(heat.items(), key=lambda item: -max(value for value in item[1] if value is not None))
    return WatchTrace(
        duration_s=max(times_s[-1], _phase_s(measurement) or 0.0),
        times_s=tuple(times_s[::every]),
        temperatures_c=tuple((name, _thin(values, every, max)) for name, values in hottest[:_MAX_SENSORS]),
        cpu_clock_hz=_thin(_highest(cpu.values(), len(times_s)), every, min),
        gpu_clock_hz=_thin(_highest(gpu.values(), len(times_s)), every, min),
        expected_cpu_hz=max((expected[name] for name in cpu if name in expected), default=None),
        expected_gpu_hz=max((expected[name] for name in gpu if name in expected), default=None),
        low_s=_intervals(times_s, low),
    )


def read_throttling(measurement: Measurement) -> tuple[str, ...]:
    """What the board counted of being slowed down between the states before and after the run, in words."""
    before, after = fields.mapping(measurement, "state_before"), fields.mapping(measurement, "state_after")
    found = []
    for key, what in (("throttle_counts", "counter"), ("alarms", "alarm"), ("cooling_states", "cooling device")):
        was, came = fields.mapping(before, key), fields.mapping(after, key)
        for name in list(came)[:_MAX_NAMES]:
            first, last = fields.number(was, name), fields.number(came, name)
            if first is not None and last is not None and last > first:
                found.append(f"{what} {clean_text(name, 60)} rose from {first:.0f} to {last:.0f}")
    was_bits, bits = fields.whole(before, "throttled_bits"), fields.whole(after, "throttled_bits")
    if was_bits is not None and bits is not None and bits & ~was_bits:
        found.append(f"throttled flags went from {was_bits:#x} to {bits:#x}")
    return tuple(found[:6])


class _Taker:
    """Takes groups of series: those of the right length, as values within limits at the times that are kept."""

    def __init__(self, series: Mapping[str, Any], size: int, kept: Sequence[int], dropped: list[str]) -> None:
        self._series, self._size, self._kept, self._dropped = series, size, kept, dropped

    def group(self, key: str, lowest: float, highest: float) -> dict[str, Values]:
        """Of at most _MAX_NAMES names, those with at least one value."""
        group = fields.mapping(self._series, key)
        found: dict[str, Values] = {}
        for name in list(group)[:_MAX_NAMES]:
            values = fields.series(group, name)
            if len(values) != self._size:
                what = key.rpartition("_")[0].replace("_", " ")
                self._dropped.append(f"{what} of {clean_text(name, 60)}: not as many values as times")
                continue
            taken = [values[index] for index in self._kept]
            fitting = tuple(value if value is not None and lowest <= value <= highest else None for value in taken)
            if any(value is not None for value in fitting):
                found[clean_text(name, 60)] = fitting
        return found


def _forward(times_s: Sequence[float | None]) -> list[int]:
    """Indices of the times that come after all before them."""
    kept: list[int] = []
    last_s = 0.0
    for index, time_s in enumerate(times_s):
        if time_s is not None and last_s < time_s < _LONGEST_S:
            kept.append(index)
            last_s = time_s
    return kept


def _phase_s(measurement: Measurement) -> float | None:
    duration_s = fields.number(fields.mapping(fields.mapping(measurement, "energy"), "load"), "duration_s")
    return duration_s if duration_s is not None and 0 < duration_s < _LONGEST_S else None


def _pinned_cpus(state: Mapping[str, Any]) -> dict[str, float]:
    """The clock in Hz of each core that is pinned, or kept at its highest by its governor."""
    limits, governors = fields.mapping(state, "cpu_clock_limits_hz"), fields.mapping(state, "governors")
    found = {}
    for name in list(limits)[:_MAX_NAMES]:
        ends = fields.series(limits, name)
        if len(ends) == 2 and ends[1] and (ends[0] == ends[1] or governors.get(name) == "performance"):
            found[clean_text(name, 60)] = ends[1]
    return found


def _pinned_gpus(state: Mapping[str, Any]) -> dict[str, float]:
    devices = fields.mapping(state, "devfreq")
    found = {}
    for name in list(devices)[:_MAX_NAMES]:
        device = fields.mapping(devices, name)
        low, high = fields.number(device, "min_freq_hz"), fields.number(device, "max_freq_hz")
        if high and (low == high or device.get("governor") == "performance"):
            found[clean_text(name, 60)] = high
    return found


def _low_moments(
    clocks: Mapping[str, Values], busy: Mapping[str, Values], expected: Mapping[str, float], size: int
) -> list[bool]:
    """Whether, at each moment, a part that had work ran below its clock. A clock of 0 is a part that is off."""
    low = [False] * size
    for name, values in clocks.items():
        limit_hz = expected.get(name, 0.0) * (1 - _CLOCK_TOLERANCE)
        shares = busy.get(name, (1.0,) * size)
        for index, (clock, share) in enumerate(zip(values, shares, strict=True)):
            if clock and clock < limit_hz and share is not None and share >= _MIN_BUSY_SHARE:
                low[index] = True
    return low


def _intervals(times_s: Sequence[float], marked: Sequence[bool]) -> tuple[tuple[float, float], ...]:
    """Marked moments as intervals: each stands for the time since the moment before it."""
    found: list[tuple[float, float]] = []
    for (begin_s, end_s), is_marked in zip(pairwise([0.0, *times_s]), marked, strict=True):
        if is_marked and found and found[-1][1] == begin_s:
            found[-1] = (found[-1][0], end_s)
        elif is_marked:
            found.append((begin_s, end_s))
    return tuple(found)


def _thin(values: Values, every: int, choose: Callable[[list[float]], float]) -> Values:
    """One of each `every` values in a row."""
    groups = [values[begin : begin + every] for begin in range(0, len(values), every)]
    known = [[value for value in group if value is not None] for group in groups]
    return tuple(choose(group) if group else None for group in known)


def _highest(series: Any, size: int) -> Values:
    columns = list(series)
    known = [[values[index] for values in columns if values[index] is not None] for index in range(size)]
    return tuple(max(values) if values else None for values in known)

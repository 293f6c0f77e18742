"""The power of a run as a short series: idle window and load window on one clock, thinned, with what was made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from edge_bench.stats import median
from edge_dendrite.report import fields
from edge_dendrite.report.format import shorten

# More than the agent stores; and no board takes such power.
_MAX_SAMPLES, _MAX_POWER_W = 400_000, 1e5
_LONGEST_S = 1e7
# The two windows follow each other within seconds; one far away would leave nothing of the other to see.
_MAX_DISTANCE = 5.0


@dataclass(frozen=True)
class PowerTrace:
    """Watts over the seconds since the load window began; the idle window lies before it, at negative times.

    `spans`: (time, lowest, mean, highest), a reading or a bin of them. `energy_window_s`: the part of the load window
    from which the energy was taken. `step_s`: the usual distance of two spans. `program`: the words of a program that
    gave the values, where it was no sensor of the board.
    """

    source: str | None
    scope: str | None
    rails: tuple[str, ...]
    program: str | None
    is_counter: bool
    num_readings: int
    spans: tuple[tuple[float, float, float, float], ...]
    step_s: float
    idle_window_s: tuple[float, float] | None
    load_window_s: tuple[float, float]
    energy_window_s: tuple[float, float] | None
    idle_power_w: float
    load_power_w: float
    gross_j: float
    net_j: float


@dataclass(frozen=True)
class _Readings:
    times_s: list[float]
    powers_w: list[float]
    weights_s: list[float]
    num_readings: int
    is_counter: bool


def read_power(record: Mapping[str, Any], dropped: list[str]) -> PowerTrace | None:
    """From `energy` of a measurement; what cannot be drawn gets its reason in `dropped`. None without a load window."""
    load, idle = fields.mapping(record, "load"), fields.mapping(record, "idle")
    duration_s = _duration(load)
    figures = [fields.number(record, key) for key in ("idle_power_w", "load_power_w", "gross_energy_j", "net_energy_j")]
    known = [figure for figure in figures if figure is not None]
    if duration_s is None or len(known) < len(figures):
        if record:
            dropped.append("power trace: the record of energy lacks its load window or its figures")
        return None
    loaded = _readings(load, duration_s, "load window", dropped)
    if loaded is None:
        return None
    offset_s, idle_s = _idle_place(idle, load, duration_s, dropped)
    rested = None
    if offset_s is not None and idle_s is not None:
        rested = _readings(idle, idle_s, "idle window", dropped)
    spans = _spans([(part, move_s) for part, move_s in ((rested, offset_s), (loaded, 0.0)) if part])
    words = fields.texts(fields.mapping(load, "sensor"), "command")[:8]
    return PowerTrace(
        source=fields.text(record, "source"),
        scope=fields.text(record, "scope"),
        rails=fields.texts(record, "rails"),
        # Names of files without their folders, which say nothing to a reader elsewhere.
        program=shorten(" ".join(word.rpartition("/")[2] for word in words), 60) or None,
        is_counter=loaded.is_counter,
        num_readings=loaded.num_readings + (rested.num_readings if rested else 0),
        spans=spans,
        step_s=_typical_step(spans),
        idle_window_s=(offset_s, offset_s + idle_s) if offset_s is not None and idle_s is not None else None,
        load_window_s=(0.0, duration_s),
        energy_window_s=_energy_window(record, duration_s),
        idle_power_w=known[0],
        load_power_w=known[1],
        gross_j=known[2],
        net_j=known[3],
    )


def _duration(window: Mapping[str, Any]) -> float | None:
    duration_s = fields.number(window, "duration_s")
    return duration_s if duration_s is not None and 0 < duration_s < _LONGEST_S else None


def _idle_place(
    idle: Mapping[str, Any], load: Mapping[str, Any], duration_s: float, dropped: list[str]
) -> tuple[float | None, float | None]:
    """(begin of the idle window on the clock of the load window, its duration); both began on the monotonic clock."""
    idle_s = _duration(idle)
    began_s, load_began_s = fields.number(idle, "began_s"), fields.number(load, "began_s")
    if idle_s is None or began_s is None or load_began_s is None:
        dropped.append("idle window: the record does not say when it began")
        return None, None
    offset_s = began_s - load_began_s
    pause_s = -offset_s - idle_s
    if not -0.01 * idle_s <= pause_s <= _MAX_DISTANCE * (idle_s + duration_s):
        dropped.append(f"idle window: it lies {pause_s:.3g} s before the load window, which cannot be drawn beside it")
        return None, None
    return offset_s, idle_s


def _readings(window: Mapping[str, Any], duration_s: float, name: str, dropped: list[str]) -> _Readings | None:
    """Times that move forward and powers with how long each holds; of a counter the power between two readings."""
    is_counter = "energy_samples_s_j" in window
    stored = window.get("energy_samples_s_j" if is_counter else "power_samples_s_w")
    if not isinstance(stored, list) or not 2 <= len(stored) <= _MAX_SAMPLES:
        dropped.append(f"power trace, {name}: no list of 2 to {_MAX_SAMPLES:,} readings")
        return None
    pairs: list[tuple[float, float]] = []
    for entry in stored:
        both = [fields.finite(part) for part in entry] if isinstance(entry, list) and len(entry) == 2 else [None, None]
        time_s, value = both
        if time_s is None or value is None or not -duration_s <= time_s <= 2 * duration_s:
            continue
        if (is_counter or abs(value) <= _MAX_POWER_W) and (not pairs or time_s > pairs[-1][0]):
            pairs.append((time_s, value))
    if len(pairs) < len(stored):
        count = len(stored) - len(pairs)
        dropped.append(f"power trace, {name}: {count:,} of {len(stored):,} readings make no sense or go back in time")
    times_s, powers_w, weights_s = _differentiate(pairs) if is_counter else _weigh(pairs)
    if not times_s:
        return None
    return _Readings(times_s, powers_w, weights_s, len(pairs), is_counter)


def _weigh(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float], list[float]]:
    """A reading holds for half the way to its neighbours: the trapezoidal rule."""
    if len(pairs) < 2:
        return [], [], []
    times_s = [time_s for time_s, _ in pairs]
    before = [times_s[0], *times_s[:-1]]
    after = [*times_s[1:], times_s[-1]]
    return times_s, [power for _, power in pairs], [(b - a) / 2 for a, b in zip(before, after, strict=True)]


def _differentiate(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float], list[float]]:
    """Mean power between two readings at which the counter moved: one read faster than renewed shows no spikes."""
    moved = [pair for index, pair in enumerate(pairs) if index == 0 or pair[1] != pairs[index - 1][1]]
    times_s, powers_w, weights_s = [], [], []
    for (begin_s, begin_j), (end_s, end_j) in pairwise(moved):
        power_w = (end_j - begin_j) / (end_s - begin_s)
        if abs(power_w) <= _MAX_POWER_W:
            times_s.append((begin_s + end_s) / 2)
            powers_w.append(power_w)
            weights_s.append(end_s - begin_s)
    return times_s, powers_w, weights_s


def _spans(parts: Sequence[tuple[_Readings, float | None]]) -> tuple[tuple[float, float, float, float], ...]:
    """The windows one after the other, each with a share of the bins by its length."""
    from edge_dendrite.report.binning import MAX_POWER_BINS, power_spans

    lengths_s = [part.times_s[-1] - part.times_s[0] for part, _ in parts]
    spans = []
    for (part, move_s), length_s in zip(parts, lengths_s, strict=True):
        room = max(8, int(MAX_POWER_BINS * length_s / sum(lengths_s))) if sum(lengths_s) > 0 else MAX_POWER_BINS
        times_s = [time_s + (move_s or 0.0) for time_s in part.times_s]
        spans += power_spans(times_s, part.powers_w, part.weights_s, min(room, MAX_POWER_BINS))
    return tuple(spans)


def _typical_step(spans: Sequence[tuple[float, float, float, float]]) -> float:
    steps = [later[0] - earlier[0] for earlier, later in pairwise(spans)]
    return median(steps) if steps else 0.0


def _energy_window(record: Mapping[str, Any], duration_s: float) -> tuple[float, float] | None:
    ends = fields.series(record, "span_s")
    if len(ends) != 2 or ends[0] is None or ends[1] is None or not 0 <= ends[0] < ends[1] <= 1.01 * duration_s:
        return None
    return ends[0], ends[1]

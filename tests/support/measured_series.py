"""Energy and watch of a measurement as the agent's own code writes them, from readings that a test chooses."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from edge_bench.board.watch_findings import summarise
from edge_bench.power.energy import energy_record
from edge_bench.power.result import Recorded, window_result
from edge_bench.power.window import Meter

IDLE_BEGAN_S, PAUSE_S = 5000.0, 0.25


def ramp_w(time_s: float) -> float:
    """Power under load: from 2 W to 5 W within a second, then with a slow wave."""
    return 2.0 + 3.0 * (1 - math.exp(-time_s / 0.3)) + 0.2 * math.sin(time_s)


def energy_of(
    power_w: Callable[[float], float] = ramp_w,
    *,
    idle_s: float = 3.0,
    load_s: float = 8.0,
    interval_s: float = 0.05,
    is_counter: bool = False,
    source: str = "ina3221",
    details: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of an energy phase in which 1000 inferences a second ran and idle power was 2 W."""
    meter = Meter(source, ("VDD_IN",), "module input", interval_s, lambda clock: None, 0.005, details)
    meter.counts_energy = is_counter
    idle = _window(meter, IDLE_BEGAN_S, idle_s, interval_s, lambda time_s: 2.0 + 0.001 * (int(time_s / interval_s) % 2))
    load_began_s = IDLE_BEGAN_S + idle_s + PAUSE_S
    load = _window(meter, load_began_s, load_s, interval_s, power_w)
    marks = [(load_began_s + 0.25 * step, 250 * step) for step in range(int(load_s * 4) + 1)]
    record = energy_record(meter, idle, load, marks)
    assert record is not None
    record.pop("warnings")
    return {**record, "latency_ratio_while_sampling": 1.01, "other_load": 0.0, "idle_other_load": 0.0}


def _window(
    meter: Any, began_s: float, duration_s: float, interval_s: float, power_w: Callable[[float], float]
) -> dict[str, Any]:
    recorded, energy_j = Recorded(meter.rails), 0.0
    for step in range(round(duration_s / interval_s) + 1):
        time_s = step * interval_s
        energy_j += power_w(time_s) * interval_s
        recorded.add(began_s + time_s, {"VDD_IN": energy_j if meter.counts_energy else power_w(time_s)})
    result, problem = window_result(meter, recorded, began_s, began_s + duration_s, {})
    assert result is not None, problem
    return result


def watch_of(
    state: dict[str, Any], *, seconds: int = 8, low_from_s: float = math.inf, low_to_s: float = math.inf
) -> dict[str, Any]:
    """Two cores pinned to 1.5 GHz, twice a second; core 0 ran at 0.9 GHz between the two times."""
    times_s = [0.5 * step for step in range(1, 2 * seconds + 1)]
    state["governors"] = {"cpu0": "performance", "cpu1": "performance"}
    state["cpu_clock_limits_hz"] = {"cpu0": [1.5e9, 1.5e9], "cpu1": [1.5e9, 1.5e9]}
    series = {
        "times_s": times_s,
        "cpu_clocks_hz": {
            "cpu0": [0.9e9 if low_from_s <= time_s < low_to_s else 1.5e9 for time_s in times_s],
            "cpu1": [1.5e9] * len(times_s),
        },
        "cpu_busy": {"cpu0": [1.0] * len(times_s), "cpu1": [0.1] * len(times_s)},
        "gpu_clocks_hz": {"17000000.gpu": [918e6] * len(times_s)},
        "gpu_busy": {},
        "temperatures_c": {
            "CPU-therm": [40.0 + time_s for time_s in times_s],
            "GPU-therm": [38.0 + time_s for time_s in times_s],
            "AO-therm": [None, *[35.0] * (len(times_s) - 1)],
            "PMIC": [30.0] * len(times_s),
        },
        "memory_available_bytes": [3e9] * len(times_s),
    }
    return summarise(series, state)

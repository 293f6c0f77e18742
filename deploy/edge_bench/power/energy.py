"""Energy per inference from the windows of a meter and the marks of a run: gross, net of idle, with intervals.

Keys of an energy record, beside `source`, `rails`, `scope` and the windows `idle` and `load` (see result.py):
idle_power_w, load_power_w       mean power of the idle window behind its settling time; mean power over the span
num_inferences, duration_s       of the span
span_s                           the part of the load window that counts: from the first mark behind the settling time
                                 to the last one that the sensor covers
gross_energy_j, net_energy_j     per inference; net is gross less idle power over the same time
gross_interval_j, net_interval_j [low, high], about 95 %; null where a component is not known, which interval_lacks
                                 names
gross_uncertainty_j, net_uncertainty_j   half-widths step_j, sampling_j, run_to_run_j: see uncertainty.py
num_parts                        parts of the load window behind run_to_run_j
num_fresh, sensor_rate_hz, step_w, step_source   of the load window
not_in_interval                  what the intervals do not hold
warnings                         code, message, fix
"""

import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

from edge_bench.power.curve import curve_of
from edge_bench.power.uncertainty import MIN_PARTS, mean_half_width, refresh_s, sampling_half_width_j, split
from edge_bench.schema import warning

Mark = Tuple[float, int]

# A window for energy is at least so long and holds at least so many fresh values of the sensor.
MIN_WINDOW_S = 10.0
MIN_FRESH = 20
# A part of the window with energy of its own spans so many refreshes of the sensor.
_REFRESHES_PER_PART = 4
_MIN_PART_S = 0.5
# Counters of energy are whole microjoules; that they are renewed seldom is part of sampling.
_COUNTER_STEP_J = 1e-6
_CAUSES = ("step_j", "sampling_j", "run_to_run_j")


def energy_record(
    meter: Any, idle: Dict[str, Any], load: Dict[str, Any], marks: Sequence[Mark]
) -> Optional[Dict[str, Any]]:
    """Energy per inference in joules, or None when no inference ended while the sensor answered.

    `idle` and `load` are results of the meter's windows; `marks` are (monotonic seconds, inferences finished so far)
    from the load's begin to its end, about four a second.
    """
    counted = _counted(load, marks)
    if len(counted) < 2:
        return None
    curve = curve_of(load)
    begin_s, end_s = counted[0][0], counted[-1][0]
    num_inferences = counted[-1][1] - counted[0][1]
    duration_s = end_s - begin_s
    power_w = (curve.at(end_s) - curve.at(begin_s)) / duration_s
    gross_j = power_w * duration_s / num_inferences
    idle_power_w = _mean_power_w(idle)
    net_j = gross_j - idle_power_w * duration_s / num_inferences
    parts = _parts(curve, counted, max(_MIN_PART_S, _REFRESHES_PER_PART * refresh_s(load)))
    gross = {
        "step_j": _step_j(load, duration_s, num_inferences),
        "sampling_j": _scaled(sampling_half_width_j(load, begin_s, end_s), 1.0 / num_inferences),
        "run_to_run_j": mean_half_width(parts),
    }
    net = _net(gross, idle, duration_s / num_inferences)
    record = {
        "source": meter.source,
        "rails": list(meter.rails),
        "scope": meter.scope,
        "idle_power_w": idle_power_w,
        "load_power_w": power_w,
        "num_inferences": num_inferences,
        "duration_s": duration_s,
        "span_s": [begin_s, end_s],
        "gross_energy_j": gross_j,
        "net_energy_j": net_j,
        "gross_interval_j": _interval(gross_j, gross),
        "net_interval_j": _interval(net_j, net),
        "gross_uncertainty_j": gross,
        "net_uncertainty_j": net,
        "interval_lacks": [cause[:-2].replace("_", " ") for cause in _CAUSES if net[cause] is None],
        "num_parts": len(parts),
        "num_fresh": load.get("num_fresh"),
        "sensor_rate_hz": load.get("sensor_rate_hz"),
        "step_w": load.get("step_w"),
        "step_source": load.get("step_source"),
        "not_in_interval": "the sensor's own error of gain and offset",
        "idle": idle,
        "load": load,
    }
    record["warnings"] = _warnings(record, shows_parts=len(marks) > 2)
    return record


def _counted(load: Dict[str, Any], marks: Sequence[Mark]) -> List[Mark]:
    """The marks that count, in seconds of the load window: settled, covered, and each with further inferences."""
    began_s = load.get("began_s", marks[0][0] if marks else 0.0)
    covered_to_s = load.get("covered_to_s", math.inf)
    lead_s = _settled_s(load)
    found: List[Mark] = []
    for moment_s, number in marks:
        time_s = moment_s - began_s
        if lead_s <= time_s <= covered_to_s and (not found or (time_s > found[-1][0] and number > found[-1][1])):
            found.append((time_s, number))
    return found


def _settled_s(window: Dict[str, Any]) -> float:
    """From when on a window's values count.

    A sensor averages: where the load begins together with the window the first values still hold idle power, and those
    of an idle window the load before it. That much is left out, a tenth of the window at most.
    """
    lead_s = min(2.0 * refresh_s(window), 0.1 * window["duration_s"]) if "began_s" in window else 0.0
    return max(lead_s, window.get("covered_from_s", 0.0))


def _mean_power_w(window: Dict[str, Any]) -> float:
    """Behind the settling time; of all that is covered where the sensor stopped answering before its end."""
    begin_s, end_s = _settled_s(window), window.get("covered_to_s", window["duration_s"])
    if begin_s >= end_s:
        return float(window["mean_power_w"])
    curve = curve_of(window)
    return (curve.at(end_s) - curve.at(begin_s)) / (end_s - begin_s)


def _parts(curve: Any, counted: Sequence[Mark], part_s: float) -> List[float]:
    """Energy per inference in consecutive parts of the window."""
    found = []
    for first, last in split([time_s for time_s, _number in counted], part_s):
        energy_j = curve.at(counted[last][0]) - curve.at(counted[first][0])
        found.append(energy_j / (counted[last][1] - counted[first][1]))
    return found


def _net(gross: Dict[str, Optional[float]], idle: Dict[str, Any], seconds: float) -> Dict[str, Optional[float]]:
    """The components of the net figure: those of gross and of idle power over the `seconds` of an inference.

    Steps add: both readings may be off in opposite directions. The others are independent.
    """
    begin_s, end_s = idle.get("covered_from_s", 0.0), idle.get("covered_to_s", idle["duration_s"])
    covered_s, curve = end_s - begin_s, curve_of(idle)
    part_s = max(_MIN_PART_S, _REFRESHES_PER_PART * refresh_s(idle))
    count = int(min(covered_s / part_s, 10))
    times = [begin_s + covered_s * i / count for i in range(count + 1)] if count else []
    powers = [(curve.at(later) - curve.at(earlier)) / (later - earlier) for earlier, later in zip(times, times[1:])]
    of_idle = {
        "step_j": _step_j(idle, seconds, 1),
        "sampling_j": _scaled(sampling_half_width_j(idle, begin_s, end_s), seconds / covered_s),
        "run_to_run_j": _scaled(mean_half_width(powers), seconds),
    }
    net: Dict[str, Optional[float]] = {}
    for cause in _CAUSES:
        one, other = gross[cause], of_idle[cause]
        if one is None or other is None:
            net[cause] = None
        else:
            net[cause] = one + other if cause == "step_j" else math.hypot(one, other)
    return net


def _interval(energy_j: float, components: Dict[str, Optional[float]]) -> Optional[List[float]]:
    """[low, high]: the independent causes added as squares. None as soon as one of them is not known."""
    known = [components[cause] for cause in _CAUSES]
    widths = [width for width in known if width is not None]
    if len(widths) < len(known):
        return None
    half_j = math.sqrt(math.fsum(width * width for width in widths))
    return [energy_j - half_j, energy_j + half_j]


def _step_j(window: Dict[str, Any], duration_s: float, num_inferences: int) -> Optional[float]:
    if window.get("energy_samples_s_j"):
        return _COUNTER_STEP_J / num_inferences
    return _scaled(window.get("step_w"), 0.5 * duration_s / num_inferences)


def _scaled(value: Optional[float], factor: float) -> Optional[float]:
    return None if value is None else value * factor


def _warnings(record: Dict[str, Any], shows_parts: bool) -> List[Dict[str, str]]:
    found = []
    load, num_fresh = record["load"], record["num_fresh"]
    if load["duration_s"] < MIN_WINDOW_S or (num_fresh is not None and num_fresh < MIN_FRESH):
        seen = "%.3g s with %s fresh values of the sensor" % (load["duration_s"], num_fresh)
        found.append(
            warning(
                "short-energy-window",
                "the energy window has %s; it takes %.0f s and %d values" % (seen, MIN_WINDOW_S, MIN_FRESH),
                "measure energy for longer",
            )
        )
    for name in ("idle", "load"):
        for problem in record[name].get("problems", []):
            found.append(
                warning(
                    "power-sensor",
                    "%s window, %s: %s" % (name, record["source"], problem),
                    "run again; check the sensor",
                )
            )
    if record["interval_lacks"]:
        text = "no interval of the energy: not known is the part of %s" % ", ".join(record["interval_lacks"])
        fix = "measure energy and idle power for longer (each in %d parts at least)" % MIN_PARTS
        if not shows_parts:
            text += ": the program says only when all of its inferences ran together"
            fix = "measure several times, and compare the runs: edge-bench compare A1 A2 --with B1 B2"
        found.append(warning("energy-interval", text, fix))
    return found

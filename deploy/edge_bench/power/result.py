"""What a window saw: mean power, energy, how the sensor answered, and everything that a reader must not miss.

Keys of a window's result (times in seconds from its begin; `began_s` is that begin on the monotonic clock):
duration_s            from start() to stop()
covered_s             how much of it the sensor covers: from covered_from_s to covered_to_s; less where it died
mean_power_w, energy_j   over what is covered, by the trapezoidal rule (counters: by differences)
power_samples_s_w     all samples [time, watts], or energy_samples_s_j [time, joules] of a counter; above MAX_SAMPLES
                      every `samples_kept_every`-th is stored (the energy is that of all)
num_samples, num_fresh, sensor_rate_hz   readings; those that differ from the one before; their rate. Reading faster
                      than the sensor converts adds nothing; equal values in a row count once, so it is a lower bound
interval_s            asked for; median_interval_s: what came
step_w, step_source   the sensor's step for the total, and who says so: "source" (data sheet and bus voltage), "data",
                      "assumed", or None where nobody does
edges_s               how long the first value was held back to the begin, and the last one forward to the end
num_gaps, longest_gap_s   pauses longer than GAP_INTERVALS intervals, over which a straight line was drawn
num_failed_reads      times at which the sensor gave no or no sensible value
stopped_answering_s   when the last value came, where none came for the rest of the window; else None
sensor                what its chips say of their averaging (samples, update_interval_s), the command that ran
rail_power_w          mean power of each rail, those of the total and others
problems              all of the above that went wrong, in words
"""

import array
import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

from edge_bench.power.curve import CounterCurve, PowerCurve
from edge_bench.power.uncertainty import step_in_data
from edge_bench.summary import median

MAX_SAMPLES = 200000
GAP_INTERVALS = 3.0


class Recorded:
    """Readings in order: moments, the total, and each rail."""

    def __init__(self, rails: Tuple[str, ...]):
        self._rails = rails
        self.moments_s = array.array("d")
        self.totals = array.array("d")
        self.num_failed = 0
        self.num_fresh = 0
        self.by_rail: Dict[str, Tuple[array.array, array.array]] = {}  # type: ignore[type-arg]
        self._last: Tuple[float, ...] = ()

    def add(self, moment_s: float, values: Optional[Dict[str, float]]) -> None:
        """One answer of the sensor. A total with a rail missing is no total; time never goes backwards."""
        late = len(self.moments_s) > 0 and moment_s <= self.moments_s[-1]
        if values is None or late or not all(math.isfinite(value) for value in values.values()):
            self.num_failed += 1
            return
        parts = tuple(values[name] for name in self._rails if name in values)
        if len(parts) == len(self._rails):
            self.moments_s.append(moment_s)
            self.totals.append(math.fsum(parts))
            self.num_fresh += parts != self._last
            self._last = parts
        else:
            self.num_failed += 1
        for name, value in values.items():
            moments, readings = self.by_rail.setdefault(name, (array.array("d"), array.array("d")))
            if not moments or moment_s > moments[-1]:
                moments.append(moment_s)
                readings.append(value)


def window_result(
    meter: Any, recorded: Recorded, began_s: float, ended_s: float, notes: Dict[str, Any]
) -> Tuple[Optional[Dict[str, Any]], str]:
    """(the result, "") or (None, why there is none)."""
    times, totals = _within(recorded.moments_s, recorded.totals, began_s, ended_s)
    if len(times) < 2:
        reasons = "; ".join(notes.get("problems", [])) or "%d attempts failed" % recorded.num_failed
        return None, "%s gave %d values in %.3g s: %s" % (meter.source, len(times), ended_s - began_s, reasons)
    duration_s = ended_s - began_s
    intervals = [later - earlier for earlier, later in zip(times, times[1:])]
    typical_s = max(meter.interval_s, median(intervals))
    first_s, last_s = _covered(times, duration_s, GAP_INTERVALS * typical_s)
    kind = CounterCurve if meter.counts_energy else PowerCurve
    curve = kind(times, totals)
    energy_j = curve.at(last_s) - curve.at(first_s)
    gaps = [length for length in intervals if length > GAP_INTERVALS * typical_s]
    step_w, step_source = _step(meter, totals)
    result: Dict[str, Any] = {
        "began_s": began_s,
        "duration_s": duration_s,
        "covered_s": last_s - first_s,
        "covered_from_s": first_s,
        "covered_to_s": last_s,
        "mean_power_w": energy_j / (last_s - first_s),
        "energy_j": energy_j,
        "num_samples": len(times),
        "num_fresh": recorded.num_fresh,
        "sensor_rate_hz": recorded.num_fresh / (times[-1] - times[0]),
        "interval_s": meter.interval_s,
        "median_interval_s": median(intervals),
        "step_w": step_w,
        "step_source": step_source,
        "edges_s": [max(times[0] - first_s, 0.0), max(last_s - times[-1], 0.0)],
        "num_gaps": len(gaps),
        "longest_gap_s": max(gaps) if gaps else 0.0,
        "num_failed_reads": recorded.num_failed,
        "stopped_answering_s": times[-1] if last_s < duration_s else None,
        "rail_power_w": _rail_means(meter, recorded, began_s, first_s, last_s),
        "sensor": meter.details,
        "problems": [],
    }
    result.update({key: value for key, value in notes.items() if key != "problems"})
    result["problems"] = _problems(result, first_s) + list(notes.get("problems", []))
    _store_samples(result, "energy_samples_s_j" if meter.counts_energy else "power_samples_s_w", times, totals)
    return result, ""


def _within(
    moments_s: Sequence[float], values: Sequence[float], began_s: float, ended_s: float
) -> Tuple[List[float], List[float]]:
    """Times from the begin with their values: those of the window, the last one before it and the first one after."""
    first = max(sum(1 for moment in moments_s if moment <= began_s) - 1, 0)
    end = min(sum(1 for moment in moments_s if moment < ended_s) + 1, len(moments_s))
    return [moment - began_s for moment in moments_s[first:end]], list(values[first:end])


def _covered(times: Sequence[float], duration_s: float, hold_s: float) -> Tuple[float, float]:
    """Where the sensor's answers begin and end to tell something: a value is held for a few intervals, no longer."""
    first_s = 0.0 if times[0] <= hold_s else times[0]
    last_s = duration_s if duration_s - times[-1] <= hold_s else times[-1]
    return first_s, last_s


def _step(meter: Any, totals: Sequence[float]) -> Tuple[Optional[float], Optional[str]]:
    """The sensor's step: as its source knows it, else as the data show it, but no finer than its source assumes."""
    if meter.step_w is not None and not meter.step_is_assumed:
        return meter.step_w, "source"
    found = None if meter.counts_energy else step_in_data(totals)
    if found is not None and found >= (meter.step_w or 0.0):
        return found, "data"
    return meter.step_w, None if meter.step_w is None else "assumed"


def _rail_means(meter: Any, recorded: Recorded, began_s: float, first_s: float, last_s: float) -> Dict[str, float]:
    kind = CounterCurve if meter.counts_energy else PowerCurve
    means = {}
    for name, (moments, values) in recorded.by_rail.items():
        if len(moments) > 1 or (moments and not meter.counts_energy):
            curve = kind([moment - began_s for moment in moments], values)
            means[name] = (curve.at(last_s) - curve.at(first_s)) / (last_s - first_s)
    return means


def _problems(result: Dict[str, Any], first_s: float) -> List[str]:
    found = []
    if first_s > 0:
        found.append("the first value came %.3g s after the begin" % first_s)
    if result["stopped_answering_s"] is not None:
        lost_s = result["duration_s"] - result["stopped_answering_s"]
        found.append("the sensor stopped answering %.3g s before the end" % lost_s)
    if result["num_gaps"]:
        found.append("%d gaps without a value, the longest %.3g s" % (result["num_gaps"], result["longest_gap_s"]))
    if result["num_failed_reads"]:
        found.append("%d readings failed" % result["num_failed_reads"])
    return found


def _store_samples(result: Dict[str, Any], key: str, times: Sequence[float], values: Sequence[float]) -> None:
    every = -(-len(times) // MAX_SAMPLES)
    result["samples_kept_every"] = every
    result[key] = [[time_s, value] for time_s, value in zip(times[::every], values[::every])]

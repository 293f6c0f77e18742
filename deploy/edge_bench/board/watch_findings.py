"""What a watched run says about itself: did clocks droop, did it heat up, how far did free memory fall.

Clock droop works on every board, whatever it tells of throttling: a clock that was pinned, or that the governor keeps
at its highest, and that was lower while there was work. Only judged there: elsewhere clocks may move.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from edge_bench.board.clocks import is_gpu, megahertz
from edge_bench.schema import warning

# A clock that is read back differs a little from the one that was set.
CLOCK_TOLERANCE = 0.03
MAX_DROOP_SHARE = 0.05
MIN_BUSY_SHARE = 0.5
MIN_BUSY_SAMPLES = 10
WARN_DRIFT_C = 5.0

Values = List[Optional[float]]


class Droop(NamedTuple):
    """How often a clock was too low: `num_low` of `num_busy` samples with work, the lowest of them, what it should be.

    Judged or not: `reason` says why not.
    """

    num_busy: int
    num_low: int
    lowest_hz: Optional[float]
    expected_hz: Optional[float]
    reason: str

    def is_droop(self) -> bool:
        return not self.reason and self.num_low > MAX_DROOP_SHARE * self.num_busy


def summarise(series: Dict[str, Any], state: Dict[str, Any]) -> Dict[str, Any]:
    """The figures of a watch, with the board's state before the run; `series` itself is kept beside them."""
    droops = {"cpu": cpu_droop(series, state), "gpu": gpu_droop(series, state)}
    known = [value for value in series["memory_available_bytes"] if value is not None]
    return {
        "num_samples": len(series["times_s"]),
        "clock_droop": {name: dict(droop._asdict()) for name, droop in droops.items() if droop is not None},
        "temperature_drift_c": temperature_drift(series["temperatures_c"]),
        "max_temperatures_c": {
            name: max(value for value in values if value is not None)
            for name, values in series["temperatures_c"].items()
        },
        "memory_available_min_bytes": min(known) if known else None,
        "series": series,
    }


def findings(summary: Dict[str, Any]) -> Tuple[List[str], List[Dict[str, str]]]:
    """(reasons that make the run invalid, warnings)."""
    invalid, warnings = [], []
    for part, droop in sorted(summary["clock_droop"].items()):
        found = Droop(**droop)
        if found.is_droop() and found.lowest_hz is not None and found.expected_hz is not None:
            invalid.append(
                "the %s clock drooped during the run: below %s in %d of %d busy samples, down to %s; let the "
                "board cool, give it a fan and a strong enough power supply, or pin a lower clock that it can hold"
                % (
                    part.upper(),
                    megahertz(found.expected_hz),
                    found.num_low,
                    found.num_busy,
                    megahertz(found.lowest_hz),
                )
            )
    risen = sorted((drift, name) for name, drift in summary["temperature_drift_c"].items())
    if risen and risen[-1][0] > WARN_DRIFT_C:
        text = "%s rose by %.1f C from the first to the last quarter of the energy phase"
        fix = "warm up longer (--warmup) so that the board is as hot as in use, or cool it"
        warnings.append(warning("temperature-drift", text % (risen[-1][1], risen[-1][0]), fix))
    return invalid, warnings


def cpu_droop(series: Dict[str, Any], state: Dict[str, Any]) -> Optional[Droop]:
    """Over all cores: samples of a core that was busy. None where no core's clock could be read."""
    if not series["cpu_clocks_hz"]:
        return None
    total = Droop(0, 0, None, None, "")
    num_judged = 0
    for cpu, clocks in series["cpu_clocks_hz"].items():
        limits = (state.get("cpu_clock_limits_hz") or {}).get(cpu)
        pinned = limits is not None and limits[0] == limits[1]
        if limits is None or not (pinned or (state.get("governors") or {}).get(cpu) == "performance"):
            continue
        num_judged += 1
        total = _add(total, _count(clocks, series["cpu_busy"].get(cpu), limits[1]))
    if not num_judged:
        return total._replace(reason="the CPU clocks are not pinned and no governor keeps them at their highest")
    return _enough(total)


def gpu_droop(series: Dict[str, Any], state: Dict[str, Any]) -> Optional[Droop]:
    """Over the parts of the GPU. Where its load cannot be read, every sample of a running clock counts as busy."""
    total = Droop(0, 0, None, None, "")
    names = [name for name in series["gpu_clocks_hz"] if is_gpu(name)]
    if not names:
        return None
    num_judged = 0
    for name in names:
        device = (state.get("devfreq") or {}).get(name) or {}
        low, high = device.get("min_freq_hz"), device.get("max_freq_hz")
        if high and (low == high or device.get("governor") == "performance"):
            num_judged += 1
            total = _add(total, _count(series["gpu_clocks_hz"][name], series["gpu_busy"].get(name), high))
    if not num_judged:
        return total._replace(reason="the GPU clock is not pinned")
    return _enough(total)


def _count(clocks: Values, busy: Optional[Values], expected_hz: float) -> Droop:
    shares = busy if busy is not None else [1.0] * len(clocks)
    # A clock of 0 is a part that is switched off, which does no work.
    used = [clock for clock, share in zip(clocks, shares) if clock and share is not None and share >= MIN_BUSY_SHARE]
    low = [clock for clock in used if clock < expected_hz * (1 - CLOCK_TOLERANCE)]
    return Droop(len(used), len(low), min(used) if used else None, expected_hz, "")


def _add(first: Droop, second: Droop) -> Droop:
    lowest = [value for value in (first.lowest_hz, second.lowest_hz) if value is not None]
    expected = [value for value in (first.expected_hz, second.expected_hz) if value is not None]
    return Droop(
        first.num_busy + second.num_busy,
        first.num_low + second.num_low,
        min(lowest) if lowest else None,
        max(expected) if expected else None,
        "",
    )


def _enough(droop: Droop) -> Droop:
    if droop.num_busy >= MIN_BUSY_SAMPLES:
        return droop
    text = "only %d samples with work, %d are needed; make the energy phase longer (--energy-s)"
    return droop._replace(reason=text % (droop.num_busy, MIN_BUSY_SAMPLES))


def temperature_drift(temperatures_c: Dict[str, Values]) -> Dict[str, float]:
    """By sensor: the mean of the last quarter less that of the first; it needs at least 8 samples."""
    drifts = {}
    for name, values in temperatures_c.items():
        known = [value for value in values if value is not None]
        quarter = len(known) // 4
        if quarter >= 2:
            drifts[name] = (sum(known[-quarter:]) - sum(known[:quarter])) / quarter
    return drifts

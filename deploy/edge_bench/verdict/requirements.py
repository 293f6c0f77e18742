"""What a network must keep on a board, and whether a measurement shows it: PASS, FAIL or INCONCLUSIVE."""

import math
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from edge_bench.atomic import parse_json
from edge_bench.errors import EdgeBenchError
from edge_bench.verdict import figures, records

PASS, FAIL, INCONCLUSIVE = "PASS", "FAIL", "INCONCLUSIVE"
DEADLINE = "deadline_ms"
_MAX_FILE_BYTES = 1 << 20


class Kind(NamedTuple):
    """One kind of requirement. `scale` is how many of its units are one SI unit."""

    key: str
    label: str
    unit: str
    scale: float
    is_minimum: bool
    meaning: str
    # From a measurement, the limit and the deadline asked for (both SI).
    measure: Callable[[Dict[str, Any], float, Optional[float]], figures.Figure]


def _latency(key: str, label: str, percent: float) -> Kind:
    meaning = "%s latency at most so many milliseconds" % label
    return Kind(key, label, "ms", 1e3, False, meaning, lambda m, limit, _: figures.latency(m, percent, limit))


KINDS = (
    _latency("median_ms", "median", 50.0),
    _latency("p90_ms", "p90", 90.0),
    _latency("p95_ms", "p95", 95.0),
    _latency("p99_ms", "p99", 99.0),
    _latency("p99_9_ms", "p99.9", 99.9),
    Kind(
        "max_energy_mj", "gross energy", "mJ", 1e3, False, "gross energy per inference, millijoules",
        lambda m, _, __: figures.energy(m, "gross"),
    ),
    Kind(
        "max_net_energy_mj", "net energy", "mJ", 1e3, False, "energy per inference net of idle, millijoules",
        lambda m, _, __: figures.energy(m, "net"),
    ),
    Kind(
        "max_power_w", "mean power", "W", 1.0, False, "mean power under load, watts",
        lambda m, _, __: figures.power(m),
    ),
    Kind(
        "max_miss_ratio", "miss ratio", "", 1.0, False, "share of inferences later than the deadline",
        lambda m, limit, deadline_s: figures.miss_ratio(m, limit, deadline_s),
    ),
    Kind(
        "max_memory_mib", "peak memory", "MiB", 1.0 / 1048576, False, "peak memory of the process, MiB",
        lambda m, _, __: figures.memory(m),
    ),
    Kind(
        "max_temperature_c", "temperature", "C", 1.0, False, "hottest sensor before and after the run, Celsius",
        lambda m, _, __: figures.temperature(m),
    ),
    Kind(
        "max_load_s", "load time", "s", 1.0, False, "time to load the model, seconds",
        lambda m, _, __: figures.once(records.number(m, "load_s"), records.why_missing(m, "load")),
    ),
    Kind(
        "max_first_inference_ms", "first inference", "ms", 1e3, False, "time of the first inference, milliseconds",
        lambda m, _, __: figures.once(records.number(m, "first_inference_s"), records.why_missing(m, "inference")),
    ),
    Kind(
        "min_throughput", "throughput", "1/s", 1.0, True, "inferences per second, one after another",
        lambda m, _, __: figures.throughput(m),
    ),
    Kind(
        "min_accuracy", "accuracy", "", 1.0, True, "accuracy that the bundle states, 0 to 1",
        lambda m, _, __: figures.accuracy(m),
    ),
)  # fmt: skip
_SHARES = ("max_miss_ratio", "min_accuracy")


def limit_problem(key: str, value: Any) -> str:
    """What is wrong with a limit; empty when nothing is."""
    if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > 1e15:
        return "%s: %r is not a number" % (key, value)
    if key in _SHARES:
        return "" if 0 <= value <= 1 else "%s: %g is not between 0 and 1" % (key, value)
    return "" if value > 0 else "%s: %g is not above 0" % (key, value)


def read_requirements(path: str) -> Dict[str, float]:
    """Limits from a JSON file, by key. Raises EdgeBenchError naming what is not known or makes no sense."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ValueError("larger than %d bytes" % _MAX_FILE_BYTES)
        limits = parse_json(data)
    except (OSError, ValueError) as error:
        raise EdgeBenchError("requirements %s: cannot be read: %s" % (path, error)) from error
    if not isinstance(limits, dict):
        raise EdgeBenchError("requirements %s: not a JSON object of limits by name" % path)
    known = [kind.key for kind in KINDS] + [DEADLINE]
    for key, value in sorted(limits.items()):
        if key not in known:
            raise EdgeBenchError("requirements %s: %r is not known; known: %s" % (path, key[:60], ", ".join(known)))
        problem = limit_problem(key, value)
        if problem:
            raise EdgeBenchError("requirements %s: %s" % (path, problem))
    return limits


def judge(record: Dict[str, Any], path: str, limits: Dict[str, float]) -> Dict[str, Any]:
    """Every requirement against one measurement, and the verdict over all of them."""
    doubts, failed = records.doubts(record), records.outputs_failed(record)
    if records.outputs_unchecked(record) and not failed:
        doubts.append("the outputs were not checked; run a bundle, which brings its reference")
    deadline_s = limits[DEADLINE] / 1e3 if DEADLINE in limits else None
    results = []
    for kind in KINDS:
        if kind.key in limits:
            limit = float(limits[kind.key])
            figure = kind.measure(record, limit / kind.scale, deadline_s)
            verdict, reason = _verdict(kind, figure, limit)
            if doubts:
                verdict, reason = (FAIL if failed else INCONCLUSIVE), "; ".join(doubts)
            results.append(_result(kind, figure, limit, verdict, reason))
    bundle = record["bundle"]
    return {
        "measurement": path,
        "bundle": {key: bundle[key] for key in ("id", "name", "role")},
        "board_state": records.state_line(record),
        "started_at": record["started_at"],
        "verdict": overall([result["verdict"] for result in results]),
        "requirements": results,
    }


def overall(verdicts: List[str]) -> str:
    """FAIL if there is one; PASS if there is nothing else."""
    if FAIL in verdicts:
        return FAIL
    return PASS if verdicts and set(verdicts) == {PASS} else INCONCLUSIVE


def _verdict(kind: Kind, figure: figures.Figure, limit: float) -> Tuple[str, str]:
    """PASS or FAIL only where the whole interval lies on one side of the limit, which is itself allowed."""
    if figure.missing:
        return INCONCLUSIVE, "not measured: %s" % figure.missing
    low, high = (None if bound is None else bound * kind.scale for bound in (figure.low, figure.high))
    if kind.is_minimum:
        passes, fails = low is not None and low >= limit, high is not None and high < limit
    else:
        passes, fails = high is not None and high <= limit, low is not None and low > limit
    if passes and figure.is_assumed:
        return INCONCLUSIVE, "undecided (%s): %s" % (figure.basis, figure.advice)
    if passes:
        return PASS, figure.basis
    if fails:
        return FAIL, figure.basis
    return INCONCLUSIVE, "undecided (%s): %s" % (figure.basis, figure.advice)


def _result(kind: Kind, figure: figures.Figure, limit: float, verdict: str, reason: str) -> Dict[str, Any]:
    value, low, high = (None if x is None else x * kind.scale for x in (figure.value, figure.low, figure.high))
    return {
        "requirement": kind.key,
        "label": kind.label,
        "unit": kind.unit,
        "is_minimum": kind.is_minimum,
        "limit": limit,
        "value": value,
        "low": low,
        "high": high,
        "verdict": verdict,
        "reason": reason,
        "num_samples_needed": figure.num_samples_needed if verdict == INCONCLUSIVE else None,
    }

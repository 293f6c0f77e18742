"""Measurements as validate and compare read them: whole files, any of which may be old, partial or made up."""

import array
from typing import Any, Dict, List, Optional

from edge_bench import render, schema
from edge_bench.errors import MeasurementError

# Outside of these nothing is a latency, and sums and quotients would leave what a float can hold.
_SHORTEST_S, _LONGEST_S = 1e-12, 1e9
_LARGEST = 1e15


def read_record(path: str) -> Dict[str, Any]:
    """Read and check a measurement. Raises MeasurementError."""
    return prepare(schema.read_measurement(path), path)


def prepare(record: Dict[str, Any], path: str) -> Dict[str, Any]:
    """A measurement that the schema let in, with its samples as an array: they may be millions."""
    if "latency" in record:
        samples = array.array("d", record["latency"]["samples_s"])
        if min(samples) < _SHORTEST_S or max(samples) > _LONGEST_S:
            raise MeasurementError(
                "measurement %s: latency.samples_s reaches from %.3g to %.3g s: no clock measures that"
                % (path, min(samples), max(samples))
            )
        record["latency"]["samples_s"] = samples
    return record


def part(record: Dict[str, Any], key: str) -> Dict[str, Any]:
    """A part of a record; empty when it is not there or is not one."""
    value = record.get(key)
    return value if isinstance(value, dict) else {}


def number(mapping: Dict[str, Any], key: str) -> Optional[float]:
    """A number of a part; None when it is not there or makes no sense."""
    value = mapping.get(key)
    # A bool is no number.
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= _LARGEST:
        return None
    return float(value)


def samples_of(record: Dict[str, Any]) -> "array.array[float]":
    """The latency samples in seconds, in the order of time; empty when the run has none."""
    return part(record, "latency").get("samples_s", array.array("d"))


def why_missing(record: Dict[str, Any], word: str) -> str:
    """What the record says about a figure that it does not have."""
    for entry in record["unavailable"]:
        if word in entry["what"].lower():
            return "%s; %s" % (entry["reason"], entry["fix"])
    return "the measurement does not hold it"


def outputs_failed(record: Dict[str, Any]) -> bool:
    """Whether the outputs were compared with the reference and did not match."""
    return part(record, "check").get("passed") is False


def outputs_unchecked(record: Dict[str, Any]) -> bool:
    """Whether nobody knows if the outputs are right: a bare model or a command brings no reference."""
    return not part(record, "check").get("num_cases")


def doubts(record: Dict[str, Any]) -> List[str]:
    """Why the figures of a run must not be used: invalid, partial, failed, or wrong outputs."""
    reasons = [] if record["status"] == "complete" else ["the run is %s" % record["status"]]
    reasons.extend("invalid: %s" % reason for reason in record["invalid"])
    if outputs_failed(record):
        reasons.append("the outputs do not match the bundle's reference")
    return reasons


def state_line(record: Dict[str, Any]) -> str:
    """The board and its state at the start, in a line: no number is shown without it."""
    board = part(record, "board")
    name = board.get("model") or board.get("cpu") or "unknown board"
    return "%s, %s" % (name, render.state_line(record["state_before"]))


def hottest_c(state: Any) -> Optional[float]:
    """The highest temperature of a state; None where none was readable."""
    temperatures = state.get("temperatures_c") if isinstance(state, dict) else None
    return max(map(float, temperatures.values())) if temperatures else None

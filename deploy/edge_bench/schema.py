"""The measurement file: what its keys mean, and the one check that both sides use.

Units end the key names and are SI. Raw samples are kept. What could not be read stands in `unavailable` with the
reason and the fix, and is null or absent elsewhere: it is never a zero.

schema, version      identify the format
status               "complete", "partial" (it did not come to its end), or "failed" (wrong outputs, or it did not run)
invalid              reasons why the numbers must not be compared; empty for a valid run
started_at           UTC, ISO 8601
bundle               id, name, role, model, num_labels, stats and accuracy, copied from the bundle's manifest;
                     model_sha256: of its ONNX file, as the manifest states it
agent, backend       versions; the providers that the session reports, not the ones asked for; batch: the examples of
                     an inference
run_id               of this run; the journal of a killed one names it too (measure/journal.py)
source               kind ("bundle", "onnx", "engine", "command") and the words of a command
settings             what the user asked for
check                outputs against the bundle's reference: max_abs_error, atol, rtol, passed, num_cases
load_s               runtime imported (TensorRT: asked in a child process) and network loaded
first_inference_s
latency              samples_s, duration_s, other_load, overhead_share (of the phase: not spent in inference), summary
                     (num_samples, median_s, mean_s, min_s, max_s, mad_s, p90_s, p99_s, p99_9_s), trend (last quarter
                     against the first, with interval);
                     device_samples_s, device_summary: on the GPU's own clock; response_samples_s, num_skipped: from
                     release to end, with a period; num_missed, miss_ratio: against deadline_s
memory               named figures in bytes (board/memory.py, and those of the backend), null for what is not known:
                     process_peak_rss_bytes, process_rss_before_load_bytes, process_pss_bytes,
                     system_available_dip_bytes, system_available_noise_bytes, cuda_used_bytes, engine_scratch_bytes,
                     engine_file_bytes; there is no such thing as one "GPU memory" where it is shared
watch                what was seen beside the energy phase, or beside a few seconds of the same load: clocks,
                     temperatures, memory (board/watch_findings.py)
energy               rails, scope, idle_power_w, gross_energy_j, net_energy_j (per inference; of a batch each counts),
                     gross_interval_j, net_interval_j ([low, high], about 95 %), num_inferences, ...: power/energy.py;
                     latency_ratio_while_sampling, other_load and idle_other_load: as in the latency phase
layers               with --layers, profiled after all else (measure/layers.py): source, note, num_inferences, sum_s (of
                     the medians of all layers), compared_s and compared_with (the median that they are compared with),
                     unattributed_share (of it: 1 - sum_s / compared_s; below 0 where profiling made the layers slower
                     than the whole is without), latency_ratio_while_profiling (null where it is not known),
                     resolution_s (the step of the profiler's clock, or null), num_left_out (the fastest layers beyond
                     MAX_LAYERS, which are in sum_s), entries in the order of running: name (the runtime's), kind (its
                     operator, or null), provider (or null), nodes (of the ONNX file that it computes, as far as names
                     tell), time_s (median per inference; null: shorter than resolution_s), share (of sum_s)
state_before/after   the board's state: power mode, clocks, governors, temperatures, throttling
warnings             code, message, fix
unavailable          what, reason, fix
"""

import array
import os
import sys
from typing import Any, Callable, Dict, List

from edge_bench.atomic import parse_json
from edge_bench.errors import MeasurementError
from edge_bench.summary import summarise

SCHEMA = "edge-dendrite.measurement"
VERSION = 1
STATUSES = ("complete", "partial", "failed")
MAX_BYTES = 256 << 20
# So many samples fit into a file of MAX_BYTES.
MAX_SAMPLES = 5000000
# Of a network that has more the slowest are kept.
MAX_LAYERS = 2000
# Beside a measurement whose run was killed: its samples (measure/journal.py).
JOURNAL_SUFFIX = ".samples"
_RUN_ID_BYTES = 32

_REQUIRED_KEYS = {
    "status": str,
    "invalid": list,
    "started_at": str,
    "bundle": dict,
    "agent": dict,
    "settings": dict,
    "state_before": dict,
    "warnings": list,
    "unavailable": list,
}


def read_measurement(path: str) -> Dict[str, Any]:
    """Read and check a measurement file. Raises MeasurementError saying what is wrong with it."""
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise MeasurementError("measurement %s: larger than %d bytes" % (path, MAX_BYTES))
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES)
    except OSError as error:
        raise MeasurementError("measurement %s: cannot be read: %s" % (path, error)) from error
    measurement = parse_measurement(data, path)
    if measurement["status"] == "partial" and "latency" not in measurement:
        samples = _read_journal(path, measurement.get("run_id"))
        if samples:
            measurement["latency"] = {"samples_s": samples, "summary": summarise(samples)}
    return measurement


def _read_journal(path: str, run_id: Any) -> List[float]:
    """The samples that a killed run left beside its measurement; none where there is no journal, or another run's."""
    try:
        with open(os.path.realpath(path) + JOURNAL_SUFFIX, "rb") as stream:
            owner = stream.read(_RUN_ID_BYTES)
            data = stream.read(8 * MAX_SAMPLES)
    except OSError:
        return []
    if not isinstance(run_id, str) or owner != run_id.encode("utf-8", "replace"):
        return []
    samples = array.array("d")
    samples.frombytes(data[: len(data) // 8 * 8])  # the last one may have been cut off
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tolist() if all(map(_is_duration, samples)) else []


def parse_measurement(data: bytes, origin: str) -> Dict[str, Any]:
    """Parse and check the bytes of a measurement that came from `origin`. Raises MeasurementError."""
    try:
        measurement = parse_json(data)
    except ValueError as error:
        raise MeasurementError("measurement %s: not JSON: %s" % (origin, error)) from error
    problem = measurement_problem(measurement)
    if problem:
        raise MeasurementError("measurement %s: %s" % (origin, problem))
    return measurement


def measurement_problem(measurement: Any) -> str:
    """What keeps a parsed JSON value from being a measurement; empty when nothing does."""
    if not isinstance(measurement, dict) or measurement.get("schema") != SCHEMA:
        return "schema is not %r: this file was not written by edge-bench run" % SCHEMA
    if type(measurement.get("version")) is not int or measurement["version"] != VERSION:
        return "version %r; this program reads version %d" % (measurement.get("version"), VERSION)
    for key, kind in sorted(_REQUIRED_KEYS.items()):
        if not isinstance(measurement.get(key), kind):
            return "%r is missing or not a %s" % (key, kind.__name__)
    if measurement["status"] not in STATUSES:
        return "status %r is not one of %s" % (measurement["status"], ", ".join(STATUSES))
    for key in ("id", "name", "role"):
        if not isinstance(measurement["bundle"].get(key), str):
            return "bundle.%s is missing or not a str" % key
    for key in ("model", "stats"):
        if not isinstance(measurement["bundle"].get(key), dict):
            return "bundle.%s is missing or not a dict" % key
    if not all(isinstance(reason, str) for reason in measurement["invalid"]):
        return "a reason in 'invalid' is not a text"
    for key, parts in (("warnings", ("code", "message", "fix")), ("unavailable", ("what", "reason", "fix"))):
        for entry in measurement[key]:
            if not isinstance(entry, dict) or not all(isinstance(entry.get(part), str) for part in parts):
                return "an entry of %r does not have the texts %s" % (key, ", ".join(parts))
    if measurement["status"] == "complete" and "latency" not in measurement:
        return "a complete run without 'latency'"
    for part, fields in sorted(_PARTS.items()):
        if part in measurement:
            problem = _part_problem(part, measurement[part], fields)
            if problem:
                return problem
    return _latency_problem(measurement["latency"]) if "latency" in measurement else ""


def _part_problem(part: str, value: Any, fields: Dict[str, Callable[[Any], bool]]) -> str:
    if not isinstance(value, dict):
        return "%r is not a dict" % part
    for key, is_right in sorted(fields.items()):
        if not is_right(value.get(key)):
            return "%s.%s is missing or not what it should be" % (part, key)
    return ""


def _latency_problem(latency: Dict[str, Any]) -> str:
    samples = latency.get("samples_s")
    if not isinstance(samples, list) or not 0 < len(samples) <= MAX_SAMPLES:
        return "latency.samples_s is missing, empty or too long"
    if not all(_is_duration(sample) for sample in samples):
        return "latency.samples_s holds something that is not a positive number of seconds"
    return _part_problem("latency.summary", latency.get("summary"), _SUMMARY)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_number(value: Any) -> bool:
    # A JSON integer may be too large for a float.
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_duration(value: Any) -> bool:
    return _is_number(value) and value > 0


def _or_none(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_right(value)


def _list_of(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(is_right, value))


def _dict_of(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


def _is_layers(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_LAYERS and all(map(_is_layer, value))


def _is_layer(value: Any) -> bool:
    return isinstance(value, dict) and not _part_problem("", value, _LAYER)


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


_STATE = {
    "power_mode": _or_none(_is_text),
    "governors": _or_none(_dict_of(_is_text)),
    "temperatures_c": _or_none(_dict_of(_is_number)),
    "load_average": _or_none(_is_number),
}
_SUMMARY = dict(
    dict.fromkeys(("median_s", "mean_s", "min_s", "max_s", "mad_s"), _is_number),
    num_samples=_is_count,
    p90_s=_or_none(_is_number),
    p99_s=_or_none(_is_number),
    p99_9_s=_or_none(_is_number),
)
_LAYER = {
    "name": _is_text,
    "kind": _or_none(_is_text),
    "provider": _or_none(_is_text),
    "nodes": _list_of(_is_text),
    "time_s": _or_none(_is_duration),
    "share": _or_none(_is_number),
}
# What the parts hold that their readers rely on; a part may be absent.
_PARTS = {
    "board": {"model": _or_none(_is_text), "cpu": _or_none(_is_text)},
    "source": {"kind": _or_none(_is_text), "words": _or_none(_list_of(_is_text))},
    "backend": {
        "name": _is_text,
        "version": _is_text,
        "providers": _list_of(_is_text),
        "num_threads": _or_none(_is_count),
        "notes": _or_none(_list_of(_is_text)),
        "batch": _or_none(_is_count),
        "timed_by": _or_none(_is_text),
        "engine_sha256": _or_none(_is_text),
    },
    "check": {
        "passed": lambda value: isinstance(value, bool),
        "max_abs_error": _or_none(_is_number),
        "atol": _is_number,
        "rtol": _is_number,
        "num_cases": _is_count,
    },
    "latency": {
        "other_load": _or_none(_is_number),
        "overhead_share": _or_none(_is_number),
        "miss_ratio": _or_none(_is_number),
        "num_missed": _or_none(_is_count),
        "trend": _or_none(_dict_of(_is_number)),
        "num_skipped": _or_none(lambda value: _is_count(value) and value <= MAX_SAMPLES),
        "deadline_s": _or_none(_is_duration),
        "response_samples_s": _or_none(_list_of(_is_duration)),
        "device_samples_s": _or_none(_list_of(_is_duration)),
        "device_summary": _or_none(lambda value: not _part_problem("", value, _SUMMARY)),
    },
    "memory": dict.fromkeys(
        (
            "process_peak_rss_bytes",
            "process_rss_before_load_bytes",
            "process_pss_bytes",
            "system_available_dip_bytes",
            "system_available_noise_bytes",
            "cuda_used_bytes",
            "engine_scratch_bytes",
            "engine_file_bytes",
        ),
        _or_none(_is_number),
    ),
    "watch": {"max_temperatures_c": _or_none(_dict_of(_is_number))},
    "energy": {
        "source": _is_text,
        "rails": _list_of(_is_text),
        "scope": _is_text,
        "idle_power_w": _is_number,
        "load_power_w": _is_number,
        "gross_energy_j": _is_number,
        "net_energy_j": _is_number,
        "gross_interval_j": _or_none(_is_interval),
        "net_interval_j": _or_none(_is_interval),
        "interval_lacks": _or_none(_list_of(_is_text)),
        "latency_ratio_while_sampling": _or_none(_is_number),
        "other_load": _or_none(_is_number),
        "idle_other_load": _or_none(_is_number),
    },
    "layers": {
        "source": _is_text,
        "note": _is_text,
        "num_inferences": _is_count,
        "sum_s": _is_number,
        "compared_s": _is_duration,
        "compared_with": _is_text,
        "unattributed_share": _is_number,
        "latency_ratio_while_profiling": _or_none(_is_number),
        "resolution_s": _or_none(_is_duration),
        "num_left_out": _is_count,
        "entries": _is_layers,
    },
    "state_before": _STATE,
    "state_after": _STATE,
}  # type: Dict[str, Dict[str, Callable[[Any], bool]]]


def bundle_summary(bundle_id: str, manifest: Dict[str, Any]) -> Dict[str, Any]:
    """What a measurement keeps of the bundle that it measured: all that a report needs, not the files."""
    kept = ("name", "role", "model", "stats", "accuracy", "target", "tools")
    summary = {key: manifest[key] for key in kept if key in manifest}  # type: Dict[str, Any]
    summary["id"] = bundle_id
    file = manifest.get("files", {}).get(manifest.get("model", {}).get("path"), {})
    if "sha256" in file:
        summary["model_sha256"] = file["sha256"]
    summary["num_labels"] = len(manifest["labels"])
    return summary


def unavailable(what: str, reason: str, fix: str) -> Dict[str, str]:
    """An entry for a figure that could not be read."""
    return {"what": what, "reason": reason, "fix": fix}


def warning(code: str, message: str, fix: str) -> Dict[str, str]:
    """An entry for something that makes the numbers less certain."""
    return {"code": code, "message": message, "fix": fix}

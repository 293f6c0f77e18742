"""What NVIDIA's trtexec writes: the times of each query (--exportTimes), of each layer (--exportProfile), and its text.

From the times everything is computed anew: a percentile of trtexec with 50 queries is their maximum. Read from its
source (NVIDIA/TensorRT, samples/common/sampleReporting.cpp):

* latency is h2d + compute + d2h. endToEndMs, which holds the wait for the query before too, is gone since 8.4;
* releases that write endToEndMs write the warm-up queries too, newer ones drop them. Both stamp from the begin of the
  warm-up and take a query for warm-up whose compute starts before the warm-up time is over (--warmUp, 200 ms by
  default). So the stamps decide here, whatever the release: where warm-up was dropped before, nothing is cut.

Of a run of which only the text is left there are no samples: its figures are handed on as trtexec's own.
"""

import re
from typing import Any, Dict, Iterable, List, Optional

from edge_bench import atomic
from edge_bench.errors import EdgeBenchError
from edge_bench.summary import summarise

DEFAULT_WARMUP_S = 0.2
# Of one file; a query takes about 300 bytes.
MAX_JSON_BYTES = 64 << 20
_PARTS = ("h2dMs", "computeMs", "d2hMs")
_STAMPS = ("startComputeMs", "startH2dMs", "endD2hMs")
# What is printed has six digits.
_AGREEMENT_MS, _AGREEMENT = 2e-3, 1e-3
# A year.
_MAX_MS = 3.2e10

# As in '&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec --help'.
_BANNER = re.compile(r"&&&& (RUNNING|PASSED|FAILED) TensorRT\.trtexec ")
_VERSION = re.compile(r"\[TensorRT v([0-9]{4,6})\]")
_METRICS = {
    "Latency": "latency",
    "Host Latency": "latency",
    "End-to-End Host Latency": "end_to_end",
    "Enqueue Time": "enqueue",
    "H2D Latency": "h2d",
    "GPU Compute Time": "compute",
    "D2H Latency": "d2h",
}
_NUMBER = r"([0-9]{1,12}(?:\.[0-9]{1,12})?(?:e[+-]?[0-9]{1,2})?)"
_METRIC = re.compile(r"(?:^|\] )([A-Z][A-Za-z0-9 -]{1,40}): min = ")
_FIGURE = re.compile(r"(min|max|mean|median|percentile\(([0-9.]{1,6})%\)) = " + _NUMBER + " ms")
_SINGLE = {
    "throughput_per_s": re.compile(r"(?:^|\] )Throughput: " + _NUMBER + " qps"),
    "duration_s": re.compile(r"(?:^|\] )Total Host Walltime: " + _NUMBER + " s"),
    "num_queries": re.compile(r"(?:^|\] )Timing trace has ([0-9]{1,12}) queries"),
    "num_warmup_cut": re.compile(r"(?:^|\] )Warmup completed ([0-9]{1,12}) queries"),
}


def read_json(data: bytes, origin: str, warmup_s: float = DEFAULT_WARMUP_S) -> Dict[str, Any]:
    """A file of --exportTimes or --exportProfile: see `times` and `profile`; `kind` says which it was.

    Raises EdgeBenchError saying what is wrong with it.
    """
    try:
        entries = atomic.parse_json(data)
    except ValueError as error:
        raise EdgeBenchError("%s: not the JSON of trtexec, or cut short: %s" % (origin, error)) from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise EdgeBenchError("%s: not a list of objects, as --exportTimes and --exportProfile write it" % origin)
    return profile(entries, origin) if "count" in entries[0] else times(entries, origin, warmup_s)


def times(entries: List[Dict[str, Any]], origin: str, warmup_s: float = DEFAULT_WARMUP_S) -> Dict[str, Any]:
    """Of --exportTimes: kind "times", has_end_to_end (written before 8.4), warmup_s, num_warmup_cut, duration_s,
    throughput_per_s (queries by the time from the first transfer to the last), latency and compute, each with samples_s
    and summary as in a measurement, num_disagreements (queries whose latencyMs is not the sum of its parts), and
    queries: start_s, h2d_s, compute_s, d2h_s, latency_s and is_warmup of each.
    """
    queries = [_query(entry, number, origin, warmup_s) for number, entry in enumerate(entries, 1)]
    kept = [(entry, query) for entry, query in zip(entries, queries) if not query["is_warmup"]]
    if not kept:
        raise EdgeBenchError(
            "%s: all %d queries started within the warm-up of %g s; give the one of the run with --warmup S"
            % (origin, len(queries), warmup_s)
        )
    duration_s = 1e-3 * (max(entry["endD2hMs"] for entry, _ in kept) - min(entry["startH2dMs"] for entry, _ in kept))
    return {
        "kind": "times",
        "has_end_to_end": "endToEndMs" in entries[0],
        "warmup_s": warmup_s,
        "num_warmup_cut": len(queries) - len(kept),
        "duration_s": duration_s,
        "throughput_per_s": len(kept) / duration_s if duration_s > 0 else None,
        "latency": _samples([query["latency_s"] for _, query in kept]),
        "compute": _samples([query["compute_s"] for _, query in kept]),
        "num_disagreements": sum(not _agrees(entry) for entry, _ in kept),
        "queries": queries,
    }


def _query(entry: Dict[str, Any], number: int, origin: str, warmup_s: float) -> Dict[str, Any]:
    for key in _PARTS + _STAMPS:
        if not _is_number(entry.get(key)) or entry[key] < 0 and key in _PARTS:
            raise EdgeBenchError("%s: query %d: %s is %r, not a time" % (origin, number, key, entry.get(key)))
    h2d_s, compute_s, d2h_s = (1e-3 * entry[key] for key in _PARTS)
    if compute_s <= 0:
        raise EdgeBenchError("%s: query %d: computeMs is %r" % (origin, number, entry["computeMs"]))
    return {
        "start_s": 1e-3 * entry["startComputeMs"],
        "h2d_s": h2d_s,
        "compute_s": compute_s,
        "d2h_s": d2h_s,
        "latency_s": h2d_s + compute_s + d2h_s,
        "is_warmup": entry["startComputeMs"] < 1e3 * warmup_s,
    }


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= _MAX_MS


def _samples(samples_s: List[float]) -> Dict[str, Any]:
    return {"samples_s": samples_s, "summary": summarise(samples_s)}


def _agrees(entry: Dict[str, Any]) -> bool:
    total, printed = sum(entry[key] for key in _PARTS), entry.get("latencyMs")
    return not _is_number(printed) or abs(total - printed) <= _AGREEMENT_MS + _AGREEMENT * abs(total)


def profile(entries: List[Dict[str, Any]], origin: str) -> Dict[str, Any]:
    """Of --exportProfile: kind "profile", num_runs, and layers: name, total_s, mean_s, median_s (or null), share."""
    num_runs = entries[0]["count"]
    layers = []  # type: List[Dict[str, Any]]
    for number, entry in enumerate(entries[1:], 1):
        name, total, mean = (entry.get(key) for key in ("name", "timeMs", "averageMs"))  # type: Any, Any, Any
        if not isinstance(name, str) or not _is_number(total) or not _is_number(mean):
            raise EdgeBenchError("%s: layer %d has no name, timeMs and averageMs" % (origin, number))
        median = entry.get("medianMs")  # type: Any
        layers.append(
            {
                "name": name,
                "total_s": 1e-3 * total,
                "mean_s": 1e-3 * mean,
                "median_s": 1e-3 * median if _is_number(median) else None,
            }
        )
    if type(num_runs) is not int or num_runs < 0 or not layers:
        raise EdgeBenchError("%s: no layers, or a count of %r" % (origin, num_runs))
    all_s = sum(layer["total_s"] for layer in layers)
    for layer in layers:
        layer["share"] = layer["total_s"] / all_s if all_s > 0 else None
    return {"kind": "profile", "num_runs": num_runs, "layers": layers}


def version_of(text: str) -> Optional[str]:
    """The release in trtexec's first line: v8201 is 8.2.1; from 10 on each part has two digits, v100300 is 10.3.0."""
    found = _VERSION.search(text)
    if found is None:
        return None
    number = int(found.group(1))
    major = 10000 if number >= 10000 else 1000
    return "%d.%d.%d" % (number // major, number % major // 100, number % 100)


def read_text(lines: Iterable[str], origin: str) -> Dict[str, Any]:
    """Of the text of a run: kind "text", version, has_passed (null where it does not say), throughput_per_s,
    duration_s, num_queries, num_warmup_cut, and reported: by metric (latency, compute, h2d, d2h, enqueue, end_to_end)
    trtexec's own min_s, max_s, mean_s, median_s and percentiles_s by percent.

    Raises EdgeBenchError where there is no performance summary.
    """
    result = dict.fromkeys(_SINGLE)  # type: Dict[str, Any]
    result.update({"kind": "text", "version": None, "has_passed": None})
    reported = {}  # type: Dict[str, Dict[str, Any]]
    error = ""
    for line in lines:
        line = line[:4000]
        banner = _BANNER.search(line)
        if banner:
            result["version"] = version_of(line)
            result["has_passed"] = {"PASSED": True, "FAILED": False}.get(banner.group(1))
        metric = _METRIC.search(line)
        if metric and metric.group(1) in _METRICS:
            reported[_METRICS[metric.group(1)]] = _reported(line)
        for key, pattern in _SINGLE.items():
            found = pattern.search(line)
            if found:
                result[key] = (int if key.startswith("num_") else float)(found.group(1))
        if "[E]" in line and not error:
            error = line.partition("[E]")[2].strip()[:300]
    if not reported:
        why = "; its first error: %s" % error if error else ""
        raise EdgeBenchError("%s: no performance summary of trtexec in it%s" % (origin, why))
    result["reported"] = reported
    return result


def _reported(line: str) -> Dict[str, Any]:
    figures = {"percentiles_s": {}}  # type: Dict[str, Any]
    for name, percent, number in _FIGURE.findall(line):
        if percent:
            figures["percentiles_s"][percent] = 1e-3 * float(number)
        else:
            figures[name + "_s"] = 1e-3 * float(number)
    return figures

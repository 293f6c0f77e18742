"""The last phase, if it was asked for: how long each layer takes, told by the runtime's own profiler.

It comes when the measurement is complete and saved, so it changes nothing of it: an inference that is profiled is up to
three times slower. Each figure says what it is of: the layers' times never add up to the latency that was measured.
"""

from typing import Any, Dict, List, Optional

from edge_bench import schema
from edge_bench.backends.profile import Layer, Profile
from edge_bench.summary import median

MAX_NODES = 8
_MAX_TEXT = 300


def layers_record(profile: Profile, latency: Dict[str, Any]) -> Dict[str, Any]:
    """`layers` of a measurement (schema.py) from a profile and the measurement's `latency`."""
    times_s = [median(layer.times_s) for layer in profile.layers]
    sum_s = sum(times_s)
    # Times on a device are told beside those that were measured on it.
    device = latency.get("device_summary")
    whole_s = (device or latency["summary"])["median_s"]
    slowest = sorted(range(len(times_s)), key=lambda place: -times_s[place])[: schema.MAX_LAYERS]
    return {
        "source": profile.source,
        "note": profile.note,
        "num_inferences": profile.num_inferences,
        "resolution_s": profile.resolution_s,
        "sum_s": sum_s,
        "compared_with": "median on the device" if device else "median latency",
        "compared_s": whole_s,
        "unattributed_share": 1.0 - sum_s / whole_s,
        "latency_ratio_while_profiling": _ratio(profile.latencies_s, latency["summary"]["median_s"]),
        "num_left_out": len(times_s) - len(slowest),
        "entries": [
            _entry(profile.layers[place], times_s[place], sum_s, profile.resolution_s) for place in sorted(slowest)
        ],
    }


def _entry(layer: Layer, time_s: float, sum_s: float, resolution_s: Optional[float]) -> Dict[str, Any]:
    is_known = time_s > 0 and time_s >= (resolution_s or 0.0)
    return {
        "name": _clean(layer.name),
        "kind": None if layer.kind is None else _clean(layer.kind),
        "provider": None if layer.provider is None else _clean(layer.provider),
        "nodes": [_clean(name) for name in layer.nodes[:MAX_NODES]],
        "time_s": time_s if is_known else None,
        "share": time_s / sum_s if is_known else None,
    }


def _ratio(latencies_s: List[float], median_s: float) -> Optional[float]:
    return median(latencies_s) / median_s if latencies_s else None


def _clean(text: str) -> str:
    """Names come from the model: printable, and of a length that a page can show."""
    shown = "".join(char if char.isprintable() else " " for char in text[:_MAX_TEXT])
    return shown.strip() or "unnamed"

"""Measurements and diagnoses as plain ASCII text: a board's terminal may have no other locale than C."""

from typing import Any, Dict, List, Optional


def format_seconds(seconds: Optional[float]) -> str:
    """A time with a unit that suits it; 'n too small' where there were too few samples."""
    if seconds is None:
        return "n too small"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1.0:
            return "%.4g %s" % (seconds * factor, unit)
    return "%.4g ns" % (seconds * 1e9)


def _mebibytes(num_bytes: Optional[float]) -> str:
    return "not readable" if num_bytes is None else "%.1f MiB" % (num_bytes / 1048576.0)


def render_measurement(record: Dict[str, Any]) -> str:
    """The measurement for a person: verdict first, then figures with their board state, then what is missing."""
    bundle, board = record["bundle"], record.get("board", {})
    verdict = record["status"]
    if verdict == "complete":
        verdict = "valid" if not record["invalid"] else "INVALID"
    rows = [
        ("model", "%s (%s)" % (bundle["name"], bundle["role"])),
        _identity(record),
        ("board", "%s, %s" % (board.get("model") or "unknown model", board.get("cpu") or "unknown CPU")),
        ("state", state_line(record["state_before"])),
        *([("emulated", "by %s: not a board's speed" % board["emulated"])] if board.get("emulated") else []),
        ("run", "%s, started %s" % (verdict, record["started_at"])),
    ]
    backend = record.get("backend")
    if backend:
        name = " ".join(filter(None, (backend["name"], backend["version"])))
        ran = ", ".join([name] + backend["providers"])
        threads = ", %d thread(s)" % backend["num_threads"] if backend.get("num_threads") is not None else ""
        rows.append(("runtime", ran + threads))
        rows.extend(("", note) for note in backend.get("notes") or [])
    if "check" in record:
        rows.append(("outputs", _check_line(record["check"])))
    if "latency" in record:
        rows.extend(_latency_rows(record["latency"]))
    rows.extend(_memory_rows(record.get("memory", {})))
    if "energy" in record:
        rows.extend(_energy_rows(record["energy"], (backend or {}).get("batch") or 1))
    if "layers" in record:
        rows.extend(_layer_rows(record["layers"]))
    lines = ["%-12s %s" % row for row in rows]
    lines.extend("INVALID      %s" % reason for reason in record["invalid"])
    lines.extend("warning      %s; %s" % (entry["message"], entry["fix"]) for entry in record["warnings"])
    lines.extend(_missing_lines(record["unavailable"]))
    return "\n".join(to_ascii(line) for line in lines)


def _identity(record: Dict[str, Any]) -> Any:
    """What was measured: a bundle by its id, a file by its hash, a command by its words."""
    source = record.get("source") or {}
    words = source.get("words")
    if source.get("kind") == "command" and isinstance(words, list):
        return ("command", " ".join(str(word) for word in words))
    return ("bundle" if source.get("kind") in (None, "bundle") else "sha256", record["bundle"]["id"])


def state_line(state: Dict[str, Any]) -> str:
    """Power mode, governors, the hottest sensor and the load: no number is shown without them."""
    parts = ["power mode %s" % state["power_mode"]] if state.get("power_mode") else []
    governors = sorted(set((state.get("governors") or {}).values()))
    parts.append("governor %s" % (", ".join(governors) or "not readable"))
    temperatures = state.get("temperatures_c") or {}
    if temperatures:
        parts.append("hottest %.1f C" % max(temperatures.values()))
    if state.get("load_average") is not None:
        parts.append("load %.2f" % state["load_average"])
    return ", ".join(parts)


def _check_line(check: Dict[str, Any]) -> str:
    error = "not finite" if check.get("max_abs_error") is None else "%.3g" % check["max_abs_error"]
    return "%s: largest error %s over %d reference case(s), allowed %g + %g relative" % (
        "match" if check["passed"] else "DO NOT MATCH",
        error,
        check["num_cases"],
        check["atol"],
        check["rtol"],
    )


def _latency_rows(latency: Dict[str, Any]) -> List[Any]:
    summary = latency["summary"]
    rows = [
        ("median", "%s  (MAD %s)" % (format_seconds(summary["median_s"]), format_seconds(summary["mad_s"]))),
        ("p90 / p99", "%s / %s" % (format_seconds(summary.get("p90_s")), format_seconds(summary.get("p99_s")))),
        ("min / max", "%s / %s" % (format_seconds(summary["min_s"]), format_seconds(summary["max_s"]))),
        ("samples", "%d" % summary["num_samples"]),
    ]
    device = latency.get("device_summary")
    if device:
        times = "%s  (MAD %s)" % (format_seconds(device["median_s"]), format_seconds(device["mad_s"]))
        rows.append(("on device", times))
    if latency.get("miss_ratio") is not None and latency.get("num_missed") is not None:
        rows.append(("deadline", "%d missed, %.3g %%" % (latency["num_missed"], 100 * latency["miss_ratio"])))
    if latency.get("num_skipped"):
        rows.append(("skipped", "%d releases, which came while an inference ran" % latency["num_skipped"]))
    if latency.get("other_load") is not None:
        rows.append(("other load", "%.0f %% of all processor time" % (100 * latency["other_load"])))
    return rows


def _energy_rows(energy: Dict[str, Any], batch: int) -> List[Any]:
    of_what = "inference" if batch == 1 else "example of the batch of %d" % batch
    rows = [
        ("energy", "%s gross, per %s" % (_energy_text(energy, "gross"), of_what)),
        ("", _energy_text(energy, "net") + " net of idle"),
        ("power", "%.3g W idle, %.3g W under load" % (energy["idle_power_w"], energy["load_power_w"])),
        ("scope", "%s (%s, %s)" % (energy["scope"], energy["source"], " + ".join(energy["rails"]))),
    ]
    ratio, other_load = energy.get("latency_ratio_while_sampling"), energy.get("other_load")
    if ratio is not None:
        rows.append(("sampling", "the latency was %.3g times that of the latency phase" % ratio))
    if other_load is not None:
        rows.append(("other load", "%.0f %% of all processor time in the energy phase" % (100 * other_load)))
    return rows


_MEMORY = (
    ("process_peak_rss_bytes", "at the peak of this process (VmHWM)"),
    ("system_available_dip_bytes", "less available on the whole board"),
    ("cuda_used_bytes", "less free for CUDA"),
    ("engine_scratch_bytes", "of activations in the engine"),
)


def _memory_rows(memory: Dict[str, Any]) -> List[Any]:
    texts = ["%s %s" % (_mebibytes(memory[key]), words) for key, words in _MEMORY if memory.get(key) is not None]
    noise = memory.get("system_available_noise_bytes")
    if noise is not None and memory.get("system_available_dip_bytes") is not None:
        texts[[key for key, _ in _MEMORY if memory.get(key) is not None].index("system_available_dip_bytes")] += (
            ", which moves by %s without us" % _mebibytes(noise)
        )
    return [("memory" if not number else "", text) for number, text in enumerate(texts)]


def _energy_text(energy: Dict[str, Any], kind: str) -> str:
    interval = energy.get(kind + "_interval_j")
    around = " (%.4g to %.4g)" % (1e3 * interval[0], 1e3 * interval[1]) if interval else _no_interval(energy)
    return "%.4g mJ%s" % (1e3 * energy[kind + "_energy_j"], around)


def _no_interval(energy: Dict[str, Any]) -> str:
    lacks = energy.get("interval_lacks")
    return " (no interval: %s not known)" % ", ".join(lacks) if lacks else " (no interval)"


_SHOWN_LAYERS = 10


def _layer_rows(layers: Dict[str, Any]) -> List[Any]:
    """The slowest, by the nodes of the ONNX file where they are known; what is left, and what is in no layer."""
    known = [entry for entry in layers["entries"] if entry.get("time_s") is not None]
    slowest = sorted(known, key=lambda entry: -entry["time_s"])[:_SHOWN_LAYERS]
    words = "%s of the layers in an inference, of %d profiled" % (
        format_seconds(layers["sum_s"]),
        layers["num_inferences"],
    )
    rows = [("layers", words), ("", _unattributed(layers))]
    if layers.get("latency_ratio_while_profiling") is not None:
        rows.append(("", "profiled inferences took %.3g times as long" % layers["latency_ratio_while_profiling"]))
    for entry in slowest:
        share = 100 * (entry.get("share") or 0.0)
        name = (" + ".join(entry["nodes"]) or entry["name"]) + (" (%s)" % entry["kind"] if entry.get("kind") else "")
        rows.append(("", "%8s %5.1f %%  %s" % (format_seconds(entry["time_s"]), share, name)))
    left = sum(entry["time_s"] for entry in known) - sum(entry["time_s"] for entry in slowest)
    if len(known) > len(slowest):
        rows.append(("", "%8s in %d other layers" % (format_seconds(left), len(known) - len(slowest))))
    num_short = len(layers["entries"]) - len(known)
    if num_short:
        step = layers.get("resolution_s")
        limit = "less than %s each, the step of the clock" % format_seconds(step) if step else "no time that was told"
        rows.append(("", "%d layer(s) took %s" % (num_short, limit)))
    return rows


def _unattributed(layers: Dict[str, Any]) -> str:
    share, whole = layers["unattributed_share"], layers["compared_with"]
    if share < 0:
        own_s = (layers["sum_s"] - layers["compared_s"]) / max(1, len(layers["entries"]) + layers["num_left_out"])
        words = "%.3g %% more than the %s: each layer looks longer than it is, by %s or more on average"
        return words % (-100 * share, whole, format_seconds(own_s))
    return "%.3g %% of the %s is in no layer" % (100 * share, whole)


def _missing_lines(entries: List[Dict[str, str]]) -> List[str]:
    return ["not measured %s: %s; %s" % (entry["what"], entry["reason"], entry["fix"]) for entry in entries]


def render_verified(result: Dict[str, Any]) -> str:
    """What was found out about a bundle: its id, and its signer where one was asked for."""
    signed = "signed by %s" % result["signer"] if result["signer"] else "whole; no signature was asked for"
    return to_ascii("%s  %s  %s" % (result["id"], result["path"], signed))


def to_ascii(text: str) -> str:
    """One line of printable ASCII: names from a bundle may not steer the terminal or add lines of their own."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)

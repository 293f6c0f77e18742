"""Logs as text for a person: a row for each line, and what the whole comes to."""

from typing import Any, Dict, List, Optional

from edge_bench.render import format_seconds, to_ascii

HEADER = "%-19s %15s %10s %12s %10s %17s  %s" % ("time", "RAM MB", "CPU", "GPU", "EMC", "hottest", "power W")


def row(sample: Dict[str, Any]) -> str:
    """A line of tegrastats in brief; `-` for what it does not say, and for a load that it does not know."""
    ram, engines, power = sample["ram"], sample["engines"], sample["power_w"]
    known = {name: value for name, value in sample["temperature_c"].items() if value is not None}
    hottest = max(known, key=lambda name: known[name]) if known else None
    cells = (
        (sample["timestamp"] or "-")[:19],
        "-" if ram is None else "%.0f/%.0f" % (ram["used_mb"], ram["total_mb"]),
        _cores(sample["cpu"]),
        _engine(engines.get("GR3D_FREQ", engines.get("GR3D"))),
        _engine(engines.get("EMC_FREQ", engines.get("EMC"))),
        "-" if hottest is None else "%.1f C %s" % (known[hottest], hottest),
        " ".join("%s %.3f" % (rail, values["current"]) for rail, values in power.items()) or "-",
    )
    return to_ascii("%-19s %15s %10s %12s %10s %17s  %s" % cells)


def _cores(cores: List[Optional[Dict[str, Any]]]) -> str:
    """The mean load, and how many cores are on line."""
    loads = [core["load_percent"] for core in cores if core is not None]
    return "%.0f%% %d/%d" % (sum(loads) / len(loads), len(loads), len(cores)) if loads else "-"


def _engine(engine: Optional[Dict[str, Any]]) -> str:
    if engine is None:
        return "-"
    if not engine["is_on"]:
        return "off"
    load = "-" if engine["load_percent"] is None else "%.0f%%" % engine["load_percent"]
    clocks = [clock for clock in engine["clocks_mhz"] if clock is not None]
    return load + ("@%d" % max(clocks) if clocks else "")


def statistics_lines(result: Dict[str, Any]) -> List[str]:
    """What LogStatistics found."""
    rows = [("samples", "%d, %s" % (result["num_samples"], _time_span(result)))]
    for rail, figures in sorted(result["power"].items()):
        energy = "energy unknown" if figures["energy_j"] is None else "%.6g J" % figures["energy_j"]
        span = "%.4g to %.4g" % (figures["min_power_w"], figures["max_power_w"])
        rows.append((rail, "mean %.4g W (%s), %s" % (figures["mean_power_w"], span, energy)))
    if not result["power"]:
        rows.append(("power", "no rails in this log: the board has no sensor, or tegrastats ran without root"))
    elif result["times_from"] is None:
        rows.append(
            (
                "energy",
                "unknown: no time stamps that move on; give the time from line to line with --interval S",
            )
        )
    loads = ["%s %.1f%%" % (name, load) for name, load in sorted(result["mean_load_percent"].items())]
    rows.append(("mean load", ", ".join(loads) or "not in this log"))
    peaks = ["%s %.1f C" % (zone, peak) for zone, peak in sorted(result["peak_temperature_c"].items())]
    rows.append(("hottest", ", ".join(peaks) or "not in this log"))
    if result["peak_ram_mb"] is not None:
        rows.append(("peak RAM", "%.0f MB of the whole board" % result["peak_ram_mb"]))
    rows.extend(("warning", text) for text in warnings(result))
    return [to_ascii("%-18s %s" % one) for one in rows]


def _time_span(result: Dict[str, Any]) -> str:
    if result["times_from"] is None:
        return "duration unknown"
    text = "%s by %s" % (format_seconds(result["duration_s"]), result["times_from"])
    if result["times_from"] == "time stamps":
        text += " (whole seconds: +-1 s), %s to %s" % (result["first_timestamp"], result["last_timestamp"])
    return text


def warnings(result: Dict[str, Any]) -> List[str]:
    """Where the log is broken."""
    found = []
    if result["num_gaps"]:
        found.append(
            "%d gap(s) in time, %.6g s in all: nothing is integrated over them" % (result["num_gaps"], result["gap_s"])
        )
    for count, lines, words in (
        (result["num_restarts"], result["restart_lines"], "tegrastats was started again at line"),
        (
            result["num_losses"],
            result["lost_before_lines"],
            "its running means do not go on: lines are missing before line",
        ),
    ):
        if count:
            numbers = ", ".join(str(number) for number in lines[:10]) + (", ..." if count > 10 else "")
            found.append("%s %s" % (words, numbers))
    return found


def trtexec_lines(result: Dict[str, Any]) -> List[str]:
    """What was read of trtexec, of any kind."""
    lines = {"times": _times_lines, "profile": _profile_lines, "text": _text_lines}[result["kind"]](result)
    return [to_ascii(line) for line in lines]


def _times_lines(result: Dict[str, Any]) -> List[str]:
    cut = "%d cut (compute before %g s)" % (result["num_warmup_cut"], result["warmup_s"])
    lines = ["%-18s %d after warm-up; %s" % ("queries", result["latency"]["summary"]["num_samples"], cut)]
    if result["throughput_per_s"] is not None:
        words = "%.6g per second over %s" % (result["throughput_per_s"], format_seconds(result["duration_s"]))
        lines.append("%-18s %s" % ("throughput", words))
    for part in ("latency", "compute"):
        summary = result[part]["summary"]
        lines.append(
            "%-18s median %s, p90 %s, p99 %s, min %s, max %s"
            % (
                (part,)
                + tuple(format_seconds(summary[key]) for key in ("median_s", "p90_s", "p99_s", "min_s", "max_s"))
            )
        )
    if result["num_disagreements"]:
        lines.append(
            "%-18s in %d queries latencyMs is not h2d + compute + d2h" % ("warning", result["num_disagreements"])
        )
    return lines


def _profile_lines(result: Dict[str, Any]) -> List[str]:
    lines = ["%10s %7s  layer, mean over %d runs" % ("mean", "share", result["num_runs"])]
    for layer in result["layers"]:
        share = "-" if layer["share"] is None else "%.1f%%" % (100 * layer["share"])
        lines.append("%10s %7s  %s" % (format_seconds(layer["mean_s"]), share, layer["name"]))
    return lines


def _text_lines(result: Dict[str, Any]) -> List[str]:
    passed = {True: "passed", False: "FAILED", None: "its end is missing"}[result["has_passed"]]
    lines = ["%-18s TensorRT %s, %s" % ("trtexec", result["version"] or "of unknown version", passed)]
    lines.append("%-18s reported by trtexec; no samples, so nothing could be computed again" % "figures")
    if result["throughput_per_s"] is not None:
        lines.append("%-18s %.6g per second" % ("throughput", result["throughput_per_s"]))
    for metric, figures in sorted(result["reported"].items()):
        known = ["%s %s" % (key[:-2], format_seconds(figures[key])) for key in _REPORTED if key in figures]
        known += ["p%s %s" % (percent, format_seconds(value)) for percent, value in figures["percentiles_s"].items()]
        lines.append("%-18s %s" % (metric, ", ".join(known)))
    return lines


_REPORTED = ("median_s", "mean_s", "min_s", "max_s")

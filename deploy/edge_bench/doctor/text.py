"""A diagnosis for a person: aligned sections of ASCII, at most 100 columns wide."""

import textwrap
from typing import Any, Dict, List, Optional, Tuple

from edge_bench.board.clocks import megahertz
from edge_bench.board.state import throttling_now
from edge_bench.board.throttle import throttled_words
from edge_bench.doctor.problems import is_absent
from edge_bench.render import to_ascii

_WIDTH, _LABEL = 100, 16
_GIB, _MIB = float(1 << 30), float(1 << 20)

Rows = List[Tuple[str, str]]


def render_diagnosis(diagnosis: Dict[str, Any]) -> str:
    """What the board is and can do, what is wrong with the command that mends it, and what is normal there."""
    lines = []  # type: List[str]
    for title, rows in (
        ("Board", _board_rows(diagnosis["board"], diagnosis["state"])),
        ("Runtimes", _runtime_rows(diagnosis)),
        ("Sensors", _sensor_rows(diagnosis)),
        ("State", _state_rows(diagnosis)),
    ):
        lines += [title] + _table(rows) + [""]
    problems, notes = diagnosis["problems"], diagnosis["notes"]
    lines.append("Problems (%d)" % len(problems) if problems else "No problems found.")
    for number, row in enumerate(problems, 1):
        lines += _advice("%d. " % number, row)
    if notes:
        lines += ["", "Good to know"]
        for row in notes:
            lines += _advice("- ", row)
    return "\n".join(to_ascii(line) for line in lines)


def _table(rows: Rows) -> List[str]:
    lines = []
    for label, text in rows:
        lines += _wrapped("  %-*s" % (_LABEL, label), text)
    return lines


def _wrapped(head: str, text: str) -> List[str]:
    inner = " " * len(head)
    parts = textwrap.wrap(to_ascii(text), _WIDTH - len(head), break_on_hyphens=False) or [""]
    return [(head + parts[0]).rstrip()] + [inner + part for part in parts[1:]]


def _advice(mark: str, row: Dict[str, str]) -> List[str]:
    lines = _wrapped("  " + mark, "%s: %s" % (row["what"], row["reason"]))
    for step in row["fix"].split("; "):  # a line each: commands are there to be copied
        lines += _wrapped(" " * (2 + len(mark)) + "-> ", step)
    return lines


def _board_rows(board: Dict[str, Any], state: Dict[str, Any]) -> Rows:
    rows = [("model", "%s%s" % (board["model"] or _unnamed(board), " (%s)" % board["soc"] if board["soc"] else ""))]
    cpu = "%s, %s cores" % (board["cpu"] or "unknown processor", board["num_cpus"])
    emulated = ", EMULATED by %s" % board["emulated"] if board.get("emulated") else ""
    rows.append(("processor", "%s, %s%s" % (cpu, board["machine"], emulated)))
    rows.append(("memory", _memory_words(board, state)))
    glibc = ", glibc %s" % board["glibc"] if board["glibc"] else ""
    rows.append(("system", "%s, kernel %s%s" % (board["system"] or "unknown system", board["kernel"], glibc)))
    if board["l4t"]:
        label = "JetPack %s" % board["jetpack"] if board["jetpack"] else "newer than the JetPacks known here"
        rows.append(("L4T", "%s (%s)" % (board["l4t"], label)))
    rows.append(("python", "%s (%s)" % (board["python"], board["python_path"])))
    return rows


def _unnamed(board: Dict[str, Any]) -> str:
    if board["in_container"]:
        return "a container"
    return "a virtual machine" if board["is_virtual"] else "a machine that does not say its model"


def _memory_words(board: Dict[str, Any], state: Dict[str, Any]) -> str:
    if board["memory_bytes"] is None:
        return "not readable (/proc/meminfo)"
    words = "%.1f GiB" % (board["memory_bytes"] / _GIB)
    if state["memory_available_bytes"] is not None:
        words += ", %.1f available" % (state["memory_available_bytes"] / _GIB)
    if state["swap_total_bytes"]:
        words += "; swap %.0f of %.0f MiB" % (state["swap_used_bytes"] / _MIB, state["swap_total_bytes"] / _MIB)
    return words


def _runtime_rows(diagnosis: Dict[str, Any]) -> Rows:
    rows, absent = [], []
    for row in diagnosis["runtimes"]:
        if row["works"]:
            rows.append((row["name"], "%-10s %s" % (row["version"] or "works", ", ".join(row.get("providers", [])))))
        elif is_absent(row):
            absent.append(row["name"])
        else:
            rows.append((row["name"], "BROKEN: " + row["reason"]))
    drivers = _driver_rows(diagnosis["driver"])
    rows += drivers
    for row in diagnosis["programs"]:
        if row["path"]:
            rows.append((row["name"], "%s%s" % ("%-10s " % row["version"] if row.get("version") else "", row["path"])))
        else:
            absent.append(row["name"])
    if not drivers and diagnosis["board"]["kind"] in ("jetson", "pc"):
        absent.append("NVIDIA driver")
    return rows + ([("not installed", ", ".join(absent))] if absent else [])


def _driver_rows(driver: Dict[str, Any]) -> Rows:
    rows = []
    for device in driver["devices"]:
        words = "CUDA %-5s %s, compute capability %s, %.1f GiB"
        known = (driver["cuda_version"], device["name"], device["compute_capability"], device["memory_bytes"] / _GIB)
        rows.append(("NVIDIA driver", words % known))
    reason = driver["reason"] or ""
    if reason and "cannot open shared object file" not in reason:
        rows.append(("NVIDIA driver", "does not work: " + reason))
    if driver["runtime_version"] or driver["runtime_reason"]:
        rows.append(("CUDA runtime", driver["runtime_version"] or driver["runtime_reason"]))
    return rows


def _sensor_rows(diagnosis: Dict[str, Any]) -> Rows:
    state, energy = diagnosis["state"], diagnosis["energy"]
    rows = []
    if energy is not None:
        rows.append(("power", "%s: %s (%s)" % (energy["source"], " + ".join(energy["rails"]), energy["scope"])))
    if state["temperatures_c"]:
        hottest = sorted(state["temperatures_c"].items(), key=lambda pair: -pair[1])
        words = ", ".join("%s %.1f C" % pair for pair in hottest[:6])
        rows.append(("temperatures", words + (" and %d more" % (len(hottest) - 6) if hottest[6:] else "")))
    counters = len(state["throttle_counts"]) + len(state["alarms"]) + (state["throttled_bits"] is not None)
    if counters:
        rows.append(("throttling", "%d counters and alarms" % counters))
    if state["cooling_states"]:
        rows.append(("cooling", "%d devices" % len(state["cooling_states"])))
    for name, fan in sorted(state["fans"].items()):
        figures = [("pwm %.0f of 255", fan["pwm"]), ("%.0f rpm", fan["rpm"])]
        rows.append(("fan " + name, ", ".join(form % value for form, value in figures if value is not None)))
    return rows or [("none", "no power, temperature or throttling sensor is visible here")]


def _state_rows(diagnosis: Dict[str, Any]) -> Rows:
    state, health = diagnosis["state"], diagnosis["health"]
    rows = []
    if state["power_mode"]:
        rows.append(("power mode", state["power_mode"]))
    if state["governors"]:
        rows.append(("CPU governor", ", ".join(sorted(set(state["governors"].values())))))
    if state["cpu_clocks_hz"]:
        rows.append(("CPU clocks", _range_of(list(state["cpu_clocks_hz"].values()))))
    pinned = state["clocks_pinned"]
    rows.append(("clocks pinned", "%s (%s)" % (pinned["answer"], "; ".join(pinned["reasons"]))))
    now = throttling_now(state)
    rows.append(("throttling now", "; ".join(now) if now else _not_throttling(state, diagnosis["board"]["kind"])))
    rising = ["%s %d" % pair for pair in sorted(state["throttle_counts"].items()) if pair[1]]
    if state["throttled_bits"]:
        rising += throttled_words(state["throttled_bits"])[1]
    if rising:
        rows.append(("since boot", ", ".join(rising)))
    if state["load_average"] is not None:
        rows.append(("load", _load_words(state["load_average"], health["busiest"])))
    if health["disk_free_bytes"] is not None:
        rows.append(
            (
                "disk free",
                "%.1f of %.1f GiB" % tuple(health[key] / _GIB for key in ("disk_free_bytes", "disk_total_bytes")),
            )
        )
    rows.append(("locale", health["locale"] or "none set: C"))
    return rows


def _range_of(clocks: List[float]) -> str:
    low, high = megahertz(min(clocks)), megahertz(max(clocks))
    return low if low == high else "%s to %s" % (low, high)


def _not_throttling(state: Dict[str, Any], kind: str) -> str:
    if kind == "raspberry-pi" and state["throttled_bits"] is None:
        return "unknown: vcgencmd does not answer, and nothing else tells it on a Raspberry Pi"
    known = (state["alarms"], state["cooling_states"], state["trip_points_c"], state["throttle_counts"])
    return "no" if any(known) or state["throttled_bits"] is not None else "unknown: nothing here tells"


def _load_words(load_average: float, busiest: List[Dict[str, Any]]) -> str:
    words = ["%s %.0f %%" % (row["name"], 100 * row["cpu_share"]) for row in busiest if row["cpu_share"] >= 0.02]
    return "average %.2f; busiest now: %s" % (load_average, ", ".join(words) if words else "nothing")


def progress_line(step: Optional[str]) -> str:
    """What a terminal shows while a diagnosis is made; None takes it away."""
    return "\r\x1b[K" + ("" if step is None else "looking at %s ..." % to_ascii(step))

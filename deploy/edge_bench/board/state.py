"""In which state this board is: from /proc, /sys, nvpmodel and vcgencmd, as far as a plain user can read.

Every reader takes the root folder (`/` outside of tests), gives None or nothing for what is not there or makes no
sense, and never raises.
"""

import os
from typing import Any, Dict, List, Optional

from edge_bench.board import thermal, throttle
from edge_bench.board.clocks import is_gpu, read_clocks
from edge_bench.board.files import parse_number, read_text
from edge_bench.board.memory import system_memory
from edge_bench.board.power_mode import mode_change, read_power_mode
from edge_bench.schema import unavailable

# A run that pushes more than this out to disk or zram has also timed that.
MAX_SWAP_GROWTH_BYTES = 16 << 20
_MIB = float(1 << 20)
_COOLER = "let the board cool, give it a fan and the power supply that its maker names, or choose a lower power mode"


def read_state(root: str = "/") -> Dict[str, Any]:
    """What may change between two runs or during one; keys that could not be read are None or empty."""
    memory = system_memory(root)
    state = {
        "temperatures_c": thermal.temperatures(root),
        "trip_points_c": thermal.trip_points(root),
        "cooling_states": thermal.cooling_states(root),
        "fans": thermal.fans(root),
        "throttle_counts": throttle.throttle_counts(root),
        "alarms": throttle.alarms(root),
        "throttled_bits": throttle.throttled_bits(root),
        "memory_available_bytes": memory.get("MemAvailable"),
        "swap_total_bytes": memory.get("SwapTotal"),
        "swap_used_bytes": swap_used(memory),
        "load_average": _load_average(root),
    }  # type: Dict[str, Any]
    state.update(read_power_mode(root))
    state.update(read_clocks(root))
    return state


def swap_used(memory: Dict[str, int]) -> Optional[int]:
    if "SwapTotal" not in memory or "SwapFree" not in memory:
        return None
    return max(memory["SwapTotal"] - memory["SwapFree"], 0)


def state_changes(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """Changes that make the figures of a run incomparable: what it was and how to avoid it.

    Temperatures, current clocks and load may move.
    """
    return _setting_changes(before, after) + _throttling(before, after) + _swapping(before, after)


def _setting_changes(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    changes = []
    mode = mode_change(before, after)
    if mode:
        changes.append("the power mode changed during the run: %s; choose it before with sudo nvpmodel -m" % mode)
    for key, name, advice in (
        ("governors", "CPU governors", "choose one before, best performance, and stop what changes it"),
        ("cpu_clock_limits_hz", "CPU clock limits", "pin the clocks before (sudo jetson_clocks on a Jetson)"),
        ("online_cpus", "online cores", "stop what switches cores off (power mode, hotplug)"),
    ):
        was, came = before.get(key), after.get(key)
        if was != came:
            changes.append("%s changed during the run: %s; %s" % (name, _difference(was, came), advice))
    for name in sorted(set(before.get("devfreq") or {}) & set(after.get("devfreq") or {})):
        was, came = (
            [state["devfreq"][name].get(key) for key in ("min_freq_hz", "max_freq_hz")] for state in (before, after)
        )
        if is_gpu(name) and was != came and None not in was + came:
            text = "clock limits of GPU %s changed during the run: %s -> %s Hz; pin them before (sudo jetson_clocks)"
            changes.append(text % (name, was, came))
    return changes


def _difference(was: Any, came: Any) -> str:
    """Only the cores that changed: a line for all of sixteen would hide them."""
    if not isinstance(was, dict) or not isinstance(came, dict):
        return "%s -> %s" % ("not readable" if was is None else was, "not readable" if came is None else came)
    names = [name for name in list(was) + [name for name in came if name not in was] if was.get(name) != came.get(name)]
    first = names[0]
    more = " and %d more" % (len(names) - 1) if names[1:] else ""
    return "%s%s %s -> %s" % (first, more, was.get(first, "not readable"), came.get(first, "not readable"))


def _throttling(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    causes = []
    for name, count in _risen(before, after, "throttle_counts"):
        causes.append("%s rose from %d to %d" % (name, before["throttle_counts"][name], count))
    causes += ["alarm %s" % name for name, _value in _risen(before, after, "alarms")]
    for name, level in _risen(before, after, "cooling_states"):
        causes.append("cooling device %s went from %d to %d" % (name, before["cooling_states"][name], level))
    bits = (before.get("throttled_bits"), after.get("throttled_bits"))
    if bits[0] is not None and bits[1] is not None:
        now, since_boot = throttle.throttled_words(bits[1] & ~bits[0])
        # A bit "since boot" that was set before hides a new event, then only the ones of this moment can tell.
        for word in sorted(set(now + since_boot)):
            causes.append("the Raspberry Pi reports %s" % word)
    return ["throttled during the run: %s; %s" % (cause, _COOLER) for cause in causes]


def _risen(before: Dict[str, Any], after: Dict[str, Any], key: str) -> List[Any]:
    """What was there before and is higher after: a counter that only appeared is no proof."""
    was = before.get(key) or {}
    return sorted((name, value) for name, value in (after.get(key) or {}).items() if value > was.get(name, value))


def _swapping(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    used = (before.get("swap_used_bytes"), after.get("swap_used_bytes"))
    if used[0] is None or used[1] is None or used[1] - used[0] <= MAX_SWAP_GROWTH_BYTES:
        return []
    text = "the system swapped during the run: swap in use grew by %.0f MiB (allowed: %.0f); end other programs first"
    return [text % ((used[1] - used[0]) / _MIB, MAX_SWAP_GROWTH_BYTES / _MIB)]


def throttling_now(state: Dict[str, Any]) -> List[str]:
    """What slows the board down at this moment, in words; empty when nothing that can be read does."""
    found = ["cooling device %s is at %d" % pair for pair in sorted(state["cooling_states"].items()) if pair[1]]
    found += ["alarm %s" % name for name, value in sorted(state["alarms"].items()) if value]
    if state["throttled_bits"] is not None:
        found += ["the Raspberry Pi reports %s" % word for word in throttle.throttled_words(state["throttled_bits"])[0]]
    for zone, kinds in sorted(state["trip_points_c"].items()):
        celsius, limit = state["temperatures_c"].get(zone), kinds.get("passive")
        if celsius is not None and limit is not None and celsius >= limit:
            found.append("%s is at %.1f C, its limit is %.1f C" % (zone, celsius, limit))
    return found


def missing_state(state: Dict[str, Any]) -> List[Dict[str, str]]:
    """What of the state could not be read, each with its fix."""
    missing = []
    if not state["governors"]:
        missing.append(
            unavailable(
                "CPU clocks and governor",
                "/sys/devices/system/cpu/*/cpufreq is not there",
                "usual in virtual machines; on a board check that the kernel has cpufreq",
            )
        )
    if not state["temperatures_c"]:
        missing.append(
            unavailable(
                "temperatures",
                "no readable /sys/class/thermal/thermal_zone*/temp",
                "usual in virtual machines; in a container on a board mount /sys or run outside of it",
            )
        )
    return missing


def _load_average(root: str) -> Optional[float]:
    text = read_text(os.path.join(root, "proc/loadavg")) or ""
    return parse_number(text.split(" ")[0])

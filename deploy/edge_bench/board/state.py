"""What this board is and in which state it is: from /proc, /sys and nvpmodel, as far as a plain user can read.

Every reader takes the root folder (`/` outside of tests), returns None for what is not there or makes no sense,
and never raises. Paths: device-tree model and cpufreq are kernel ABI; nvpmodel's status file, the `soctherm_oc`
counters and the devfreq folders of Jetson GPUs are as NVIDIA and jetson_stats document them.
"""

import glob
import os
import re
import subprocess
from typing import Any, Dict, List, Optional

from edge_bench.board.files import parse_number, read_number, read_text
from edge_bench.board.memory import system_memory
from edge_bench.schema import unavailable


def read_state(root: str = "/") -> Dict[str, Any]:
    """What may change between two runs or during one; keys that could not be read are None or empty."""
    return {
        "power_mode": _power_mode(root),
        "governors": _governors(root),
        "cpu_clock_limits_hz": _cpu_clock_limits(root),
        "cpu_clocks_hz": _cpu_clocks(root),
        "online_cpus": read_text(os.path.join(root, "sys/devices/system/cpu/online")),
        "devfreq": _devfreq(root),
        "temperatures_c": _temperatures(root),
        "throttle_counts": _throttle_counts(root),
        "memory_available_bytes": system_memory(root).get("MemAvailable"),
        "load_average": _load_average(root),
    }


def state_changes(before: Dict[str, Any], after: Dict[str, Any]) -> List[str]:
    """Changes that make the figures of a run incomparable, in words; temperatures and clocks may move."""
    changes = []
    for key in ("power_mode", "governors", "cpu_clock_limits_hz", "online_cpus"):
        if before[key] != after[key]:
            changes.append("%s changed during the run: %s -> %s" % (key, before[key], after[key]))
    for name, count in sorted(after["throttle_counts"].items()):
        if count > before["throttle_counts"].get(name, count):
            changes.append("throttled during the run: %s rose to %d" % (name, count))
    return changes


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


def _power_mode(root: str) -> Optional[str]:
    """The mode that nvpmodel names, e.g. 'MAXN'. The program is asked only on a real root."""
    if root == "/" and os.path.exists("/usr/sbin/nvpmodel"):
        try:
            output = subprocess.check_output(
                ["/usr/sbin/nvpmodel", "-q"], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=10
            )
        except (OSError, subprocess.SubprocessError):
            output = b""
        found = re.search(r"NV Power Mode:\s*(\S+)", output.decode("utf-8", "replace"))
        if found:
            return found.group(1)
    return read_text(os.path.join(root, "var/lib/nvpmodel/status"))


def _per_cpu(root: str, name: str) -> Dict[str, str]:
    pattern = os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq", name)
    found = {}
    for path in sorted(glob.glob(pattern)):
        text = read_text(path)
        if text:
            found[path.split(os.sep)[-3]] = text
    return found


def _governors(root: str) -> Dict[str, str]:
    return _per_cpu(root, "scaling_governor")


def _cpu_clocks(root: str) -> Dict[str, float]:
    return _clocks(root, "scaling_cur_freq")


def _cpu_clock_limits(root: str) -> Dict[str, List[float]]:
    lowest, highest = _clocks(root, "scaling_min_freq"), _clocks(root, "scaling_max_freq")
    return {cpu: [lowest[cpu], highest[cpu]] for cpu in lowest if cpu in highest}


def _clocks(root: str, name: str) -> Dict[str, float]:
    clocks = {}
    for cpu, text in _per_cpu(root, name).items():
        kilohertz = parse_number(text)
        if kilohertz is not None:
            clocks[cpu] = kilohertz * 1e3
    return clocks


def _devfreq(root: str) -> Dict[str, Dict[str, Any]]:
    devices = {}
    for folder in sorted(glob.glob(os.path.join(root, "sys/class/devfreq/*"))):
        clocks = {name: read_number(os.path.join(folder, name)) for name in ("cur_freq", "min_freq", "max_freq")}
        devices[os.path.basename(folder)] = {name + "_hz": value for name, value in clocks.items()}
    return devices


def _temperatures(root: str) -> Dict[str, float]:
    found = {}
    for folder in sorted(glob.glob(os.path.join(root, "sys/class/thermal/thermal_zone*"))):
        millidegrees = read_number(os.path.join(folder, "temp"))
        name = read_text(os.path.join(folder, "type")) or os.path.basename(folder)
        # PMIC zones report a constant and -256 C means that the sensor is powered off.
        if millidegrees is not None and "PMIC" not in name.upper() and millidegrees > -250000:
            # PCs have several zones of one name; none may hide a hotter one.
            key = "%s (%s)" % (name, os.path.basename(folder)) if name in found else name
            found[key] = millidegrees / 1000.0
    return found


def _throttle_counts(root: str) -> Dict[str, int]:
    counts = {}
    for folder in glob.glob(os.path.join(root, "sys/class/hwmon/hwmon*")):
        if read_text(os.path.join(folder, "name")) != "soctherm_oc":
            continue
        for path in sorted(glob.glob(os.path.join(folder, "oc*_event_cnt"))):
            count = read_number(path)
            if count is not None:
                counts[os.path.basename(path)] = int(count)
    pattern = os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")
    for path in sorted(glob.glob(pattern)):
        count = read_number(path)
        if count is not None:
            counts[path.split(os.sep)[-3] + ".core_throttle_count"] = int(count)
    return counts


def _load_average(root: str) -> Optional[float]:
    text = read_text(os.path.join(root, "proc/loadavg")) or ""
    return parse_number(text.split(" ")[0])

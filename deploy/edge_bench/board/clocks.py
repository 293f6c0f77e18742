"""Clocks: of the processors (cpufreq), of the GPU (devfreq), of the memory, and whether they are pinned.

The folder of the GPU is named after its SoC: 57000000.gpu (tegra210), 17000000.gp10b (tegra186), 17000000.gv11b
(tegra194), 17000000.ga10b or 17000000.gpu (tegra234), gpu-gpc-0 (tegra264; jetson_stats issue 885).
`jetson_clocks --show` needs root; equal limits say the same.
"""

import os
import re
from typing import Any, Dict, List, Optional

from edge_bench.board.files import find_paths, natural_order, parse_number, read_number, read_text

_DEVFREQ = (
    "sys/class/devfreq/*",
    "sys/devices/*/devfreq/*",
    "sys/devices/platform/*/devfreq/*",
    "sys/devices/platform/*/*/devfreq/*",
)
_GPU = re.compile(r"(\.gpu|gp10b|gv11b|ga10b|mali)$|^gpu-gpc|^gpu\.?\d*$")
# General knowledge; debugfs, so for root only.
_EMC = (
    "sys/kernel/debug/bpmp/debug/clk/emc/rate",
    "sys/kernel/debug/clk/emc/clk_rate",
    "sys/kernel/debug/clk/override.emc/clk_rate",
)


def read_clocks(root: str) -> Dict[str, Any]:
    """Governors, limits, clocks, online cores, devfreq, EMC, and whether all of it is pinned."""
    lowest, highest = per_cpu_hz(root, "scaling_min_freq"), per_cpu_hz(root, "scaling_max_freq")
    found = {
        "governors": per_cpu(root, "scaling_governor"),
        "cpu_clock_limits_hz": {cpu: [lowest[cpu], highest[cpu]] for cpu in lowest if cpu in highest},
        "cpu_clocks_hz": per_cpu_hz(root, "scaling_cur_freq"),
        "online_cpus": read_text(os.path.join(root, "sys/devices/system/cpu/online")),
        "devfreq": devfreq(root),
        "emc_clock_hz": emc_clock(root),
    }  # type: Dict[str, Any]
    found["clocks_pinned"] = clocks_pinned(found)
    return found


def per_cpu(root: str, name: str) -> Dict[str, str]:
    """The text of one cpufreq file of each core."""
    found = {}
    for path in find_paths(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq/" + name):
        text = read_text(path)
        if text:
            found[path.split(os.sep)[-3]] = text
    return found


def per_cpu_hz(root: str, name: str) -> Dict[str, float]:
    clocks = {}
    for cpu, text in per_cpu(root, name).items():
        kilohertz = parse_number(text)
        if kilohertz is not None:
            clocks[cpu] = kilohertz * 1e3
    return clocks


def devfreq_folders(root: str) -> Dict[str, str]:
    """The folder of each devfreq device, by its name; the same device may be found in several ways."""
    folders = {}  # type: Dict[str, str]
    for pattern in _DEVFREQ:
        for folder in find_paths(root, pattern):
            folders.setdefault(os.path.basename(folder), folder)
    return folders


def devfreq(root: str) -> Dict[str, Dict[str, Any]]:
    devices = {}  # type: Dict[str, Dict[str, Any]]
    for name, folder in devfreq_folders(root).items():
        clocks = {key: read_number(os.path.join(folder, key)) for key in ("cur_freq", "min_freq", "max_freq")}
        devices[name] = {key + "_hz": value for key, value in clocks.items()}
        governor = read_text(os.path.join(folder, "governor"))
        if governor:
            devices[name]["governor"] = governor
    return devices


def is_gpu(device: str) -> bool:
    """Whether a devfreq device is a GPU, by its name."""
    return _GPU.search(device) is not None


def emc_clock(root: str) -> Optional[float]:
    for path in _EMC:
        hertz = read_number(os.path.join(root, path))
        if hertz:
            return hertz
    return None


def clocks_pinned(clocks: Dict[str, Any]) -> Dict[str, Any]:
    """{"answer": "yes" | "no" | "unknown", "reasons": [...]}: pinned means that the lowest is the highest clock."""
    limits, reasons = clocks["cpu_clock_limits_hz"], []  # type: Dict[str, List[float]], List[str]
    moving, unknown = False, False
    free = sorted((cpu for cpu, (low, high) in limits.items() if low != high), key=natural_order)
    if free:
        moving = True
        reasons.append(_free_cpus(free, limits, clocks["governors"]))
    elif limits:
        reasons.append("CPU: lowest and highest clock are the same on all %d cores" % len(limits))
    else:
        unknown = True
        reasons.append("CPU: its clock limits cannot be read")
    for name, device in sorted(clocks["devfreq"].items()):
        if is_gpu(name):
            low, high = device["min_freq_hz"], device["max_freq_hz"]
            if low is None or high is None:
                unknown = True
                reasons.append("GPU %s: its clock limits cannot be read" % name)
            elif low != high:
                moving = True
                reasons.append("GPU %s may run from %s to %s" % (name, megahertz(low), megahertz(high)))
            else:
                reasons.append("GPU %s: lowest and highest clock are both %s" % (name, megahertz(low)))
    return {"answer": "no" if moving else "unknown" if unknown else "yes", "reasons": reasons}


def _free_cpus(free: List[str], limits: Dict[str, List[float]], governors: Dict[str, str]) -> str:
    low, high = min(limits[cpu][0] for cpu in free), max(limits[cpu][1] for cpu in free)
    names = sorted({governors[cpu] for cpu in free if cpu in governors})
    text = "CPU: %d of %d cores may run from %s to %s" % (len(free), len(limits), megahertz(low), megahertz(high))
    return text + (" (governor %s)" % ", ".join(names) if names else "")


def megahertz(hertz: float) -> str:
    return "%.0f MHz" % (hertz / 1e6)

"""What does not change while a board runs."""

import os
import platform
import re
import sys
from typing import Any, Dict, Optional

from edge_bench.board.emulation import find_emulator
from edge_bench.board.files import device_tree, read_text
from edge_bench.board.memory import system_memory

# Labels only: the table goes stale, and nothing depends on it. The longest match wins. General knowledge.
_JETPACKS = (
    ("32.6", "4.6"),
    ("32.7.1", "4.6.1"),
    ("32.7.2", "4.6.2"),
    ("32.7.3", "4.6.3"),
    ("32.7.4", "4.6.4"),
    ("32.7.5", "4.6.5"),
    ("32.7.6", "4.6.6"),
    ("35.2", "5.1"),
    ("35.3", "5.1.1"),
    ("35.4", "5.1.2"),
    ("35.5", "5.1.3"),
    ("35.6", "5.1.4 or newer"),
    ("36.3", "6.0"),
    ("36.4.0", "6.1"),
    ("36.4", "6.2"),
    ("36.5", "6.2.2"),
    ("38.2", "7.0"),
    ("38.4", "7.1"),
    ("39.2", "7.2"),
)


def describe_board(root: str = "/") -> Dict[str, Any]:
    """What does not change while the board runs: model, processor, memory, system, Python."""
    cpuinfo = read_text(os.path.join(root, "proc/cpuinfo")) or ""
    soc, l4t = _soc(root), _l4t_release(root)
    return {
        "model": _board_model(root),
        "kind": _kind(root, soc, l4t),
        "soc": soc,
        "cpu": _cpu_name(cpuinfo),
        "num_cpus": os.cpu_count(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "glibc": _glibc(),
        "system": _os_name(root),
        "l4t": l4t,
        "jetpack": jetpack_label(l4t),
        "memory_bytes": system_memory(root).get("MemTotal"),
        "in_container": _in_container(root),
        "is_virtual": bool(re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE)),
        "emulated": find_emulator(root),
        "python": platform.python_version(),
        "python_path": sys.executable,
    }


def jetpack_label(l4t: Optional[str]) -> Optional[str]:
    """The JetPack that brought a release of L4T, or None for one that came after this program."""
    fitting = [pair for pair in _JETPACKS if l4t is not None and (l4t + ".").startswith(pair[0] + ".")]
    return max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else None


def _soc(root: str) -> Optional[str]:
    """tegra210, bcm2711, rk3588: the last name that the device tree says the board is compatible with."""
    # Names end with a NUL byte, which read_text drops.
    text = device_tree(root, "compatible")
    found = re.findall(r"nvidia,(tegra\d{3})|brcm,(bcm\d{4})|rockchip,(rk\d{4})", text)
    return "".join(found[-1]) if found else None


def _kind(root: str, soc: Optional[str], l4t: Optional[str]) -> str:
    """What advice fits: "jetson", "raspberry-pi", "pc" or "other"."""
    model = _board_model(root) or ""
    if l4t or "Jetson" in model or (soc or "").startswith("tegra"):
        return "jetson"
    if "Raspberry Pi" in model or (soc or "").startswith("bcm"):
        return "raspberry-pi"
    return "pc" if platform.machine() in ("x86_64", "i686", "AMD64") else "other"


def _in_container(root: str) -> bool:
    if any(os.path.exists(os.path.join(root, name)) for name in (".dockerenv", "run/.containerenv")):
        return True
    cgroups = read_text(os.path.join(root, "proc/1/cgroup")) or ""
    return re.search(r"docker|kubepods|containerd|libpod|/lxc", cgroups) is not None


def _glibc() -> Optional[str]:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return None  # musl has none
    return text.partition(" ")[2] or None


def _board_model(root: str) -> Optional[str]:
    return device_tree(root, "model") or read_text(os.path.join(root, "sys/class/dmi/id/product_name"))


def _cpu_name(cpuinfo: str) -> Optional[str]:
    for key in ("model name", "Model", "Hardware", "CPU part"):
        found = re.search(r"^%s\s*:\s*(.+)$" % key, cpuinfo, re.MULTILINE)
        if found:
            return found.group(1).strip()
    return None


def _os_name(root: str) -> Optional[str]:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', read_text(os.path.join(root, "etc/os-release")) or "", re.MULTILINE)
    return found.group(1) if found else None


def _l4t_release(root: str) -> Optional[str]:
    text = read_text(os.path.join(root, "etc/nv_tegra_release")) or ""
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    return "%s.%s" % found.groups() if found else None

"""What does not change while a board runs."""

import os
import platform
import re
import sys
from typing import Any, Dict, Optional

from edge_bench.board.files import read_text
from edge_bench.board.memory import system_memory


def describe_board(root: str = "/") -> Dict[str, Any]:
    """What does not change while the board runs: model, processor, memory, system, Python."""
    cpuinfo = read_text(os.path.join(root, "proc/cpuinfo")) or ""
    return {
        "model": _board_model(root),
        "cpu": _cpu_name(cpuinfo),
        "num_cpus": os.cpu_count(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "system": _os_name(root),
        "l4t": _l4t_release(root),
        "memory_bytes": system_memory(root).get("MemTotal"),
        "python": platform.python_version(),
        "python_path": sys.executable,
    }


def _board_model(root: str) -> Optional[str]:
    # /proc/device-tree is a link to the second path; containers and chroots often have only one of them.
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        text = read_text(os.path.join(root, path))
        if text:
            return text
    return read_text(os.path.join(root, "sys/class/dmi/id/product_name"))


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

"""Memory of the system and of this process, in bytes, from /proc."""

import os
import re
from typing import Dict

from edge_bench.board.files import read_text


def system_memory(root: str) -> Dict[str, int]:
    text = read_text(os.path.join(root, "proc/meminfo")) or ""
    return _kibibytes(r"\w+", text)


def _kibibytes(names: str, text: str) -> Dict[str, int]:
    found = re.findall(r"^(%s):\s+(\d{1,15}) kB$" % names, text, re.MULTILINE)
    return {name: int(kib) * 1024 for name, kib in found}


def process_memory(root: str = "/") -> Dict[str, int]:
    """VmRSS and VmHWM of this process in bytes; ru_maxrss would be inherited from a large parent."""
    text = read_text(os.path.join(root, "proc/self/status")) or ""
    return _kibibytes("VmRSS|VmHWM", text)

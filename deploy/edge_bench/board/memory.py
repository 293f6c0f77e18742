"""Memory of the system and of this process, in bytes, from /proc: several named figures, never one "GPU memory".

VmHWM is the peak since the process began or since 5 was written to /proc/self/clear_refs (proc(5), Linux 4.0).
ru_maxrss is not used: a process keeps the one of the parent that started it.
"""

import os
import re
import time
from typing import Any, Dict, List, Optional

from edge_bench.board.files import read_text
from edge_bench.schema import unavailable

_NOISE_INTERVAL_S = 0.05
_MAX_SMAPS_LINES = 2000000


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


def reset_peak(root: str = "/") -> bool:
    """Begin VmHWM anew at what is in use now; False where the kernel does not allow it."""
    try:
        with open(os.path.join(root, "proc/self/clear_refs"), "wb") as stream:
            stream.write(b"5")
    except OSError:
        return False
    return True


def process_pss(root: str = "/") -> Optional[int]:
    """Proportional set size in bytes: shared pages count by their share. None where /proc does not tell."""
    rollup = _kibibytes("Pss", read_text(os.path.join(root, "proc/self/smaps_rollup")) or "")
    return rollup["Pss"] if "Pss" in rollup else _sum_smaps(os.path.join(root, "proc/self/smaps"))


def _sum_smaps(path: str) -> Optional[int]:
    """Kernels before 4.14 (4.9 of JetPack 4) have no rollup: the same, mapping by mapping."""
    total = None  # type: Optional[int]
    try:
        with open(path, "rb") as stream:
            for number, line in enumerate(stream):
                found = re.match(rb"Pss:\s+(\d{1,12}) kB$", line.rstrip())
                if found:
                    total = (total or 0) + int(found.group(1)) * 1024
                if number >= _MAX_SMAPS_LINES:
                    return None
    except OSError:
        return None
    return total


class MemoryFigures:
    """From before a model is loaded to the end of a run.

    begin() before anything is loaded, quiet() while nothing of ours happens, figures() at the end.
    is_another_process: what is measured runs in a program of its own, of which our process says nothing.
    """

    is_another_process = False

    def __init__(self, root: str = "/"):
        self._root = root
        self._before = {}  # type: Dict[str, int]
        self._was_reset = False
        self._available = None  # type: Optional[int]
        self._quiet = []  # type: List[int]
        self._lowest = None  # type: Optional[int]

    def begin(self) -> None:
        self._available = system_memory(self._root).get("MemAvailable")
        self._was_reset = reset_peak(self._root)
        self._before = process_memory(self._root)

    def quiet(self, seconds: float = 0.5) -> None:
        """Wait, to see how much MemAvailable moves by itself: a dip that is not larger says nothing."""
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            available = system_memory(self._root).get("MemAvailable")
            if available is not None:
                self._quiet.append(available)
            time.sleep(_NOISE_INTERVAL_S)

    def look(self, lowest_available_bytes: Optional[int] = None) -> None:
        """Remember MemAvailable when it is lower than before: after loading, after the phases, or from a watch."""
        values = [self._lowest, lowest_available_bytes, system_memory(self._root).get("MemAvailable")]
        known = [value for value in values if value is not None]
        self._lowest = min(known) if known else None

    def figures(self) -> Dict[str, Any]:
        """The figures in bytes; what is not known is None and named by `missing`.

        process_peak_rss_bytes      VmHWM since begin()
        process_rss_before_load_bytes
        process_pss_bytes           now
        system_available_dip_bytes  how far MemAvailable fell, of the whole system: other programs are in it
        system_available_noise_bytes  how far it moved by itself in quiet()
        """
        self.look()
        dip, noise = None, None  # type: Optional[int], Optional[int]
        if self._quiet:
            noise = max(self._quiet) - min(self._quiet)
        if self._available is not None and self._lowest is not None:
            dip = max(self._available - self._lowest, 0)
        ours = not self.is_another_process
        return {
            "process_peak_rss_bytes": self._peak() if ours else None,
            "process_rss_before_load_bytes": self._before.get("VmRSS") if ours else None,
            "process_pss_bytes": process_pss(self._root) if ours else None,
            "system_available_dip_bytes": dip,
            "system_available_noise_bytes": noise,
        }

    def _peak(self) -> Optional[int]:
        """VmHWM, unless it may be older than begin()."""
        peak = process_memory(self._root).get("VmHWM")
        if peak is None or self._was_reset or peak > self._before.get("VmHWM", peak):
            return peak
        return None

    def missing(self, figures: Dict[str, Any]) -> List[Dict[str, str]]:
        """Why figures are None, each with its fix."""
        found = []
        if self.is_another_process:
            reason = "it runs in a program of its own, and the kernel keeps no peak of one that has ended"
            fix = "see how far the available memory of the system fell, or measure a bundle in this process"
            found.append(unavailable("memory of the process", reason, fix))
        elif figures["process_peak_rss_bytes"] is None:
            peak = self._before.get("VmHWM")
            reason = "/proc/self/status has no VmHWM"
            if peak is not None:
                reason = "the process was larger before the run (%d bytes), and the kernel resets no peak" % peak
            found.append(unavailable("peak memory of the process", reason, "run it as a process of its own"))
        if figures["process_pss_bytes"] is None and not self.is_another_process:
            reason = "neither /proc/self/smaps_rollup nor smaps can be read"
            found.append(unavailable("proportional memory (PSS)", reason, "mount /proc without hidepid; see proc(5)"))
        if figures["system_available_dip_bytes"] is None:
            reason = "/proc/meminfo has no MemAvailable"
            found.append(unavailable("available memory of the system", reason, "it needs Linux 3.14 or newer"))
        return found

"""How busy the processors are, and with what."""

import os
import re
import time
from typing import Any, Dict, List, Optional, Tuple

from edge_bench.board.files import parse_number, read_text

Ticks = Tuple[float, float]  # busy, all


def busy_seconds(root: str = "/") -> Optional[float]:
    """Processor seconds that all cores together spent busy since boot, steal time included; None if unreadable.

    Guest time is already inside user time.
    """
    text = read_text(os.path.join(root, "proc/stat")) or ""
    name, ticks = _ticks(text.split("\n", 1)[0])
    return ticks[0] / os.sysconf("SC_CLK_TCK") if name == "cpu" and ticks is not None else None


def core_ticks(root: str = "/") -> Dict[str, Ticks]:
    """(busy, all) clock ticks since boot of each core that is online; busy_share() makes a load of two of them."""
    found = {}
    for line in (read_text(os.path.join(root, "proc/stat")) or "").split("\n"):
        name, ticks = _ticks(line)
        if ticks is not None and name != "cpu":
            found[name] = ticks
    return found


def _ticks(line: str) -> Tuple[str, Optional[Ticks]]:
    fields = line.split()
    if len(fields) < 9 or not fields[0].startswith("cpu"):
        return "", None
    ticks = [parse_number(field) for field in fields[1:9]]
    known = [count for count in ticks if count is not None]
    if len(known) < len(ticks):
        return "", None
    busy = sum(known[:3]) + sum(known[5:])  # user, nice, system, (idle, waiting,) irq, softirq, steal
    return fields[0], (busy, sum(known))


def busy_share(earlier: Dict[str, Ticks], later: Dict[str, Ticks]) -> Dict[str, float]:
    """The load of each core between two readings, 0 to 1; a core that was off in between is left out."""
    found = {}
    for name, (busy, every) in later.items():
        if name in earlier and every > earlier[name][1]:
            share = (busy - earlier[name][0]) / (every - earlier[name][1])
            found[name] = min(max(share, 0.0), 1.0)
    return found


def busiest_processes(root: str = "/", duration_s: float = 0.5, limit: int = 3) -> List[Dict[str, Any]]:
    """The programs that used most processor time while we slept: pid, name, cpu_share (1 is one core). Not ours."""
    before, began = _process_ticks(root), time.perf_counter()
    time.sleep(duration_s)
    after, elapsed_s = _process_ticks(root), time.perf_counter() - began
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    found = []  # type: List[Dict[str, Any]]
    for key, ticks in after.items():
        used = ticks - before.get(key, ticks)
        if used > 0 and key[0] != os.getpid():
            found.append({"pid": key[0], "name": key[1], "cpu_share": used / ticks_per_s / elapsed_s})
    return sorted(found, key=lambda row: row["cpu_share"], reverse=True)[:limit]


def _process_ticks(root: str) -> Dict[Tuple[int, str], float]:
    found = {}
    try:
        names = os.listdir(os.path.join(root, "proc"))
    except OSError:
        return {}
    for name in names:
        if re.match(r"[0-9]+\Z", name):
            text = read_text(os.path.join(root, "proc", name, "stat")) or ""
            # "pid (name) state ...": the name may hold blanks and parentheses. utime and stime are fields 14 and 15.
            head, _, tail = text.rpartition(")")
            ticks = [parse_number(field) for field in tail.split()[11:13]]
            if len(ticks) == 2 and ticks[0] is not None and ticks[1] is not None:
                found[(int(name), head.partition("(")[2])] = ticks[0] + ticks[1]
    return found

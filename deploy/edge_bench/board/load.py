"""How busy the processors are."""

import os
from typing import Optional

from edge_bench.board.files import parse_number, read_text


def busy_seconds(root: str = "/") -> Optional[float]:
    """Processor seconds that all cores together spent busy since boot, steal time included; None if unreadable.

    Guest time is already inside user time.
    """
    text = read_text(os.path.join(root, "proc/stat")) or ""
    fields = text.split("\n", 1)[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    ticks = [parse_number(field) for field in fields[1:9]]
    busy = ticks[:3] + ticks[5:]  # user, nice, system, (idle, waiting,) irq, softirq, steal
    known = [count for count in busy if count is not None]
    return sum(known) / os.sysconf("SC_CLK_TCK") if len(known) == len(busy) else None

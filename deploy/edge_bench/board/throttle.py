"""What a board says of being slowed down: counters of events, alarms, and the flags of a Raspberry Pi.

`soctherm_oc` (Orin, Thor): oc1 under-voltage, oc2 average over-current, oc3 instantaneous over-current; cumulative,
so only the difference says something; on Xavier the three mean other things (NVIDIA forum 307919).
`vcgencmd get_throttled` (Raspberry Pi documentation): bits 0 to 3 are now, 16 to 19 since boot.
"""

import os
import re
from typing import Dict, List, Optional, Tuple

from edge_bench.board.files import find_paths, read_number, read_text
from edge_bench.board.programs import ask_program

_BITS = ("under-voltage", "clock capped", "throttled", "soft temperature limit")
_SINCE_BOOT = 16


def throttle_counts(root: str) -> Dict[str, int]:
    """Counters that only rise, by name."""
    counts = {}
    for folder in find_paths(root, "sys/class/hwmon/hwmon*"):
        if read_text(os.path.join(folder, "name")) != "soctherm_oc":
            continue
        for path in find_paths(folder, "oc*_event_cnt"):
            count = read_number(path)
            if count is not None:
                counts[os.path.basename(path)] = int(count)
    for path in find_paths(root, "sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count"):
        count = read_number(path)
        if count is not None:
            counts[path.split(os.sep)[-3] + ".core_throttle_count"] = int(count)
    return counts


def alarms(root: str) -> Dict[str, int]:
    """Over-current alarms of the power sensors that are 1 while a limit is passed, by chip, rail and limit."""
    found = {}
    for path in find_paths(root, "sys/class/hwmon/hwmon*/curr*_*alarm"):
        value = read_number(path)
        if value is not None:
            folder, name = os.path.split(path)
            channel, _, kind = name.partition("_")
            label = read_text(os.path.join(folder, "in%s_label" % channel[len("curr") :])) or channel
            chip = read_text(os.path.join(folder, "name")) or os.path.basename(folder)
            found["%s %s %s" % (chip, label, kind)] = int(value)
    return found


def throttled_bits(root: str) -> Optional[int]:
    """The word of `vcgencmd get_throttled`; None where there is no such program. It is asked only on a real root."""
    text = ask_program("vcgencmd", ["get_throttled"])[0] if root == "/" else None
    return parse_throttled(text or "")


def parse_throttled(text: str) -> Optional[int]:
    found = re.search(r"\bthrottled=(0x[0-9a-fA-F]{1,8})\b", text)
    return int(found.group(1), 16) if found else None


def throttled_words(bits: int) -> Tuple[List[str], List[str]]:
    """(what holds now, what has been since boot)."""
    now = [name for bit, name in enumerate(_BITS) if bits >> bit & 1]
    return now, [name for bit, name in enumerate(_BITS) if bits >> (bit + _SINCE_BOOT) & 1]

"""The power mode of a Jetson: its name as nvpmodel says it, and the modes that the board has.

Names differ between boards and releases (MAXN, 15W, MODE_30W_ALL, MAXN_SUPER), so they are recorded as they are.
Warnings may stand before the answer of `nvpmodel -q`. The layout of /etc/nvpmodel.conf is general knowledge.
"""

import os
import re
from typing import Dict, Optional

from edge_bench.board.files import read_text
from edge_bench.board.programs import ask_program

_QUERY_TIMEOUT_S = 10.0
_ANSWER = re.compile(r"^.*\bNV Power Mode\s*:[ \t]*(\S[^\r\n]*)", re.MULTILINE)
_MODE = re.compile(r"^\s*<\s*POWER_MODEL\s+(?=[^>\n]*\bID=(\d+))(?=[^>\n]*\bNAME=([^\s>]+))", re.MULTILINE)


def read_power_mode(root: str) -> Dict[str, Optional[str]]:
    """`power_mode`: the name; where the program gives none, the text of the file that is `power_mode_status`.

    The program is asked only on a real root.
    """
    status = read_text(os.path.join(root, "var/lib/nvpmodel/status")) or None
    answer = ask_program("nvpmodel", ["-q"], _QUERY_TIMEOUT_S)[0] if root == "/" else None
    return {"power_mode": parse_query(answer or "") or status, "power_mode_status": status}


def parse_query(text: str) -> Optional[str]:
    """The mode's name in the answer of `nvpmodel -q`."""
    found = _ANSWER.search(text)
    return found.group(1).strip() if found else None


def power_modes(root: str) -> Dict[str, str]:
    """The names of the modes that this board has, by the number that `nvpmodel -m` takes."""
    return dict(_MODE.findall(read_text(os.path.join(root, "etc/nvpmodel.conf")) or ""))


def mode_change(before: Dict[str, Optional[str]], after: Dict[str, Optional[str]]) -> Optional[str]:
    """'MAXN -> 5W' when the mode is another one; None when it is the same, or only the way to read it differs."""
    statuses = (before.get("power_mode_status"), after.get("power_mode_status"))
    names = (before.get("power_mode"), after.get("power_mode"))
    if names[0] == names[1]:
        return None
    asked = [name != status for name, status in zip(names, statuses)]
    if all(statuses) and statuses[0] == statuses[1] and asked[0] != asked[1]:
        return None  # nvpmodel answered only once; the file says that nothing changed
    return "%s -> %s" % tuple(name or "not readable" for name in names)

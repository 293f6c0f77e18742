"""Small files of /proc and /sys: their text or number, or None where there is none. Nothing here raises."""

import glob
import math
import os
import re
from typing import List, Optional, Tuple, Union

_MAX_TEXT = 65536


def read_text(path: str) -> Optional[str]:
    """The stripped text of a small file, or None when it is not there or cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(_MAX_TEXT).replace(b"\x00", b"").decode("utf-8", "replace").strip()
    except OSError:
        return None


def read_number(path: str) -> Optional[float]:
    """The finite number in a small file, or None."""
    return parse_number(read_text(path))


def parse_number(text: Optional[str]) -> Optional[float]:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def find_paths(root: str, pattern: str) -> List[str]:
    """The paths below `root` that a pattern names, numbers in their order: cpu2 comes before cpu10."""
    return sorted(glob.glob(os.path.join(glob.escape(root), pattern)), key=natural_order)


def natural_order(name: str) -> List[Tuple[int, Union[int, str]]]:
    """A key of sorting that takes the numbers in a name as numbers."""
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part)) if index % 2 else (1, part) for index, part in enumerate(parts)]


def device_tree(root: str, name: str) -> str:
    """The text of a property of the whole board, or nothing.

    /proc/device-tree is a link to the second path; containers and chroots often have only one of them.
    """
    folders = ("proc/device-tree", "sys/firmware/devicetree/base")
    return next(filter(None, (read_text(os.path.join(root, folder, name)) for folder in folders)), None) or ""

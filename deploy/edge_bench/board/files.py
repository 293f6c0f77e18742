"""Small files of /proc and /sys: their text or number, or None where there is none. Nothing here raises."""

import math
from typing import Optional

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

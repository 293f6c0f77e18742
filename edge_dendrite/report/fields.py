"""Reading values out of measurement files without trusting their types: what does not fit counts as absent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edge_dendrite.report.format import clean_text


def mapping(source: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping under `key`, else an empty one."""
    value = source.get(key)
    return value if isinstance(value, Mapping) else {}


def number(source: Mapping[str, Any], key: str) -> float | None:
    """The finite number under `key`, else None."""
    return finite(source.get(key))


def finite(value: object) -> float | None:
    """The value as a float where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # A whole number may be too large for a float; JSON does not limit it.
    return float(value) if abs(value) < 1e300 and math.isfinite(value) else None


def interval(source: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    """The two finite numbers under `key`, the lower one first, else None."""
    value = source.get(key)
    ends = dict(zip(("low", "high"), value, strict=True)) if isinstance(value, list) and len(value) == 2 else {}
    low, high = number(ends, "low"), number(ends, "high")
    return None if low is None or high is None or low > high else (low, high)


def whole(source: Mapping[str, Any], key: str) -> int | None:
    """The count (a whole number of at least zero) under `key`, else None."""
    value = source.get(key)
    return value if type(value) is int and 0 <= value < 1 << 62 else None


def text(source: Mapping[str, Any], key: str, limit: int = 200) -> str | None:
    """The cleaned text under `key`, else None; an empty text counts as absent."""
    value = source.get(key)
    return (clean_text(value, limit) or None) if isinstance(value, str) else None


def texts(source: Mapping[str, Any], key: str, limit: int = 200) -> tuple[str, ...]:
    """The cleaned texts in the list under `key`."""
    value = source.get(key)
    return tuple(clean_text(item, limit) for item in value) if isinstance(value, list) else ()


def series(source: Mapping[str, Any], key: str) -> list[float | None]:
    """The list under `key`, with None for what is no finite number; empty where there is no list."""
    value = source.get(key)
    return [finite(item) for item in value] if isinstance(value, list) else []

"""The results of a study: one JSON line for each row, appended; rows that are there are never touched again."""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = "edge-dendrite.benchmark-row"
VERSION = 1
# The kinds of rows: a network that was trained and tested; its latency; its accuracy under noise; its peak memory.
TRAINED, LATENCY, NOISE, MEMORY = "trained", "latency", "noise", "memory"
# What makes a row that row. Budget is None for networks that are not cut.
KEY = ("study", "kind", "arm", "budget", "seed")

Row = Mapping[str, Any]


def key_of(row: Row) -> tuple[Any, ...]:
    """What a row is about."""
    return tuple(row[name] for name in KEY)


def latency_s(row: Row) -> float:
    """What stands for the calls of a latency row: their median, or the mean where the input decides the work."""
    return row[f"{row.get('statistic', 'median')}_s"]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a file, none if it is not there. A last line that a killed writer left half is not a row.

    Raises ValueError naming the line that is no row of this version, or that is there twice.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole, _, rest = content.rpartition(b"\n")
    lines = whole.split(b"\n") if whole else []
    rows = [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    if _is_row(rest):
        rows.append(json.loads(rest))
    keys = [key_of(row) for row in rows]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise ValueError(f"{path}:{number + 1}: the row {key} is there twice; remove one of the two lines")
    return rows


def append_row(path: Path, row: Row) -> bool:
    """Append a row and return True; False when a row of its key is there already.

    Written behind what is there and synced to the disk while the file is locked: a writer that is killed at any
    moment leaves all earlier rows as they were, and at most a half line that the next one takes away.
    Raises ValueError as `read_rows`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"schema": SCHEMA, "version": VERSION, **row}, sort_keys=True, allow_nan=False)
    with path.open("a+b") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        if key_of(row) in [key_of(one) for one in read_rows(path)]:
            return False
        _mend(path)
        stream.write(line.encode("ascii") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    return True


def _mend(path: Path) -> None:
    """End the file with a whole line."""
    content = path.read_bytes()
    whole, newline, rest = content.rpartition(b"\n")
    if not rest:
        return
    with path.open("r+b") as stream:
        if _is_row(rest):  # only its newline is missing
            stream.seek(0, os.SEEK_END)
            stream.write(b"\n")
        else:
            stream.truncate(len(whole) + len(newline))


def _is_row(line: bytes) -> bool:
    try:
        _parse(line, "")
    except ValueError:
        return False
    return True


def _parse(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{place}: is damaged ({error}); take it back from version control") from error
    if not isinstance(row, dict) or row.get("schema") != SCHEMA or row.get("version") != VERSION:
        raise ValueError(f"{place}: is not a row of {SCHEMA} version {VERSION}")
    missing = [name for name in KEY if name not in row]
    if missing:
        raise ValueError(f"{place}: {', '.join(missing)} is missing")
    return row


def pack_bits(correct: Sequence[bool] | np.ndarray) -> dict[str, Any]:
    """Which samples were right, (n,) bool, as text of a sixth of the length."""
    bits = np.asarray(correct, dtype=bool)
    return {"num_samples": len(bits), "bits": base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")}


def unpack_bits(packed: Mapping[str, Any]) -> np.ndarray:
    """The inverse of `pack_bits`: (n,) bool."""
    content = np.frombuffer(base64.b64decode(packed["bits"]), dtype=np.uint8)
    return np.unpackbits(content, count=packed["num_samples"]).astype(bool)

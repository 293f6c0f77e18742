"""Files that are there whole or not at all."""

import json
import math
import os
import tempfile
from typing import Any, Iterable

_MAX_DEPTH = 64


def write_bytes(path: str, data: bytes) -> None:
    """Replace `path` by `data`; after a crash the old or the new content is there, never a part.

    A link is followed. A device or a pipe is written to: replacing /dev/null, as root can, would break the machine.
    Raises OSError when the disk is full or the folder cannot be written; the old file is then untouched.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:
            stream.write(data)
        return
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".writing-", dir=folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error  # the name of the temporary helps nobody
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, path) from error
        raise


def canonical_json(value: Any) -> bytes:
    """The one serialisation of `value`: sorted keys, ASCII, no NaN, newline at the end."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False)
    return (text + "\n").encode("ascii")


def parse_json(data: bytes, encoding: str = "utf-8") -> Any:
    """The JSON value in `data`, if canonical_json can write it again.

    Raises ValueError on bytes that are not JSON, on NaN and infinity, and on deep nesting: such a value would fail
    only later, where it is printed or stored.
    """
    try:
        value = json.loads(data.decode(encoding), parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    containers = [value]
    for _ in range(_MAX_DEPTH):
        containers = [inner for outer in containers for inner in _inside(outer) if isinstance(inner, (dict, list))]
        if not containers:
            return value
    raise ValueError("nested deeper than %d levels" % _MAX_DEPTH)


def _inside(container: Any) -> Iterable[Any]:
    if isinstance(container, dict):
        return container.values()
    return container if isinstance(container, list) else ()


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("%s is not a finite number" % text)
    return value


def write_json(path: str, value: Any) -> None:
    """Write `value` as canonical JSON, atomically. Raises ValueError on NaN and infinity."""
    write_bytes(path, canonical_json(value))

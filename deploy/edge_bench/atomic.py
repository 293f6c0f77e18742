"""Files that are there whole or not at all."""

import contextlib
import json
import math
import os
import secrets
from typing import Any, BinaryIO, Dict, Iterable, Iterator, List, Tuple

_MAX_DEPTH = 64


def write_bytes(path: str, data: bytes) -> None:
    """Replace `path` by `data`, as `replacing` does."""
    with replacing(path) as stream:
        stream.write(data)


@contextlib.contextmanager
def replacing(path: str) -> Iterator[BinaryIO]:
    """A stream whose content replaces `path` at the end of the block; after a crash, or an error inside of the block,
    the old or the new content is there, never a part.

    A link is followed. A device or a pipe is written to: replacing /dev/null, as root can, would break the machine.
    Raises OSError when the disk is full or the folder cannot be written; the old file is then untouched.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as stream:
            yield stream
        return
    path = os.path.realpath(path)
    # Named before it is made: an interrupt finds it at any moment.
    temporary = os.path.join(os.path.dirname(path), ".writing-" + secrets.token_hex(8))
    try:
        with open(temporary, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename in (None, temporary):
            raise OSError(error.errno, error.strerror, path) from error  # the name of the temporary helps nobody
        raise


def canonical_json(value: Any) -> bytes:
    """The one serialisation of `value`: sorted keys, ASCII, no NaN, newline at the end."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False)
    return (text + "\n").encode("ascii")


def parse_json(data: bytes, encoding: str = "utf-8") -> Any:
    """The JSON value in `data`, if canonical_json can write it again.

    Raises ValueError on bytes that are not JSON, on NaN and infinity, and on deep nesting: such a value would fail
    only later, where it is printed or stored. So it does on whole numbers of more than 64 bits, which other languages
    do not have, and on a key that comes twice, of which another reader may take the other.
    """
    try:
        value = json.loads(
            data.decode(encoding),
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_int64,
            object_pairs_hook=_unique,
        )
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


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = {}  # type: Dict[str, Any]
    for key, value in pairs:
        if key in found:
            raise ValueError("the key %r comes twice" % key[:100])
        found[key] = value
    return found


def _int64(text: str) -> int:
    # The length first: old releases take minutes to convert a million digits.
    if len(text) > 20 or not -(1 << 63) <= int(text) < 1 << 63:
        raise ValueError("%s... has more than 64 bits" % text[:20])
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("%s is not a finite number" % text)
    return value


def write_json(path: str, value: Any) -> None:
    """Write `value` as canonical JSON, atomically. Raises ValueError on NaN and infinity."""
    write_bytes(path, canonical_json(value))

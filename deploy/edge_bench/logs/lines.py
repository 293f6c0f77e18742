"""Logs as lines: from a file or a pipe as they come, with a bound on what is held of each, and what wrote them."""

import contextlib
import io
import itertools
import re
import sys
from typing import BinaryIO, Iterator, NamedTuple

from edge_bench.errors import EdgeBenchError
from edge_bench.logs.tegrastats import parse_line

# More than the longest line of which anything is used (tegrastats.MAX_CHARACTERS), so that a cut shows there.
MAX_LINE_BYTES = (1 << 16) + 1024
TEGRASTATS, TRTEXEC_JSON, TRTEXEC_TEXT = "tegrastats", "trtexec-json", "trtexec-text"

_BOM = b"\xef\xbb\xbf"
# So much is looked at for a sign of what it is: a verbose trtexec has its banner on top, a board's start-up text not.
_MAX_HEAD_BYTES = 4 << 20
# And so much where JSON may begin with blank lines.
_MAX_BLANK_BYTES = 1 << 12
# A wrapper's "[2018-08-23 16:30:36] :" begins with a bracket too.
_JSON_LIST = re.compile(rb"\s*\[\s*(?:\{|\]|\Z)")
_TRTEXEC_TEXT = re.compile(rb"&&&& [A-Z]+ TensorRT\.trtexec|=== Performance summary ===")


class Line(NamedTuple):
    """A line without its end, and whether it had one: the last line of a program that was killed has none."""

    text: str
    has_end: bool


class Head(NamedTuple):
    """What wrote a log (empty: nothing that is known), and what was read of it to find out."""

    kind: str
    data: bytes


@contextlib.contextmanager
def open_log(path: str) -> Iterator[BinaryIO]:
    """A stream of a file, or of stdin for `-`. Raises EdgeBenchError where it cannot be opened."""
    if path == "-":
        if sys.stdin is None:
            raise EdgeBenchError("stdin is closed; give the name of a file, or pipe the log in")
        yield sys.stdin.buffer
        return
    try:
        stream = open(path, "rb")  # noqa: SIM115 - errors of the caller's block are not errors of this file
    except OSError as error:
        raise EdgeBenchError("log %s: cannot be read: %s" % (path, error.strerror or error)) from error
    with stream:
        yield stream


def read_lines(stream: BinaryIO, head: bytes = b"") -> Iterator[Line]:
    """The lines of a stream; of a longer one than MAX_LINE_BYTES its begin. `head` was read of the stream before.

    Raises EdgeBenchError where the rest cannot be read.
    """
    pieces = itertools.chain(_pieces(io.BytesIO(head)), _pieces(stream))
    line, is_first = b"", True
    for piece in pieces:
        if is_first and piece.startswith(_BOM):
            piece = piece[len(_BOM) :]
        is_first = False
        if len(line) < MAX_LINE_BYTES:
            line += piece
        if piece.endswith(b"\n"):
            yield Line(line.decode("utf-8", "replace").rstrip("\r\n"), True)
            line = b""
    if line:
        yield Line(line.decode("utf-8", "replace").rstrip("\r"), False)


def read_rest(stream: BinaryIO, head: bytes, max_bytes: int) -> bytes:
    """All of a stream. Raises EdgeBenchError where it is longer, or cannot be read."""
    try:
        data = head + stream.read(max(max_bytes + 1 - len(head), 0))
    except OSError as error:
        raise _unreadable(error) from error
    if len(data) > max_bytes:
        raise EdgeBenchError("the log is longer than %d MiB; take a shorter run of trtexec" % (max_bytes >> 20))
    return data


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    while True:
        try:
            piece = stream.readline(MAX_LINE_BYTES)
        except OSError as error:
            raise _unreadable(error) from error
        if not piece:
            return
        yield piece


def _unreadable(error: OSError) -> EdgeBenchError:
    return EdgeBenchError("the log cannot be read further: %s" % (error.strerror or error))


def detect(stream: BinaryIO) -> Head:
    """What wrote the log, read no further than to the first sign of it."""
    data = bytearray()
    for piece in _pieces(stream):
        data += piece
        if len(data) - len(piece) < _MAX_BLANK_BYTES and _JSON_LIST.match(bytes(data[:MAX_LINE_BYTES])):
            return Head(TRTEXEC_JSON, bytes(data))
        if _TRTEXEC_TEXT.search(piece):
            return Head(TRTEXEC_TEXT, bytes(data))
        if parse_line(piece.decode("utf-8", "replace")) is not None:
            return Head(TEGRASTATS, bytes(data))
        if len(data) > _MAX_HEAD_BYTES:
            break
    return Head("", bytes(data))

"""An image in memory, and how large one may be."""

import zlib
from typing import BinaryIO, NamedTuple, Sequence

from edge_bench.errors import ImageError

# Twice what the largest phone cameras that are in use give; a Jetson Nano has 4 GB for everything.
MAX_PIXELS = 100 * 1000 * 1000
# Grey, RGB, RGBA and what a network of the user's own takes.
MAX_CHANNELS = 64
# Of a file, and of one that is compressed by gzip.
_READ_ERRORS = (OSError, EOFError, ValueError, zlib.error)
_CHUNK = 1 << 24


class Image(NamedTuple):
    """8-bit pixels in rows, channels of a pixel together (height x width x channels)."""

    width: int
    height: int
    channels: int
    pixels: bytes


class Shape(NamedTuple):
    """What a network takes."""

    channels: int
    height: int
    width: int

    @property
    def num_bytes(self) -> int:
        return self.channels * self.height * self.width


def pixels_of_floats(name: str, values: Sequence[float]) -> bytes:
    """float32 from 0 to 1 as 8-bit pixels. Raises ImageError for other numbers."""
    # Written so that NaN fails too.
    if not all(0.0 <= value <= 1.0 for value in values):
        raise ImageError(
            "%s: is float32 with numbers outside of 0 to 1, which images have here (normalised already?); save it as "
            "uint8 from 0 to 255" % name
        )
    return bytes([int(value * 255.0 + 0.5) for value in values])


def check_size(name: str, width: int, height: int, channels: int) -> None:
    """Raises ImageError for an image that has no pixels, or more than anybody means: before memory is asked for."""
    if width < 1 or height < 1 or not 1 <= channels <= MAX_CHANNELS:
        raise ImageError("%s: claims %d x %d pixels of %d channel(s): damaged" % (name, width, height, channels))
    if width * height > MAX_PIXELS:
        raise ImageError(
            "%s: claims %d x %d pixels, more than %d million: damaged, or scale it down first"
            % (name, width, height, MAX_PIXELS // 1000000)
        )


def read_some(name: str, stream: BinaryIO, num_bytes: int) -> bytes:
    """At most so many bytes; none at the end. Raises ImageError where the file or its compression is damaged."""
    try:
        return stream.read(num_bytes)
    except _READ_ERRORS as error:
        raise ImageError("%s: cannot be read: %s" % (name, error)) from error


def read_all(name: str, stream: BinaryIO, limit: int) -> bytes:
    """All that is left, memory growing with it. Raises ImageError for more than `limit` bytes."""
    content = bytearray()
    while True:
        part = read_some(name, stream, _CHUNK)
        if not part:
            return bytes(content)
        content += part
        if len(content) > limit:
            raise ImageError("%s: has more than %d bytes: no image" % (name, limit))


def read_exactly(name: str, stream: BinaryIO, num_bytes: int) -> bytes:
    """So many bytes; memory grows with what comes, not with what was promised. Raises ImageError when less come."""
    parts, missing = [], num_bytes
    while missing:
        part = read_some(name, stream, min(missing, _CHUNK))
        if not part:
            raise ImageError(
                "%s: cut short: its header promises %d bytes of pixels, %d are there; copy it again"
                % (name, num_bytes, num_bytes - missing)
            )
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)

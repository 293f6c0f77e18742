"""Pixels of the network's own size without any header: uint8, or float32 from 0 to 1, and nothing says which.

A file's size says it mostly; where it fits both (four images of uint8 are as large as one of float32) the content
does: nearly no four bytes of a picture make a float32 that anybody would store.
"""

import array
import sys
from typing import BinaryIO, Optional

from edge_bench.errors import ImageError
from edge_bench.images.image import Image, Shape, pixels_of_floats, read_exactly, read_some

RAW_SUFFIXES = (".raw", ".bin", ".rgb", ".gray", ".grey")
# Pixels, also normalised ones, are zero or between these in size.
_LEAST, _MOST = 1e-6, 1e3


class RawReader:
    """Image after image, height x width x channels.

    num_bytes: size of the whole, where it is known. start: the first bytes of a file, as many as one image of float32
    has; of a stream none, and it is uint8. taken_as: what it was taken for, in words.
    """

    def __init__(self, name: str, stream: BinaryIO, shape: Shape, num_bytes: Optional[int] = None, start: bytes = b""):
        """Raises ImageError when the size fits neither, or it is float32 of other numbers."""
        self._name, self._stream, self._shape = name, stream, shape
        num_float_bytes = 4 * shape.num_bytes
        if num_bytes is not None and (num_bytes == 0 or num_bytes % shape.num_bytes):
            raise ImageError(
                "%s: %d bytes are no raw images of the network's size (%d x %d pixels of %d channel(s): %d bytes each "
                "as uint8, %d as float32)"
                % (name, num_bytes, shape.width, shape.height, shape.channels, shape.num_bytes, num_float_bytes)
            )
        fits = num_bytes is None or num_bytes % num_float_bytes == 0
        self._is_float = fits and len(start) == num_float_bytes and _looks_like_float32(start)
        if self._is_float:
            pixels_of_floats(name, _floats(start))  # all of the file is refused, before any of it is classified
        kind = "float32 from 0 to 1" if self._is_float else "uint8"
        self.taken_as = "raw pixels of %s, height %d x width %d x %d channel(s)" % (
            kind,
            shape.height,
            shape.width,
            shape.channels,
        )
        self._first = b""

    def has_more(self) -> bool:
        self._first = self._first or read_some(self._name, self._stream, 1)
        return bool(self._first)

    def read(self) -> Image:
        """The next image. Raises ImageError when the stream ends in the middle of it."""
        start, self._first = self._first, b""
        num_bytes = self._shape.num_bytes * (4 if self._is_float else 1)
        content = start + read_exactly(self._name, self._stream, num_bytes - len(start))
        pixels = pixels_of_floats(self._name, _floats(content)) if self._is_float else content
        return Image(self._shape.width, self._shape.height, self._shape.channels, pixels)


def _looks_like_float32(content: bytes) -> bool:
    """Whether all numbers are of a size that pixels have, and some of them not four equal bytes, as of a plain grey."""
    values = _floats(content)
    if not all(value == 0.0 or _LEAST <= abs(value) <= _MOST for value in values):  # NaN and infinity fail too
        return False
    return any(len(set(content[at : at + 4])) > 1 for at in range(0, len(content), 4))


def _floats(content: bytes) -> "array.array[float]":
    values = array.array("f", content)
    if sys.byteorder == "big":
        values.byteswap()
    return values

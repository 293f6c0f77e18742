"""Arrays that numpy saved: .npy of uint8, or of float32 from 0 to 1.

Format: numpy.lib.format, versions 1.0 to 3.0: the magic, two bytes of version, the length of a header that is the
literal of a dictionary, then the numbers. Objects, which are pickles and run code when they are read, are refused.
"""

import array
import ast
import re
import struct
import sys
from typing import Any, BinaryIO, Dict, Optional, Set, Tuple

from edge_bench.errors import ImageError
from edge_bench.images.image import Image, check_size, pixels_of_floats, read_exactly

MAGIC = b"\x93NUMPY"
# Headers of plain arrays have 128 bytes. Old compilers of Python crash on literals that are nested deeply.
_MAX_HEADER_BYTES = 4096
_MAX_BRACKETS = 8
_NUM_BYTES = {"|u1": 1, "<u1": 1, ">u1": 1, "<f4": 4, ">f4": 4}


class NpyReader:
    """The images of a file: height x width, height x width x channels, or several of these (N first).

    `num_bytes` is its whole size where that is known; `channels` what the network takes, beside 1, 3 and 4.
    """

    def __init__(self, name: str, stream: BinaryIO, num_bytes: Optional[int], channels: int):
        self._name = name
        self._stream = stream
        header, header_bytes = _read_header(name, stream)
        self._kind = header["descr"]
        if not isinstance(self._kind, str) or self._kind not in _NUM_BYTES:
            raise ImageError(
                "%s: holds %r; images are uint8 from 0 to 255 or float32 from 0 to 1: save it with .astype('uint8')"
                % (name, self._kind)
            )
        if header["fortran_order"] is not False:
            raise ImageError("%s: is in Fortran order; save numpy.ascontiguousarray of it" % name)
        self.num_images, height, width, num_channels = _layout(name, header["shape"], {1, 3, 4, channels})
        check_size(name, width, height, num_channels)
        self._image = Image(width, height, num_channels, b"")
        expected = self.num_images * height * width * num_channels * _NUM_BYTES[self._kind] + header_bytes
        if num_bytes is not None and num_bytes != expected:
            raise ImageError(
                "%s: an array of shape %s needs %d bytes, the file has %d: damaged or cut short"
                % (name, header["shape"], expected, num_bytes)
            )
        self._num_read = 0

    def has_more(self) -> bool:
        return self._num_read < self.num_images

    def read(self) -> Image:
        """The next image. Raises ImageError when the file ends before it, or its numbers are none of an image."""
        width, height, channels, _ = self._image
        content = read_exactly(self._name, self._stream, width * height * channels * _NUM_BYTES[self._kind])
        self._num_read += 1
        return self._image._replace(pixels=content if self._kind.endswith("u1") else self._from_floats(content))

    def _from_floats(self, content: bytes) -> bytes:
        values = array.array("f", content)
        if (self._kind[0] == ">") != (sys.byteorder == "big"):
            values.byteswap()
        return pixels_of_floats(self._name, values)


def _read_header(name: str, stream: BinaryIO) -> Tuple[Dict[str, Any], int]:
    """The header's three values, and the place where the numbers begin."""
    start = read_exactly(name, stream, 8)
    if start[:6] != MAGIC or start[6] not in (1, 2, 3):
        raise ImageError("%s: is no .npy file of version 1, 2 or 3" % name)
    width = 2 if start[6] == 1 else 4
    (length,) = struct.unpack("<H" if width == 2 else "<I", read_exactly(name, stream, width))
    if length > _MAX_HEADER_BYTES:
        raise ImageError("%s: its header claims %d bytes: no plain array, or damaged" % (name, length))
    text = read_exactly(name, stream, length).decode("utf-8", "replace")
    header = None  # type: Any
    if len(re.findall(r"[(\[{]", text)) <= _MAX_BRACKETS:
        try:
            header = ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            header = None
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ImageError("%s: its header is not that of a plain array: damaged" % name)
    return header, 8 + width + length


def _layout(name: str, shape: Any, channels: Set[int]) -> Tuple[int, int, int, int]:
    """(images, height, width, channels) of an array of this shape; one that could be read in two ways is refused."""
    plain = isinstance(shape, tuple) and all(type(size) is int and 0 < size < 1 << 31 for size in shape)
    if plain and len(shape) == 2:
        return 1, shape[0], shape[1], 1
    if plain and len(shape) == 3 and shape[2] in channels:
        return 1, shape[0], shape[1], shape[2]
    if plain and len(shape) == 3 and shape[0] not in channels:
        return shape[0], shape[1], shape[2], 1
    if plain and len(shape) == 4 and shape[3] in channels:
        return shape[0], shape[1], shape[2], shape[3]
    raise ImageError(
        "%s: shape %s is not height x width, height x width x channels or N x height x width x channels; "
        "of channels first save .transpose(1, 2, 0), of several .transpose(0, 2, 3, 1)" % (name, str(shape)[:100])
    )

"""IDX, the format of MNIST: images and labels, several in one file.

Format: http://yann.lecun.com/exdb/mnist/ - a magic number (0, 0, type 8 = unsigned byte, number of dimensions), one
big-endian 32-bit size per dimension, then the bytes.
"""

import struct
from typing import BinaryIO, List, Optional, Tuple

from edge_bench.errors import ImageError
from edge_bench.images.image import Image, check_size, read_exactly, read_some

MAGIC = b"\x00\x00\x08"
# A label is a byte; a hundred times the largest of these data sets.
_MAX_LABELS = 100 * 1000 * 1000


class IdxReader:
    """The images of a file; `num_bytes` is its whole size where that is known (not inside of a .gz)."""

    def __init__(self, name: str, stream: BinaryIO, num_bytes: Optional[int] = None):
        self._name = name
        self._stream = stream
        sizes = _read_sizes(name, stream, (3, 4))
        self.num_images, height, width = sizes[:3]
        channels = sizes[3] if len(sizes) == 4 else 1
        check_size(name, width, height, channels)
        self._image = Image(width, height, channels, b"")
        _check_length(name, sizes, num_bytes)
        self._num_read = 0

    def has_more(self) -> bool:
        return self._num_read < self.num_images

    def read(self) -> Image:
        """The next image. Raises ImageError when the file ends before it."""
        width, height, channels, _ = self._image
        pixels = read_exactly(self._name, self._stream, width * height * channels)
        self._num_read += 1
        if not self.has_more():
            _check_end(self._name, self._stream)
        return self._image._replace(pixels=pixels)


def read_labels(name: str, stream: BinaryIO, num_bytes: Optional[int] = None) -> List[int]:
    """The classes in a file of labels. Raises ImageError when it is none, or damaged."""
    sizes = _read_sizes(name, stream, (1,))
    if sizes[0] > _MAX_LABELS:
        raise ImageError("%s: claims %d labels: damaged" % (name, sizes[0]))
    _check_length(name, sizes, num_bytes)
    labels = list(read_exactly(name, stream, sizes[0]))
    _check_end(name, stream)
    return labels


def _read_sizes(name: str, stream: BinaryIO, allowed: Tuple[int, ...]) -> List[int]:
    magic = read_exactly(name, stream, 4)
    if magic[:3] != MAGIC or magic[3] not in allowed:
        raise ImageError(
            "%s: its magic number is 0x%s, not that of an IDX file of unsigned bytes in %s dimension(s)"
            % (name, "".join("%02x" % byte for byte in bytearray(magic)), " or ".join(map(str, allowed)))
        )
    sizes = list(struct.unpack(">%dI" % magic[3], read_exactly(name, stream, 4 * magic[3])))
    if sizes[0] < 1:
        raise ImageError("%s: is an IDX file of nothing" % name)
    return sizes


def _check_end(name: str, stream: BinaryIO) -> None:
    """Reading the end is also what compares the checksum of a .gz."""
    if read_some(name, stream, 1):
        raise ImageError("%s: holds more than its header says: damaged; copy it again" % name)


def _check_length(name: str, sizes: List[int], num_bytes: Optional[int]) -> None:
    expected = 4 + 4 * len(sizes)
    content = 1
    for size in sizes:
        content *= size
    if num_bytes is not None and num_bytes != expected + content:
        raise ImageError(
            "%s: sizes %s need %d bytes, the file has %d: damaged or cut short; copy it again"
            % (name, " x ".join(map(str, sizes)), expected + content, num_bytes)
        )

"""PGM and PPM, plain (P2, P3) and binary (P5, P6), with comments and any maximum up to 65535.

Format: the pages pgm(5) and ppm(5) of Netpbm. Several binary images may follow one another, as on a pipe.
"""

import array
import sys
from typing import BinaryIO, List, Optional, Tuple

from edge_bench.errors import ImageError
from edge_bench.images.image import Image, check_size, read_exactly, read_some

MAGICS = (b"P2", b"P3", b"P5", b"P6")
_BLANKS = b" \t\n\v\f\r"
_DIGITS = b"0123456789"
# A header is a dozen bytes; comments of programs and cameras make it longer.
_MAX_HEADER_BYTES = 1 << 16
_MAX_VALUE = 65535
_CHUNK = 1 << 20


class PnmReader:
    """The images of a stream, one after another; `num_bytes` is its whole size where that is known."""

    def __init__(self, name: str, stream: BinaryIO, num_bytes: Optional[int] = None):
        self._name = name
        self._stream = stream
        self._left = num_bytes
        self._first = b""
        self._is_plain = False

    def has_more(self) -> bool:
        """Whether something follows but blanks; of a plain image the file is one."""
        while not self._is_plain and self._first in (b"", b" ", b"\n", b"\r", b"\t"):
            self._first = self._byte()
            if not self._first:
                return False
        return not self._is_plain

    def read(self) -> Image:
        """The next image. Raises ImageError when it is damaged, cut short or too large."""
        magic, self._first = self._first or self._byte(), b""
        magic += self._byte()
        if magic not in MAGICS:
            raise ImageError("%s: begins with %r, not with one of P2, P3, P5, P6" % (self._name, magic))
        width, height, maximum = self._header()
        channels = 3 if magic in (b"P3", b"P6") else 1
        check_size(self._name, width, height, channels)
        if not 0 < maximum <= _MAX_VALUE:
            raise ImageError("%s: its maximum is %d, not 1 to %d: damaged" % (self._name, maximum, _MAX_VALUE))
        num_values = width * height * channels
        if magic in (b"P2", b"P3"):
            self._is_plain = True
            pixels = _to_8_bits(self._name, self._plain_values(num_values), maximum)
        else:
            pixels = self._binary_pixels(num_values, maximum)
        return Image(width, height, channels, pixels)

    def _binary_pixels(self, num_values: int, maximum: int) -> bytes:
        num_bytes = num_values * (2 if maximum > 255 else 1)
        if self._left is not None and num_bytes > self._left:
            raise ImageError(
                "%s: cut short: its header promises %d bytes of pixels, %d are there; copy it again"
                % (self._name, num_bytes, self._left)
            )
        raster = read_exactly(self._name, self._stream, num_bytes)
        if self._left is not None:
            self._left -= num_bytes
        if maximum == 255:
            return raster
        if maximum == _MAX_VALUE:
            return raster[::2]  # the upper byte comes first, and it is what counts
        values = array.array("H" if maximum > 255 else "B")
        values.frombytes(raster)
        if maximum > 255 and sys.byteorder == "little":
            values.byteswap()
        return _to_8_bits(self._name, values, maximum)

    def _plain_values(self, num_values: int) -> "array.array[int]":
        # Each value takes two bytes at least, its digit and a blank.
        if self._left is not None and 2 * num_values - 1 > self._left:
            raise ImageError("%s: cut short: %d values cannot stand in its bytes" % (self._name, num_values))
        values = array.array("H")
        pending, in_comment = b"", False
        while len(values) < num_values:
            chunk = self._chunk(_CHUNK)
            text, in_comment = _without_comments(pending + chunk, in_comment)
            # The last word may go on in the next chunk.
            cut = len(text) if not chunk else max(map(text.rfind, (b" ", b"\n", b"\t", b"\r", b"\v", b"\f"))) + 1
            words, pending = text[:cut], text[cut:]
            if len(pending) > 5 or words.translate(None, _BLANKS + _DIGITS):
                raise ImageError("%s: holds something that is not a number: damaged" % self._name)
            try:
                values.extend(map(int, (word for word in words.split()[: num_values - len(values)] if _is_short(word))))
            except OverflowError:
                raise ImageError("%s: holds a number above %d: damaged" % (self._name, _MAX_VALUE)) from None
            if not chunk and len(values) < num_values:
                raise ImageError(
                    "%s: cut short: %d values of %d; copy it again" % (self._name, len(values), num_values)
                )
        return values

    def _header(self) -> Tuple[int, int, int]:
        budget = _MAX_HEADER_BYTES
        numbers: List[int] = []
        char = self._byte()
        if not char or char not in _BLANKS + b"#":
            raise self._bad_header()
        while len(numbers) < 3:
            digits = b""
            while char and char in _BLANKS + b"#":
                budget -= self._skip_comment(budget) if char == b"#" else 1
                char = self._byte() if budget > 0 else b""
            while char and char in _DIGITS and len(digits) < 10:
                digits += char
                char = self._byte()
            if not digits or not char or char not in _BLANKS + b"#":
                raise self._bad_header()
            numbers.append(int(digits))
        if char == b"#":
            self._skip_comment(budget)
        return numbers[0], numbers[1], numbers[2]

    def _bad_header(self) -> ImageError:
        return ImageError("%s: its header is no header of PGM or PPM: damaged or cut short" % self._name)

    def _skip_comment(self, budget: int) -> int:
        """Read to the end of the line; how many bytes that took."""
        num_bytes = 1
        while num_bytes < budget:
            char = self._byte()
            num_bytes += 1
            if char in (b"\n", b"\r", b""):
                break
        return num_bytes

    def _byte(self) -> bytes:
        return self._chunk(1)

    def _chunk(self, num_bytes: int) -> bytes:
        chunk = read_some(self._name, self._stream, num_bytes)
        if self._left is not None:
            self._left -= len(chunk)
        return chunk


def _without_comments(text: bytes, in_comment: bool) -> Tuple[bytes, bool]:
    """The text without `# ...` to the end of the line, and whether it ends inside of one."""
    if not in_comment and b"#" not in text:
        return text, False
    lines = text.split(b"\n")
    for number, line in enumerate(lines):
        if number or not in_comment:
            kept, mark, _ = line.partition(b"#")
            lines[number], in_comment = kept, bool(mark)
        else:
            lines[number] = b""
    # Only an unfinished last line can still be inside.
    return b"\n".join(lines), in_comment


def _is_short(word: bytes) -> bool:
    """Old releases of Python take minutes to convert a million digits."""
    if len(word) > 5:
        raise OverflowError
    return True


def _to_8_bits(name: str, values: "array.array[int]", maximum: int) -> bytes:
    """Values up to `maximum` as 0 to 255; of more than 8 bits the upper 8 count, after scaling to all 16."""
    if max(values) > maximum:
        raise ImageError("%s: holds %d, its maximum is said to be %d: damaged" % (name, max(values), maximum))
    full = 255 if maximum <= 255 else _MAX_VALUE
    if maximum == 255:
        return bytes(values.tolist())  # of the values, not of their memory
    shift = 0 if full == 255 else 8
    table = [(2 * value * full + maximum) // (2 * maximum) >> shift for value in range(maximum + 1)]
    return bytes(map(table.__getitem__, values))

"""From a file of images to pixels: what we read ourselves, and the libraries that read the rest where installed."""

import array
import gzip
import io
import os
import stat
from typing import Any, BinaryIO, Optional, cast

from edge_bench.errors import ImageError
from edge_bench.images.idx import MAGIC as IDX_MAGIC
from edge_bench.images.idx import IdxReader
from edge_bench.images.image import MAX_PIXELS, Image, Shape, check_size, read_all, read_some
from edge_bench.images.npy import MAGIC as NPY_MAGIC
from edge_bench.images.npy import NpyReader
from edge_bench.images.pnm import MAGICS as PNM_MAGICS
from edge_bench.images.pnm import PnmReader
from edge_bench.images.raw import RAW_SUFFIXES, RawReader

GZIP_MAGIC = b"\x1f\x8b"
# Sixteen bits of three channels for each pixel that an image may have.
_MAX_FILE_BYTES = 6 * MAX_PIXELS


class LibraryReader:
    """JPEG, PNG and what else Pillow or OpenCV read: one image a file."""

    def __init__(self, name: str, stream: BinaryIO):
        self._name, self._stream = name, stream

    def has_more(self) -> bool:
        return False

    def read(self) -> Image:
        return _by_library(self._name, read_all(self._name, self._stream, _MAX_FILE_BYTES))


def open_reader(path: str, shape: Shape) -> Any:
    """A reader (has_more, read) of the images in a file, chosen by its content; .gz is unpacked on the way.

    shape: what the network takes, which is the size of raw images. Raises ImageError. `close_reader` gives the file
    back.
    """
    stream = _open_file(path)
    try:
        reader = _reader_of(path, stream, shape)
    except BaseException:
        stream.close()
        raise
    reader.file = stream
    return reader


def _open_file(path: str) -> BinaryIO:
    try:
        # Without O_NONBLOCK, opening a fifo waits until something writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise ImageError("%s: cannot be read: %s" % (path, error.strerror)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ImageError("%s: is no plain file; for a stream give - and send it to stdin" % path)
    return os.fdopen(descriptor, "rb")


def _reader_of(path: str, stream: BinaryIO, shape: Shape) -> Any:
    num_bytes = os.fstat(stream.fileno()).st_size  # type: Optional[int]
    suffix = os.path.splitext(path[:-3] if path.endswith(".gz") else path)[1].lower()
    if _peek(path, stream, 2) == GZIP_MAGIC:
        stream, num_bytes = cast(BinaryIO, gzip.GzipFile(fileobj=stream, mode="rb")), None
    if suffix in RAW_SUFFIXES:
        return RawReader(path, stream, shape, num_bytes, _peek(path, stream, 4 * shape.num_bytes))
    start = _peek(path, stream, 8)
    if not start:
        raise ImageError("%s: is empty" % path)
    if start[:2] in PNM_MAGICS:
        return PnmReader(path, stream, num_bytes)
    if start[:6] == NPY_MAGIC:
        return NpyReader(path, stream, num_bytes, shape.channels)
    if start[:3] == IDX_MAGIC:
        return IdxReader(path, stream, num_bytes)
    return LibraryReader(path, stream)


def _peek(path: str, stream: BinaryIO, num_bytes: int) -> bytes:
    start = read_some(path, stream, num_bytes)
    stream.seek(0)
    return start


def _by_library(name: str, content: bytes) -> Image:
    """What Pillow decodes, else OpenCV. Raises ImageError with the command that installs one of them."""
    pillow = _import_pillow()
    if pillow is not None:
        return _by_pillow(pillow, name, content)
    # Read by the library as it is loaded; its own limit is ten times ours.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
    try:
        import cv2  # type: ignore[import-not-found,unused-ignore]
        import numpy
    except Exception:
        raise ImageError(
            "%s: neither PGM, PPM, IDX nor .npy, and no library is here that reads others; install one with "
            "`python3 -m pip install Pillow` (or `sudo apt install python3-pil`), or on another machine "
            "`convert %s x.ppm`" % (name, os.path.basename(name))
        ) from None
    return _by_opencv(cv2, numpy, name, content)


def _import_pillow() -> Optional[Any]:
    try:
        from PIL import Image as pillow
    except Exception:  # a broken installation raises more than ImportError
        return None
    return pillow


def _by_pillow(library: Any, name: str, content: bytes) -> Image:
    try:
        image = library.open(io.BytesIO(content))
        check_size(name, image.width, image.height, 3)
        if image.mode.startswith("I"):
            # More than 8 bits: Pillow's own conversion would turn all above 255 white; the upper 8 of 16 count.
            values = array.array("i", image.convert("I").tobytes())
            pixels = bytes([min(max(value, 0) >> 8, 255) for value in values])
            return Image(image.width, image.height, 1, pixels)
        image = image if image.mode == "L" else image.convert("RGB")
        return Image(image.width, image.height, len(image.getbands()), image.tobytes())
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds, up to SyntaxError and struct.error
        raise _not_decoded(name, "Pillow", error) from error


def _by_opencv(cv2: Any, numpy: Any, name: str, content: bytes) -> Image:
    try:
        kind = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(numpy.frombuffer(content, dtype=numpy.uint8), kind)
    except Exception as error:
        raise _not_decoded(name, "OpenCV", error) from error
    if pixels is None:
        raise _not_decoded(name, "OpenCV", "not an image, or damaged")
    height, width = pixels.shape[:2]
    check_size(name, width, height, 3)
    return Image(width, height, 3, pixels[:, :, ::-1].tobytes())  # OpenCV has blue first


def _not_decoded(name: str, library: str, reason: Any) -> ImageError:
    text = str(reason).replace("\n", " ")[:200]
    return ImageError("%s: %s cannot decode it (%s); repair or remove it" % (name, library, text))

"""What the user named, files, folders, patterns or a stream on stdin, as images one after another."""

import glob
import gzip
import os
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, Optional, Sequence, cast

from edge_bench.errors import EdgeBenchError, ImageError
from edge_bench.images.decode import GZIP_MAGIC, open_reader
from edge_bench.images.idx import read_labels
from edge_bench.images.image import Image, Shape
from edge_bench.images.pnm import MAGICS as PNM_MAGICS
from edge_bench.images.pnm import PnmReader
from edge_bench.images.raw import RAW_SUFFIXES, RawReader

# What of a folder is taken for an image; files that are named one by one may be called as they like.
SUFFIXES = RAW_SUFFIXES + (
    (".pgm", ".ppm", ".pnm", ".npy", ".idx", "-idx3-ubyte", "-idx4-ubyte", ".jpg", ".jpeg", ".png", ".bmp", ".gif")
    + (".webp", ".tif", ".tiff")
)


class Item:
    """One image to come: `load` reads and decodes it (ImageError when that fails), and may make `name` more exact.

    truth: its class where that is known. arrived_s: when a camera gave it, on the clock of time.perf_counter. taken_as:
    for what its file was taken that does not say it, once it is loaded; else empty.
    """

    def __init__(self, name: str, load: Callable[["Item"], Image], truth: Optional[int] = None):
        self.name = name
        self.truth = truth
        self.arrived_s = None  # type: Optional[float]
        self.taken_as = ""
        self._load = load

    def load(self) -> Image:
        return self._load(self)


def list_files(named: Sequence[str]) -> List[str]:
    """The files that are meant: patterns are expanded, folders give their images and those of the folders in them.

    Raises EdgeBenchError when a path is not there, or a folder has no images.
    """
    files = []  # type: List[str]
    for name in named:
        if os.path.isdir(name):
            found = _images_in(name)
            if not found:
                raise EdgeBenchError("%s: no images in it; looked for %s" % (name, ", ".join(SUFFIXES)))
            files.extend(found)
        elif os.path.exists(name):
            files.append(name)
        else:
            matches = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
            if not matches:
                raise EdgeBenchError("%s: no such file, folder or pattern of files" % name)
            files.extend(matches)
    return files


def _images_in(folder: str, depth: int = 1) -> List[str]:
    files = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.name.startswith("."):  # also what a Mac puts beside x.jpg, ._x.jpg
                continue
            if entry.is_dir() and depth:
                files.extend(_images_in(entry.path, depth - 1))
            elif entry.is_file() and is_image_name(entry.name):
                files.append(entry.path)
    return files


def is_image_name(name: str) -> bool:
    lower = name.lower()
    return (lower[:-3] if lower.endswith(".gz") else lower).endswith(SUFFIXES)


def items_of_files(files: Sequence[str], shape: Shape, truth: "Truth") -> Iterator[Item]:
    """The images of all files. One that cannot be read fails in its `load`; the others follow."""
    for path in files:
        reader = _FileReader(path, shape)
        try:
            first = True
            while first or reader.has_more():
                yield Item(path, reader.load, truth.of(path))
                first = False
        finally:
            reader.close()


class _FileReader:
    """The images of one file, opened when the first of them is loaded: opening is part of decoding."""

    def __init__(self, path: str, shape: Shape):
        self._path, self._shape = path, shape
        self._reader: Any = None
        self._num_loaded = 0
        self._has_failed = False

    def load(self, item: Item) -> Image:
        try:
            if self._reader is None:
                self._reader = open_reader(self._path, self._shape)
            item.taken_as = getattr(self._reader, "taken_as", "")
            image = self._reader.read()  # type: Image
            self._num_loaded += 1
            if self._num_loaded > 1 or getattr(self._reader, "num_images", 1) > 1:
                item.name = "%s[%d]" % (self._path, self._num_loaded - 1)
            return image
        except ImageError:
            self._has_failed = True
            raise
        except MemoryError:
            self._has_failed = True
            raise ImageError("%s: not enough memory for it; scale it down first" % self._path) from None

    def has_more(self) -> bool:
        try:
            return self._reader is not None and not self._has_failed and self._reader.has_more()
        except ImageError:
            return True  # the next `load` meets it again, and says so

    def close(self) -> None:
        if self._reader is not None:
            self._reader.file.close()


class _Joined:
    """A stream of which the first bytes were read already."""

    def __init__(self, start: bytes, stream: BinaryIO):
        self._start, self._stream = start, stream

    def read(self, num_bytes: int) -> bytes:
        if self._start:
            part, self._start = self._start[:num_bytes], self._start[num_bytes:]
            return part
        return self._stream.read(num_bytes)


def items_of_stream(stream: BinaryIO, shape: Shape) -> Iterator[Item]:
    """Frames from a pipe: PGM or PPM where it begins so, else raw images of the network's size. Ends with the stream.

    Nothing finds the next frame after a damaged one, so the stream ends there too.
    """
    start = stream.read(2)
    if not start:
        raise EdgeBenchError("stdin: nothing came; send PPM or raw frames, as `cat *.ppm | edge-bench classify B -`")
    joined = cast(BinaryIO, _Joined(start, stream))
    reader: Any = PnmReader("stdin", joined) if start in PNM_MAGICS else RawReader("stdin", joined, shape)
    state = {"failed": False}

    def load(item: Item) -> Image:
        item.taken_as = getattr(reader, "taken_as", "")
        try:
            return cast(Image, reader.read())
        except ImageError:
            state["failed"] = True
            raise

    number = 0
    while not state["failed"] and (number == 0 or reader.has_more()):
        yield Item("stdin[%d]" % number, load)
        number += 1


def count_images(path: str, shape: Shape) -> Optional[int]:
    """How many images a file's header says that it has; None where only reading it tells. Raises ImageError."""
    reader = open_reader(path, shape)
    reader.file.close()
    return getattr(reader, "num_images", None)


class Truth:
    """The classes that images have; by default none is known."""

    def of(self, _path: str) -> Optional[int]:
        """The class of the next image, which lies in this file. Raises ImageError when there is none."""
        return None


class FolderTruth(Truth):
    """The folder of an image is called like its class."""

    def __init__(self, files: Sequence[str], labels: Sequence[str]):
        """Raises EdgeBenchError when a folder is called like no label."""
        self._classes: Dict[str, int] = {}
        for number, label in enumerate(labels):
            self._classes.setdefault(label, number)
        for path in files:
            folder = _folder_name(path)
            if folder not in self._classes:
                raise EdgeBenchError(
                    "%s: its folder %r is not one of the network's labels (%s); name the folders after them, or leave "
                    "--labels out" % (path, folder, ", ".join(labels[:20]) or "it has none")
                )

    def of(self, path: str) -> Optional[int]:
        return self._classes[_folder_name(path)]


class ListedTruth(Truth):
    """The classes stand in an IDX file, in the order of the images of one file."""

    def __init__(self, path: str):
        """Raises ImageError when the file cannot be read or is no IDX file of labels."""
        try:
            with open(path, "rb") as plain:
                start = plain.read(2)
                plain.seek(0)
                zipped = start == GZIP_MAGIC
                stream = cast(BinaryIO, gzip.GzipFile(fileobj=plain, mode="rb")) if zipped else plain
                self._classes = read_labels(path, stream, None if zipped else os.fstat(plain.fileno()).st_size)
        except OSError as error:
            raise ImageError("%s: cannot be read: %s" % (path, error.strerror or error)) from error
        self.num_labels = len(self._classes)
        self.highest = max(self._classes)
        self._place = 0

    def of(self, _path: str) -> Optional[int]:
        self._place += 1
        return self._classes[(self._place - 1) % self.num_labels]


def _folder_name(path: str) -> str:
    return os.path.basename(os.path.dirname(os.path.abspath(path)))


def labels_beside(files: Sequence[str]) -> Optional[str]:
    """MNIST's own naming: beside the one file x-images-idx3-ubyte lies x-labels-idx1-ubyte, with or without .gz."""
    if len(files) != 1 or "images-idx3" not in os.path.basename(files[0]):
        return None
    folder, name = os.path.split(files[0])
    stem = name.replace("images-idx3", "labels-idx1")
    stem = stem[:-3] if stem.endswith(".gz") else stem
    candidates = [os.path.join(folder, stem + ending) for ending in ("", ".gz")]
    return next((path for path in candidates if os.path.isfile(path)), None)

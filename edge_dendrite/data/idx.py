"""The IDX files of MNIST, plain or gzip.

Format: http://yann.lecun.com/exdb/mnist/ - a magic number (0, 0, type 8 = unsigned byte, number of dimensions), one
big-endian 32-bit size per dimension, then the bytes.
"""

from __future__ import annotations

import functools
import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from edge_dendrite.data.dataset import DataSet, Split, hold_out, image_preprocessing
from edge_dendrite.errors import DataError

_IMAGES_MAGIC = 0x00000803
_LABELS_MAGIC = 0x00000801
# A billion bytes: far above any file of this family, so that a damaged header cannot ask for all memory.
_MAX_CONTENT_BYTES = 10**9


def read_mnist(folder: str | Path) -> DataSet:
    """MNIST, or another data set in its four files, from `folder`. A tenth of the training data validates.

    Raises DataError for a missing, truncated or damaged file, naming it.
    """
    folder = Path(folder)
    train = _read_pair(folder, "train")
    kept, held_out = hold_out(train)
    labels = tuple(str(number) for number in range(int(train.targets.max()) + 1))
    preprocessing = image_preprocessing(kept.inputs)
    _find(folder, "t10k-images-idx3-ubyte")  # missing test data are said before the training, not after it
    _find(folder, "t10k-labels-idx1-ubyte")

    @functools.cache
    def read_test() -> Split:
        test = _read_pair(folder, "t10k")
        if test.inputs.shape[1:] != train.inputs.shape[1:] or int(test.targets.max()) >= len(labels):
            raise DataError(f"{folder}: the test files do not fit the training files (image size or labels)")
        return test

    return DataSet("mnist", kept, held_out, read_test, labels, preprocessing)


def _read_pair(folder: Path, stem: str) -> Split:
    images_path, labels_path = (
        _find(folder, f"{stem}-images-idx3-ubyte"),
        _find(folder, f"{stem}-labels-idx1-ubyte"),
    )
    images, labels = read_idx(images_path, _IMAGES_MAGIC), read_idx(labels_path, _LABELS_MAGIC)
    if len(images) != len(labels):
        raise DataError(f"{images_path} holds {len(images)} images, {labels_path} {len(labels)} labels: not a pair")
    return Split(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long())


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    raise DataError(f"{folder}: neither {name}.gz nor {name} is there; put the four official IDX files into one folder")


def read_idx(path: Path, magic: int) -> np.ndarray:
    """The array of unsigned bytes in one IDX file whose magic number must be `magic`.

    Raises DataError when the magic number, a size or the length of the file is wrong.
    """
    num_dims = magic & 0xFF
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            header = stream.read(4 + 4 * num_dims)
            if len(header) < 4 + 4 * num_dims:
                raise DataError(f"{path}: truncated in its header ({len(header)} bytes)")
            found, *sizes = struct.unpack(f">{1 + num_dims}I", header)
            if found != magic:
                raise DataError(
                    f"{path}: magic number 0x{found:08x}, expected 0x{magic:08x}: not this kind of IDX file"
                )
            num_bytes = int(np.prod(sizes, dtype=object))
            if not 0 < num_bytes <= _MAX_CONTENT_BYTES:
                raise DataError(f"{path}: its header claims sizes {sizes}: the file is empty or damaged")
            content = stream.read(num_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); get the file again") from error
    if len(content) != num_bytes:
        seen = "more bytes" if len(content) > num_bytes else f"{len(content)} bytes"
        raise DataError(f"{path}: sizes {sizes} need {num_bytes} bytes, found {seen}; get the file again")
    return np.frombuffer(bytearray(content), dtype=np.uint8).reshape(sizes)

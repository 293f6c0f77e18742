from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from edge_dendrite.data.idx import read_idx, read_mnist
from edge_dendrite.errors import DataError


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + b"".join(struct.pack(">I", size) for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def folder(tmp_path):
    """Small files in MNIST's form; training plain, test as gzip."""
    generator = np.random.default_rng(0)
    for stem, count in (("train", 40), ("t10k", 12)):
        images = generator.integers(0, 256, (count, 6, 5))
        labels = np.arange(count) % 4
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(array)
            name = f"{stem}-{kind}-ubyte"
            if stem == "train":
                (tmp_path / name).write_bytes(content)
            else:
                (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))
    return tmp_path


def test_values_arrive(tmp_path):
    wanted = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "a").write_bytes(idx_bytes(wanted))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx_bytes(wanted)))
    assert np.array_equal(read_idx(tmp_path / "a", 0x803), wanted)
    assert np.array_equal(read_idx(tmp_path / "a.gz", 0x803), wanted)


def test_validation_comes_out_of_the_training_data_and_test_is_apart(folder):
    data = read_mnist(folder)
    assert (len(data.train), len(data.validation), len(data.read_test())) == (36, 4, 12)
    assert data.labels == ("0", "1", "2", "3")
    assert data.input_shape == (1, 6, 5)
    together = torch.cat([data.train.inputs, data.validation.inputs])
    assert len({tuple(image.flatten().tolist()) for image in together}) == 40
    assert torch.equal(read_mnist(folder).validation.inputs, data.validation.inputs)


def test_preprocessing_normalises_the_training_data(folder):
    data = read_mnist(folder)
    prepared = data.prepare(data.train.inputs)
    assert abs(float(prepared.mean())) < 1e-3
    assert abs(float(prepared.std(correction=0)) - 1) < 1e-3


def damage(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda b: b[:-1], "need 1200 bytes, found 1199"),
        ("train-images-idx3-ubyte", lambda b: b + b"x", "found more bytes"),
        ("train-images-idx3-ubyte", lambda b: b[:9], "truncated in its header"),
        ("train-images-idx3-ubyte", lambda b: b"", "truncated in its header"),
        ("train-images-idx3-ubyte", lambda b: b"\0\0\x08\x01" + b[4:], "magic number 0x00000801"),
        ("train-images-idx3-ubyte", lambda b: b[:4] + b"\xff" * 12 + b[16:], "claims sizes"),
        ("train-labels-idx1-ubyte", lambda b: b[:4] + struct.pack(">I", 39) + b[8:-1], "40 images, .* 39 labels"),
    ],
)
def test_damaged_training_files_are_named(folder, name, change, message):
    damage(folder, name, change)
    with pytest.raises(DataError, match=message) as caught:
        read_mnist(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize("change", [lambda b: b[:-9], lambda b: b[: len(b) // 2], lambda b: b"not gzip", lambda b: b""])
def test_damaged_gzip_is_named(folder, change):
    damage(folder, "t10k-images-idx3-ubyte.gz", change)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte.gz"):
        read_mnist(folder).read_test()


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte.gz"])
def test_a_missing_file_is_said_at_once(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=name.removesuffix(".gz")):
        read_mnist(folder)


def test_test_files_of_another_data_set_are_refused(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(np.full(12, 9))))
    with pytest.raises(DataError, match="do not fit"):
        read_mnist(folder).read_test()

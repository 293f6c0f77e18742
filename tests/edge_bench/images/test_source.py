"""What a user names becomes images in order; what is broken fails alone; where the truth comes from."""

import gzip
import io
import os
import struct

import pytest

from edge_bench.errors import EdgeBenchError, ImageError
from edge_bench.images.image import Shape
from edge_bench.images.source import (
    FolderTruth,
    ListedTruth,
    Truth,
    items_of_files,
    items_of_stream,
    labels_beside,
    list_files,
)

SHAPE = Shape(1, 2, 2)


def write(folder, name, content=b"P5 1 1 255\nx"):
    path = os.path.join(str(folder), *name.split("/"))
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with open(path, "wb") as stream:
        stream.write(content)
    return path


def loaded(items):
    """(name, pixels or the error's text) of each."""
    found = []
    for item in items:
        try:
            pixels = item.load().pixels
        except ImageError as error:
            pixels = str(error)
        found.append((os.path.basename(item.name), pixels))
    return found


def test_folders_patterns_and_files_in_order(tmp_path):
    for name in ("b/2.pgm", "b/1.PPM", "b/sub/3.npy", "b/sub/deep/4.pgm", "a.pgm", "odd.name"):
        write(tmp_path, name)
    for name in ("b/notes.txt", "b/._1.pgm", "b/.hidden/5.pgm", "b/t10k-labels-idx1-ubyte.gz"):
        write(tmp_path, name)
    images = write(tmp_path, "b/t10k-images-idx3-ubyte.gz")
    found = list_files([os.path.join(str(tmp_path), "odd.name"), os.path.join(str(tmp_path), "b")])
    assert [os.path.relpath(path, str(tmp_path)) for path in found] == [
        "odd.name", "b/1.PPM", "b/2.pgm", "b/sub/3.npy", os.path.relpath(images, str(tmp_path)),
    ]  # fmt: skip
    assert list_files([str(tmp_path / "*.pgm")]) == [str(tmp_path / "a.pgm")]
    assert len(list_files([str(tmp_path / "**" / "*.pgm")])) == 3


def test_nothing_to_read_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent", "no*pe", "\udce9"):
        with pytest.raises(EdgeBenchError):
            list_files([os.path.join(str(tmp_path), name)])


def test_a_broken_image_fails_alone(tmp_path):
    files = [write(tmp_path, "1.pgm"), write(tmp_path, "2.pgm", b"P5 9"), write(tmp_path, "3.pgm")]
    files += [str(tmp_path / "4.pgm"), write(tmp_path, "5.raw", b"abcdefgh")]
    found = loaded(items_of_files(files, SHAPE, Truth()))
    assert [name for name, _ in found] == ["1.pgm", "2.pgm", "3.pgm", "4.pgm", "5.raw", "5.raw[1]"]
    assert found[0][1] == found[2][1] == b"x" and found[4][1] == b"abcd" and found[5][1] == b"efgh"
    assert "header" in found[1][1] and "No such file" in found[3][1]


def test_a_file_that_ends_in_the_middle_ends_there(tmp_path):
    content = b"\x00\x00\x08\x03" + struct.pack(">3I", 5, 2, 2) + b"abcdefghij"
    for name, body in (("i.gz", gzip.compress(content)), ("cut.gz", gzip.compress(content)[:-4])):
        found = loaded(items_of_files([write(tmp_path, name, body)], SHAPE, Truth()))
        assert [pixels for _, pixels in found[:2]] == [b"abcd", b"efgh"][: len(found) - 1]
        assert isinstance(found[-1][1], str) and len(found) <= 3


def test_a_trailing_blank_is_no_image(tmp_path):
    path = write(tmp_path, "x.pgm", b"P5 1 1 255\nx\n \n")
    assert loaded(items_of_files([path], SHAPE, Truth())) == [("x.pgm", b"x")]
    path = write(tmp_path, "x.pgm", b"P5 1 1 255\nx\nrubbish")
    found = loaded(items_of_files([path], SHAPE, Truth()))
    assert found[0][1] == b"x" and "begins with" in found[1][1] and len(found) == 2


class Slow:
    """A pipe: it gives what is there, in pieces."""

    def __init__(self, content):
        self._stream = io.BytesIO(content)

    def read(self, num_bytes):
        return self._stream.read(min(num_bytes, 3))


def test_a_stream_of_ppm_or_of_raw_frames():
    frames = b"P5 1 1 255\nxP6 1 1 255\nabc"
    assert loaded(items_of_stream(Slow(frames), SHAPE)) == [("stdin[0]", b"x"), ("stdin[1]", b"abc")]
    assert loaded(items_of_stream(Slow(b"abcdefgh"), SHAPE)) == [("stdin[0]", b"abcd"), ("stdin[1]", b"efgh")]
    assert loaded(items_of_stream(Slow(b"P4efP5 h"), SHAPE)) == [("stdin[0]", b"P4ef"), ("stdin[1]", b"P5 h")]


def test_a_stream_that_breaks_ends_there():
    for content in (b"abcdef", b"P5 1 1 255\nxP5 1 1 255\n", b"P5 1 1 255\nxP6 9 9 9 9", b"P5 1 1 255\nxQ5 1 1 255\ny"):
        found = loaded(items_of_stream(Slow(content), SHAPE))
        assert len(found) == 2 and isinstance(found[1][1], str), found
    with pytest.raises(EdgeBenchError, match="nothing came"):
        list(items_of_stream(Slow(b""), SHAPE))


def test_the_folder_tells_the_class(tmp_path):
    files = [write(tmp_path, "cat/1.pgm"), write(tmp_path, "dog/1.pgm")]
    truth = FolderTruth(files, ["dog", "cat", "dog"])
    assert [item.truth for item in items_of_files(files, SHAPE, truth)] == [1, 0]
    with pytest.raises(EdgeBenchError, match="'dog' is not one of the network's labels \\(cat, cow\\)"):
        FolderTruth(files, ["cat", "cow"])


def test_a_list_tells_the_class(tmp_path):
    labels = b"\x00\x00\x08\x01" + struct.pack(">I", 3) + b"\x07\x00\x09"
    for content in (labels, gzip.compress(labels)):
        truth = ListedTruth(write(tmp_path, "labels", content))
        assert truth.num_labels == 3 and [truth.of("x") for _ in range(4)] == [7, 0, 9, 7]
    for content in (b"", labels[:-1], labels + b"x", b"1\n2\n3\n", gzip.compress(labels)[:-9]):
        with pytest.raises(ImageError):
            ListedTruth(write(tmp_path, "labels", content))
    with pytest.raises(ImageError):
        ListedTruth(str(tmp_path / "absent"))


def test_labels_that_lie_beside_their_images_are_found(tmp_path):
    images = write(tmp_path, "t10k-images-idx3-ubyte.gz")
    assert labels_beside([images]) is None
    labels = write(tmp_path, "t10k-labels-idx1-ubyte")
    assert labels_beside([images]) == labels
    assert labels_beside([images, images]) is None and labels_beside([labels]) is None

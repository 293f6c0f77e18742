from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from edge_dendrite.data.images import read_image_folder
from edge_dendrite.errors import DataError


def png(color, size=(6, 4), mode="RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, color).save(stream, "PNG")
    return stream.getvalue()


COLORS = {"cat": (200, 10, 30), "dog": (0, 90, 250)}


@pytest.fixture
def folder(tmp_path):
    for split, count in (("train", 10), ("test", 3)):
        for name, color in COLORS.items():
            place = tmp_path / split / name
            place.mkdir(parents=True)
            for number in range(count):
                (place / f"{number:03}.png").write_bytes(png(color))
    return tmp_path


def to_zip(folder, split, inner):
    """Replace a split's folder by a zip with `inner` before the class folders."""
    with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
        for path in sorted((folder / split).glob("*/*")):
            archive.write(path, f"{inner}{path.parent.name}/{path.name}")
            path.unlink()
    for place in (folder / split).iterdir():
        place.rmdir()
    (folder / split).rmdir()


def check(data):
    assert data.labels == ("cat", "dog")
    assert data.input_shape == (3, 4, 6)
    for split in (data.train, data.validation, data.read_test()):
        for image, target in zip(split.inputs, split.targets, strict=True):
            assert tuple(image[:, 0, 0].tolist()) == COLORS[data.labels[target]]


def test_folders(folder):
    data = read_image_folder(folder)
    check(data)
    assert (len(data.train), len(data.validation), len(data.read_test())) == (18, 2, 6)


@pytest.mark.parametrize("inner", ["", "train/", "some/where/"])
def test_zips(folder, inner):
    to_zip(folder, "train", inner)
    to_zip(folder, "test", inner)
    check(read_image_folder(folder))


def test_own_validation_data_are_used(folder):
    place = folder / "val" / "dog"
    place.mkdir(parents=True)
    (place / "0.png").write_bytes(png(COLORS["dog"]))
    data = read_image_folder(folder)
    check(data)
    assert (len(data.train), len(data.validation)) == (20, 1)


def test_resizing_and_grey(folder):
    assert read_image_folder(folder, size=(8, 9)).input_shape == (3, 8, 9)
    for path in folder.glob("*/*/*.png"):
        path.write_bytes(png(77, mode="L"))
    data = read_image_folder(folder)
    assert data.input_shape == (1, 4, 6)
    assert int(data.train.inputs.min()) == int(data.train.inputs.max()) == 77


def test_test_images_are_read_once_and_only_when_asked(folder):
    for path in (folder / "test").glob("*/*"):
        path.write_bytes(b"no image")
    data = read_image_folder(folder)
    with pytest.raises(DataError, match="no image that can be decoded"):
        data.read_test()


def test_progress_reaches_the_end(folder):
    calls = []
    read_image_folder(folder, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("reading training images", 20, 20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "train" / "cat" / "000.png").write_bytes(b"garbage"), "000.png: no image that can be decoded"),
        (
            lambda f: (f / "train" / "cat" / "005.png").write_bytes(png((1, 2, 3))[:40]),
            "005.png: no image that can be decoded",
        ),
        (lambda f: [p.unlink() for p in f.glob("train/*/*")], "no images in class-named folders"),
        (lambda f: (f / "train").rename(f / "elsewhere"), "neither train/ nor train.zip"),
        (lambda f: (f / "test").rename(f / "elsewhere"), "neither test/ nor test.zip"),
    ],
)
def test_what_is_wrong_is_named(folder, change, message):
    change(folder)
    with pytest.raises(DataError, match=message):
        read_image_folder(folder)


def test_broken_zip_and_unknown_test_class(folder):
    (folder / "test" / "cat").rename(folder / "test" / "bird")
    with pytest.raises(DataError, match="class 'bird'"):
        read_image_folder(folder).read_test()
    to_zip(folder, "train", "")
    content = (folder / "train.zip").read_bytes()
    (folder / "train.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="train.zip"):
        read_image_folder(folder)


def test_too_many_pixels_are_refused_before_memory_is_taken(folder):
    with pytest.raises(DataError, match="give a smaller --image-size"):
        read_image_folder(folder, size=(20_000, 20_000))


def test_pixels_of_every_image_arrive_in_their_place(folder):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "test" / "dog" / "000.png")
    test = read_image_folder(folder).read_test()
    assert any(np.array_equal(image.numpy(), pixels.transpose(2, 0, 1)) for image in test.inputs)


def test_sixteen_bits_per_pixel_keep_their_shades(folder):
    ramp = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    for path in folder.glob("*/*/*.png"):
        Image.fromarray(ramp).save(path)
    image = read_image_folder(folder).train.inputs[0, 0].numpy()
    assert np.array_equal(image, ramp >> 8)


def test_what_is_no_class_is_left_out(folder):
    for name in (".ipynb_checkpoints/x.png", "cat/._000.png"):
        (folder / "train" / name).parent.mkdir(exist_ok=True)
        (folder / "train" / name).write_bytes(b"no picture")
    check(read_image_folder(folder))


def test_a_zip_that_leads_out_and_a_single_class_are_refused(folder):
    to_zip(folder, "train", "")
    with zipfile.ZipFile(folder / "train.zip", "a") as archive:
        archive.writestr("../evil/0.png", png((1, 2, 3)))
    with pytest.raises(DataError, match="leads out of the archive"):
        read_image_folder(folder)
    (folder / "train.zip").unlink()
    (folder / "train" / "cat").mkdir(parents=True)
    (folder / "train" / "cat" / "0.png").write_bytes(png((1, 2, 3)))
    with pytest.raises(DataError, match="one class only"):
        read_image_folder(folder)

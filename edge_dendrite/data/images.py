"""Folders, or zips, of class-named folders of images: the form in which users bring their own data.

DIR/train, DIR/test and optionally DIR/val (or DIR/validation), each a folder or a .zip; inside one folder per class.
"""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from edge_dendrite.data.dataset import DataSet, Split, hold_out, image_preprocessing
from edge_dendrite.errors import DataError
from edge_dendrite.progress import Progress, silent

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}
_MAX_FILE_BYTES = 256 << 20
_MAX_TOTAL_BYTES = 8 << 30

# One image: (name for messages, class name, function that reads its bytes).
Item = tuple[str, str, Callable[[], bytes]]


def read_image_folder(
    folder: str | Path,
    *,
    name: str = "images",
    size: tuple[int, int] | None = None,
    progress: Progress = silent,
) -> DataSet:
    """Read images into memory as uint8 (n, c, h, w); c is 1 where the first image is grey, else 3.

    size: (height, width) to which images are resized; by default that of the first image. Validation data are
    DIR/val, or a tenth of the training data. Raises DataError naming the file that is missing or cannot be decoded.
    """
    folder = Path(folder)
    train_items = _list_split(folder, ("train",))
    if train_items is None:
        raise DataError(f"{folder}: neither train/ nor train.zip is there; expected one folder per class inside")
    test_items = _list_split(folder, ("test",))
    if test_items is None:
        raise DataError(f"{folder}: neither test/ nor test.zip is there; a report needs test data of its own")
    validation_items = _list_split(folder, ("val", "validation"))
    labels = tuple(sorted({class_name for _, class_name, _ in train_items}))
    if len(labels) < 2:
        raise DataError(f"{folder}: the training images have one class only, {labels[0]!r}; expected a folder for each")
    for name, class_name, _ in [*test_items, *(validation_items or [])]:
        if class_name not in labels:
            raise DataError(f"{name}: class {class_name!r} is not among the training classes {', '.join(labels)}")
    num_images = len(train_items) + len(test_items) + len(validation_items or [])
    height, width, channels = _first_shape(train_items, size, num_images)

    def decode(items: list[Item], split: str) -> Split:
        return _decode(items, labels, (height, width), channels, lambda n, m: progress(f"reading {split} images", n, m))

    @functools.cache
    def read_test() -> Split:
        return decode(test_items, "test")

    train = decode(train_items, "training")
    if validation_items is None:
        kept, held_out = hold_out(train)
    else:
        kept, held_out = train, decode(validation_items, "validation")
    return DataSet(name, kept, held_out, read_test, labels, image_preprocessing(kept.inputs))


def _list_split(folder: Path, names: tuple[str, ...]) -> list[Item] | None:
    """The images of a split in a fixed order, or None when there is neither a folder nor a zip of that name."""
    for name in names:
        if (folder / name).is_dir():
            items = list(_folder_items(folder / name))
        elif (folder / f"{name}.zip").is_file():
            items = list(_zip_items(folder / f"{name}.zip"))
        else:
            continue
        if not items:
            raise DataError(
                f"{folder / name}: no images in class-named folders (looked for {', '.join(sorted(_SUFFIXES))})"
            )
        return items
    return None


def _folder_items(folder: Path) -> Iterator[Item]:
    for path in sorted(folder.glob("*/*")):
        if path.parent.name.startswith("."):  # .ipynb_checkpoints and the like are no classes
            continue
        if _is_image(path.name) and path.is_file():
            yield str(path), path.parent.name, path.read_bytes


def _is_image(name: str) -> bool:
    # "._x.jpg" is what a Mac puts beside x.jpg: attributes of the file, no picture.
    return PurePosixPath(name).suffix.lower() in _SUFFIXES and not name.startswith("._")


def _zip_items(path: Path) -> Iterator[Item]:
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as a zip ({error}); get the file again") from error
    for info in sorted(archive.infolist(), key=lambda one: one.filename):
        entry = PurePosixPath(info.filename)
        if ".." in entry.parts:
            raise DataError(f"{path}: {info.filename} leads out of the archive; make the zip anew")
        if _is_image(entry.name) and len(entry.parts) >= 2 and not entry.parts[-2].startswith("."):
            if info.file_size > _MAX_FILE_BYTES:
                raise DataError(f"{path}: {info.filename} claims {info.file_size} bytes: too large for an image")
            yield f"{path}: {info.filename}", entry.parts[-2], _zip_reader(archive, info)


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        with archive.open(info) as stream:
            return stream.read(_MAX_FILE_BYTES)

    return read


def _first_shape(items: list[Item], size: tuple[int, int] | None, num_images: int) -> tuple[int, int, int]:
    from PIL import Image

    name, _, read = items[0]
    image = _open_image(Image, name, read)
    channels = 1 if image.mode in ("1", "L") else 3
    height, width = size or (image.height, image.width)
    num_bytes = num_images * height * width * channels
    if num_bytes > _MAX_TOTAL_BYTES:
        raise DataError(
            f"{num_images} images of {height}x{width} need {num_bytes / 2**30:.1f} GiB of memory, "
            f"more than {_MAX_TOTAL_BYTES >> 30} GiB; give a smaller --image-size"
        )
    return height, width, channels


def _open_image(image_module, name: str, read: Callable[[], bytes]):  # type: ignore[no-untyped-def]
    try:
        image = image_module.open(io.BytesIO(read()))
        image.load()
        if image.mode.startswith("I"):
            # 16 bits per pixel: Pillow's own conversion to 8 would turn all that is above 255 white.
            image = image_module.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    except Exception as error:  # Pillow's decoders raise many kinds, up to SyntaxError and struct.error
        raise DataError(
            f"{name}: no image that can be decoded ({type(error).__name__}); repair or remove it"
        ) from error
    return image


def _decode(
    items: list[Item],
    labels: tuple[str, ...],
    size: tuple[int, int],
    channels: int,
    progress: Callable[[int, int], None],
) -> Split:
    from PIL import Image

    numbers = {label: number for number, label in enumerate(labels)}
    images: np.ndarray = np.empty((len(items), channels, *size), dtype=np.uint8)
    targets: np.ndarray = np.empty(len(items), dtype=np.int64)
    for index, (name, class_name, read) in enumerate(items):
        image = _open_image(Image, name, read).convert("L" if channels == 1 else "RGB")
        if image.size != (size[1], size[0]):
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
        images[index] = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
        targets[index] = numbers[class_name]
        if index % 256 == 0 or index + 1 == len(items):
            progress(index + 1, len(items))
    return Split(torch.from_numpy(images), torch.from_numpy(targets))

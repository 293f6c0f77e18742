"""Where data come from: what `--data` accepts."""

from __future__ import annotations

from pathlib import Path

from edge_dendrite.data.dataset import DataSet
from edge_dendrite.data.digits import read_digits
from edge_dendrite.data.idx import read_mnist
from edge_dendrite.data.images import read_image_folder
from edge_dendrite.errors import DataError, EdgeDendriteError
from edge_dendrite.importing import import_object
from edge_dendrite.progress import Progress, silent

FORMS = "digits, mnist:DIR, cifar10:DIR, images:DIR or package.module:function"


def load_data(source: str, *, image_size: tuple[int, int] | None = None, progress: Progress = silent) -> DataSet:
    """The data set behind `digits`, `mnist:DIR`, `cifar10:DIR`, `images:DIR` or `package.module:function`.

    The function takes no argument and returns a DataSet (see DataSet.from_tensors). Nothing is downloaded.
    Raises DataError for missing or damaged files and for an unknown form.
    """
    kind, _, place = source.partition(":")
    if image_size is not None and kind not in ("images", "cifar10"):
        raise DataError(f"--image-size goes with folders of images (images:DIR), not with --data {source}")
    if source == "digits":
        return read_digits()
    if kind in ("mnist", "cifar10", "images"):
        if not place or not Path(place).is_dir():
            raise DataError(f"--data {source}: {place or 'the folder'} is not a folder; write it as {kind}:DIR")
        if kind == "mnist":
            return read_mnist(place)
        return read_image_folder(place, name=kind, size=image_size, progress=progress)
    if place:
        function = import_object(source, "data function")
        try:
            data = function()
        except EdgeDendriteError:
            raise
        except (Exception, SystemExit) as error:  # the user's code may do anything
            raise DataError(f"--data {source}: the function failed ({type(error).__name__}: {error})") from error
        if not isinstance(data, DataSet):
            raise DataError(
                f"--data {source}: the function returned {type(data).__name__}, not an edge_dendrite DataSet"
            )
        return data
    raise DataError(f"--data {source!r} is not known; give {FORMS}")

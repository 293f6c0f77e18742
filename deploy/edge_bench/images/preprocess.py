"""From an image to the bytes of a network's input, as deploy/edge_bench/README.md describes it."""

import array
import math
import sys
from typing import Any, Dict, List, Optional

from edge_bench.errors import BundleError, ImageError
from edge_bench.images.image import Image, Shape
from edge_bench.images.resize import resize


class Preprocessor:
    """The rules of one bundle. `fit` gives the 8-bit image that the network sees, `to_input` its tensor.

    use_numpy: take the faster way where numpy is installed; the bytes are the same.
    """

    def __init__(self, rules: Dict[str, Any], use_numpy: bool = True):
        """`rules` are those of a verified manifest. Raises BundleError when they give no finite numbers."""
        self.shape = Shape(rules["channels"], rules["height"], rules["width"])
        self._colour = rules["colour"]
        self._tables = [_table(rules["scale"], mean, std) for mean, std in zip(rules["mean"], rules["std"])]
        self._numpy = _import_numpy() if use_numpy else None
        self._fast_tables = [self._numpy.array(table) for table in self._tables] if self._numpy else []

    def fit(self, image: Image, name: str = "image") -> Image:
        """The image in the network's colours and size. Raises ImageError when its channels cannot become those."""
        return resize(self._to_colours(image, name), self.shape.width, self.shape.height, self._numpy)

    def to_input(self, fitted: Image) -> bytes:
        """The tensor NCHW of an image that `fit` gave, float32, little-endian."""
        planes = [fitted.pixels[channel :: fitted.channels] for channel in range(fitted.channels)]
        if self._numpy:
            fast = [
                table[self._numpy.frombuffer(plane, self._numpy.uint8)].astype("<f4").tobytes()
                for table, plane in zip(self._fast_tables, planes)
            ]
            return b"".join(fast)
        values = array.array("f")
        for table, plane in zip(self._tables, planes):
            values.extend(map(table.__getitem__, plane))
        if sys.byteorder == "big":
            values.byteswap()
        return values.tobytes()

    def _to_colours(self, image: Image, name: str) -> Image:
        wanted = self.shape.channels
        if self._colour == "unspecified":
            if image.channels != wanted:
                raise ImageError(
                    "%s: has %d channel(s), the network takes %d of its own kind; give raw files or .npy"
                    % (name, image.channels, wanted)
                )
            return image
        if image.channels == 4:  # what is transparent is shown as it is stored, as Pillow does
            image = image._replace(channels=3, pixels=_pick(image.pixels, 4, [0, 1, 2]))
        if image.channels == wanted:
            return image
        if (image.channels, wanted) == (1, 3):
            return image._replace(channels=3, pixels=_pick(image.pixels, 1, [0, 0, 0]))
        if (image.channels, wanted) == (3, 1):
            return image._replace(channels=1, pixels=self._grey(image.pixels))
        raise ImageError("%s: has %d channels; a %s network takes 1, 3 or 4" % (name, image.channels, self._colour))

    def _grey(self, pixels: bytes) -> bytes:
        """ITU-R 601 luma in whole numbers, as Pillow's conversion to "L" has it."""
        if self._numpy:
            planes = self._numpy.frombuffer(pixels, self._numpy.uint8).reshape(-1, 3).T.astype(self._numpy.int32)
            luma = (19595 * planes[0] + 38470 * planes[1] + 7471 * planes[2] + 32768) >> 16
            return bytes(luma.astype(self._numpy.uint8).tobytes())
        colours = zip(pixels[::3], pixels[1::3], pixels[2::3])
        return bytes([(19595 * red + 38470 * green + 7471 * blue + 32768) >> 16 for red, green, blue in colours])


def _pick(pixels: bytes, channels: int, chosen: List[int]) -> bytes:
    result = bytearray(len(pixels) // channels * len(chosen))
    for place, channel in enumerate(chosen):
        result[place :: len(chosen)] = pixels[channel::channels]
    return bytes(result)


def _table(scale: float, mean: float, std: float) -> "array.array[float]":
    """What each of the 256 values becomes: (value * scale - mean) / std, each step in float32.

    A step in double on two float32, rounded once, is the float32 step: 53 bits are more than twice 24 and two.
    """
    scale32, mean32, std32 = (_float32(number) for number in (scale, mean, std))
    table = array.array("f")
    for value in range(256):
        result = math.nan
        if std32 and math.isfinite(scale32) and math.isfinite(mean32):
            result = _float32(_float32(_float32(value * scale32) - mean32) / std32)
        if not math.isfinite(result):
            raise BundleError(
                "preprocessing: scale %g, mean %g and std %g give no finite float32; export the model again"
                % (scale, mean, std)
            )
        table.append(result)
    return table


def _float32(value: float) -> float:
    return array.array("f", [value])[0]


def _import_numpy() -> Optional[Any]:
    try:
        import numpy
    except Exception:  # a broken installation raises more than ImportError
        return None
    return numpy

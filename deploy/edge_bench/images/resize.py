"""Resizing by a triangle filter that widens as the image shrinks: the method that bundles name (README.md).

The steps are those of Pillow's `Image.Resampling.BILINEAR` on 8-bit images: along rows, then along columns, each
rounded to 8 bits, with weights of 22 bits after the point. (Pillow 13 takes columns first where that is less work; a
value then differs by 1 now and then.) All of it is whole numbers, so the way through numpy gives the same bytes.
"""

import functools
from typing import Any, List, Optional, Sequence, Tuple

from edge_bench.images.image import Image

_FRACTION_BITS = 22
_HALF = 1 << (_FRACTION_BITS - 1)
# Pixels that the way through numpy widens to 32 bits at once: 4 MB at a time on a board with little memory.
_BLOCK_VALUES = 1 << 20


def resize(image: Image, width: int, height: int, numpy: Optional[Any] = None) -> Image:
    """The whole image stretched to width x height; one of that size stays as it is. `numpy`: the module, if there."""
    if image.width != width:
        weights = _weights(image.width, width)
        pixels = _rows_by_numpy(image, weights, numpy) if numpy else _rows(image, weights)
        image = image._replace(width=width, pixels=pixels)
    if image.height != height:
        weights = _weights(image.height, height)
        pixels = _columns_by_numpy(image, weights, numpy) if numpy else _columns(image, weights)
        image = image._replace(height=height, pixels=pixels)
    return image


@functools.lru_cache(maxsize=4)  # images of one stream have one size
def _weights(num_in: int, num_out: int) -> List[Tuple[int, List[int]]]:
    """For each place of the result the first place that it sees, and the weights from there on."""
    scale = num_in / float(num_out)
    radius = max(scale, 1.0)
    found = []
    for place in range(num_out):
        centre = (place + 0.5) * scale
        first = max(int(centre - radius + 0.5), 0)
        last = min(int(centre + radius + 0.5), num_in)
        # The order of these operations decides the last bit of a weight, hence now and then a grey level.
        raw = [max(0.0, 1.0 - abs((x + first - centre + 0.5) * (1.0 / radius))) for x in range(last - first)]
        total = sum(raw)
        found.append((first, [int(0.5 + weight / total * (1 << _FRACTION_BITS)) for weight in raw]))
    return found


def _rows(image: Image, weights: List[Tuple[int, List[int]]]) -> bytes:
    """Each row to a new width: all rows at once, one column of the result after another."""
    channels, out_step = image.channels, len(weights) * image.channels
    result = bytearray(image.height * out_step)
    in_step = image.width * channels
    for place, (first, column) in enumerate(weights):
        for channel in range(channels):
            seen = [image.pixels[(first + x) * channels + channel :: in_step] for x in range(len(column))]
            result[place * channels + channel :: out_step] = _blend(seen, column)
    return bytes(result)


def _columns(image: Image, weights: List[Tuple[int, List[int]]]) -> bytes:
    step = image.width * image.channels
    parts = []
    for first, column in weights:
        seen = [image.pixels[(first + y) * step : (first + y + 1) * step] for y in range(len(column))]
        parts.append(_blend(seen, column))
    return b"".join(parts)


def _blend(sequences: List[bytes], weights: Sequence[int]) -> bytes:
    """The weighted sum of equally long sequences, rounded to 8 bits."""
    if len(weights) == 1:
        (weight,) = weights
        sums = [_HALF + weight * value for value in sequences[0]]
    else:
        sums = [_HALF + sum(map(int.__mul__, weights, values)) for values in zip(*sequences)]
    # Weights are rounded one by one: thousands of them may be a little more than one together.
    return bytes([min(value >> _FRACTION_BITS, 255) for value in sums])


def _taps(weights: List[Tuple[int, List[int]]], numpy: Any) -> List[Tuple[Any, Any]]:
    """The first, second, ... place that each place of the result sees, and its weight; the missing ones weigh 0."""
    most = max(len(column) for _, column in weights)
    places, factors = numpy.zeros((most, len(weights)), numpy.intp), numpy.zeros((most, len(weights)), numpy.int32)
    for number, (first, column) in enumerate(weights):
        places[: len(column), number] = range(first, first + len(column))
        factors[: len(column), number] = column
    return list(zip(places, factors))


def _rows_by_numpy(image: Image, weights: List[Tuple[int, List[int]]], numpy: Any) -> bytes:
    # Turned by a quarter, rows are columns: numpy is quick where whole lines are added.
    pixels = numpy.frombuffer(image.pixels, numpy.uint8).reshape(image.height, image.width, image.channels)
    turned = numpy.ascontiguousarray(pixels.transpose(1, 0, 2)).reshape(image.width, image.height * image.channels)
    result = _blend_by_numpy(turned, weights, numpy).reshape(len(weights), image.height, image.channels)
    return bytes(result.transpose(1, 0, 2).tobytes())


def _columns_by_numpy(image: Image, weights: List[Tuple[int, List[int]]], numpy: Any) -> bytes:
    pixels = numpy.frombuffer(image.pixels, numpy.uint8).reshape(image.height, image.width * image.channels)
    return bytes(_blend_by_numpy(pixels, weights, numpy).tobytes())


def _blend_by_numpy(lines: Any, weights: List[Tuple[int, List[int]]], numpy: Any) -> Any:
    """New lines, each the weighted sum of lines that follow one another, rounded to 8 bits."""
    num_values = lines.shape[1]
    result = numpy.empty((len(weights), num_values), numpy.uint8)
    num_lines = max(1, _BLOCK_VALUES // num_values)
    taps = _taps(weights, numpy)
    for start in range(0, len(weights), num_lines):
        stop = min(start + num_lines, len(weights))
        sums = numpy.full((stop - start, num_values), _HALF, numpy.int32)
        for places, factors in taps:
            sums += lines[places[start:stop]] * factors[start:stop, None]
        result[start:stop] = numpy.minimum(sums >> _FRACTION_BITS, 255)
    return result

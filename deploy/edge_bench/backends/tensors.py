"""Tensors as raw little-endian bytes: their sizes, their numbers, and one input repeated into a batch."""

import array
import struct
import sys
from typing import Any, Dict, List, Sequence

from edge_bench.errors import BackendError
from edge_bench.manifest import DTYPES

# The letter of an array of it, and the bytes of one number. Engines have types that manifests do not.
_TYPES = dict(DTYPES, float16=("e", 2), bfloat16=("", 2), int8=("b", 1), uint8=("B", 1))


def num_bytes(dtype: str, shape: Sequence[int]) -> int:
    """Of a whole tensor. Raises BackendError for a type that has no size here, such as four-bit numbers."""
    if dtype not in _TYPES:
        raise BackendError("tensors of %s cannot be fed or read here; export the network with float32 ends" % dtype)
    size = _TYPES[dtype][1]
    for length in shape:
        size *= length
    return size


def tile(content: bytes, wanted_bytes: int, name: str) -> bytes:
    """The content once for each example of a batch. Raises BackendError when it does not fill it exactly."""
    if not content or wanted_bytes % len(content):
        raise BackendError(
            "input %r has %d bytes, the network takes %d; its shape is another one: export the bundle again"
            % (name, len(content), wanted_bytes)
        )
    return content * (wanted_bytes // len(content))


def to_numbers(content: bytes, dtype: str) -> Sequence[float]:
    """The numbers, flat and in row-major order."""
    if dtype == "float16":
        return struct.unpack("<%de" % (len(content) // 2), content)
    if dtype == "bfloat16":  # the upper half of a float32
        content, dtype = b"".join(b"\0\0" + content[at : at + 2] for at in range(0, len(content), 2)), "float32"
    numbers = array.array(_TYPES[dtype][0])
    numbers.frombytes(content)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def narrow(content: bytes, name: str) -> bytes:
    """int64 as int32: TensorRT before 10 has no wider whole numbers. Raises BackendError for one that does not fit."""
    try:
        numbers = array.array("i", to_numbers(content, "int64"))  # type: ignore[arg-type,unused-ignore]
    except OverflowError as error:
        raise BackendError("input %r has numbers beyond 32 bits, which this TensorRT does not have" % name) from error
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def check_names(found: List[Dict[str, Any]], wanted: List[Dict[str, Any]], what: str, narrowed: bool = False) -> None:
    """Raise BackendError when a network's inputs or outputs are not those of its manifest, in any order.

    A tensor that the manifest leaves out would go unchecked. `narrowed`: int64 may have become int32.
    """
    seen, expected = ({one["name"]: one["dtype"] for one in some} for some in (found, wanted))
    allowed = dict(expected, **{name: "int32" for name, dtype in expected.items() if narrowed and dtype == "int64"})
    if seen != expected and seen != allowed:
        words = [", ".join("%s %s" % pair for pair in sorted(pairs.items())) for pairs in (seen, expected)]
        raise BackendError("the model's %s are %s, its manifest names %s: export it again" % (what, words[0], words[1]))

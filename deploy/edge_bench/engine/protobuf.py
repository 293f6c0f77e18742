"""As much of protobuf's wire format (protobuf.dev, "Encoding") as reading an ONNX file's names and shapes takes."""

from typing import Iterator, Tuple, Union

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
Value = Union[int, memoryview]


def fields(message: memoryview) -> Iterator[Tuple[int, Value]]:
    """(field number, value) of each field: a whole number, or the content of one with a length; others passed over.

    Raises ValueError or IndexError on bytes that are no message.
    """
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            number, at = _varint(message, at)
            yield key >> 3, number
        elif kind in (_FIXED64, _FIXED32):
            at += 8 if kind == _FIXED64 else 4
        elif kind == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("cut short")
            yield key >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError("wire type %d" % kind)


def messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """The contents of all fields of this number."""
    for number, value in fields(message):
        if number == wanted and isinstance(value, memoryview):
            yield value


def _varint(message: memoryview, at: int) -> Tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")

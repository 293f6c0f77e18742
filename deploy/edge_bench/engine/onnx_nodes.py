"""Names of an ONNX file's nodes, without the onnx package: TensorRT 8 tells only the number of the node it refused.

Reads as much of protobuf's wire format (protobuf.dev, "Encoding") as that takes. Field numbers are those of
onnx.proto: ModelProto.graph = 7, GraphProto.node = 1, NodeProto.output = 2, .name = 3, .op_type = 4.
"""

from typing import Dict, Iterator, Tuple

_GRAPH, _NODE, _OUTPUT, _NAME, _OP_TYPE = 7, 1, 2, 3, 4
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def node_at(content: bytes, index: int) -> Tuple[str, str]:
    """(name, operator) of a node of the main graph; its first output's name where it has none of its own.

    ('', '') when there is no such node, or the bytes are no ONNX file.
    """
    try:
        graph = next((part for field, part in _fields(memoryview(content)) if field == _GRAPH), memoryview(b""))
        nodes = (part for field, part in _fields(graph) if field == _NODE)
        for number, node in enumerate(nodes):
            if number == index:
                return _describe(node)
    except (ValueError, IndexError):
        pass
    return "", ""


def _describe(node: memoryview) -> Tuple[str, str]:
    texts: Dict[int, str] = {}
    for field, part in _fields(node):
        if field in (_OUTPUT, _NAME, _OP_TYPE):
            texts.setdefault(field, bytes(part[:200]).decode("utf-8", "replace"))
    return texts.get(_NAME) or texts.get(_OUTPUT, ""), texts.get(_OP_TYPE, "")


def _fields(message: memoryview) -> Iterator[Tuple[int, memoryview]]:
    """(field number, content) of the length-delimited fields; the others are passed over."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
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


def _varint(message: memoryview, at: int) -> Tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")

"""Nodes of an ONNX file, without the onnx package: TensorRT 8 tells only the number of the node it refused, and
onnxruntime's profile names that it made of those in the file.

Field numbers are those of onnx.proto: ModelProto.graph = 7, GraphProto.node = 1, NodeProto.input = 1, .output = 2,
.name = 3, .op_type = 4, .attribute = 5, AttributeProto.g = 6.
"""

from typing import Dict, Iterator, List, NamedTuple, Tuple

from edge_bench.engine.protobuf import fields, messages

_GRAPH, _NODE, _INPUT, _OUTPUT, _NAME, _OP_TYPE, _ATTRIBUTE, _SUBGRAPH = 7, 1, 1, 2, 3, 4, 5, 6
_MAX_NODES, _MAX_TEXT, _MAX_DEPTH = 200000, 500, 8


class Node(NamedTuple):
    """A node of a graph, its inputs and outputs by their names."""

    name: str
    kind: str
    inputs: List[str]
    outputs: List[str]


def node_at(content: bytes, index: int) -> Tuple[str, str]:
    """(name, operator) of a node of the main graph; its first output's name where it has none of its own.

    ('', '') when there is no such node, or the bytes are no ONNX file.
    """
    try:
        graph = next(messages(memoryview(content), _GRAPH), memoryview(b""))
        for number, node in enumerate(messages(graph, _NODE)):
            if number == index:
                return _describe(node)
    except (ValueError, IndexError):
        pass
    return "", ""


def read_nodes(content: bytes) -> List[Node]:
    """All nodes, those in branches and loops too; none when the bytes are no ONNX file."""
    found = []  # type: List[Node]
    try:
        for graph in messages(memoryview(content), _GRAPH):
            for node in _nodes_of(graph, 0):
                found.append(node)
                if len(found) >= _MAX_NODES:
                    return found
    except (ValueError, IndexError):
        return []
    return found


def _nodes_of(graph: memoryview, depth: int) -> Iterator[Node]:
    for message in messages(graph, _NODE):
        texts = {}  # type: Dict[int, List[str]]
        for field, part in fields(message):
            if field in (_INPUT, _OUTPUT, _NAME, _OP_TYPE) and isinstance(part, memoryview):
                texts.setdefault(field, []).append(_text(part))
            elif field == _ATTRIBUTE and isinstance(part, memoryview) and depth < _MAX_DEPTH:
                for inner in messages(part, _SUBGRAPH):
                    for node in _nodes_of(inner, depth + 1):
                        yield node
        name, kind = texts.get(_NAME, [""])[0], texts.get(_OP_TYPE, [""])[0]
        yield Node(name, kind, texts.get(_INPUT, []), texts.get(_OUTPUT, [""]))


def _text(part: memoryview) -> str:
    return bytes(part[:_MAX_TEXT]).decode("utf-8", "replace")


def _describe(node: memoryview) -> Tuple[str, str]:
    texts: Dict[int, str] = {}
    for field, part in fields(node):
        if field in (_OUTPUT, _NAME, _OP_TYPE) and isinstance(part, memoryview):
            texts.setdefault(field, bytes(part[:200]).decode("utf-8", "replace"))
    return texts.get(_NAME) or texts.get(_OUTPUT, ""), texts.get(_OP_TYPE, "")

"""Names of an ONNX file's nodes, without the onnx package: TensorRT 8 tells only the number of the node it refused.

Field numbers are those of onnx.proto: ModelProto.graph = 7, GraphProto.node = 1, NodeProto.output = 2, .name = 3,
.op_type = 4.
"""

from typing import Dict, Tuple

from edge_bench.engine.protobuf import fields, messages

_GRAPH, _NODE, _OUTPUT, _NAME, _OP_TYPE = 7, 1, 2, 3, 4


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


def _describe(node: memoryview) -> Tuple[str, str]:
    texts: Dict[int, str] = {}
    for field, part in fields(node):
        if field in (_OUTPUT, _NAME, _OP_TYPE) and isinstance(part, memoryview):
            texts.setdefault(field, bytes(part[:200]).decode("utf-8", "replace"))
    return texts.get(_NAME) or texts.get(_OUTPUT, ""), texts.get(_OP_TYPE, "")

"""Inputs and outputs of an ONNX file, without the onnx package: what a bundle's manifest says of its network.

Field numbers are those of onnx.proto: ModelProto.graph = 7; GraphProto.initializer = 5, .input = 11, .output = 12;
TensorProto.name = 8; ValueInfoProto.name = 1, .type = 2; TypeProto.tensor_type = 1; its elem_type = 1, shape = 2;
TensorShapeProto.dim = 1; its dim_value = 1. Numbers of types are those of TensorProto.DataType.
"""

from typing import Any, Dict, List, Tuple

from edge_bench.engine.protobuf import fields, messages
from edge_bench.errors import BackendError

_GRAPH, _INITIALIZER, _INPUT, _OUTPUT, _INITIALIZER_NAME = 7, 5, 11, 12, 8
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    16: "bfloat16",
}


def read_tensors(content: bytes, place: str) -> Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]:
    """(inputs, outputs), each with name, dtype and shape; a dimension of any size is -1.

    Raises BackendError when the bytes of `place` are no ONNX file with inputs and outputs.
    """
    try:
        graph = next(messages(memoryview(content), _GRAPH))
        # Old files list their weights among the inputs.
        weights = {_text(part, _INITIALIZER_NAME) for part in messages(graph, _INITIALIZER)}
        inputs = [_describe(part) for part in messages(graph, _INPUT)]
        outputs = [_describe(part) for part in messages(graph, _OUTPUT)]
    except (StopIteration, ValueError, IndexError) as error:
        raise BackendError("%s: not an ONNX file, or cut short: %s" % (place, error or "it has no graph")) from error
    inputs = [one for one in inputs if one["name"] not in weights]
    if not inputs or not outputs:
        raise BackendError("%s: the network has %d inputs and %d outputs" % (place, len(inputs), len(outputs)))
    return inputs, outputs


def _describe(value: memoryview) -> Dict[str, Any]:
    tensor = next(messages(next(messages(value, 2)), 1))
    kind = next((part for field, part in fields(tensor) if field == 1 and isinstance(part, int)), 0)
    shape = [_size(dimension) for one in messages(tensor, 2) for dimension in messages(one, 1)]
    return {"name": _text(value, 1), "dtype": _DTYPES.get(kind, "type %d" % kind), "shape": shape}


def _size(dimension: memoryview) -> int:
    sizes = [part for field, part in fields(dimension) if field == 1 and isinstance(part, int)]
    return sizes[0] if sizes else -1


def _text(message: memoryview, field: int) -> str:
    return bytes(next(messages(message, field), memoryview(b""))).decode("utf-8", "replace")

"""The runtime's own floor: a network that does nothing costs what no compression can save."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

# In the place of an arm, for the network that is measured along and is no row of a study.
FLOOR = "identity"


def identity_network(input_shape: tuple[int, ...]) -> bytes:
    """An ONNX file that gives its input back; input_shape is without the batch of 1."""
    shape = [1, *input_shape]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Identity", ["input"], ["output"])], FLOOR, values[:1], values[1:])
    # Versions that every runtime reads which reads the networks of a study.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content

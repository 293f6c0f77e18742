"""Made dynamic_batch.onnx, refused_node.onnx and qdq.onnx: what a builder of engines has to tell apart.

Run with the onnx package, in this folder: python make_engine_cases.py
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(name, nodes, batch, initializers=()):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 4])],
        initializer=list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, name)


scale = numpy_helper.from_array(np.float32(0.1), "scale")
zero = numpy_helper.from_array(np.int8(0), "zero")
save("dynamic_batch.onnx", [helper.make_node("Relu", ["input"], ["output"])], "batch")
save(
    "refused_node.onnx",
    [
        helper.make_node("Relu", ["input"], ["hidden"], name="first"),
        helper.make_node("Unique", ["hidden"], ["values"], name="/block/Unique"),
        helper.make_node("Relu", ["hidden"], ["output"], name="last"),
    ],
    1,
)
save(
    "qdq.onnx",
    [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["quantized"]),
        helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], ["output"]),
    ],
    1,
    [scale, zero],
)

"""Writes the models and references beside it. Run with the host's Python: it needs numpy and onnx.

tiny.onnx         convolution 1 -> 4 (3x3, no padding), ReLU, flatten, linear to 10; input 1x1x8x8
tiny_input.bin    one input, raw little-endian float32
tiny_output.bin   its output, computed here with plain numpy in double precision: independent of any ONNX runtime
two_outputs.onnx  x -> (doubled, negated), two values each: outputs of equal size that are easily confused
int_output.onnx   x -> x as int64: an output that is not float32
layers.onnx       a convolution that is a thousand times the work of the one after it; any batch
branches.onnx     a convolution inside of an If, and a Loop that negates seven times

Opset 13 and IR 7, which onnxruntime 1.10 (the last for Python 3.6) and TensorRT 8.2 read.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent


def save_model(name, nodes, inputs, outputs, initializers=()):
    """Write a checked model. The producer is named here so that the bytes do not depend on onnx's release."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    model = helper.make_model(
        graph, producer_name="make_tiny", opset_imports=[helper.make_operatorsetid("", 13)], ir_version=7
    )
    onnx.checker.check_model(model, full_check=True)
    (HERE / name).write_bytes(model.SerializeToString())


def make_layers():
    node, ones = helper.make_node, np.ones
    nodes = [
        node("Conv", ["input", "big_kernel"], ["/big/Conv_output_0"], name="/big/Conv", pads=[1] * 4),
        node("Relu", ["/big/Conv_output_0"], ["/Relu_output_0"], name="/Relu"),
        node("GlobalAveragePool", ["/Relu_output_0"], ["/pool_output_0"], name="/pool/GlobalAveragePool"),
        node("Conv", ["/pool_output_0", "small_kernel"], ["logits"], name="/small/Conv"),
    ]
    weights = {"big_kernel": ones((16, 8, 3, 3), "<f4") / 9, "small_kernel": ones((16, 16, 1, 1), "<f4")}
    initializers = [numpy_helper.from_array(value.astype("<f4"), name) for name, value in weights.items()]
    inputs, outputs = [tensor("input", ["n", 8, 64, 64])], [tensor("logits", ["n", 16, 1, 1])]
    save_model("layers.onnx", nodes, inputs, outputs, initializers)


def make_branches():
    node, shape = helper.make_node, [1, 8, 64, 64]
    convolve = node("Conv", ["input", "kernel"], ["deep"], name="/deep/Conv", pads=[1] * 4)
    then = helper.make_graph([convolve], "then", [], [tensor("deep", shape)])
    keep = helper.make_graph([node("Identity", ["input"], ["kept"], name="/keep")], "else", [], [tensor("kept", shape)])
    states = [tensor("state", shape), tensor("next", shape)]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "goes")]
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    negate = [node("Neg", ["state"], ["next"], name="/body/Neg"), node("Identity", ["go"], ["goes"])]
    body = helper.make_graph(negate, "body", [count, flags[0], states[0]], [flags[1], states[1]])
    nodes = [
        node("ReduceMax", ["input"], ["largest"], name="/max", keepdims=0),
        node("Greater", ["largest", "zero"], ["is_deep"], name="/gate"),
        node("If", ["is_deep"], ["taken"], name="/branch/If", then_branch=then, else_branch=keep),
        node("Loop", ["seven", "always", "taken"], ["output"], name="/loop/Loop", body=body),
    ]
    weights = {"kernel": np.ones((8, 8, 3, 3), "<f4"), "zero": np.array(0, "<f4"), "seven": np.array(7, "<i8")}
    weights["always"] = np.array(True)
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    save_model("branches.onnx", nodes, [tensor("input", shape)], [tensor("output", shape)], initializers)


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def make_weights():
    """Fixed weights; the legacy generator gives the same numbers in every release of numpy."""
    random = np.random.RandomState(20)
    return {
        "kernel": random.uniform(-0.5, 0.5, (4, 1, 3, 3)).astype("<f4"),
        "kernel_bias": random.uniform(-0.1, 0.1, 4).astype("<f4"),
        "weight": random.uniform(-0.1, 0.1, (144, 10)).astype("<f4"),
        "bias": random.uniform(-0.1, 0.1, 10).astype("<f4"),
    }


def forward(x_bchw, weights):
    """The network in plain numpy. ONNX Conv is a cross-correlation: the kernel is not flipped."""
    kernel = weights["kernel"].astype("f8")
    hidden = np.zeros((1, 4, 6, 6))
    for channel in range(4):
        for row in range(6):
            for column in range(6):
                patch = x_bchw[0, :, row : row + 3, column : column + 3]
                hidden[0, channel, row, column] = (patch * kernel[channel]).sum()
    hidden += weights["kernel_bias"].astype("f8").reshape(1, 4, 1, 1)
    flat = np.maximum(hidden, 0.0).reshape(1, 144)
    return flat @ weights["weight"].astype("f8") + weights["bias"].astype("f8")


def make_tiny():
    weights = make_weights()
    save_model(
        "tiny.onnx",
        [
            helper.make_node("Conv", ["input", "kernel", "kernel_bias"], ["conv"]),
            helper.make_node("Relu", ["conv"], ["relu"]),
            helper.make_node("Flatten", ["relu"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
        ],
        [tensor("input", [1, 1, 8, 8])],
        [tensor("logits", [1, 10])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    x_bchw = np.random.RandomState(21).uniform(-1.0, 1.0, (1, 1, 8, 8)).astype("<f4")
    (HERE / "tiny_input.bin").write_bytes(x_bchw.tobytes())
    (HERE / "tiny_output.bin").write_bytes(forward(x_bchw.astype("f8"), weights).astype("<f4").tobytes())


def make_others():
    save_model(
        "two_outputs.onnx",
        [helper.make_node("Add", ["x", "x"], ["doubled"]), helper.make_node("Neg", ["x"], ["negated"])],
        [tensor("x", [1, 2])],
        [tensor("doubled", [1, 2]), tensor("negated", [1, 2])],
    )
    save_model(
        "int_output.onnx",
        [helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64)],
        [tensor("x", [1, 2])],
        [tensor("whole", [1, 2], TensorProto.INT64)],
    )


if __name__ == "__main__":
    make_tiny()
    make_others()
    make_layers()
    make_branches()

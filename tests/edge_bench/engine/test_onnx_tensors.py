"""What is read of stored ONNX files, which the onnx package wrote, against what that package says of them."""

import os

import pytest

from edge_bench.engine.onnx_tensors import read_tensors
from edge_bench.errors import BackendError

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def read(name):
    with open(os.path.join(DATA, name), "rb") as stream:
        return stream.read()


@pytest.mark.parametrize(
    "name, inputs, outputs",
    [
        ("tiny.onnx", [("input", "float32", [1, 1, 8, 8])], [("logits", "float32", [1, 10])]),
        ("dynamic_batch.onnx", [("input", "float32", [-1, 4])], [("output", "float32", [-1, 4])]),
        ("qdq.onnx", [("input", "float32", [1, 4])], [("output", "float32", [1, 4])]),
    ],
)
def test_names_types_and_shapes(name, inputs, outputs):
    found = read_tensors(read(name), name)
    assert [[(one["name"], one["dtype"], one["shape"]) for one in some] for some in found] == [inputs, outputs]


@pytest.mark.parametrize("name", ["tiny.onnx", "dynamic_batch.onnx", "two_outputs.onnx", "int_output.onnx", "qdq.onnx"])
def test_the_onnx_package_says_the_same(name):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(os.path.join(DATA, name)).graph
    weights = {one.name for one in graph.initializer}
    for direction, found in zip((graph.input, graph.output), read_tensors(read(name), name)):
        expected = [
            (one.name, [size.dim_value or -1 for size in one.type.tensor_type.shape.dim])
            for one in direction
            if one.name not in weights
        ]
        assert [(one["name"], one["shape"]) for one in found] == expected


def test_bytes_that_are_no_onnx_file_are_an_error_and_nothing_else():
    whole = read("dynamic_batch.onnx")
    for content in [b"", b"\xff" * 40, b"not protobuf at all", bytes(100)]:
        with pytest.raises(BackendError, match="m.onnx: "):
            read_tensors(content, "m.onnx")
    for size in range(len(whole)):
        try:
            read_tensors(whole[:size], "m.onnx")
        except BackendError:
            continue
    for place in range(len(whole)):
        try:
            read_tensors(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :], "m.onnx")
        except BackendError:
            continue

"""From the names that onnxruntime gives its nodes back to those of the file."""

import os

import pytest

from edge_bench.engine.onnx_nodes import Node, read_nodes
from edge_bench.engine.onnx_origin import find_origins

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")

CHAIN = [
    Node("/conv1/Conv", "Conv", ["x", "w"], ["conv1"]),
    Node("/bn/BatchNormalization", "BatchNormalization", ["conv1", "s", "b"], ["bn"]),
    Node("/Relu", "Relu", ["bn"], ["relu"]),
    Node("/MaxPool", "MaxPool", ["relu"], ["pool"]),
    Node("/fc/Gemm", "Gemm", ["pool", "v"], ["y"]),
]
# Two convolutions, whose sum is one of them for onnxruntime.
RESIDUAL = [
    Node("/conv2/Conv", "Conv", ["x", "w"], ["conv2"]),
    Node("/down/Conv", "Conv", ["x", "u"], ["down"]),
    Node("/Add", "Add", ["conv2", "down"], ["sum"]),
    Node("/Relu", "Relu", ["sum"], ["relu"]),
]


@pytest.mark.parametrize(
    "made, nodes, wanted",
    [
        (("/fc/Gemm", "Gemm"), CHAIN, ["/fc/Gemm"]),
        (("fused /fc/Gemm", "FusedGemm"), CHAIN, ["/fc/Gemm"]),
        (("relu_nchwc", "Conv"), CHAIN, ["/conv1/Conv", "/bn/BatchNormalization", "/Relu"]),
        (("pool_nchwc", "MaxPool"), CHAIN, ["/MaxPool"]),
        (("pool_nchwc", "Conv"), CHAIN, []),  # a pool does not go into a convolution
        (("ReorderOutput", "ReorderOutput"), CHAIN, []),
        (("nowhere_nchwc", "Conv"), CHAIN, []),
        (("", ""), CHAIN, []),
        (("relu_nchwc", "Conv"), RESIDUAL, []),  # of either
        (("relu_nchwc", "Conv"), [], []),
    ],
)
def test_one_node(made, nodes, wanted):
    assert find_origins([made], nodes) == [wanted]


def test_of_two_ways_back_the_other_ones_own_name_tells():
    found = find_origins([("relu_nchwc", "Conv"), ("down_nchwc", "Conv")], RESIDUAL)
    assert found == [["/conv2/Conv", "/Add", "/Relu"], ["/down/Conv"]]


def test_a_graph_that_goes_round_in_circles_ends():
    circle = [Node("a", "Add", ["b", "b"], ["a"]), Node("b", "Add", ["a", "a"], ["b"])]
    assert find_origins([("a_nchwc", "Conv")] * 3, circle) == [[], [], []]


def test_nodes_inside_of_branches_and_loops_are_read_too():
    with open(os.path.join(DATA, "branches.onnx"), "rb") as stream:
        nodes = read_nodes(stream.read())
    assert {"/branch/If", "/deep/Conv", "/loop/Loop", "/body/Neg"} <= {node.name for node in nodes}
    assert [node.outputs for node in nodes if node.name == "/gate"] == [["is_deep"]]


def test_bytes_that_are_no_model_have_no_nodes():
    for content in (b"", b"\x80" * 100, b"\x3a\xff\xff\xff\xff\x0f", b"not a model"):
        assert read_nodes(content) == []

"""Names of nodes, from bytes of any kind."""

import os
import random

import pytest

from edge_bench.engine import onnx_nodes

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def read(name):
    with open(os.path.join(DATA, name), "rb") as stream:
        return stream.read()


def test_nodes_by_number():
    content = read("refused_node.onnx")
    found = [onnx_nodes.node_at(content, index) for index in range(4)]
    assert found == [("first", "Relu"), ("/block/Unique", "Unique"), ("last", "Relu"), ("", "")]


def test_a_node_without_a_name_is_told_by_its_output():
    assert onnx_nodes.node_at(read("qdq.onnx"), 0) == ("quantized", "QuantizeLinear")


def test_every_node_of_real_files_as_onnx_names_them():
    onnx = pytest.importorskip("onnx")
    for name in ("tiny.onnx", "two_outputs.onnx", "int_output.onnx", "qdq.onnx"):
        nodes = onnx.load(os.path.join(DATA, name)).graph.node
        assert len(nodes) > 0
        for index, node in enumerate(nodes):
            wanted = (node.name or node.output[0], node.op_type)
            assert onnx_nodes.node_at(read(name), index) == wanted


def test_bytes_that_are_no_onnx_file_name_nothing():
    content = read("tiny.onnx")
    generator = random.Random(0)
    for _ in range(3000):
        changed = bytearray(content[: generator.randrange(len(content))])
        for _ in range(generator.randrange(4)):
            if changed:
                changed[generator.randrange(min(len(changed), 400))] = generator.randrange(256)
        name, operator = onnx_nodes.node_at(bytes(changed), generator.randrange(5))
        assert len(name) <= 200 and len(operator) <= 200
    for content in (b"", b"\x80" * 100, b"\x3a\xff\xff\xff\xff\x0f"):
        assert onnx_nodes.node_at(content, 0) == ("", "")

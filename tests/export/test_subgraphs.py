"""Files that are made by hand here, so that each rule about weights is seen alone."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_dendrite.export.session import open_session
from edge_dendrite.export.subgraphs import ifs_for_gates, strip_notes, weights_into_branches, write_out_copies


def value(name, *shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def weight(name, *values):
    return numpy_helper.from_array(np.array(values, np.float32), name)


def model(nodes, weights, *more_opsets):
    graph = helper.make_graph(nodes, "g", [value("x", 2)], [value("y", 2)], weights)
    opsets = [helper.make_opsetid("", 17), *more_opsets]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def way(name, kind, reads):
    """A graph without inputs, as an `If` has them."""
    node = helper.make_node(kind, ["x", reads], [f"{name}_y"], name)
    return helper.make_graph([node], name, [], [value(f"{name}_y", 2)])


def decided(then_reads, else_reads, outside):
    """y = x + w where the sum of x is above zero, x * w elsewhere; `outside` is added before."""
    choice = {"then_branch": way("then", "Add", then_reads), "else_branch": way("else", "Mul", else_reads)}
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["is_open"]),
        helper.make_node("If", ["is_open"], ["chosen"], **choice),
        helper.make_node("Add", ["chosen", outside], ["y"]),
    ]
    return model(nodes, [numpy_helper.from_array(np.float32(0), "zero"), *(weight(n, 2, 3) for n in ("a", "b", "c"))])


def run(content, *x):
    return open_session(content).run(None, {"x": np.array(x, np.float32)})[0].tolist()


@pytest.mark.parametrize(
    ("reads", "left"),
    [(("a", "b", "c"), {"zero", "c"}), (("a", "a", "c"), {"zero", "c"}), (("c", "a", "c"), {"zero", "c"})],
)
def test_each_way_has_its_own_copy_of_what_it_reads(reads, left):
    before = decided(*reads).SerializeToString()
    after = weights_into_branches(before)
    graph = onnx.load_model_from_string(after).graph
    assert {one.name for one in graph.initializer} == left
    ways = [one.g for node in graph.node if node.op_type == "If" for one in node.attribute]
    assert [len(one.initializer) for one in ways] == [1, 1]
    onnx.checker.check_model(onnx.load_model_from_string(after))
    assert run(after, 1, 1) == run(before, 1, 1) == [5, 7]
    assert run(after, -1, -1) == run(before, -1, -1) == [0, 0]


def test_copies_at_run_time_become_weights():
    nodes = [helper.make_node("Identity", ["a"], ["b"]), helper.make_node("Add", ["x", "b"], ["y"])]
    made = model(nodes, [weight("a", 2, 3)])
    write_out_copies(made.graph)
    assert [one.op_type for one in made.graph.node] == ["Add"]
    assert [one.name for one in made.graph.initializer] == ["b"]
    assert run(made.SerializeToString(), 1, 1) == [3, 4]


def test_a_gate_becomes_an_if_of_both_ways():
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["is_open"]),
        helper.make_node("Gate", ["x", "is_open"], ["h"], domain="edge_dendrite", block="one"),
        helper.make_node("Gate", ["h", "is_open"], ["y"], domain="edge_dendrite", block="one"),
    ]
    zero = numpy_helper.from_array(np.float32(0), "zero")
    whole = model(nodes, [zero], helper.make_opsetid("edge_dendrite", 1)).SerializeToString()
    opened = helper.make_graph(
        [helper.make_node("Add", ["x", "a"], ["h"]), helper.make_node("Clip", ["h", "", "most"], ["y"])],
        "g",
        [value("x", 2)],
        [value("y", 2)],
        [weight("a", 2, 3), numpy_helper.from_array(np.float32(5), "most")],
    )
    closed = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", [value("x", 2)], [value("y", 2)])
    made = ifs_for_gates(whole, {"one": (opened, closed)})
    onnx.checker.check_model(onnx.load_model_from_string(made), full_check=True)
    assert [one.domain for one in onnx.load_model_from_string(made).opset_import] == [""]
    assert run(made, 1, -0.5) == [5, 5]  # (3, 2.5), then (5, 5.5) of which 5 is the most
    assert run(made, -1, -2) == [-1, -2]


def test_notes_are_taken_out_at_every_depth():
    made = decided("a", "b", "c")
    inner = made.graph.node[2].attribute[0].g.node[0]
    for one in (made.graph.node[0], made.graph, inner):
        one.doc_string = "secret"
        entry = one.metadata_props.add()
        entry.key, entry.value = "stack", "secret"
    strip_notes(made.graph)
    assert b"secret" not in made.SerializeToString()

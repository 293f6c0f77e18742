"""ONNX graphs that decide: the two ways of a gate as the subgraphs of an `If`, each with the weights that it reads.

Exporters leave all weights outside of the `If`, where ONNX Runtime cannot prepare them for its kernels: see
scripts/results/gated-layers.md for what that costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import onnx

GATE_DOMAIN, GATE, NAME = "edge_dendrite", "Gate", "block"  # a node that stands where an `If` will be


def ifs_for_gates(content: bytes, ways: Mapping[str, tuple[onnx.GraphProto, onnx.GraphProto]]) -> bytes:
    """The ONNX file with an `If` for every node Gate(x, decision), whose attribute names one of `ways`.

    ways: for each block two graphs of one input and one output, for an open gate and for a closed one.
    """
    model = onnx.load_model_from_string(content)
    write_out_copies(model.graph)
    for node in [one for one in model.graph.node if one.domain == GATE_DOMAIN]:
        x, decision = node.input
        opened, closed = ways[next(one.s.decode() for one in node.attribute if one.name == NAME)]
        choice = onnx.helper.make_node(
            "If",
            [decision],
            list(node.output),
            node.name,
            then_branch=_reading(opened, x, f"{node.output[0]}/open"),
            else_branch=_reading(closed, x, f"{node.output[0]}/closed"),
        )
        node.CopyFrom(choice)
    for one in [one for one in model.opset_import if one.domain == GATE_DOMAIN]:
        model.opset_import.remove(one)
    result: bytes = model.SerializeToString()
    return result


def _reading(graph: onnx.GraphProto, outer: str, prefix: str) -> onnx.GraphProto:
    """A copy that reads the outer graph's value in place of its input; its own names begin with `prefix`."""
    inner = onnx.GraphProto()
    inner.CopyFrom(graph)
    write_out_copies(inner)
    name = inner.input[0].name
    del inner.input[:]
    rename_(inner, lambda one: outer if one == name else f"{prefix}/{one}")
    inner.name = prefix
    return inner


def weights_into_branches(content: bytes) -> bytes:
    """The ONNX file with a copy of every weight that a subgraph of an `If` reads inside of that subgraph, and without
    those that nobody reads any more.

    Each subgraph has its own copy: exporters write equal weights once, for instance all biases of zeros.
    """
    model = onnx.load_model_from_string(content)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for number, branch in enumerate(branches(graph)):
        own_names = {name: f"{name}/{number}" for name in sorted(_names_read(branch) & weights.keys())}
        rename_(branch, lambda name, own=own_names: own.get(name, name))  # type: ignore[misc]
        for name, own_name in own_names.items():
            tensor = branch.initializer.add()
            tensor.CopyFrom(weights[name])
            tensor.name = own_name
    read = _names_read(graph)
    for name, tensor in weights.items():
        if name not in read:
            graph.initializer.remove(tensor)
    result: bytes = model.SerializeToString()
    return result


def write_out_copies(graph: onnx.GraphProto) -> None:
    """Equal weights are written once by the exporter, and copied at run time by Identity: each gets its own again."""
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in [one for one in graph.node if one.op_type == "Identity" and one.input[0] in values]:
        own = onnx.TensorProto()
        own.CopyFrom(values[node.input[0]])
        own.name = node.output[0]
        graph.initializer.append(own)
        graph.node.remove(node)
    read = _names_read(graph)
    for name, tensor in values.items():
        if name not in read:
            graph.initializer.remove(tensor)


def strip_notes(graph: onnx.GraphProto) -> None:
    """Take out what an exporter wrote for its own debugging: names of classes, source lines, paths of this machine."""
    for part in (graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for branch in branches(graph):
        strip_notes(branch)


def all_initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All weights of a graph, those of its subgraphs too."""
    yield from graph.initializer
    for branch in branches(graph):
        yield from all_initializers(branch)


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph, those of its subgraphs too."""
    yield from graph.node
    for branch in branches(graph):
        yield from all_nodes(branch)


def branches(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The subgraphs of a graph's own nodes."""
    for node in graph.node:
        yield from _own_branches(node)


def _names_read(graph: onnx.GraphProto) -> set[str]:
    """What a graph reads, those below it too."""
    names = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    for inner in branches(graph):
        names |= _names_read(inner)
    return names


def rename_(graph: onnx.GraphProto, name_of: Callable[[str], str]) -> None:
    """Give new names to all values and nodes of a graph and of those below it."""
    for node in graph.node:
        node.name = name_of(node.name) if node.name else ""
        for names in (node.input, node.output):
            names[:] = [name_of(name) if name else "" for name in names]  # "" is an input that is left out
    for one in (*graph.initializer, *graph.input, *graph.output, *graph.value_info):
        one.name = name_of(one.name)
    for inner in branches(graph):
        rename_(inner, name_of)


def has_subgraphs(graph: onnx.GraphProto) -> bool:
    """Whether a node of the graph has a graph of its own, as an `If` has."""
    return next(branches(graph), None) is not None


def sort_nodes_(graph: onnx.GraphProto) -> None:
    """Put nodes behind those whose values they read, as ONNX asks; otherwise they keep their order."""
    made_by = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    nodes, placed, order = list(graph.node), set[int](), list[int]()
    for first in range(len(nodes)):
        waiting = [first]
        while waiting:
            at = waiting[-1]
            read = {*nodes[at].input, *(name for inner in _own_branches(nodes[at]) for name in _names_read(inner))}
            before = [made_by[name] for name in sorted(read) if name in made_by]
            missing = [one for one in before if one not in placed and one != at]
            if missing and len(waiting) <= len(nodes):
                waiting += missing[:1]
                continue
            waiting.pop()
            if at not in placed:
                placed.add(at)
                order.append(at)
    kept = [onnx.NodeProto() for _ in order]
    for copied, at in zip(kept, order, strict=True):
        copied.CopyFrom(nodes[at])
    del graph.node[:]
    graph.node.extend(kept)


def _own_branches(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    yield from (one.g for one in node.attribute if one.type == onnx.AttributeProto.GRAPH)

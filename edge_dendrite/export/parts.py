"""A graph that decides, in parts: its main graph, and each way of an `If` as a network of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from edge_dendrite.errors import ExportError
from edge_dendrite.export.calibrate import Feed
from edge_dendrite.export.session import open_session
from edge_dendrite.export.subgraphs import rename_, write_out_copies


@dataclass(frozen=True)
class Part:
    """model: a file of its own with inputs `feeds` for each sample that reaches it.

    node, attribute: the `If` and which of its ways; empty for the main graph. outer: by the name of an input, the value
    of the main graph that it stands for. gates: nodes of the main graph that only decide.
    """

    model: onnx.ModelProto
    feeds: Sequence[Feed]
    node: str = ""
    attribute: str = ""
    outer: tuple[tuple[str, str], ...] = ()
    gates: frozenset[str] = frozenset()


def prepare(content: bytes) -> onnx.ModelProto:
    """The file with weights where quantizers look for them, a name for every node, and the shape of every value."""
    model = onnx.load_model_from_string(content)
    write_out_copies(model.graph)
    _constants_as_weights(model.graph)
    _name_nodes(model.graph)
    return onnx.shape_inference.infer_shapes(model)


def split(model: onnx.ModelProto, inputs: np.ndarray) -> list[Part]:
    """The main graph and the ways of its `If`s, with what reaches each for `inputs` (n, ...).

    A way that none of them takes has no feeds. Ways that have graphs of their own inside, or read values of unknown
    shape, are no parts.
    """
    name = next(one.name for one in model.graph.input if one.name not in {w.name for w in model.graph.initializer})
    feeds = [{name: one[None]} for one in inputs]
    ways = [(node, attribute) for node in model.graph.node if node.op_type == "If" for attribute in node.attribute]
    parts = [Part(model, feeds, gates=_deciding(model.graph))]
    if not ways:
        return parts
    shapes = {one.name: one for one in (*model.graph.value_info, *model.graph.input)}
    read = {id(attribute): _outer_values(attribute.g) for _, attribute in ways}
    usable = [way for way in ways if all(one in shapes for one in read[id(way[1])])]
    wanted = sorted({one for way in usable for one in (*read[id(way[1])], way[0].input[0])})
    seen = _values(model, wanted, feeds)
    for node, attribute in usable:
        prefix = f"{node.name}/{attribute.name}"
        names = read[id(attribute)]
        outer = tuple((f"{prefix}/{one}", one) for one in names)
        taken = [one for one in seen if bool(one[node.input[0]].all()) == (attribute.name == "then_branch")]
        inner = [{mine: one[theirs] for mine, theirs in outer} for one in taken]
        parts.append(Part(_alone(model, attribute.g, prefix, shapes, names), inner, node.name, attribute.name, outer))
    return parts


def join(model: onnx.ModelProto, parts: Sequence[tuple[Part, onnx.ModelProto]]) -> bytes:
    """The file whose main graph and ways are the given ones: each part with what has become of it."""
    result = onnx.ModelProto()
    result.CopyFrom(next(made for part, made in parts if not part.node))
    nodes = {node.name: node for node in result.graph.node if node.op_type == "If"}
    for part, made in parts:
        if part.node:
            theirs = dict(part.outer)
            graph = onnx.GraphProto()
            graph.CopyFrom(made.graph)
            del graph.input[:]
            rename_(graph, lambda name, theirs=theirs: theirs.get(name, name))  # type: ignore[misc]
            target = next(one for one in nodes[part.node].attribute if one.name == part.attribute)
            target.g.CopyFrom(graph)
    del result.graph.value_info[:]
    content: bytes = result.SerializeToString()
    return content


def _alone(
    model: onnx.ModelProto,
    graph: onnx.GraphProto,
    prefix: str,
    shapes: dict[str, onnx.ValueInfoProto],
    names: list[str],
) -> onnx.ModelProto:
    """A way as a file: its names begin with `prefix`, so that what a quantizer adds meets no other name."""
    alone = onnx.ModelProto()
    alone.CopyFrom(model)
    alone.graph.CopyFrom(graph)
    for name in names:
        alone.graph.input.add().CopyFrom(shapes[name])
    rename_(alone.graph, lambda name: f"{prefix}/{name}")
    _constants_as_weights(alone.graph)
    _name_nodes(alone.graph, prefix)
    return onnx.shape_inference.infer_shapes(alone)


def _values(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed]) -> list[dict[str, np.ndarray]]:
    """Values inside of the main graph, for each sample."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {one.name for one in (*model.graph.output, *model.graph.input)}
    infos = {one.name: one for one in model.graph.value_info}
    for name in names:
        if name not in known:
            watched.graph.output.add().CopyFrom(infos[name])
    session = open_session(watched.SerializeToString())
    asked = [name for name in names if name not in {one.name for one in model.graph.input}]
    return [{**feed, **dict(zip(asked, session.run(asked, dict(feed)), strict=True))} for feed in feeds]


def _outer_values(graph: onnx.GraphProto) -> list[str]:
    """What a way reads of the graph around it. Raises ExportError for graphs inside of it."""
    own = {one.name for one in graph.initializer} | {name for node in graph.node for name in node.output}
    if any(attribute.type == onnx.AttributeProto.GRAPH for node in graph.node for attribute in node.attribute):
        raise ExportError("an If inside of an If cannot be quantized; export the network as fp32")
    read = [name for node in graph.node for name in node.input] + [one.name for one in graph.output]
    return [name for name in dict.fromkeys(read) if name and name not in own]


def _deciding(graph: onnx.GraphProto) -> frozenset[str]:
    """Nodes whose values reach nothing but the conditions of `If`s: gates, which decide in float."""
    readers: dict[str, set[str]] = {}
    for node in graph.node:
        conditions = {node.input[0]} if node.op_type == "If" else set()
        inner = {name for one in node.attribute for name in _outer_values(one.g)} if node.op_type == "If" else set()
        for name in {*node.input, *inner}:
            readers.setdefault(name, set()).add("condition" if name in conditions else node.name)
    for one in graph.output:
        readers.setdefault(one.name, set()).add("output")
    gates: set[str] = set()
    for node in reversed(graph.node):
        after = {reader for name in node.output for reader in readers.get(name, set())}
        if after and after <= gates | {"condition"}:
            gates.add(node.name)
    return frozenset(gates)


def _constants_as_weights(graph: onnx.GraphProto) -> None:
    """Constant nodes that hold a tensor become weights: quantizers know only these."""
    for node in [one for one in graph.node if one.op_type == "Constant" and one.attribute[0].name == "value"]:
        tensor = graph.initializer.add()
        tensor.CopyFrom(node.attribute[0].t)
        tensor.name = node.output[0]
        graph.node.remove(node)


def _name_nodes(graph: onnx.GraphProto, prefix: str = "") -> None:
    """Nodes without a name, or with one that another has, get one of their own."""
    seen: set[str] = set()
    for at, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = f"{prefix}/{node.op_type}_{at}".lstrip("/") if prefix else f"{node.op_type}_{at}"
        seen.add(node.name)

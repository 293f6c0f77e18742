"""What a board's runtimes load and run, asked of an ONNX file before it leaves the workstation.

There is no TensorRT without a GPU that could be asked (its Builder does not start without a driver), so what its parser
takes stands as data in profiles/software/tensorrt-operators.json, from the tables that its authors publish.
"""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edge_dendrite.boards import BoardProfile
from edge_dendrite.errors import ExportError
from edge_dendrite.export.subgraphs import all_initializers, all_nodes

# The oldest opset that any exporter here writes.
OLDEST_OPSET = 13
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def opsets_for(board: BoardProfile | None, asked: int | None) -> tuple[int, ...]:
    """The opsets to try, the best first: what was asked for alone, else 17, and below it those in which a newer
    operator (LayerNormalization from 17, Trilu from 14 on) is written out in older ones.

    Raises ExportError when the board does not read the opset that was asked for, or none that can be written.
    """
    if board is None:
        return (asked or 17,)
    limit = board.figures["max_opset"]["value"] or 17
    if asked is not None:
        if board.figures["max_opset"]["value"] is not None and asked > limit:
            raise ExportError(f"opset {asked}: {board.name} reads at most opset {limit}; leave --opset out or lower it")
        return (asked,)
    if limit < OLDEST_OPSET:
        raise ExportError(
            f"{board.name} reads at most opset {limit}, and {OLDEST_OPSET} is the oldest that can be written"
        )
    return tuple(one for one in (17, 16, OLDEST_OPSET) if one <= limit)


def check_target(content: bytes, board: BoardProfile) -> tuple[str, ...]:
    """Refuse what the board cannot load or run; returns notices of what only the board can tell.

    Raises ExportError with the operator, the node and the reason; a runtime of which the profile knows no version is
    not asked.
    """
    model = onnx.load_model_from_string(content)
    _check_versions(model, board)
    version = board.figures["tensorrt"]["value"]
    if version is None:
        return ()
    nodes = list(all_nodes(model.graph))
    notices = _check_operators(nodes, board, version)
    _check_quantization(model, nodes, board)
    for node in nodes:
        if node.op_type == "If":
            _check_if(node, board)
    return notices


def lowered_ir(content: bytes, board: BoardProfile) -> bytes:
    """The file with the IR version that the board reads, where only that number is too new for it.

    Newer versions of the format add types of numbers, functions and notes on devices (onnx/docs/IR.md); a file without
    them means the same under the older number. Returns the file as it is where it need not or cannot be lowered.
    """
    limit = board.figures["max_ir_version"]["value"]
    model = onnx.load_model_from_string(content)
    known = [one for one in model.opset_import if one.domain in ("", "ai.onnx")]  # it raises for others
    oldest = onnx.helper.find_min_ir_version_for(known)
    if limit is None or model.ir_version <= limit or oldest > limit or _has_newer_parts(model, limit):
        return content
    model.ir_version = limit
    result: bytes = model.SerializeToString()
    return result


def _check_versions(model: onnx.ModelProto, board: BoardProfile) -> None:
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    for key, name, seen in (("max_opset", "opset", opset), ("max_ir_version", "IR version", model.ir_version)):
        limit = board.figures[key]["value"]
        if limit is not None and seen > limit:
            raise ExportError(f"the file has {name} {seen}, {board.name} reads at most {limit}; export it for that")


def _check_operators(nodes: list[onnx.NodeProto], board: BoardProfile, version: str) -> tuple[str, ...]:
    tables = _tables()
    unknown: dict[str, str] = {}
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            raise ExportError(
                f"{_node(node)}: its domain {node.domain!r} is no part of ONNX, and {board.name} has TensorRT "
                f"{version}; write it with standard operators, or choose a target without TensorRT"
            )
        answer = is_supported(node.op_type, version, tables)
        if answer is False:
            raise ExportError(
                f"{_node(node)}: TensorRT {version} of {board.name} does not have that operator{_since(node, tables)}; "
                "replace it in the network, or choose another opset or target"
            )
        if answer is None:
            unknown.setdefault(node.op_type, f"whether TensorRT {version} has {node.op_type} is not known here")
    return tuple(unknown.values())


def is_supported(operator: str, version: str, tables: list[Mapping[str, Any]]) -> bool | None:
    """Whether a version of TensorRT takes an operator, by the published tables; None where none of them tells.

    What one version has, later ones keep. A version between two tables may have what only the later one lists.
    """
    asked = version_of(version)
    first = next((one for one in tables if operator in one["operators"]), None)
    if first is not None and version_of(first["first"]) <= asked:
        return True
    earlier = [one for one in tables if version_of(one["first"]) <= asked]
    if not earlier:
        return None
    covers = earlier[-1]["is_complete"] and asked[:2] <= version_of(earlier[-1]["last"])
    is_last = earlier[-1] is tables[-1]
    return False if covers or (first is None and not is_last) else None


def version_of(text: str) -> tuple[int, ...]:
    """ "8.2.1" as numbers that compare."""
    return tuple(int(part) for part in text.split("."))


def _tables() -> list[Mapping[str, Any]]:
    file = importlib.resources.files("edge_profiles").joinpath("software/tensorrt-operators.json")
    tables: list[Mapping[str, Any]] = json.loads(file.read_bytes())["tables"]
    return tables


def _since(node: onnx.NodeProto, tables: list[Mapping[str, Any]]) -> str:
    first = next((one["first"] for one in tables if node.op_type in one["operators"]), None)
    return f" ({first} is the first that is known to)" if first else ""


def _check_quantization(model: onnx.ModelProto, nodes: list[onnx.NodeProto], board: BoardProfile) -> None:
    quantizers = [node for node in nodes if node.op_type in _QUANTIZERS]
    precisions = board.figures["precisions"]["value"]
    if quantizers and precisions is not None and "int8" not in precisions:
        raise ExportError(
            f"{_node(quantizers[0])}: the file is quantized, and {board.name} runs {', '.join(precisions)}; "
            "export it with --precision fp16 or fp32"
        )
    constants = {one.name: one for one in all_initializers(model.graph)}  # those of the ways of gates too
    constants |= {
        node.output[0]: attribute.t
        for node in nodes
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for node in quantizers:
        zero = node.input[2] if len(node.input) > 2 else ""
        if zero and (zero not in constants or np.any(numpy_helper.to_array(constants[zero]))):
            raise ExportError(
                f"{_node(node)}: its zero point is not 0, which TensorRT wants; quantize it symmetrically, as "
                "--precision int8 does"
            )


def _check_if(node: onnx.NodeProto, board: BoardProfile) -> None:
    ways = [attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH]
    names = [[one.name for one in way.output] for way in ways]
    if len(ways) == 2 and set(names[0]) & set(names[1]):
        raise ExportError(f"{_node(node)}: both of its ways call their output {names[0][0]!r}, which TensorRT refuses")
    ranks = [[len(one.type.tensor_type.shape.dim) for one in way.output] for way in ways]
    known = all(one.type.tensor_type.HasField("shape") for way in ways for one in way.output)
    if known and len(ways) == 2 and ranks[0] != ranks[1]:
        raise ExportError(
            f"{_node(node)}: its ways give outputs of {ranks[0]} and {ranks[1]} dimensions; {board.name}'s TensorRT "
            "wants as many in both"
        )


def _has_newer_parts(model: onnx.ModelProto, limit: int) -> bool:
    """Local functions came with version 8; types of fewer bits and the rest of what is newer with 9 and above."""
    newest = {8: onnx.TensorProto.BFLOAT16, 9: onnx.TensorProto.FLOAT8E5M2FNUZ, 10: onnx.TensorProto.INT4}
    last_type = newest.get(limit, max(newest.values()) if limit > 10 else onnx.TensorProto.COMPLEX128)
    graphs = [model.graph, *(node_graph for node_graph in _inner_graphs(model.graph))]
    types = {one.data_type for graph in graphs for one in graph.initializer}
    return bool(model.functions and limit < 8) or any(one > last_type for one in types)


def _inner_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in all_nodes(graph):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield attribute.g


def _node(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} that gives {node.output[0]!r}"

"""What a board's runtimes load and run, asked of an ONNX file before it leaves the workstation."""

from __future__ import annotations

import onnx

from edge_dendrite.boards import BoardProfile, board_precisions
from edge_dendrite.errors import ExportError
from edge_dendrite.export.subgraphs import all_initializers, all_nodes
from edge_dendrite.export.tensorrt_support import QUANTIZERS, TensorRTSupport, shifted_quantizers

# The oldest opset that any exporter here writes.
OLDEST_OPSET = 13


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


def _check_operators(nodes: list[onnx.NodeProto], board: BoardProfile, release: str) -> tuple[str, ...]:
    support = TensorRTSupport.load()
    unknown: dict[str, str] = {}
    for node in nodes:
        if node.domain not in ("", "ai.onnx"):
            raise ExportError(
                f"{_node(node)}: its domain {node.domain!r} is no part of ONNX, and {board.name} has TensorRT "
                f"{release}; write it with standard operators, or choose a target without TensorRT"
            )
        answer = support.reads(node.op_type, release)
        if answer is False:
            first = support.first.get(node.op_type)
            since = f" ({first} is the first that is known to)" if first else ""
            raise ExportError(
                f"{_node(node)}: TensorRT {release} of {board.name} does not have that operator{since}; "
                "replace it in the network, or choose another opset or target"
            )
        if answer is None:
            unknown.setdefault(node.op_type, f"whether TensorRT {release} has {node.op_type} is not known here")
    return tuple(unknown.values())


def _check_quantization(model: onnx.ModelProto, nodes: list[onnx.NodeProto], board: BoardProfile) -> None:
    first = next((node for node in nodes if node.op_type in QUANTIZERS), None)
    precisions = board_precisions(board)
    if first is not None and precisions is not None and "int8" not in precisions:
        raise ExportError(
            f"{_node(first)}: the file is quantized, and {board.name} runs {', '.join(precisions)}; "
            "export it with --precision fp16 or fp32"
        )
    for node in shifted_quantizers(model):
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
    types = {one.data_type for one in all_initializers(model.graph)}
    return bool(model.functions and limit < 8) or any(one > last_type for one in types)


def _node(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} that gives {node.output[0]!r}"

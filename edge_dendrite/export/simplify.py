"""A smaller graph of the same values: constants folded, what does nothing taken out, by onnxslim."""

from __future__ import annotations

import contextlib
import io
import logging

import onnx
import onnxslim

from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import OnnxModel, check_onnx
from edge_dendrite.export.subgraphs import all_nodes

_MOST_GROWTH = 1.05  # of the file: constants that are written out may be larger than what they were computed from


def simplified(model: OnnxModel) -> OnnxModel | None:
    """The file with fewer nodes, whose values the caller compares; None where it has not, or is no valid ONNX.

    The versions that it says, its inputs and outputs, and every `If` stay: what decides must go on to decide.
    """
    loaded = onnx.load_model_from_string(model.content)
    num_nodes, kept, has_notes = _num_nodes(loaded), _what_stays(loaded), bool(loaded.graph.value_info)
    after = _slimmed(loaded)
    if after is None or _num_nodes(after) >= num_nodes or _what_stays(after) != kept:
        return None
    after.ir_version = model.ir_version
    if not has_notes:
        del after.graph.value_info[:]  # notes on shapes, which whoever loads the file finds out
    content: bytes = after.SerializeToString()
    if len(content) > _MOST_GROWTH * len(model.content):
        return None
    try:
        return check_onnx(content, model.opset)
    except ExportError:
        return None


def _slimmed(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """May change the model that it is given."""
    quiet = logging.getLogger("ONNXSLIM")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return onnxslim.slim(model)
    except Exception:  # a file that it cannot read is exported as it is: simpler is a gift, not a requirement
        return None
    finally:
        quiet.setLevel(level)


def _num_nodes(model: onnx.ModelProto) -> int:
    return sum(1 for _ in all_nodes(model.graph))


def _what_stays(model: onnx.ModelProto) -> object:
    ifs = sum(node.op_type == "If" for node in all_nodes(model.graph))
    ends = [[one.SerializeToString() for one in ends] for ends in (model.graph.input, model.graph.output)]
    return ifs, ends, sorted((one.domain, one.version) for one in model.opset_import)

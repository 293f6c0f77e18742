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


def simplified(model: OnnxModel) -> OnnxModel | None:
    """The file with fewer nodes, whose values the caller compares; None where it has not, or is no valid ONNX.

    The versions that it says, its inputs and outputs, and every `If` stay: what decides must go on to decide.
    """
    before = onnx.load_model_from_string(model.content)
    after = _slimmed(before)
    if after is None or not _is_smaller(before, after):
        return None
    after.ir_version = before.ir_version
    try:
        return check_onnx(after.SerializeToString(), model.opset)
    except ExportError:
        return None


def _slimmed(model: onnx.ModelProto) -> onnx.ModelProto | None:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    quiet = logging.getLogger("ONNXSLIM")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return onnxslim.slim(copied)
    except Exception:  # a file that it cannot read is exported as it is: simpler is a gift, not a requirement
        return None
    finally:
        quiet.setLevel(level)


def _is_smaller(before: onnx.ModelProto, after: onnx.ModelProto) -> bool:
    def facts(model: onnx.ModelProto) -> object:
        ifs = sum(node.op_type == "If" for node in all_nodes(model.graph))
        ends = [[one.SerializeToString() for one in ends] for ends in (model.graph.input, model.graph.output)]
        return ifs, ends, sorted((one.domain, one.version) for one in model.opset_import)

    fewer = len(list(all_nodes(after.graph))) < len(list(all_nodes(before.graph)))
    return fewer and facts(before) == facts(after) and after.ByteSize() <= 1.05 * before.ByteSize()

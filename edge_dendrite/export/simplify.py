"""A smaller graph of the same values: constants folded, what does nothing taken out, by onnxslim."""

from __future__ import annotations

import contextlib
import io
import logging

import numpy as np
import onnx
import onnxslim

from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.export.subgraphs import all_nodes

# Folding may change the order of a sum, and nothing else.
_RTOL, _ATOL = 1e-5, 1e-6


def simplified(content: bytes, inputs: np.ndarray) -> bytes:
    """The simplified file where it has fewer nodes and the same outputs for `inputs` (n, ...); else the one that came.

    The versions that it says, its inputs and outputs, and every `If` stay: what decides must go on to decide.
    """
    before = onnx.load_model_from_string(content)
    after = _slimmed(before)
    if after is None:
        return content
    if not before.graph.value_info:
        del after.graph.value_info[:]  # notes on shapes, which whoever loads the file finds out
    if not _is_smaller(before, after):
        return content
    after.ir_version = before.ir_version
    result: bytes = after.SerializeToString()
    return result if _has_same_outputs(content, result, inputs) else content


def _slimmed(model: onnx.ModelProto) -> onnx.ModelProto | None:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    quiet = logging.getLogger("ONNXSLIM")
    level = quiet.level
    quiet.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            made = onnxslim.slim(copied)
            onnx.checker.check_model(made)
    except Exception:  # a file that it cannot read is exported as it is: simpler is a gift, not a requirement
        return None
    finally:
        quiet.setLevel(level)
    return made


def _is_smaller(before: onnx.ModelProto, after: onnx.ModelProto) -> bool:
    def facts(model: onnx.ModelProto) -> object:
        ifs = sum(node.op_type == "If" for node in all_nodes(model.graph))
        ends = [[one.SerializeToString() for one in ends] for ends in (model.graph.input, model.graph.output)]
        return ifs, ends, sorted((one.domain, one.version) for one in model.opset_import)

    fewer = len(list(all_nodes(after.graph))) < len(list(all_nodes(before.graph)))
    return fewer and facts(before) == facts(after) and after.ByteSize() <= 1.05 * before.ByteSize()


def _has_same_outputs(before: bytes, after: bytes, inputs: np.ndarray) -> bool:
    wanted, seen = (run_onnx(open_session(one), inputs) for one in (before, after))
    return wanted.shape == seen.shape and np.allclose(seen, wanted, rtol=_RTOL, atol=_ATOL)

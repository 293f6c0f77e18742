"""fp16 in the graph: weights and values in half precision between a float32 input and a float32 output."""

from __future__ import annotations

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from edge_dendrite.config import FP16, FP32
from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import OnnxModel, check_onnx
from edge_dendrite.export.session import open_session
from edge_dendrite.export.subgraphs import has_subgraphs, sort_nodes_


def to_half(model: OnnxModel) -> OnnxModel:
    """The fp32 file as fp16, by ONNX Runtime's converter; opset, IR version, names and shapes stay.

    Raises ExportError for a file that is not fp32, that decides (`If`), or that cannot be converted.
    """
    if model.precision != FP32:
        raise ExportError(f"the file is {model.precision} already; give the fp32 file that it was made from")
    graph = onnx.load_model_from_string(model.content)
    if has_subgraphs(graph.graph):
        # The converter renames what it casts in the outer graph only, and gives one type to names that two ways share.
        raise ExportError(
            "a file with subgraphs (the If of a gate, Loop, Scan) cannot be cast to fp16; take fp32 or int8"
        )
    try:
        converted = convert_float_to_float16(graph, keep_io_types=True)
        sort_nodes_(converted.graph)
        half = check_onnx(converted.SerializeToString())
        open_session(half.content)
    except ExportError as error:
        raise ExportError(f"the network has no fp16 form: {error}") from error
    except Exception as error:  # the converter raises several kinds
        raise ExportError(f"the network cannot be cast to fp16: {type(error).__name__}: {error}") from error
    versions = (half.opset, half.ir_version), (model.opset, model.ir_version)
    if half.precision != FP16 or versions[0] != versions[1]:
        raise ExportError("the network has no float weights that could be cast to fp16; take fp32")
    return half

"""TensorRT engines on the workstation, and the recipe by which a board builds its own.

An engine loads only where platform, GPU architecture and TensorRT release are those that built it, so what travels is
the ONNX file with a recipe; an engine is made here only for a board that is like this machine. The builder is the
agent's (edge_bench.engine), one for both. Never run on a GPU.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edge_bench import engine, recipe, sidecar
from edge_bench.errors import EdgeBenchError
from edge_dendrite.config import EngineConfig
from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import OnnxModel
from edge_dendrite.export.subgraphs import all_initializers, all_nodes

FILES = (sidecar.ENGINE, sidecar.SIDECAR)
# The release that an operator came with, where that is after 8.0: docs/Changelog.md of onnx/onnx-tensorrt up to 10.6.
_OPERATORS = {
    "8.2": "Einsum GatherND IsNaN Round Scatter ScatterElements ScatterND Sign",
    "8.4": "Shrink Xor",
    "8.5": "GridSample MeanVarianceNormalization Mod NonZero RandomNormal RoiAlign Trilu",
    "8.6": "GroupNormalization IsInf LayerNormalization",
    "9.2": "Hardmax",
    "10.1": "DeformConv",
    "10.4": "BlackmanWindow HammingWindow HannWindow",
    "10.5": "STFT",
}
_SINCE = {operator: release for release, operators in _OPERATORS.items() for operator in operators.split()}
# Not in docs/operators.md of its 8.4 branch, and not added since by that changelog.
_NEVER = (
    "Compress ConcatFromSequence ConvInteger Det DynamicQuantizeLinear MatMulInteger MaxRoiPool MaxUnpool Multinomial "
    "QLinearConv QLinearMatMul SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
    "SplitToSequence StringNormalizer TfIdfVectorizer Unique"
)
# docs/operators.md by branch: the highest opset that a release reads.
_OPSETS = ((13, "8.0"), (17, "8.4"), (20, "10.0"))
_LATER_OPSETS = "11.0"


def build_recipe(onnx_model: OnnxModel, config: EngineConfig) -> dict[str, Any]:
    """What a board needs to know to build the engine: the manifest's `engine_recipe`, read by edge_bench.recipe.

    needs: for each operator, and for the opset, the TensorRT release that it takes where that is after 8.0.
    unsupported: what no release reads. Both are from the parser's own lists; what they say of shapes and types of an
    operator is not looked at, the board's parser has the last word.
    """
    model = onnx.load_model_from_string(onnx_model.content)
    operators = sorted({node.op_type for node in all_nodes(model.graph) if node.domain in ("", "ai.onnx")})
    needs = {name: _SINCE[name] for name in operators if name in _SINCE}
    least = next((release for opset, release in _OPSETS if onnx_model.opset <= opset), _LATER_OPSETS)
    if least != _OPSETS[0][1]:
        needs[f"opset {onnx_model.opset}"] = least
    foreign = {f"{node.domain}.{node.op_type}" for node in all_nodes(model.graph) if node.domain not in ("", "ai.onnx")}
    return {
        "version": recipe.VERSION,
        "precision": onnx_model.precision,
        "workspace_bytes": config.workspace_bytes,
        "batch": None if config.has_fixed_batch else list(config.batch),
        "version_compatible": config.version_compatible,
        "allow_tf32": config.allow_tf32,
        "timing_cache": True,
        "min_tensorrt": max([*needs.values(), _OPSETS[0][1]], key=_numbers),
        "needs": needs,
        "unsupported": sorted({*(set(_NEVER.split()) & set(operators)), *foreign, *_asymmetric(model.graph)}),
    }


def _asymmetric(graph: onnx.GraphProto) -> Iterator[str]:
    """Quantization with a zero point other than 0, which TensorRT's parser refuses."""
    weights = {one.name: one for one in all_initializers(graph)}
    for node in all_nodes(graph):
        points = node.input[2:3] if node.op_type in ("QuantizeLinear", "DequantizeLinear") else []
        if any(np.any(numpy_helper.to_array(weights[name])) for name in points if name in weights):
            yield f"{node.op_type} with a zero point that is not 0"


def _numbers(release: str) -> list[int]:
    return [int(part) for part in release.split(".")]


@dataclass(frozen=True)
class EngineBuild:
    """A builder that works here, and where it writes beside the bundle.

    log: file of the build's whole output. timing_cache: file that makes later builds faster. say: gets a line a step.
    """

    builder: engine.Builder
    log: Path
    timing_cache: Path | None = None
    say: Callable[[str], None] = lambda line: None


def find_build(
    log: Path, timing_cache: Path | None = None, say: Callable[[str], None] = lambda line: None
) -> tuple[EngineBuild | None, str]:
    """(a build that can be made here, "") or (None, why not, in words)."""
    builder, reason = engine.find_builder()
    return (EngineBuild(builder, log, timing_cache, say) if builder else None), reason


def engine_files(onnx_model: OnnxModel, manifest: dict[str, Any], build: EngineBuild) -> dict[str, bytes]:
    """Build the engine of a manifest's model by its `engine_recipe`: the bundle's files by name.

    Raises ExportError, naming the log, when TensorRT is too old or refuses.
    """
    made = manifest["engine_recipe"]
    folder = Path(tempfile.mkdtemp(prefix="edge-dendrite-engine-"))
    build.log.parent.mkdir(parents=True, exist_ok=True)
    try:
        recipe.check_release(made, build.builder.tensorrt_version)
        engine.build_engine(
            build.builder,
            onnx_model.content,
            manifest["model"]["inputs"],
            manifest["model"]["outputs"],
            recipe.settings_of(made),
            str(folder),
            str(build.log),
            str(build.timing_cache) if build.timing_cache else None,
            build.say,
        )
        sidecar.open_engine(str(folder))
        return {name: (folder / name).read_bytes() for name in FILES}
    except EdgeBenchError as error:
        raise ExportError(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)

"""TensorRT engines on the workstation, and the recipe by which a board builds its own.

An engine loads only where platform, GPU architecture and TensorRT release are those that built it, so what travels is
the ONNX file with a recipe; an engine is made here only for a board that is like this machine. The builder is the
agent's (edge_bench.engine), one for both. Never run on a GPU.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edge_bench.engine import build as engine
from edge_bench.engine import recipe, sidecar
from edge_bench.errors import EdgeBenchError
from edge_dendrite.boards import BoardProfile
from edge_dendrite.config import EngineConfig
from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import OnnxModel
from edge_dendrite.export.subgraphs import all_nodes
from edge_dendrite.export.tensorrt_support import TensorRTSupport, shifted_quantizers

FILES = (sidecar.ENGINE, sidecar.SIDECAR)


def build_recipe(onnx_model: OnnxModel, config: EngineConfig) -> dict[str, Any]:
    """What a board needs to know to build the engine: the manifest's `engine_recipe`, read by edge_bench.engine.recipe.

    needs: for each operator, and for the opset, the TensorRT release that it takes where that is after 8.0.
    unsupported: what no release reads.
    """
    model = onnx.load_model_from_string(onnx_model.content)
    support = TensorRTSupport.load()
    nodes = list(all_nodes(model.graph))
    operators = {node.op_type for node in nodes if node.domain in ("", "ai.onnx")}
    foreign = {f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")}
    shifted = {f"{node.op_type} with a zero point that is not 0" for node in shifted_quantizers(model)}
    needs = support.needs(operators, onnx_model.opset)
    return {
        "version": recipe.VERSION,
        "precision": onnx_model.precision,
        "workspace_bytes": config.workspace_bytes,
        "batch": None if config.has_fixed_batch else list(config.batch),
        "version_compatible": config.version_compatible,
        "allow_tf32": config.allow_tf32,
        "timing_cache": True,
        "min_tensorrt": support.oldest_of(needs),
        "needs": needs,
        "unsupported": sorted((operators - support.first.keys()) | foreign | shifted),
    }


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
    log: Path,
    timing_cache: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
    board: BoardProfile | None = None,
) -> tuple[EngineBuild | None, str]:
    """(a build that can be made here, "") or (None, why not, in words); not for a target with another kind of GPU."""
    builder, reason = engine.find_builder()
    if builder is None:
        return None, reason
    wanted = board.figures["compute_capability"]["value"] if board else None
    here = builder.device["compute_capability"]
    if board and wanted not in (None, here):
        return None, f"an engine of this GPU ({here}) does not load on {board.name} ({wanted})"
    return EngineBuild(builder, log, timing_cache, say), ""


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

"""From a network, or an ONNX file, to a bundle: exported, compared, measured on test data, described."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from edge_dendrite import __version__
from edge_dendrite.boards import BoardProfile, load_board
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.model import CompressedModel, weights_digest
from edge_dendrite.config import ExportConfig
from edge_dendrite.data.dataset import DataSet, Preprocessing
from edge_dendrite.errors import ExportError
from edge_dendrite.export.bundle_files import Bundle
from edge_dendrite.export.dynamic_batch import with_any_batch
from edge_dendrite.export.gates import inputs_of_every_path
from edge_dendrite.export.in_precision import check_precision, in_precision
from edge_dendrite.export.onnx import OnnxModel, TensorInfo, check_onnx, check_parity, export_onnx, is_deciding
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.export.simplify import simplified
from edge_dendrite.export.targets import check_target, lowered_ir, opsets_for
from edge_dendrite.export.tensorrt import EngineBuild, build_recipe, engine_files
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.evaluate import Metric, accuracy, apply_metric, metric_name

# Among so many validation samples inputs are looked for that take every way through a gated network.
_MOST_INPUTS_OF_PATHS = 1_000


@dataclass(frozen=True)
class Evaluation:
    """A metric of the exported file, measured through ONNX Runtime on data that nothing was chosen on."""

    metric: str
    split: str
    value: float
    num_samples: int
    data_sha256: str

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "metric": self.metric,
            "split": self.split,
            "value": self.value,
            "num_samples": self.num_samples,
            "data_sha256": self.data_sha256,
            "runtime": f"onnxruntime {onnxruntime.__version__}",
        }


def export_bundle(
    model: CompressedModel,
    path: str | Path,
    config: ExportConfig | None = None,
    *,
    data: DataSet | None = None,
    metric: Metric = accuracy,
    engine: EngineBuild | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Export a model to ONNX, compare it with PyTorch, and write the bundle `path`, a folder or a .tar.

    engine: builds a TensorRT engine into the bundle too; without, the board can build it by the bundle's recipe.
    With `data`, reference inputs are validation samples and the metric of the exported file is measured on the test
    data; without, the inputs are random and the manifest has no accuracy. A precision other than fp32
    (`config.precision`) is made from the fp32 file and measured beside it on validation data; `board` says which ones
    the target has. Raises ExportError when the export, the comparison or the verification of what was written fails,
    ConfigError for a precision that cannot be had; nothing is then left at `path`.
    """
    config = config or ExportConfig()
    board = load_board(config.target) if config.target else None
    check_precision(config, data is not None, board)
    inputs = _reference_inputs(model, config.num_reference_cases, data)
    onnx_model, notices = _export(model, inputs, config, board)
    error = check_parity(onnx_model, model.module, inputs, config.atol, config.rtol)
    gated = has_gates(model.module)
    onnx_model, tolerance, measured = in_precision(
        onnx_model, inputs.numpy(), config, data, metric, board, gated, progress
    )
    evaluation = evaluate_onnx(onnx_model, data, metric) if data else None
    manifest = {
        "name": model.name,
        "role": model.role,
        "labels": list(model.labels),
        "preprocessing": model.preprocessing.to_dict() if model.preprocessing else {},
        "stats": replace(model.stats, onnx_bytes=len(onnx_model.content)).to_dict(),
        "target": board.name if board else None,
        "notices": list(notices),
        "recipe": model.recipe,
        "weights_sha256": weights_digest(model.module),
        "parity": {
            "max_abs_error": error,
            "against": f"torch {torch.__version__}",
            "batches": [1, len(inputs)] if onnx_model.has_dynamic_batch else [1],
        },
        **measured,
    }
    if evaluation:
        manifest["accuracy"] = evaluation.to_dict()
    return write_bundle(path, onnx_model, inputs.numpy(), manifest, config, tolerance, engine)


def _export(
    model: CompressedModel, inputs: torch.Tensor, config: ExportConfig, board: BoardProfile | None
) -> tuple[OnnxModel, tuple[str, ...]]:
    """At the first opset at which the target has all operators. Returns what only the board can tell, too."""
    reasons: dict[str, int] = {}
    for opset in opsets_for(board, config.opset):
        try:
            return _export_at(opset, model, inputs, config, board)
        except ExportError as error:  # an older opset may write it in older operators
            reasons.setdefault(str(error), opset)
    if len(reasons) == 1:
        raise ExportError(next(iter(reasons)))
    raise ExportError("; ".join(f"at opset {opset}: {reason}" for reason, opset in reasons.items()))


def _export_at(
    opset: int, model: CompressedModel, inputs: torch.Tensor, config: ExportConfig, board: BoardProfile | None
) -> tuple[OnnxModel, tuple[str, ...]]:
    any_batch = config.dynamic_batch or not config.engine.has_fixed_batch
    made = export_onnx(model.module, model.input_shape, opset, dynamic_batch=any_batch)
    if config.simplify:
        made = check_onnx(simplified(made.content, inputs.numpy()), opset)
    return made, check_target(made.content, board) if board else ()


def export_file(
    file: str | Path,
    path: str | Path,
    config: ExportConfig | None = None,
    *,
    inputs: np.ndarray | None = None,
    labels: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    data: DataSet | None = None,
    metric: Metric = accuracy,
    engine: EngineBuild | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Bundle a user's own ONNX file (fixed shapes, batch 1 or a dynamic one).

    inputs: reference inputs (n, ...) without the batch, ready for the network; else validation samples of `data`, or
    random ones. labels, and the preprocessing of images, are not in such a file: the bundle carries what is given here,
    or what `data` say. With `data` the metric is measured on the test data, and precisions as by `export_bundle`. The
    file stays as it is: what it says of its opset and operators must do for the target, and only an IR version that is
    higher than what the file uses is lowered. Reference outputs are those of ONNX Runtime here; parameters and MACs are
    not known. Raises ExportError when the file cannot be used.
    """
    config = config or ExportConfig()
    board = load_board(config.target) if config.target else None
    check_precision(config, data is not None, board)
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise ExportError(f"{file}: cannot be read ({error})") from error
    onnx_model = check_onnx(content)
    notices: tuple[str, ...] = ()
    if board is not None:
        try:
            onnx_model = check_onnx(lowered_ir(content, board))
            notices = check_target(onnx_model.content, board)
        except ExportError as error:
            raise ExportError(f"{file}: {error}") from error
    inputs = _inputs_of_file(Path(file), onnx_model, inputs, config, data)
    onnx_model = _with_batch(onnx_model, inputs, config)
    decides = is_deciding(onnx_model.content)
    onnx_model, tolerance, measured = in_precision(onnx_model, inputs, config, data, metric, board, decides, progress)
    manifest: dict[str, Any] = {
        "name": Path(file).stem,
        "role": "onnx file",
        "labels": list(labels),
        "preprocessing": preprocessing.to_dict() if preprocessing else {},
        "stats": {"onnx_bytes": len(onnx_model.content), "layers": []},
        "target": board.name if board else None,
        "notices": list(notices),
        **measured,
    }
    if data is not None:
        manifest["labels"] = list(labels or data.labels)
        known = preprocessing or data.preprocessing
        manifest["preprocessing"] = known.to_dict() if known else {}
        manifest["accuracy"] = evaluate_onnx(onnx_model, data, metric).to_dict()
    return write_bundle(path, onnx_model, inputs, manifest, config, tolerance, engine)


def _inputs_of_file(
    file: Path, onnx_model: OnnxModel, inputs: np.ndarray | None, config: ExportConfig, data: DataSet | None
) -> np.ndarray:
    shape = onnx_model.input_shape[1:]
    if data is not None and tuple(data.input_shape) != shape:
        raise ExportError(f"{file}: takes inputs of {shape}, the data have {data.input_shape}")
    if inputs is not None:
        if len(inputs) == 0 or inputs.shape[1:] != shape:
            raise ExportError(f"{file}: inputs of shape {inputs.shape} do not fit, expected (n, {str(shape)[1:]}")
        return inputs
    if data is not None:
        samples: np.ndarray = data.prepare(data.validation.inputs[: config.num_reference_cases]).numpy()
        return samples
    return np.random.default_rng(0).standard_normal((config.num_reference_cases, *shape), np.float32)


def _with_batch(onnx_model: OnnxModel, inputs: np.ndarray, config: ExportConfig) -> OnnxModel:
    """A user's file as its engine needs it."""
    if config.engine.has_fixed_batch or onnx_model.has_dynamic_batch:
        return onnx_model
    return check_onnx(with_any_batch(onnx_model, inputs, config.engine.batch[2], config.atol, config.rtol))


def evaluate_onnx(onnx_model: OnnxModel, data: DataSet, metric: Metric) -> Evaluation:
    """The metric of the exported file over the test data, which are read here."""
    test = data.read_test()
    session = open_session(onnx_model.content)
    outputs = [run_onnx(session, inputs.numpy()) for inputs, _ in data.batches(test, 512)]
    value = apply_metric(metric, torch.from_numpy(np.concatenate(outputs)), test.targets)
    return Evaluation(metric_name(metric), "test", value, len(test), test.fingerprint())


def is_evaluated_on(manifest: Mapping[str, Any], data: DataSet, metric: Metric) -> bool:
    """Whether a bundle's figure of merit is that of this metric on these test data."""
    known = manifest.get("accuracy", {})
    return known.get("metric") == metric_name(metric) and known.get("data_sha256") == data.read_test().fingerprint()


def _reference_inputs(model: CompressedModel, count: int, data: DataSet | None) -> torch.Tensor:
    if data is not None:
        if not has_gates(model.module):
            return data.prepare(data.validation.inputs[:count])
        inputs = data.prepare(data.validation.inputs[:_MOST_INPUTS_OF_PATHS])
        return inputs[inputs_of_every_path(model.module, inputs, count)]
    if has_gates(model.module):
        raise ExportError("a network with gates needs data: random inputs may take one way only, and prove nothing")
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *model.input_shape, generator=generator)


def write_bundle(
    path: str | Path,
    onnx_model: OnnxModel,
    inputs: np.ndarray,
    manifest: dict[str, Any],
    config: ExportConfig,
    tolerance: tuple[float, float],
    engine: EngineBuild | None = None,
) -> Bundle:
    """Write and verify a bundle; it appears whole or not at all. tolerance: absolute and relative.

    Raises ExportError when something is there already.
    """
    path = Path(path)
    if path.exists():
        raise ExportError(f"{path}: exists already; give another place or delete it")
    session = open_session(onnx_model.content)
    files = {"model.onnx": onnx_model.content}
    cases = []
    for number, one in enumerate(inputs):
        names = (f"reference/{number}_input.bin", f"reference/{number}_output.bin")
        files[names[0]] = one.astype("<f4").tobytes()
        files[names[1]] = run_onnx(session, one[None]).astype("<f4").tobytes()
        cases.append({"inputs": [names[0]], "outputs": [names[1]]})
    manifest = {
        **manifest,
        "model": {
            "path": "model.onnx",
            "num_bytes": len(onnx_model.content),
            "opset": onnx_model.opset,
            "ir_version": onnx_model.ir_version,
            "precision": onnx_model.precision,
            "dynamic_batch": onnx_model.has_dynamic_batch,
            "inputs": [_tensor(one) for one in onnx_model.inputs],
            "outputs": [_tensor(one) for one in onnx_model.outputs],
        },
        "engine_recipe": build_recipe(onnx_model, config.engine),
        "reference": {"cases": cases, "atol": tolerance[0], "rtol": tolerance[1]},
        "tools": {
            "edge-dendrite": __version__,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
    }
    if engine is not None:
        files.update(engine_files(onnx_model, manifest, engine))
    return Bundle.write(path, files, manifest)


def _tensor(one: TensorInfo) -> dict[str, Any]:
    return {"name": one.name, "dtype": one.dtype, "shape": list(one.shape)}

"""Writing bundles. Their reader and verifier are the agent's (edge_bench.bundle): one format, one verifier."""

from __future__ import annotations

import hashlib
import io
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from edge_bench import bundle as reader
from edge_bench.atomic import canonical_json, write_bytes
from edge_bench.errors import EdgeBenchError
from edge_dendrite import __version__
from edge_dendrite.boards import BoardProfile, board_precisions, require_precision
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.model import CompressedModel, weights_digest
from edge_dendrite.config import AUTO, FP32, ExportConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.gates import inputs_of_every_path
from edge_dendrite.export.onnx import (
    OnnxModel,
    check_onnx,
    check_parity,
    export_onnx,
    is_deciding,
    open_session,
    run_onnx,
    tensor_names,
)
from edge_dendrite.export.precisions import NUM_COMPARED, Samples, compare_precisions
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


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk; `id` is the sha256 of its manifest."""

    path: Path
    id: str
    manifest: dict[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open and verify a folder or .tar. Raises ExportError naming what is wrong with it."""
        try:
            found = reader.open_bundle(str(path))
        except EdgeBenchError as error:
            raise ExportError(str(error)) from error
        return cls(Path(path), found.id, found.manifest)


def export_bundle(
    model: CompressedModel,
    path: str | Path,
    config: ExportConfig | None = None,
    *,
    data: DataSet | None = None,
    metric: Metric = accuracy,
    board: BoardProfile | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Export a model to ONNX, compare it with PyTorch, and write the bundle folder `path`.

    With `data`, reference inputs are validation samples and the metric of the exported file is measured on the test
    data; without, the inputs are random and the manifest has no accuracy. A precision other than fp32
    (`config.precision`) is made from the fp32 file and measured beside it on validation data; `board` says which ones
    the target has. Raises ExportError when the export, the comparison or the verification of what was written fails,
    ConfigError for a precision that cannot be had; nothing is then left at `path`.
    """
    config = config or ExportConfig()
    check_precision(config, data is not None, board)
    onnx_model = export_onnx(model.module, model.input_shape, config.opset)
    inputs = _reference_inputs(model, config.num_reference_cases, data)
    error = check_parity(onnx_model, model.module, inputs, config.atol, config.rtol)
    gated = has_gates(model.module)
    onnx_model, tolerance, measured = _in_precision(
        onnx_model, inputs.numpy(), config, data, metric, board, gated, progress
    )
    evaluation = evaluate_onnx(onnx_model, data, metric) if data else None
    manifest = {
        "name": model.name,
        "role": model.role,
        "labels": list(model.labels),
        "preprocessing": model.preprocessing.to_dict() if model.preprocessing else {},
        "stats": replace(model.stats, onnx_bytes=len(onnx_model.content)).to_dict(),
        "target": config.target,
        "recipe": model.recipe,
        "weights_sha256": weights_digest(model.module),
        "parity": {"max_abs_error": error, "against": f"torch {torch.__version__}"},
        **measured,
    }
    if evaluation:
        manifest["accuracy"] = evaluation.to_dict()
    return write_bundle(path, onnx_model, inputs.numpy(), manifest, tolerance)


def export_file(
    file: str | Path,
    path: str | Path,
    config: ExportConfig | None = None,
    board: BoardProfile | None = None,
    *,
    data: DataSet | None = None,
    metric: Metric = accuracy,
    progress: Progress = silent,
) -> Bundle:
    """Bundle a user's own ONNX file (one float32 input and output, fixed shapes, batch 1).

    Raises ExportError when it cannot be used, or `board` does not read its opset or IR version. Its reference outputs
    are those of ONNX Runtime here. Parameters and MACs are not known of such a file. With `data` its metric is measured
    on the test data, and precisions as by `export_bundle`.
    """
    config = config or ExportConfig()
    check_precision(config, data is not None, board)
    try:
        onnx_model = check_onnx(Path(file).read_bytes())
    except OSError as error:
        raise ExportError(f"{file}: cannot be read ({error})") from error
    if board is not None:
        _check_limits(Path(file), onnx_model, board)
    if data is not None and tuple(data.input_shape) != onnx_model.input_shape[1:]:
        raise ExportError(f"{file}: takes {onnx_model.input_shape[1:]}, the data have inputs of {data.input_shape}")
    if data is not None:
        inputs = data.prepare(data.validation.inputs[: config.num_reference_cases]).numpy()
    else:
        generator = np.random.default_rng(0)
        inputs = generator.standard_normal((config.num_reference_cases, *onnx_model.input_shape[1:]), np.float32)
    decides = is_deciding(onnx_model.content)
    onnx_model, tolerance, measured = _in_precision(onnx_model, inputs, config, data, metric, board, decides, progress)
    manifest: dict[str, Any] = {
        "name": Path(file).stem,
        "role": "onnx file",
        "labels": [],
        "preprocessing": {},
        "stats": {"onnx_bytes": len(onnx_model.content), "layers": []},
        "target": config.target,
        **measured,
    }
    if data is not None:
        manifest["labels"] = list(data.labels)
        manifest["preprocessing"] = data.preprocessing.to_dict() if data.preprocessing else {}
        manifest["accuracy"] = evaluate_onnx(onnx_model, data, metric).to_dict()
    return write_bundle(path, onnx_model, inputs, manifest, tolerance)


def check_precision(config: ExportConfig, has_data: bool, board: BoardProfile | None) -> None:
    """Before any work: raise ConfigError for a precision that the target does not have, or that needs data."""
    wanted = config.precision
    if board is not None and wanted.precision != AUTO:
        require_precision(board, wanted.precision)
    if wanted.needs_data and not has_data:
        raise ConfigError(
            f"precision {wanted.precision} is calibrated on training data and judged on validation data; give data "
            "(--data), or take fp16"
        )


def _in_precision(
    fp32: OnnxModel,
    inputs: np.ndarray,
    config: ExportConfig,
    data: DataSet | None,
    metric: Metric,
    board: BoardProfile | None,
    gated: bool,
    progress: Progress,
) -> tuple[OnnxModel, tuple[float, float], dict[str, Any]]:
    """(the file to write, its absolute and relative tolerance, what the manifest says of it)."""
    if config.precision.precision == FP32:
        return fp32, (config.atol, config.rtol), {}
    allowed = board_precisions(board) if board else None
    result = compare_precisions(fp32, _samples(inputs, config, data, metric, gated), config, allowed, progress)
    chosen = result.chosen
    if chosen.model is None:
        raise ExportError(f"{chosen.precision}: {chosen.reason}")
    measured = chosen.tolerance
    tolerance = (measured.atol, measured.rtol) if measured else (config.atol, config.rtol)
    return chosen.model, tolerance, {"precisions": result.to_dict()}


def _samples(inputs: np.ndarray, config: ExportConfig, data: DataSet | None, metric: Metric, gated: bool) -> Samples:
    if data is None:
        return Samples(inputs, inputs)
    settings = config.precision
    split = data.validation.subset(torch.arange(min(len(data.validation), settings.num_validation_samples)))
    validation = data.prepare(split.inputs).numpy()
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    calibration = data.prepare(data.train.inputs[order[: settings.num_calibration_samples]]).numpy()

    def score(outputs: np.ndarray) -> float:
        return apply_metric(metric, torch.from_numpy(outputs), split.targets)

    # An input on which a gate hardly decides goes the other way when it is rounded: there outputs tell nothing.
    compared = inputs if gated else np.concatenate([inputs, validation[:NUM_COMPARED]])
    return Samples(validation, compared, calibration, score)


def _check_limits(file: Path, onnx_model: OnnxModel, board: BoardProfile) -> None:
    for key, name, seen in (
        ("max_opset", "opset", onnx_model.opset),
        ("max_ir_version", "IR version", onnx_model.ir_version),
    ):
        limit = board.figures[key]["value"]
        if limit is not None and seen > limit:
            raise ExportError(f"{file}: has {name} {seen}, {board.name} reads at most {limit}; export it for that")


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
    tolerance: tuple[float, float],
) -> Bundle:
    """Write and verify a bundle folder; it appears whole or not at all. tolerance: absolute and relative.

    Raises ExportError when it exists already.
    """
    path = Path(path)
    if path.exists():
        raise ExportError(f"{path}: exists already; give another place or delete it")
    input_name, output_name = tensor_names(onnx_model.content)
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
        "schema": reader.SCHEMA,
        "version": reader.VERSION,
        "model": {
            "path": "model.onnx",
            "num_bytes": len(onnx_model.content),
            "opset": onnx_model.opset,
            "ir_version": onnx_model.ir_version,
            "precision": onnx_model.precision,
            "inputs": [_tensor(input_name, onnx_model.input_shape)],
            "outputs": [_tensor(output_name, onnx_model.output_shape)],
        },
        "reference": {"cases": cases, "atol": tolerance[0], "rtol": tolerance[1]},
        "files": {
            name: {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
        "tools": {
            "edge-dendrite": __version__,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
    }
    return _write_folder(path, files, manifest)


def _tensor(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "dtype": "float32", "shape": list(shape)}


def _write_folder(path: Path, files: dict[str, bytes], manifest: dict[str, Any]) -> Bundle:
    manifest_bytes = canonical_json(manifest)
    files = {
        **files,
        reader.MANIFEST: manifest_bytes,
        reader.MANIFEST_DIGEST: reader.digest_line(hashlib.sha256(manifest_bytes).hexdigest()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".exporting-", dir=path.parent))
    try:
        for name, data in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            write_bytes(str(temporary / name), data)
        Bundle.open(temporary)  # what is not accepted here must not reach a board
        temporary.chmod(0o755)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Bundle.open(path)


def write_tar(bundle: Bundle, path: str | Path) -> Path:
    """The bundle as one file: the same bundle gives the same bytes. Raises ExportError when it was changed on disk."""
    stream = io.BytesIO()
    try:
        reader.write_tar(reader.open_bundle(str(bundle.path)), stream)
    except EdgeBenchError as error:
        raise ExportError(str(error)) from error
    write_bytes(str(path), stream.getvalue())
    return Path(path)

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
from edge_dendrite.boards import BoardProfile
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.model import CompressedModel, weights_digest
from edge_dendrite.config import ExportConfig
from edge_dendrite.data.dataset import DataSet, Preprocessing
from edge_dendrite.errors import ExportError
from edge_dendrite.export.bundle_files import Bundle
from edge_dendrite.export.gates import inputs_of_every_path
from edge_dendrite.export.onnx import (
    OnnxModel,
    check_onnx,
    check_parity,
    export_onnx,
    open_session,
    run_onnx,
    tensor_names,
)
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
) -> Bundle:
    """Export a model to ONNX, compare it with PyTorch, and write the bundle `path`, a folder or a .tar.

    With `data`, reference inputs are validation samples and the metric of the exported file is measured on the test
    data; without, the inputs are random and the manifest has no accuracy. Raises ExportError when the export, the
    comparison or the verification of what was written fails; nothing is then left at `path`.
    """
    config = config or ExportConfig()
    onnx_model = export_onnx(model.module, model.input_shape, config.opset)
    inputs = _reference_inputs(model, config.num_reference_cases, data)
    error = check_parity(onnx_model, model.module, inputs, config.atol, config.rtol)
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
    }
    if evaluation:
        manifest["accuracy"] = evaluation.to_dict()
    return write_bundle(path, onnx_model, inputs.numpy(), manifest, config)


def export_file(
    file: str | Path,
    path: str | Path,
    config: ExportConfig | None = None,
    board: BoardProfile | None = None,
    *,
    inputs: np.ndarray | None = None,
    labels: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
) -> Bundle:
    """Bundle a user's own ONNX file (one float32 input and output, fixed shapes, batch 1).

    inputs: reference inputs (n, ...) without the batch, ready for the network; random ones without. labels, and the
    preprocessing of images, are not in such a file: the bundle carries what is given here. Reference outputs are those
    of ONNX Runtime here; parameters and MACs are not known. Raises ExportError when the file cannot be used, or `board`
    does not read its opset or IR version.
    """
    config = config or ExportConfig()
    try:
        onnx_model = check_onnx(Path(file).read_bytes())
    except OSError as error:
        raise ExportError(f"{file}: cannot be read ({error})") from error
    if board is not None:
        _check_limits(Path(file), onnx_model, board)
    shape = onnx_model.input_shape[1:]
    if inputs is None:
        inputs = np.random.default_rng(0).standard_normal((config.num_reference_cases, *shape), np.float32)
    elif len(inputs) == 0 or inputs.shape[1:] != shape:
        raise ExportError(f"{file}: inputs of shape {inputs.shape} do not fit, expected (n, {str(shape)[1:]}")
    manifest: dict[str, Any] = {
        "name": Path(file).stem,
        "role": "onnx file",
        "labels": list(labels),
        "preprocessing": preprocessing.to_dict() if preprocessing else {},
        "stats": {"onnx_bytes": len(onnx_model.content), "layers": []},
        "target": config.target,
    }
    return write_bundle(path, onnx_model, inputs, manifest, config)


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
    config: ExportConfig,
) -> Bundle:
    """Write and verify a bundle; it appears whole or not at all. Raises ExportError when something is there already."""
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
        "model": {
            "path": "model.onnx",
            "num_bytes": len(onnx_model.content),
            "opset": onnx_model.opset,
            "ir_version": onnx_model.ir_version,
            "precision": onnx_model.precision,
            "inputs": [_tensor(input_name, onnx_model.input_shape)],
            "outputs": [_tensor(output_name, onnx_model.output_shape)],
        },
        "reference": {"cases": cases, "atol": config.atol, "rtol": config.rtol},
        "tools": {
            "edge-dendrite": __version__,
            "torch": torch.__version__,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        },
    }
    return Bundle.write(path, files, manifest)


def _tensor(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "dtype": "float32", "shape": list(shape)}

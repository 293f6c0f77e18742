"""From a network to a bundle: exported, compared, measured on test data, described."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from edge_bench.manifest import MAX_FILES
from edge_dendrite import __version__
from edge_dendrite.boards import BoardProfile, load_board
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.model import CompressedModel, weights_digest
from edge_dendrite.config import ExportConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.bundle_files import Bundle, check_free
from edge_dendrite.export.gates import inputs_of_every_path
from edge_dendrite.export.in_precision import check_precision, in_precision
from edge_dendrite.export.onnx import OnnxModel, Parity, TensorInfo, check_parity, export_onnx
from edge_dendrite.export.session import open_session, run_named, run_onnx
from edge_dendrite.export.simplify import simplified
from edge_dendrite.export.targets import check_target, opsets_for
from edge_dendrite.export.tensorrt import EngineBuild, build_recipe, engine_files
from edge_dendrite.progress import Progress, silent
from edge_dendrite.roles import check_role
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
    role: str | None = None,
    data: DataSet | None = None,
    metric: Metric = accuracy,
    engine: EngineBuild | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Export a model to ONNX, compare it with PyTorch, and write the bundle `path`, a folder or a .tar.

    role: what the network is in a report, else what the model says of itself. engine: builds a TensorRT engine into the
    bundle too; without, the board can build it by the bundle's recipe. With `data`, reference inputs are validation
    samples and the metric of the exported file is measured on the test data; without, the inputs are random and the
    manifest has no accuracy. A precision other than fp32 (`config.precision`) is made from the fp32 file and measured
    beside it on validation data. Raises ExportError when something is at `path`, and when the export, the comparison or
    the verification of what was written fails; ConfigError for a target that is not known and a precision that cannot
    be had; nothing is then left at `path`.
    """
    config = config or ExportConfig()
    if not isinstance(model, CompressedModel):
        raise ConfigError(
            f"a CompressedModel is exported, not a {type(model).__name__}; of a network and its data make one by "
            "CompressedModel.describe(network, data, name=..., source=..., role=...)"
        )
    check_kinds(config, data)
    check_free(path)
    board = load_board(config.target) if config.target else None
    check_precision(config, data is not None, board)
    inputs = _reference_inputs(model, config.num_reference_cases, data)
    fp32, parity = _first_right(_export(model, config, board), model.module, inputs, config)
    onnx_model, tolerance, measured = in_precision(fp32, inputs.numpy(), config, data, metric, board, progress)
    evaluation = evaluate_onnx(onnx_model, data, metric) if data else None
    manifest = {
        "name": model.name,
        "role": model.role if role is None else check_role(role),
        "labels": list(model.labels),
        "preprocessing": model.preprocessing.to_dict() if model.preprocessing else {},
        "stats": replace(model.stats, onnx_bytes=len(onnx_model.content)).to_dict(),
        **for_target(onnx_model, board),
        "recipe": model.recipe,
        "weights_sha256": weights_digest(model.module),
        "parity": {
            "max_abs_error": parity.max_abs_error,
            "against": f"torch {torch.__version__}",
            "batches": [1, len(inputs)] if onnx_model.has_dynamic_batch else [1],
        },
        **measured,
    }
    if evaluation:
        manifest["accuracy"] = evaluation.to_dict()
    samples = single_input(onnx_model, inputs.numpy())
    outputs = parity.outputs if onnx_model is fp32 else reference_outputs(onnx_model, samples, tolerance)
    return write_bundle(path, onnx_model, samples, outputs, manifest, config, tolerance, engine)


def check_kinds(config: object, data: object) -> None:
    """Raise ConfigError for arguments of another kind, as dicts and names are."""
    if not isinstance(config, ExportConfig):
        raise ConfigError(f"config: an ExportConfig is needed, not {config!r}; of a dict make one by its from_dict")
    if data is not None and not isinstance(data, DataSet):
        raise ConfigError(f"data: a DataSet is needed, not {data!r}; load_data makes one of a name")


def _export(model: CompressedModel, config: ExportConfig, board: BoardProfile | None) -> list[OnnxModel]:
    """Files of the first opset at which the target has all operators: simplified where that can be, and as exported."""
    reasons: dict[str, int] = {}
    for opset in opsets_for(board, config.opset):
        try:
            made = export_onnx(model.module, model.input_shape, opset, dynamic_batch=config.any_batch)
            smaller = simplified(made) if config.simplify else None
            return _for_board([smaller, made] if smaller else [made], board)
        except ExportError as error:  # an older opset may write it in older operators
            reasons.setdefault(str(error), opset)
    if len(reasons) == 1:
        raise ExportError(next(iter(reasons)))
    raise ExportError("; ".join(f"at opset {opset}: {reason}" for reason, opset in reasons.items()))


def _for_board(files: list[OnnxModel], board: BoardProfile | None) -> list[OnnxModel]:
    """Those that the board takes. Raises ExportError, why it does not take the first, when it takes none."""
    taken, reasons = [], []
    for one in files:
        try:
            for_target(one, board)
            taken.append(one)
        except ExportError as error:
            reasons.append(error)
    if not taken:
        raise reasons[0]
    return taken


def _first_right(
    files: Sequence[OnnxModel], module: torch.nn.Module, inputs: torch.Tensor, config: ExportConfig
) -> tuple[OnnxModel, Parity]:
    """The first file with the values of PyTorch: simpler is a gift, not a requirement. Raises ExportError."""
    for one in files[:-1]:
        try:
            return one, check_parity(one, module, inputs, config.atol, config.rtol)
        except ExportError:
            continue
    return files[-1], check_parity(files[-1], module, inputs, config.atol, config.rtol)


def for_target(onnx_model: OnnxModel, board: BoardProfile | None) -> dict[str, Any]:
    """What the manifest says of the target, and of what only the board can tell. Raises ExportError as check_target."""
    if board is None:
        return {"target": None, "notices": []}
    return {"target": board.name, "notices": list(check_target(onnx_model.content, board))}


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
        if tuple(data.input_shape) != tuple(model.input_shape):
            raise ExportError(
                f"{model.name} takes inputs of {tuple(model.input_shape)}, the data have {tuple(data.input_shape)}; "
                "give the data that it was trained on"
            )
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
    samples: Sequence[Mapping[str, np.ndarray]],
    outputs: Sequence[Sequence[np.ndarray]],
    manifest: dict[str, Any],
    config: ExportConfig,
    tolerance: tuple[float, float],
    engine: EngineBuild | None = None,
) -> Bundle:
    """Write and verify a bundle; it appears whole or not at all.

    samples: of each the inputs by name, with a batch of 1. outputs: of each those of ONNX Runtime, in the file's order.
    tolerance: absolute and relative. Raises ExportError when something is there already.
    """
    files = {"model.onnx": onnx_model.content}
    cases = []
    for number, (sample, computed) in enumerate(zip(samples, outputs, strict=True)):
        case = {"inputs": [sample[one.name] for one in onnx_model.inputs], "outputs": computed}
        cases.append({key: list(_reference_files(files, number, key, tensors)) for key, tensors in case.items()})
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


def _reference_files(files: dict[str, bytes], number: int, key: str, tensors: Sequence[np.ndarray]) -> Iterator[str]:
    """Puts each tensor into `files` and gives the name that it has there."""
    for at, tensor in enumerate(tensors):
        name = f"reference/{number}_{key.removesuffix('s')}{f'_{at}' if len(tensors) > 1 else ''}.bin"
        files[name] = tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()
        yield name


def reference_outputs(
    onnx_model: OnnxModel, samples: Sequence[Mapping[str, np.ndarray]], tolerance: tuple[float, float]
) -> list[list[np.ndarray]]:
    """What ONNX Runtime computes for each sample, in the file's order.

    Raises ExportError for more samples than a bundle can hold, and for outputs by which no board could be checked.
    """
    num_files = 4 + len(samples) * (len(onnx_model.inputs) + len(onnx_model.outputs))  # with manifest and engine
    if num_files > MAX_FILES:
        raise ExportError(
            f"{len(samples)} samples with {len(onnx_model.inputs)} inputs and {len(onnx_model.outputs)} outputs each "
            f"make more than {MAX_FILES} files; give fewer samples"
        )
    session = open_session(onnx_model.content)
    found = []
    for sample in samples:
        outputs, again = run_named(session, sample), run_named(session, sample)
        for one, seen, other in zip(onnx_model.outputs, outputs, again, strict=True):
            if seen.shape != one.shape:
                raise ExportError(
                    f"the file says that {one.name} has shape {one.shape}, and gives {seen.shape}: mend it"
                )
            if not np.isfinite(seen).all():
                raise ExportError(
                    f"{one.name} is not finite for a reference input: NaN or infinite; give inputs for which it is"
                )
            if not np.allclose(seen, other, atol=tolerance[0], rtol=tolerance[1]):
                raise ExportError(
                    f"{one.name} differs from run to run for the same input: take what is random out of it"
                )
        found.append(outputs)
    return found


def single_input(onnx_model: OnnxModel, inputs: np.ndarray) -> list[dict[str, np.ndarray]]:
    """Samples (n, ...) of a file with one input, by its name."""
    return [{onnx_model.inputs[0].name: one[None]} for one in inputs]


def _tensor(one: TensorInfo) -> dict[str, Any]:
    return {"name": one.name, "dtype": one.dtype, "shape": list(one.shape)}

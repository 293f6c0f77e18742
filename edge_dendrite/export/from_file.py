"""From a user's own ONNX file, which never saw PyTorch here, to a bundle."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_dendrite.boards import load_board
from edge_dendrite.config import FP32, ExportConfig
from edge_dendrite.data.dataset import DataSet, Preprocessing
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.bundle import (
    check_kinds,
    evaluate_onnx,
    for_target,
    reference_outputs,
    single_input,
    write_bundle,
)
from edge_dendrite.export.bundle_files import Bundle, check_free
from edge_dendrite.export.dynamic_batch import with_any_batch
from edge_dendrite.export.in_precision import check_precision, in_precision
from edge_dendrite.export.onnx import OnnxModel, TensorInfo, check_onnx
from edge_dendrite.export.targets import check_target, lowered_ir
from edge_dendrite.export.tensorrt import EngineBuild
from edge_dendrite.progress import Progress, silent
from edge_dendrite.roles import check_role
from edge_dendrite.train.evaluate import Metric, accuracy

_MAX_FILE_BYTES = 1 << 31  # protobuf reads no more
_MAX_INPUT_BYTES = 1 << 30


def export_file(
    file: str | Path,
    path: str | Path,
    config: ExportConfig | None = None,
    *,
    inputs: np.ndarray | Mapping[str, np.ndarray] | None = None,
    labels: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    role: str | None = None,
    data: DataSet | None = None,
    metric: Metric = accuracy,
    engine: EngineBuild | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Bundle an ONNX file with fixed shapes, and batch 1 or a dynamic one.

    inputs: reference inputs (n, ...) without the batch, ready for the network; of a file with several inputs by their
    names. Else validation samples of `data`, or random ones. role: what the network is in a report. labels, and the
    preprocessing of images, are not in such a file: the bundle carries what is given here, or what `data` say. With
    `data` the metric is measured on the test data, and precisions as by `export_bundle`. The file keeps its opset and
    its operators, which must do for the target: an IR version that is higher than what the file uses is lowered, and a
    batch of 1 left open where `config` asks for that. Reference outputs are those of ONNX Runtime here; parameters and
    MACs are not known. Raises ExportError when the file cannot be used, ConfigError for a precision that cannot be had.
    """
    config, file = config or ExportConfig(), Path(file)
    check_kinds(config, data)
    if isinstance(labels, str) or not all(isinstance(one, str) for one in labels):
        raise ConfigError(f"labels: a list of texts is needed, not {labels!r}")
    check_free(path)
    board = load_board(config.target) if config.target else None
    check_precision(config, data is not None, board)
    onnx_model = _read(file)
    if config.opset not in (None, onnx_model.opset):
        raise ConfigError(f"{file}: keeps opset {onnx_model.opset}; leave --opset out, or export the network anew")
    if board is not None:
        try:
            onnx_model = check_onnx(lowered_ir(onnx_model.content, board))
            check_target(onnx_model.content, board)
        except ExportError as error:
            raise ExportError(f"{file}: {error}") from error
    tolerance = (config.atol, config.rtol)
    measured: dict[str, Any] = {}
    if _is_plain(onnx_model):
        samples_nx = _one_input(file, onnx_model, inputs, config, data)
        onnx_model = _with_batch(onnx_model, samples_nx, config)
        onnx_model, tolerance, measured = in_precision(onnx_model, samples_nx, config, data, metric, board, progress)
        samples = single_input(onnx_model, samples_nx)
    else:
        _check_plain_wishes(file, onnx_model, config, data)
        samples = _named_inputs(file, onnx_model, inputs, config)
    known = preprocessing or (data.preprocessing if data else None)
    manifest: dict[str, Any] = {
        "name": file.stem,
        "role": "onnx file" if role is None else check_role(role),
        "labels": [str(one) for one in labels] or list(data.labels if data else ()),
        "preprocessing": known.to_dict() if known else {},
        "stats": {"onnx_bytes": len(onnx_model.content), "layers": []},
        **for_target(onnx_model, board),
        **measured,
    }
    if data is not None:
        manifest["accuracy"] = evaluate_onnx(onnx_model, data, metric).to_dict()
    outputs = reference_outputs(onnx_model, samples, tolerance)
    return write_bundle(path, onnx_model, samples, outputs, manifest, config, tolerance, engine)


def read_inputs(path: str | Path) -> dict[str, np.ndarray]:
    """Reference inputs by name, each (n, ...), from an .npz file that numpy wrote. Raises ConfigError."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(one.file_size for one in archive.infolist()) > _MAX_INPUT_BYTES:
                raise ConfigError(f"{path}: holds more than {_MAX_INPUT_BYTES:,} bytes; a few samples are enough")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        strangers = [name for name, one in found.items() if not isinstance(one, np.ndarray)]
        if strangers:
            raise ValueError(f"{strangers[0]!r} is no array")
        return found
    # An archive may claim more than memory holds, or have a kind of compression or a password that is not known here.
    except (OSError, ValueError, EOFError, MemoryError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(
            f"{path}: cannot be read as inputs ({error}); write them by numpy.savez(path, NAME=array)"
        ) from error


def _read(file: Path) -> OnnxModel:
    try:
        if file.exists() and not file.is_file():
            raise ExportError(f"{file}: is a folder or a device, not an ONNX file")  # a pipe would be waited for
        with file.open("rb") as stream:
            content = stream.read(_MAX_FILE_BYTES)
        if len(content) == _MAX_FILE_BYTES:
            raise ExportError(f"{file}: ONNX files of 2 GB and more are not read")
    except OSError as error:
        raise ExportError(f"{file}: cannot be read ({error})") from error
    try:
        return check_onnx(content)
    except ExportError as error:
        raise ExportError(f"{file}: {error}") from error


def _is_plain(onnx_model: OnnxModel) -> bool:
    """One float32 input and output: what data sets, precisions and free batches are for."""
    return all(len(ends) == 1 and ends[0].dtype == "float32" for ends in (onnx_model.inputs, onnx_model.outputs))


def _check_plain_wishes(file: Path, onnx_model: OnnxModel, config: ExportConfig, data: DataSet | None) -> None:
    asked = {
        "--data": data is not None,
        "--precision": config.precision.precision != FP32,
        "--engine-batch": not config.engine.has_fixed_batch,
        "--dynamic-batch": config.dynamic_batch and not onnx_model.has_dynamic_batch,
    }
    for flag, is_asked in asked.items():
        if is_asked:
            raise ConfigError(f"{file}: {flag} is for files with one float32 input and output; leave it out")


def _one_input(
    file: Path,
    onnx_model: OnnxModel,
    inputs: np.ndarray | Mapping[str, np.ndarray] | None,
    config: ExportConfig,
    data: DataSet | None,
) -> np.ndarray:
    shape = onnx_model.input_shape[1:]
    if data is not None and tuple(data.input_shape) != shape:
        raise ExportError(f"{file}: takes inputs of {shape}, the data have {data.input_shape}")
    if inputs is not None:
        named = inputs if isinstance(inputs, Mapping) else {onnx_model.inputs[0].name: inputs}
        checked = next(iter(_checked(file, onnx_model, named).values()))
        return checked.reshape(len(checked), *shape)
    if data is not None:
        samples: np.ndarray = data.prepare(data.validation.inputs[: config.num_reference_cases]).numpy()
        return samples
    return _random(file, onnx_model.inputs[0], config.num_reference_cases)


def _named_inputs(
    file: Path, onnx_model: OnnxModel, inputs: np.ndarray | Mapping[str, np.ndarray] | None, config: ExportConfig
) -> list[dict[str, np.ndarray]]:
    if inputs is None:
        given = {one.name: _random(file, one, config.num_reference_cases) for one in onnx_model.inputs}
    elif isinstance(inputs, Mapping):
        given = _checked(file, onnx_model, inputs)
    else:
        raise ExportError(f"{file}: has several inputs; give them by name: {_shapes(onnx_model)}")
    count = len(next(iter(given.values())))
    return [{one.name: given[one.name][at].reshape(one.shape) for one in onnx_model.inputs} for at in range(count)]


def _checked(file: Path, onnx_model: OnnxModel, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs as the file takes them. Raises ExportError for other names, shapes, types, or no sample at all."""
    given = {name: np.asarray(array) for name, array in given.items()}  # tensors and lists too
    counts = {len(one) for one in given.values() if one.ndim}
    fits = set(given) == {one.name for one in onnx_model.inputs} and len(counts) == 1 and counts != {0}
    for one in onnx_model.inputs if fits else ():
        array = given[one.name]
        # A tensor without a batch, a mask for instance, has its whole shape behind the number of samples.
        fits = fits and array.shape[1:] in (one.shape, one.shape[1:]) and array.dtype.name == one.dtype
    if not fits:
        seen = ", ".join(f"{name} {array.dtype.name} {array.shape}" for name, array in given.items())
        raise ExportError(f"{file}: the inputs {seen} do not fit; it takes {_shapes(onnx_model)}, n of each")
    # ONNX Runtime takes the bytes of an array as they lie, whatever the order that its type names.
    return {one.name: np.ascontiguousarray(given[one.name], one.dtype) for one in onnx_model.inputs}


def _shapes(onnx_model: OnnxModel) -> str:
    return ", ".join(f"{one.name} {one.dtype} (n, {str(one.shape[1:])[1:]}" for one in onnx_model.inputs)


def _random(file: Path, one: TensorInfo, count: int) -> np.ndarray:
    """Noise for real numbers; 0 and 1 for whole ones, which are numbers of tokens, and of masks, everywhere."""
    generator = np.random.default_rng(0)
    shape = (count, *one.shape[1:])
    if 8 * math.prod(shape) > _MAX_INPUT_BYTES:
        raise ExportError(
            f"{file}: {one.name} has {math.prod(one.shape):,} values; inputs of {_MAX_INPUT_BYTES:,} bytes and more "
            "are not made here"
        )
    if one.dtype == "float32":
        return generator.standard_normal(shape, np.float32)
    return generator.integers(0, 2, shape).astype(one.dtype)


def _with_batch(onnx_model: OnnxModel, inputs: np.ndarray, config: ExportConfig) -> OnnxModel:
    """The file with a batch of any size, where that is asked for."""
    if not config.any_batch or onnx_model.has_dynamic_batch:
        return onnx_model
    return check_onnx(with_any_batch(onnx_model, inputs, config.engine.batch[2], config.atol, config.rtol))

"""The file of a bundle in the precision that was asked for, with the tolerance that was measured for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from edge_dendrite.boards import BoardProfile, require_precision
from edge_dendrite.config import AUTO, FP32, ExportConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.onnx import OnnxModel, is_deciding
from edge_dendrite.export.precisions import NUM_COMPARED, Samples, compare_precisions
from edge_dendrite.progress import Progress
from edge_dendrite.train.evaluate import Metric, apply_metric


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


def in_precision(
    fp32: OnnxModel,
    inputs: np.ndarray,
    config: ExportConfig,
    data: DataSet | None,
    metric: Metric,
    board: BoardProfile | None,
    progress: Progress,
) -> tuple[OnnxModel, tuple[float, float], dict[str, Any]]:
    """(the file to write, its absolute and relative tolerance, what the manifest says of it).

    inputs: the reference inputs (n, ...). Raises ExportError when the precision cannot be made, or the target does not
    take the file in it.
    """
    if config.precision.precision == FP32:
        return fp32, (config.atol, config.rtol), {}
    samples = _samples(inputs, config, data, metric, is_deciding(fp32.content))
    result = compare_precisions(fp32, samples, config, board, progress)
    chosen = result.chosen
    if chosen.model is None:
        raise ExportError(f"{chosen.precision}: {chosen.reason}")
    measured = chosen.tolerance
    tolerance = (measured.atol, measured.rtol) if measured else (config.atol, config.rtol)
    return chosen.model, tolerance, {"precisions": result.to_dict()}


def _samples(inputs: np.ndarray, config: ExportConfig, data: DataSet | None, metric: Metric, decides: bool) -> Samples:
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
    compared = inputs if decides else np.concatenate([inputs, validation[:NUM_COMPARED]])
    return Samples(validation, compared, calibration, score)

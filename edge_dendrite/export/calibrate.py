"""Ranges of activations over samples, by the calibrators of onnxruntime.quantization."""

from __future__ import annotations

import contextlib
import io
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod
from onnxruntime.quantization.calibrate import create_calibrator

from edge_dendrite.config import PrecisionConfig
from edge_dendrite.errors import ExportError

# Histograms keep all values of so many samples at once.
_SAMPLES_AT_ONCE = 16
_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
MIN_SAMPLES = 8
Feed = Mapping[str, np.ndarray]


def check_samples(samples: np.ndarray, input_shape: tuple[int, ...]) -> np.ndarray:
    """Samples (n, ...) as float32. Raises ExportError for too few, of another shape, or with values not finite."""
    if samples.shape[1:] != input_shape[1:]:
        raise ExportError(f"the samples have shape {samples.shape[1:]}, the network takes {input_shape[1:]}")
    if len(samples) < MIN_SAMPLES:
        raise ExportError(f"{len(samples)} samples are too few to calibrate int8; give at least {MIN_SAMPLES}")
    bad = np.flatnonzero(~np.isfinite(samples.reshape(len(samples), -1)).all(1))
    if len(bad):
        raise ExportError(
            f"{len(bad)} of {len(samples)} samples to calibrate on have NaN or infinite values, the first is sample "
            f"{bad[0]}: a range of activations cannot be read from them"
        )
    return samples.astype(np.float32)


def find_ranges(
    model: onnx.ModelProto, feeds: Sequence[Feed], kinds: Sequence[str], config: PrecisionConfig
) -> tuple[Any, frozenset[str]]:
    """(TensorsData with the range of each value that nodes of these kinds read or write, values that are not finite).

    Masks of attention are infinite by right. Kinds of nodes that meet such a value keep the extremes of what they meet:
    a histogram has no place for it. Raises ExportError when the calibrator fails.
    """
    extremes = _calibrate(model, feeds, kinds, CalibrationMethod.MinMax, config)
    endless = frozenset(name for name in extremes if not np.isfinite(magnitude(extremes, name)))
    method = _METHODS[config.calibration]
    if method is CalibrationMethod.MinMax:
        return extremes, endless
    meeting = {node.op_type for node in model.graph.node if endless & {*node.input, *node.output}}
    finite = [kind for kind in kinds if kind not in meeting]
    if not finite:
        return extremes, endless
    found = _calibrate(model, feeds, finite, method, config)
    for name in found:
        if name in extremes and name not in endless:
            extremes[name] = found[name]
    return extremes, endless


def _calibrate(
    model: onnx.ModelProto, feeds: Sequence[Feed], kinds: Sequence[str], method: Any, config: PrecisionConfig
) -> Any:
    try:
        # Calibrators work on files, and print.
        with (
            tempfile.TemporaryDirectory(prefix="calibrate-") as folder,
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of NaN, which is looked for afterwards
            path = Path(folder) / "model.onnx"
            onnx.save(model, path)
            calibrator = create_calibrator(
                path,
                list(kinds),
                str(Path(folder) / "augmented.onnx"),
                method,
                extra_options={"symmetric": True, "percentile": config.percentile},
            )
            for at in range(0, len(feeds), _SAMPLES_AT_ONCE):
                calibrator.collect_data(_Reader(feeds[at : at + _SAMPLES_AT_ONCE]))
            return calibrator.compute_data()
    except Exception as error:  # no common base class
        raise ExportError(f"calibration by {config.calibration} failed: {type(error).__name__}: {error}") from error


def magnitude(ranges: Any, name: str) -> float:
    """The largest magnitude in the range of a value."""
    return max(float(np.max(np.abs(one))) for one in ranges[name].range_value)


def same_range_(ranges: Any, name: str, other: str) -> None:
    """Give a value the range of another one."""
    ranges[name] = ranges[other]


class _Reader:
    """What a calibrator takes its samples from."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next sample, None at the end."""
        return next(self._feeds, None)

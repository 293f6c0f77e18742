"""The precision of an exported file, and how int8 is calibrated."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dendrite.config.base import Config
from edge_dendrite.errors import ConfigError

FP32, FP16, INT8 = "fp32", "fp16", "int8"
FILE_PRECISIONS = (FP32, FP16, INT8)
AUTO = "auto"  # the one that is recommended after measuring
MINMAX, ENTROPY, PERCENTILE = "minmax", "entropy", "percentile"
CALIBRATIONS = (MINMAX, ENTROPY, PERCENTILE)


@dataclass(frozen=True)
class PrecisionConfig(Config):
    """In which precision a file computes; what is not fp32 is made from the fp32 file and measured beside it.

    calibration: how the range of an activation is chosen from training samples: its extremes; the threshold of least
    Kullback-Leibler divergence (Migacz, 8-bit inference with TensorRT, GTC 2017); the value below which `percentile`
    per cent of the magnitudes lie.
    num_calibration_samples: of the training data. num_validation_samples: at most so many are measured on.
    max_drop_points: how much worse the metric of int8 may be than that of fp32 on validation data, in points (0.1 is
    0.001 of accuracy); sensitive layers stay in float until it holds. None: nothing is put back into float.
    keep_float: layers that stay in float, by the name of their node or a regular expression that matches all of it.
    weight_pairs: keep weights as floats with a quantizing and a dequantizing node, which importers of TensorRT 8 ask
    for; the file is then as large as that of fp32.
    timing_s: seconds of timing for each precision.
    """

    precision: str = FP32
    calibration: str = MINMAX
    percentile: float = 99.99
    num_calibration_samples: int = 512
    num_validation_samples: int = 5000
    max_drop_points: float | None = None
    keep_float: tuple[str, ...] = ()
    weight_pairs: bool = False
    timing_s: float = 2.0

    def __post_init__(self) -> None:
        self._require_one_of("precision", (*FILE_PRECISIONS, AUTO))
        self._require_one_of("calibration", CALIBRATIONS)
        self._require("percentile", float, 50.0, 100.0, open_low=True)
        self._require("num_calibration_samples", int, 8, 100_000)
        self._require("num_validation_samples", int, 1, 10**7)
        self._require("timing_s", float, 0.0, 3600.0, open_low=True)
        self._check_names("keep_float")
        self._check_bool("weight_pairs")
        if self.max_drop_points is not None:
            self._require("max_drop_points", float, 0.0, 100.0)
        if self.precision in (FP32, FP16) and (self.max_drop_points is not None or self.keep_float):
            raise ConfigError(
                f"PrecisionConfig: max_drop_points and keep_float go with int8 or auto, not with {self.precision}"
            )

    @property
    def needs_data(self) -> bool:
        """int8 is calibrated and auto is chosen on samples."""
        return self.precision in (INT8, AUTO)

"""One file in several precisions: made, measured beside each other, and one of them recommended or taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_dendrite.boards import BoardProfile, board_precisions
from edge_dendrite.config import AUTO, FP16, FP32, INT8, ExportConfig, PrecisionConfig
from edge_dendrite.errors import ExportError
from edge_dendrite.export.half import to_half
from edge_dendrite.export.onnx import OnnxModel
from edge_dendrite.export.quantize import Quantizer
from edge_dendrite.export.sensitivity import quantize_within
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.export.targets import check_target
from edge_dendrite.export.timing import Timing, compare_latency
from edge_dendrite.export.tolerance import Tolerance, measure_tolerance
from edge_dendrite.progress import Progress, silent

# Without a bound of the user's a precision that loses more on validation data is not recommended.
_RECOMMENDED_DROP_POINTS = 0.5
NUM_COMPARED = 64  # inputs on which files are compared value by value
# Precisions that are measured beside the one that is asked for.
_BESIDE = {FP32: (FP32,), FP16: (FP32, FP16), INT8: (FP32, FP16, INT8), AUTO: (FP32, FP16, INT8)}


@dataclass(frozen=True)
class Samples:
    """calibration (n, ...): training data. validation (n, ...): what is compared and timed on; score: the metric of
    outputs for them, None without targets. compared (n, ...): inputs whose outputs a board has to reproduce."""

    validation: np.ndarray
    compared: np.ndarray
    calibration: np.ndarray | None = None
    score: Callable[[np.ndarray], float] | None = None


@dataclass(frozen=True)
class Candidate:
    """A file in one precision, and what was measured of it; model is None where there is none, for a reason."""

    precision: str
    model: OnnxModel | None = None
    reason: str = ""
    metric: float | None = None
    drop_points: float | None = None
    tolerance: Tolerance | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Precisions:
    """asked: what the user wants. written: what the bundle holds. recommended: what was best on this machine."""

    asked: str
    written: str
    recommended: str
    words: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    timing: Timing
    settings: PrecisionConfig

    @property
    def chosen(self) -> Candidate:
        """The candidate that is written."""
        return next(one for one in self.candidates if one.precision == self.written)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "asked": self.asked,
            "written": self.written,
            "recommended": self.recommended,
            "words": list(self.words),
            "settings": self.settings.to_dict(),
            "measured": {
                "split": "validation",
                "where": "ONNX Runtime on the machine of the export, one thread",
                "own_share_of_processor": self.timing.own_share,
                "num_rounds": self.timing.num_rounds,
            },
            "table": [self._row(one) for one in self.candidates],
        }

    def _row(self, one: Candidate) -> dict[str, Any]:
        latency = self.timing.latencies.get(one.precision)
        ratio = latency.ratio if latency else None
        return {
            "precision": one.precision,
            "reason": one.reason,
            "num_bytes": len(one.model.content) if one.model else None,
            "metric": one.metric,
            "drop_points": one.drop_points,
            "median_s": latency.median_s if latency else None,
            "ratio_to_fp32": {"value": ratio.value, "low": ratio.low, "high": ratio.high} if ratio else None,
            "parity": one.tolerance.to_dict() if one.tolerance else None,
            **one.details,
        }


def compare_precisions(
    fp32: OnnxModel,
    samples: Samples,
    config: ExportConfig,
    board: BoardProfile | None = None,
    progress: Progress = silent,
) -> Precisions:
    """Make and measure what `config.precision` asks for, and fp32 beside it; fp16 too beside int8.

    board: the target, None for any. Raises ExportError when the one that is asked for cannot be made, or the target
    does not take it; another one has the reason in the table, and is not recommended.
    """
    settings = config.precision
    asked = settings.precision
    if fp32.precision != FP32 and asked != FP32:
        raise ExportError(
            f"the file is {fp32.precision} already; give the fp32 file that it was made from, or no --precision"
        )
    outputs = run_onnx(open_session(fp32.content), samples.validation)
    reference = samples.score(outputs) if samples.score else None
    candidates = [Candidate(FP32, fp32, metric=reference, drop_points=None if reference is None else 0.0)]
    make = {FP16: _half, INT8: _int8}
    for precision in _BESIDE[asked][1:]:
        progress(f"making {precision}", 0, 1)
        try:
            made = _not_had(precision, board) or make[precision](fp32, samples, outputs, config, progress)
            if board is not None and made.model is not None:
                check_target(made.model.content, board)
        except ExportError as error:
            if precision == asked:
                raise
            made = Candidate(precision, reason=str(error))
        candidates.append(made)
        progress(f"making {precision}", 1, 1)
    files = {one.precision: one.model.content for one in candidates if one.model}
    timing = compare_latency(files, samples.validation, settings.timing_s, progress)
    return _decide(asked, tuple(candidates), timing, settings)


def _not_had(precision: str, board: BoardProfile | None) -> Candidate | None:
    """The candidate that is not even made, because the target has no such precision; else None."""
    known = board_precisions(board) if board else None
    if known is None or precision in known:
        return None
    return Candidate(precision, reason="the target has no such precision")


def _half(
    fp32: OnnxModel, samples: Samples, outputs: np.ndarray, config: ExportConfig, progress: Progress
) -> Candidate:
    model = to_half(fp32)
    tolerance = measure_tolerance(fp32, model, samples.compared, config.atol, config.rtol)
    if samples.score is None:
        return Candidate(FP16, model, tolerance=tolerance)
    metric = samples.score(run_onnx(open_session(model.content), samples.validation))
    return Candidate(FP16, model, "", metric, 100.0 * (samples.score(outputs) - metric), tolerance)


def _int8(
    fp32: OnnxModel, samples: Samples, outputs: np.ndarray, config: ExportConfig, progress: Progress
) -> Candidate:
    settings = config.precision
    if samples.calibration is None or samples.score is None:
        raise ExportError("int8 is calibrated on training data and judged on validation data: give data")
    quantizer = Quantizer(fp32, samples.calibration, settings)

    def run(model: OnnxModel) -> np.ndarray:
        return run_onnx(open_session(model.content), samples.validation)

    kept = quantizer.named(settings.keep_float)
    sweep = quantize_within(quantizer, outputs, run, samples.score, settings.max_drop_points, kept, progress)
    details: dict[str, Any] = {"sweep": sweep.to_dict(), "num_calibration_samples": len(samples.calibration)}
    if sweep.result is None:
        return Candidate(INT8, reason=sweep.words, details=details)
    made = sweep.result
    tolerance = measure_tolerance(fp32, made.model, samples.compared, config.atol, config.rtol)
    details |= {"quantized": made.quantized, "left_in_float": made.left, "constant_values": list(made.constant)}
    metric = samples.score(outputs) - sweep.drop_points / 100.0
    return Candidate(INT8, made.model, "", metric, sweep.drop_points, tolerance, details)


def _decide(asked: str, candidates: tuple[Candidate, ...], timing: Timing, settings: PrecisionConfig) -> Precisions:
    bound = _RECOMMENDED_DROP_POINTS if settings.max_drop_points is None else settings.max_drop_points
    recommended, words = FP32, []
    for one in candidates[1:]:
        if one.model is None:
            words.append(f"{one.precision} was not made: {one.reason}")
            continue
        ratio = timing.latencies[one.precision].ratio
        words.append(_sentence(one, candidates[0], timing))
        is_right = one.drop_points is None or one.drop_points <= bound
        is_faster = ratio.high is not None and ratio.high < 1.0
        if is_right and is_faster and ratio.value < timing.latencies[recommended].ratio.value:
            recommended = one.precision
        elif is_faster and not is_right:
            words.append(f"{one.precision} is not recommended: it loses more than {bound:g} points")
    words.append(f"{recommended} is recommended on this CPU; a board decides otherwise: measure there")
    written = recommended if asked == AUTO else asked
    if next(one for one in candidates if one.precision == written).model is None:
        written = FP32
        words.append(f"{asked} was asked for; the file is fp32")
    words += _doubts(candidates, timing)
    return Precisions(asked, written, recommended, tuple(words), candidates, timing, settings)


def _sentence(one: Candidate, fp32: Candidate, timing: Timing) -> str:
    ratio = timing.latencies[one.precision].ratio
    if ratio.low is None or ratio.high is None or ratio.low <= 1.0 <= ratio.high:
        speed = "as fast as fp32 here, as far as can be told"
    elif ratio.value > 1.0:
        speed = f"{ratio.value:.2f}x slower here than fp32"
    else:
        speed = f"{1.0 / ratio.value:.2f}x faster here than fp32"
    assert one.model is not None and fp32.model is not None
    size = len(fp32.model.content) / len(one.model.content)
    smaller = f"its file {size:.1f}x smaller" if size > 1.05 else "its file no smaller"
    lost = "" if one.drop_points is None else f", {one.drop_points:.2f} points lost on validation data"
    return f"{one.precision} is {speed}, {smaller}{lost}"


def _doubts(candidates: Sequence[Candidate], timing: Timing) -> list[str]:
    words = []
    if any(one.precision == FP16 and one.model for one in candidates):
        words.append(
            "a CPU without fp16 units computes fp16 in float: its time here says nothing of a board that has them"
        )
    if timing.own_share < 0.9:
        words.append(f"other programs were in the way while timing (own share of a processor {timing.own_share:.2f})")
    for one in candidates:
        if one.tolerance and one.tolerance.share_of_range > 0.1:
            words.append(
                f"{one.precision}: outputs of a board may differ by {one.tolerance.share_of_range:.0%} of their range, "
                "so that checking them there says little"
            )
    return words

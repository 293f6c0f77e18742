"""Which layers lose the most in int8: each is quantized alone, and the worst are put back into float.

Sensitivity of single layers as in Wu et al. 2020, "Integer Quantization for Deep Learning Inference", section 5.2;
they put back one by one what this finds by bisection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_dendrite.export.onnx import OnnxModel
from edge_dendrite.export.quantize import Quantized, Quantizer
from edge_dendrite.progress import Progress, silent

Run = Callable[[OnnxModel], np.ndarray]
Score = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Sensitivity:
    """What a layer does when it alone is int8: points of the metric that are lost, and the root mean square error of
    the network's outputs, both on validation data."""

    layer: str
    drop_points: float
    output_error: float


@dataclass(frozen=True)
class Sweep:
    """result: None where only the fp32 file loses no more than is allowed. num_runs: files made and measured."""

    result: Quantized | None
    kept_float: tuple[str, ...]
    drop_points: float
    sensitivities: tuple[Sensitivity, ...]
    num_runs: int
    words: str

    def to_dict(self) -> dict[str, Any]:
        """As it stands in the manifest."""
        return {
            "kept_float": list(self.kept_float),
            "sensitivities": [asdict(one) for one in self.sensitivities],
            "num_runs": self.num_runs,
            "words": self.words,
        }


def quantize_within(
    quantizer: Quantizer,
    outputs: np.ndarray,
    run: Run,
    score: Score,
    max_drop_points: float | None,
    keep_float: tuple[str, ...] = (),
    progress: Progress = silent,
) -> Sweep:
    """The int8 file that loses at most `max_drop_points` against `outputs` (n, ...), those of the fp32 file.

    run: outputs of a file on validation data. score: the metric of outputs. Without a bound, or where all layers in
    int8 are within it, one file is made. Else one for each layer, and as many as bisection needs to find how many
    of the worst have to go back: with 20 layers 1 + 20 + 5.
    """
    reference = score(outputs)
    layers = tuple(one for one in quantizer.layers if one not in keep_float)
    count = 0

    def attempt(kept: tuple[str, ...]) -> tuple[Quantized, float, np.ndarray]:
        nonlocal count
        made = quantizer.quantize(kept)
        seen = run(made.model)
        count += 1
        return made, 100.0 * (reference - score(seen)), seen

    if not layers:
        return Sweep(None, keep_float, 0.0, (), 0, "all layers are kept in float as asked: fp32 is left")
    whole, drop, _ = attempt(keep_float)
    if max_drop_points is None or drop <= max_drop_points:
        return Sweep(
            whole, keep_float, drop, (), count, _words(drop, max_drop_points, len(keep_float), count, len(outputs))
        )
    total = 1 + len(layers) + len(layers).bit_length()
    found = []
    for layer in layers:
        progress("sensitivity of layers", count, total)
        _, lost, seen = attempt(tuple(one for one in quantizer.layers if one != layer))
        error = float(np.sqrt(np.mean((seen.astype(np.float64) - outputs) ** 2)))
        found.append(Sensitivity(layer, lost, error))
    # What gains by chance is no better than what loses nothing: there the error decides.
    found.sort(key=lambda one: (max(one.drop_points, 0.0), one.output_error), reverse=True)
    low, high = 1, len(found)  # high: how many in float are known to be enough; all of them are the fp32 file
    best: tuple[Quantized, float] | None = None
    while low < high:
        progress("sensitivity of layers", count, total)
        middle = (low + high) // 2
        made, drop, _ = attempt((*keep_float, *(one.layer for one in found[:middle])))
        if drop <= max_drop_points:
            high, best = middle, (made, drop)
        else:
            low = middle + 1
    progress("sensitivity of layers", total, total)
    kept = (*keep_float, *(one.layer for one in found[:high]))
    if best is None:
        words = (
            f"no layer can be int8 within {max_drop_points:g} points on validation data ({count} runs): fp32 is left"
        )
        return Sweep(None, kept, 0.0, tuple(found), count, words)
    words = _words(best[1], max_drop_points, len(kept), count, len(outputs))
    return Sweep(best[0], kept, best[1], tuple(found), count, words)


def _words(drop: float, allowed: float | None, num_kept: int, num_runs: int, num_samples: int) -> str:
    bound = "no bound was asked for" if allowed is None else f"{allowed:g} are allowed"
    if allowed is not None and 100.0 / num_samples > allowed:
        bound += f", less than one of {num_samples} samples"
    return f"int8 loses {drop:.3g} points on validation data ({bound}), {num_kept} layers in float, {num_runs} runs"

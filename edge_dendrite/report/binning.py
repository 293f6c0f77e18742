"""Many samples as few bins: what a picture can show, computed from all of them. Apart, because it takes numpy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

# Arrays of float64; numpy types are not known to the checker.
Floats: TypeAlias = Any
# (time, low, middle, high, highest) of a bin: for latencies p10, median, p90 and the slowest.
Band = tuple[float, float, float, float, float]
# (time, lowest, mean, highest) of a bin.
Span = tuple[float, float, float, float]

MAX_POWER_BINS = 250
# So few samples stand each for itself; above, a bin holds about ten as soon as there are enough for that.
_MAX_SINGLES, _FEWEST_BINS, _PER_BIN = 120, 60, 10
BINS_PER_DECADE = 1000


def latency_bands(
    starts_s: Sequence[float] | None, samples_s: Sequence[float], max_bins: int
) -> tuple[list[Band], float, float]:
    """(bands, width of a bin in s, end in s). `starts_s`: when each began; None where one followed the other."""
    samples = np.asarray(samples_s, dtype=np.float64)
    ends = np.cumsum(samples)
    starts = ends - samples if starts_s is None else np.asarray(starts_s, dtype=np.float64)
    end_s = float(ends[-1] if starts_s is None else starts[-1] + samples[-1])
    if len(samples) <= min(_MAX_SINGLES, max_bins):
        rows = zip(starts.tolist(), samples.tolist(), strict=True)
        return [_round5(time_s, one, one, one, one) for time_s, one in rows], end_s / len(samples), end_s
    num_bins = min(max_bins, max(_FEWEST_BINS, len(samples) // _PER_BIN))
    bands = []
    for centre_s, begin, end in _time_bins(starts, 0.0, end_s, num_bins):
        ordered = np.sort(samples[begin:end])
        low_s, median_s, high_s, slowest_s = (_quantile(ordered, share) for share in (0.1, 0.5, 0.9, 1.0))
        bands.append(_round5(centre_s, low_s, median_s, high_s, slowest_s))
    return bands, end_s / num_bins, end_s


def release_times(responses_s: Sequence[float], period_s: float) -> list[float]:
    """When each inference was released, from the first on: what comes late takes the next release that is left."""
    moment_s, found = 0.0, []
    for response_s in responses_s:
        found.append(moment_s)
        # As the agent counts (measure/latency.py, Pacer).
        moment_s += max(1, int(response_s / period_s) + (1 if response_s % period_s else 0)) * period_s
    return found


def log_histogram(samples_s: Sequence[float]) -> list[tuple[int, int]]:
    """(bin, samples in it): bin n reaches from 10**(n / BINS_PER_DECADE) s to the next; only bins with samples."""
    indices = np.floor(np.log10(np.asarray(samples_s, dtype=np.float64)) * BINS_PER_DECADE).astype(np.int64)
    bins, counts = np.unique(indices, return_counts=True)
    return list(zip(bins.tolist(), counts.tolist(), strict=True))


def power_spans(
    times_s: Sequence[float], powers_w: Sequence[float], weights_s: Sequence[float], max_bins: int
) -> list[Span]:
    """At most `max_bins` spans; a mean is weighted by how long each value holds, so that no energy is lost."""
    times, powers, weights = (np.asarray(values, dtype=np.float64) for values in (times_s, powers_w, weights_s))
    if len(times) <= max_bins:
        return [_round4(time_s, power, power, power) for time_s, power in zip(times_s, powers_w, strict=True)]
    spans = []
    for _centre_s, begin, end in _time_bins(times, float(times[0]), float(times[-1]), max_bins):
        part, weight = powers[begin:end], weights[begin:end]
        total = float(weight.sum())
        mean_w = float((part * weight).sum()) / total if total > 0 else float(part.mean())
        # Where its samples lie, which at the ends of a gap is not the middle of the bin.
        middle_s = float(times[begin:end].mean())
        spans.append(_round4(middle_s, float(part.min()), mean_w, float(part.max())))
    return spans


def _time_bins(times: Floats, begin_s: float, end_s: float, num_bins: int) -> Iterator[tuple[float, int, int]]:
    """(centre, first, end) of each bin of equal width that holds a time; `times` do not go backwards."""
    edges = np.linspace(begin_s, end_s, num_bins + 1)
    places = np.atleast_1d(np.searchsorted(times, edges[1:-1], side="left"))
    bounds = [0, *(int(place) for place in places), len(times)]
    for index, (first, end) in enumerate(pairwise(bounds)):
        if end > first:
            yield float(edges[index] + edges[index + 1]) / 2, first, end


def _quantile(ordered: Floats, share: float) -> float:
    """The value at the nearest rank; the median as the mean of the two in the middle."""
    size = len(ordered)
    if share == 0.5:
        return float(ordered[(size - 1) // 2] + ordered[size // 2]) / 2
    return float(ordered[max(0, math.ceil(share * size - 1e-9) - 1)])


def _round5(time_s: float, low: float, middle: float, high: float, highest: float) -> Band:
    return _short(time_s), _short(low), _short(middle), _short(high), _short(highest)


def _round4(time_s: float, low: float, mean: float, high: float) -> Span:
    return _short(time_s), _short(low), _short(mean), _short(high)


def _short(value: float) -> float:
    """Six digits are more than a picture shows."""
    return float(f"{value:.6g}")

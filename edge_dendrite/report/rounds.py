"""Two networks beside each other: what differs, and whether the measurements can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_bench.stats import median
from edge_dendrite.report.intervals import difference_interval
from edge_dendrite.report.pool import Accuracy
from edge_dendrite.report.rows import Row

AccuracyOutcome = Literal["better", "worse", "not distinguishable", "not judged"]
RatioOutcome = Literal["less", "more", "not distinguishable", "one round"]


@dataclass(frozen=True)
class AccuracyComparison:
    """Accuracy of a network minus that of a reference, as a share; the interval is Newcombe's, 95 %."""

    difference: float
    interval: tuple[float, float] | None

    @property
    def outcome(self) -> AccuracyOutcome:
        """'not judged' when the metric has no interval."""
        if self.interval is None:
            return "not judged"
        if self.interval[0] > 0:
            return "better"
        return "worse" if self.interval[1] < 0 else "not distinguishable"


@dataclass(frozen=True)
class RatioComparison:
    """Ratios (network / reference) of latency or energy, one per round in which both have a valid run."""

    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return median(self.ratios)

    @property
    def outcome(self) -> RatioOutcome:
        """'less' or 'more' only when all of at least two rounds agree."""
        if len(self.ratios) < 2:
            return "one round"
        if max(self.ratios) < 1:
            return "less"
        return "more" if min(self.ratios) > 1 else "not distinguishable"

    @property
    def chance(self) -> float:
        """How often all rounds of two equal networks agree, in one direction or the other."""
        return float(2.0 ** (1 - len(self.ratios)))


def compare_accuracy(row: Row, reference: Row) -> AccuracyComparison | None:
    """None when one has no accuracy, or they are of different metrics or splits."""
    ours, theirs = row.accuracy, reference.accuracy
    return None if ours is None or theirs is None else compare_accuracies(ours, theirs)


def compare_accuracies(ours: Accuracy, theirs: Accuracy) -> AccuracyComparison | None:
    """Ours minus theirs; None when they are of different metrics or splits."""
    if (ours.metric, ours.split) != (theirs.metric, theirs.split):
        return None
    interval = None
    if ours.interval and theirs.interval and ours.num_samples and theirs.num_samples:
        interval = difference_interval(ours.value, ours.num_samples, theirs.value, theirs.num_samples)
    return AccuracyComparison(ours.value - theirs.value, interval)


def compare_latency(row: Row, reference: Row) -> RatioComparison | None:
    """None when there is no round in which both have a valid run."""
    ours, theirs = row.latency, reference.latency
    if ours is None or theirs is None:
        return None
    return _ratios(ours.rounds, ours.run_medians_s, theirs.rounds, theirs.run_medians_s)


def compare_energy(row: Row, reference: Row) -> RatioComparison | None:
    """Gross energy; None when there is no round in which both measured it."""
    ours, theirs = row.energy, reference.energy
    if ours is None or theirs is None:
        return None
    return _ratios(ours.rounds, ours.run_gross_j, theirs.rounds, theirs.run_gross_j)


def compare_memory(row: Row, reference: Row) -> RatioComparison | None:
    """Peak memory; None when there is no round in which both told it."""
    ours, theirs = row.run_peaks_bytes, reference.run_peaks_bytes
    return _ratios(tuple(ours), tuple(ours.values()), tuple(theirs), tuple(theirs.values()))


def _ratios(
    rounds: Sequence[int], values: Sequence[float], other_rounds: Sequence[int], others: Sequence[float]
) -> RatioComparison | None:
    reference = dict(zip(other_rounds, others, strict=True))
    pairs = [(value, reference[number]) for number, value in zip(rounds, values, strict=True) if number in reference]
    ratios = tuple(value / other for value, other in pairs if other > 0)
    return RatioComparison(ratios) if ratios else None


def same_shape(row: Row, other: Row) -> bool:
    """Whether two networks have the same layers, or where layers are not known the same sizes."""
    if row.layers and other.layers:
        return row.layers == other.layers
    return (row.num_parameters, row.num_macs) == (other.num_parameters, other.num_macs)

"""Single answers of a report: each a topic, a short figure and a full sentence in plain words.

A finding says 'different' only where rounds.py found a difference; what was not measured is said to be open.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edge_dendrite.report import format as fmt
from edge_dendrite.report.pool import Accuracy, Energy
from edge_dendrite.report.rounds import (
    AccuracyComparison,
    RatioComparison,
    compare_accuracy,
    compare_energy,
    compare_latency,
    compare_memory,
)
from edge_dendrite.report.rows import Row
from edge_dendrite.report.runs import Condition

Tone = Literal["gain", "cost", "even", "open"]
# Below this many rounds the chance that equal networks agree in all of them is above 5 %, and is told.
_ENOUGH_ROUNDS = 6


@dataclass(frozen=True)
class Finding:
    """`tag` says in a few words how it ended; `brief` marks the sizes, which need little room."""

    topic: str
    tone: Tone
    tag: str
    figure: str
    text: str
    brief: bool = False


def size(topic: str, unit: str, after: int | None, before: int | None) -> Finding:
    """A size that only can be smaller or larger. `unit` 'B' for bytes, else the noun that is counted."""
    if after is None or not before:
        text = "One of the two bundles does not state it."
        return Finding(topic, "open", "not known", "-", text, brief=True)
    texts = [fmt.file_size(value) if unit == "B" else fmt.count(value) for value in (after, before)]
    text = f"{texts[0]} instead of {texts[1]}{'' if unit == 'B' else ' ' + unit}."
    if after == before:
        return Finding(topic, "even", "the same", "no change", text, brief=True)
    change = fmt.change(before, after)
    if after < before:
        return Finding(topic, "gain", "smaller", change, text, brief=True)
    return Finding(topic, "cost", "larger", change, text, brief=True)


def describe_accuracy(accuracy: Accuracy, *, name_interval: bool = True) -> str:
    """'97.8 % (95 % interval 95.7 to 98.9 %)', or the bare value of a metric without an interval."""
    if accuracy.interval is None:
        return f"{accuracy.metric} {accuracy.value:.4g}"
    decimals = fmt.accuracy_decimals(accuracy.num_samples)
    low, high = (100 * bound for bound in accuracy.interval)
    interval = f"{low:.{decimals}f} to {high:.{decimals}f} %"
    name = "95 % interval " if name_interval else ""
    return f"{fmt.percent(accuracy.value, decimals)} ({name}{interval})"


def tested_on(accuracy: Accuracy) -> str:
    """'on 360 test samples', as far as it is known."""
    split = f"{accuracy.split} " if accuracy.split else ""
    return f"on {accuracy.num_samples:,} {split}samples" if accuracy.num_samples else f"on the {split}samples"


def accuracy_change(row: Row, baseline: Row) -> Finding:
    """Accuracy beside the baseline's, both with their intervals."""
    comparison, ours, theirs = compare_accuracy(row, baseline), row.accuracy, baseline.accuracy
    if comparison is None or ours is None or theirs is None:
        why = row.missing.get("accuracy") or baseline.missing.get("accuracy")
        why = why or "they are of different metrics or splits"
        return Finding("Accuracy", "open", "not comparable", "-", f"The accuracies cannot be compared: {why}.")
    both = f"{describe_accuracy(ours)} instead of {describe_accuracy(theirs, name_interval=False)}"
    text = f"{both} {tested_on(ours)}. {_difference_in_words(ours, comparison)}"
    tones: dict[str, tuple[Tone, str]] = {"better": ("gain", "better"), "worse": ("cost", "worse")}
    tone, tag = tones.get(comparison.outcome, ("even", comparison.outcome))
    return Finding("Accuracy", tone, tag, _difference(ours, comparison), text)


def _difference(accuracy: Accuracy, comparison: AccuracyComparison) -> str:
    if comparison.interval is None:
        return f"{comparison.difference:+.3g} {accuracy.metric}"
    return fmt.points(comparison.difference, fmt.accuracy_decimals(accuracy.num_samples))


def _difference_in_words(accuracy: Accuracy, comparison: AccuracyComparison) -> str:
    if comparison.interval is None:
        return "No interval is computed for this metric, so the difference is not judged."
    decimals = fmt.accuracy_decimals(accuracy.num_samples)
    low, high = (f"{100 * bound:+.{decimals}f}" for bound in comparison.interval)
    return f"95 % interval of the difference: {low} to {high} points."


def latency_change(row: Row, baseline: Row, condition: Condition | None) -> Finding:
    """Median latency beside the baseline's, judged by the rounds, with board and state."""
    comparison, ours, theirs = compare_latency(row, baseline), row.latency, baseline.latency
    if comparison is None or ours is None or theirs is None or condition is None:
        why = row.missing.get("latency") or baseline.missing.get("latency") or "they share no round of runs"
        return Finding("Latency", "open", "not measured", "-", f"The latencies cannot be compared: {why}.")
    text = f"Median {fmt.seconds(ours.median_s)} instead of {fmt.seconds(theirs.median_s)}"
    return _by_rounds("Latency", text, comparison, condition, _speed, ("faster", "slower"))


def energy_change(row: Row, baseline: Row, condition: Condition | None) -> Finding:
    """Gross energy beside the baseline's; why it is open where it was not measured for both."""
    comparison, ours, theirs = compare_energy(row, baseline), row.energy, baseline.energy
    if ours is not None and theirs is not None and ours.scope != theirs.scope:
        scopes = f"{ours.scope or 'a scope not recorded'} against {theirs.scope or 'a scope not recorded'}"
        return Finding("Energy", "open", "not comparable", "-", f"The sensors measured different things: {scopes}.")
    if comparison is None or ours is None or theirs is None or condition is None:
        why = row.missing.get("energy") or baseline.missing.get("energy") or "they share no round of runs"
        return Finding("Energy", "open", "not measured", "-", f"It is not known what an inference takes: {why}.")
    gross = [_with_interval(one.gross_j, one.gross_interval_j) for one in (ours, theirs)]
    net = [_with_interval(one.net_j, one.net_interval_j) for one in (ours, theirs)]
    text = (
        f"{' instead of '.join(gross)} gross per inference ({ours.scope or 'scope not recorded'}); net of idle power "
        f"{' instead of '.join(net)}"
    )
    num_rounds = len(comparison.ratios)
    if comparison.outcome in ("less", "more") and num_rounds < _ENOUGH_ROUNDS and _within_intervals(ours, theirs):
        text += f". Not distinguishable: {num_rounds} rounds agree, which is too few, "
        text += "and the intervals allow for no difference"
        figure = f"{comparison.ratio:.2f} times"
        return Finding("Energy", "even", "not distinguishable", figure, f"{text}. Measured on {condition.sentence()}.")
    return _by_rounds("Energy", text, comparison, condition, _consumption, ("less", "more"))


def _within_intervals(ours: Energy, theirs: Energy) -> bool:
    """Whether the difference is no larger than the two intervals together leave open."""
    higher, lower = (ours, theirs) if ours.gross_j > theirs.gross_j else (theirs, ours)
    if higher.gross_interval_j is None or lower.gross_interval_j is None:
        return False
    reach = math.hypot(higher.gross_j - higher.gross_interval_j[0], lower.gross_interval_j[1] - lower.gross_j)
    return higher.gross_j - lower.gross_j <= reach


def _with_interval(value_j: float, interval_j: tuple[float, float] | None) -> str:
    return fmt.joules(value_j) + (f" ({fmt.joules_interval(interval_j)})" if interval_j else "")


def memory_change(row: Row, baseline: Row, condition: Condition | None) -> Finding:
    """Peak memory of the whole process beside the baseline's."""
    comparison, ours, theirs = compare_memory(row, baseline), row.peak_memory_bytes, baseline.peak_memory_bytes
    if comparison is None or ours is None or theirs is None or condition is None:
        why = row.missing.get("memory") or baseline.missing.get("memory") or "they share no round of runs"
        return Finding("Peak memory", "open", "not measured", "-", f"The peaks cannot be compared: {why}.")
    text = f"{fmt.file_size(ours)} instead of {fmt.file_size(theirs)}, interpreter and runtime included"
    return _by_rounds("Peak memory", text, comparison, condition, _consumption, ("less", "more"))


def _speed(ratio: float) -> tuple[str, str]:
    return (f"{1 / ratio:.2f}", " times as fast") if ratio < 1 else (f"{ratio:.2f}", " times as slow")


def _consumption(ratio: float) -> tuple[str, str]:
    return fmt.change(1.0, ratio), ""


def _by_rounds(
    topic: str,
    text: str,
    comparison: RatioComparison,
    condition: Condition,
    words: Callable[[float], tuple[str, str]],
    tags: tuple[str, str],
) -> Finding:
    """A ratio that counts only when all rounds agree. `words` tells it as (number, unit)."""
    where, ratios = f"Measured on {condition.sentence()}.", comparison.ratios
    if comparison.outcome == "one round":
        seen = f"One round only, at {ratios[0]:.2f} times the baseline's: repeat it."
        return Finding(topic, "even", "one round only", f"{ratios[0]:.2f} times", f"{text}. {seen} {where}")
    if comparison.outcome == "not distinguishable":
        seen = f"{min(ratios):.2f} to {max(ratios):.2f} times the baseline's over {len(ratios)} rounds"
        figure = f"{comparison.ratio:.2f} times"
        return Finding(topic, "even", comparison.outcome, figure, f"{text}. Not distinguishable: {seen}. {where}")
    number, unit = words(comparison.ratio)
    low, high = sorted((words(min(ratios))[0], words(max(ratios))[0]), key=lambda end: (len(end), end))
    chance = fmt.percent(comparison.chance)
    note = f" With {len(ratios)} rounds, equal networks would agree like this in {chance} of cases."
    note = note if len(ratios) < _ENOUGH_ROUNDS else ""
    text = f"{text}: {number}{unit} ({low} to {high} over {len(ratios)} rounds).{note} {where}"
    if comparison.outcome == "less":
        return Finding(topic, "gain", tags[0], f"{number}{unit}", text)
    return Finding(topic, "cost", tags[1], f"{number}{unit}", text)


def beats(comparison: AccuracyComparison) -> str:
    """The verb between a network and its control."""
    if comparison.outcome == "not judged":
        return "is not judged against"
    return {"better": "is better than", "worse": "is worse than"}.get(comparison.outcome, "is not better than")


def against_peer(row: Row, peer: Row, condition: Condition | None) -> Finding:
    """Size, accuracy and latency beside a network that others made; the tag is that of the accuracy."""
    comparison, ours, theirs = compare_accuracy(row, peer), row.accuracy, peer.accuracy
    sizes = [fmt.count(one.num_parameters) if one.num_parameters is not None else "?" for one in (row, peer)]
    parts = [f"{sizes[0]} against {sizes[1]} parameters" if "?" not in sizes else "its parameters are not stated"]
    tag: tuple[Tone, str, str] = ("open", "not comparable", "-")
    if comparison is not None and ours is not None and theirs is not None:
        parts.append(f"{describe_accuracy(ours)} against {describe_accuracy(theirs, name_interval=False)}")
        tone: Tone = {"better": "gain", "worse": "cost"}.get(comparison.outcome, "even")  # type: ignore[assignment]
        tag = (tone, comparison.outcome, _difference(ours, comparison))
    latency = compare_latency(row, peer)
    if latency is not None and condition is not None:
        words = {"less": "faster in all rounds", "more": "slower in all rounds"}.get(latency.outcome, latency.outcome)
        parts.append(f"latency {latency.ratio:.2f} times its, {words}, on {condition.sentence()}")
    return Finding(f"Peer {peer.name}", tag[0], tag[1], tag[2], f"{row.name}: {'; '.join(parts)}.")


def against_control(topic: str, row: Row, control: Row, what: str, undecided: tuple[str, str]) -> Finding:
    """Whether the compressed network is better than a control; `undecided` is (verb, tag) where it is open."""
    comparison, ours, theirs = compare_accuracy(row, control), row.accuracy, control.accuracy
    if comparison is None or ours is None or theirs is None:
        text = f"{row.name} and {control.name} have no accuracy of the same metric and split."
        return Finding(topic, "open", "not comparable", "-", text)
    both = f"{describe_accuracy(ours)} against {describe_accuracy(theirs, name_interval=False)}"
    verb = undecided[0] if comparison.outcome == "not distinguishable" else beats(comparison)
    text = f"{row.name} {verb} {what}: {both}. {_difference_in_words(ours, comparison)}"
    tones: dict[str, tuple[Tone, str]] = {
        "better": ("gain", "beats it"),
        "worse": ("cost", "loses to it"),
        "not distinguishable": ("even", undecided[1]),
    }
    tone, tag = tones.get(comparison.outcome, ("open", comparison.outcome))
    return Finding(topic, tone, tag, _difference(ours, comparison), f"{text} One seed: not a claim.")


def alone(row: Row, condition: Condition | None) -> tuple[Finding, ...]:
    """Figures of a network that has nothing to be compared with."""
    counts = (("Parameters", row.num_parameters, "parameters"), ("Work per inference", row.num_macs, "MACs"))
    findings = [
        Finding(topic, "open", "alone", fmt.compact_count(value), f"{value:,} {unit}.", brief=True)
        for topic, value, unit in counts
        if value is not None
    ]
    if row.onnx_bytes is not None:
        text = f"{row.onnx_bytes:,} bytes."
        findings.append(Finding("ONNX file", "open", "alone", fmt.file_size(row.onnx_bytes), text, brief=True))
    if row.accuracy is not None:
        decimals = fmt.accuracy_decimals(row.accuracy.num_samples)
        shown = fmt.percent(row.accuracy.value, decimals) if row.accuracy.interval else f"{row.accuracy.value:.4g}"
        text = f"{describe_accuracy(row.accuracy)} {tested_on(row.accuracy)}."
        findings.append(Finding("Accuracy", "open", "alone", shown, text))
    if row.peak_memory_bytes is not None and condition is not None:
        text = f"Of the whole process. Measured on {condition.sentence()}."
        findings.append(Finding("Peak memory", "open", "alone", fmt.file_size(row.peak_memory_bytes), text))
    if row.energy is not None and condition is not None:
        text = f"Gross per inference ({row.energy.scope or 'scope not recorded'}), "
        text += f"{fmt.joules_interval(row.energy.gross_interval_j)}. Measured on {condition.sentence()}."
        findings.append(Finding("Energy", "open", "alone", fmt.joules(row.energy.gross_j), text))
    if row.latency is not None and condition is not None:
        text = f"Median over {row.latency.num_samples:,} samples. Measured on {condition.sentence()}."
        findings.append(Finding("Latency", "open", "alone", fmt.seconds(row.latency.median_s), text))
    return tuple(findings)

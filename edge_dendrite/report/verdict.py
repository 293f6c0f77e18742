"""What a reader wants to know first: what was gained, at what cost, and whether it beat its control."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dendrite.report import format as fmt
from edge_dendrite.report.findings import (
    Finding,
    accuracy_change,
    against_control,
    against_peer,
    alone,
    beats,
    energy_change,
    latency_change,
    memory_change,
    size,
)
from edge_dendrite.report.rounds import AccuracyComparison, compare_accuracy, compare_latency, same_shape
from edge_dendrite.report.rows import Report, Row
from edge_dendrite.roles import BASELINE, COMPRESSED, CONTROL, DENSE_LONGER, EQUAL_CAPACITY, FROM_SCRATCH, ZEROED

# More than these would bury the reader; the table holds all of them.
_MAX_COMPRESSED, _MAX_CONTROLS, _MAX_PEERS = 4, 3, 4
_FROM_SCRATCH_WORDS = "the same shape trained from scratch"
_DENSE_LONGER_WORDS = "the dense network with the same extra epochs"
# (topic, what it is) of the other controls; whoever takes more than neurons away has to beat what neurons alone reach.
_OTHERS = {
    EQUAL_CAPACITY: ("Equal-capacity control", "the dense network pruned to as many parameters by neurons alone"),
    ZEROED: ("Dendrites-zeroed control", "itself without what its dendrites add"),
}
# Whoever compresses has to beat the small network and to keep up with the large one.
_NOT_BEATEN = ("is not better than", "does not beat it")
_KEPT_UP = ("cannot be told from", "not distinguishable")


@dataclass(frozen=True)
class Verdict:
    """The lead for those who read one sentence, then findings under a heading per compressed network."""

    lead: str
    groups: tuple[tuple[str, tuple[Finding, ...]], ...]


def judge(report: Report) -> Verdict:
    """The verdict on a report; it needs no baseline, no control and no valid run, but says when they are missing."""
    baselines, compressed = report.with_role(BASELINE), report.with_role(COMPRESSED)
    if not baselines or not compressed:
        missing = "compressed network" if baselines else "baseline"
        lead = f"No {missing} was measured, so nothing is said about gains or costs: the figures stand alone."
        lead = " ".join([*_emulated(report), lead])
        rows = report.rows[:_MAX_COMPRESSED]
        return Verdict(lead, tuple((row.name, alone(row, report.condition)) for row in rows))
    baseline = baselines[0]
    lead = _lead(compressed[0], baseline, report)
    lead = " ".join([*_emulated(report), lead, *_remarks(baselines, compressed)])
    groups = [
        (f"{row.name} against {baseline.name}", _against_baseline(row, baseline, report) + _controls(row, report))
        for row in compressed[:_MAX_COMPRESSED]
    ]
    return Verdict(lead, tuple(groups))


def _emulated(report: Report) -> list[str]:
    """First of all, where what follows was not measured on a board."""
    if report.condition is None or not report.condition.emulated:
        return []
    return [f"Measured on a processor that {report.condition.emulated} emulates: no time here is a board's speed."]


def _remarks(baselines: tuple[Row, ...], compressed: tuple[Row, ...]) -> list[str]:
    remarks = []
    if len(baselines) > 1:
        remarks.append(f"There are {len(baselines)} baselines; {baselines[0].name} is the one that counts here.")
    if len(compressed) > _MAX_COMPRESSED:
        remarks.append(f"{len(compressed) - _MAX_COMPRESSED} more compressed networks are in the table.")
    return remarks


def _lead(row: Row, baseline: Row, report: Report) -> str:
    parts = []
    if row.num_parameters is not None and baseline.num_parameters:
        words = fmt.change_in_words(baseline.num_parameters, row.num_parameters, "fewer", "more")
        than = "as many parameters as" if words == "no change" else f"{words} parameters than"
        parts.append(f"{row.name} has {than} {baseline.name}")
    comparison = compare_accuracy(row, baseline)
    if comparison is not None:
        parts.append(_lead_accuracy(row, comparison))
    if row.latency is None:
        parts.append("none of its runs is valid")
    measured = _lead_measured(row, baseline, report)
    control = next((other for other in report.with_role(FROM_SCRATCH) if same_shape(row, other)), None)
    against = compare_accuracy(row, control) if control else None
    if against is None:
        ending = f"Whether it beats {_FROM_SCRATCH_WORDS} was not measured."
    else:
        ending = f"It {beats(against)} {_FROM_SCRATCH_WORDS} (one seed: not a claim)."
    start = "; ".join(parts) or f"{row.name} was measured beside {baseline.name}"
    return " ".join(filter(None, (f"{start}.", measured, ending)))


def _lead_measured(row: Row, baseline: Row, report: Report) -> str:
    """What the board said of latency and energy; no figure of it without board and state."""
    latency = latency_change(row, baseline, report.condition)
    if report.condition is None or latency.tag == "not measured":
        return ""
    even = {"not distinguishable": "Its latency cannot be told from the baseline's", "one round only": ""}
    text = even.get(latency.tag, f"It is {latency.figure}") or "Its latency was compared in one round only"
    rounds = compare_latency(row, baseline)
    if rounds and rounds.outcome in ("less", "more") and rounds.chance > 0.05:
        text += f" in {len(rounds.ratios)} rounds (so by chance in {fmt.percent(rounds.chance)} of cases)"
    energy = energy_change(row, baseline, report.condition)
    if energy.tag in ("less", "more"):
        text += f" and takes {energy.figure.lstrip('+-')} {energy.tag} energy per inference"
    elif energy.tag != "not measured":
        text += f"; energy per inference: {energy.tag}"
    else:
        text += "; its energy was not measured"
    return f"{text} ({report.condition.sentence()})."


def _lead_accuracy(row: Row, comparison: AccuracyComparison) -> str:
    num_samples = row.accuracy.num_samples if row.accuracy else None
    points = fmt.points(abs(comparison.difference), fmt.accuracy_decimals(num_samples)).lstrip("+")
    if comparison.outcome == "better":
        return f"it gains {points} of accuracy"
    if comparison.outcome == "worse":
        return f"it costs {points} of accuracy"
    if comparison.outcome == "not judged" or num_samples is None:
        return "the difference in its quality is not judged"
    return f"on {fmt.plural(num_samples, 'sample')} no difference in accuracy is shown"


def _against_baseline(row: Row, baseline: Row, report: Report) -> tuple[Finding, ...]:
    return (
        size("Parameters", "parameters", row.num_parameters, baseline.num_parameters),
        size("Work per inference", "MACs", row.num_macs, baseline.num_macs),
        size("ONNX file", "B", row.onnx_bytes, baseline.onnx_bytes),
        accuracy_change(row, baseline),
        latency_change(row, baseline, report.condition),
        energy_change(row, baseline, report.condition),
        memory_change(row, baseline, report.condition),
    )


def _controls(row: Row, report: Report) -> tuple[Finding, ...]:
    """Controls of the same shape; a from-scratch network of another shape is no control, and that is said."""
    scratch = report.with_role(FROM_SCRATCH)
    fitting = [control for control in scratch if same_shape(row, control)][:_MAX_CONTROLS]
    topic = "From-scratch control"
    findings = [against_control(topic, row, control, _FROM_SCRATCH_WORDS, _NOT_BEATEN) for control in fitting]
    if not fitting:
        findings.append(_no_control(row, scratch))
    findings += [
        against_control("Dense-longer control", row, control, _DENSE_LONGER_WORDS, _KEPT_UP)
        for control in report.with_role(DENSE_LONGER)[:_MAX_CONTROLS]
    ]
    others = [
        one for one in report.rows if one.role.startswith(CONTROL) and one.role not in (FROM_SCRATCH, DENSE_LONGER)
    ]
    for control in others[:_MAX_CONTROLS]:
        topic, words = _OTHERS.get(control.role, (f"Control {control.role.removeprefix(CONTROL)}", control.name))
        findings.append(against_control(topic, row, control, words, _NOT_BEATEN))
    return (*findings, *(against_peer(row, peer, report.condition) for peer in report.peers()[:_MAX_PEERS]))


def _no_control(row: Row, scratch: tuple[Row, ...]) -> Finding:
    text = f"No control of {_FROM_SCRATCH_WORDS} was measured"
    if scratch and scratch[0].num_parameters is not None and row.num_parameters is not None:
        sizes = f"{scratch[0].num_parameters:,} parameters against {row.num_parameters:,}"
        text = f"{scratch[0].name} does not have the shape of {row.name} ({sizes}) and is no control for it"
    text += ": it is open whether compressing was worth more than training the small network directly."
    return Finding("From-scratch control", "open", "not measured", "-", text)

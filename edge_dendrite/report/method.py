"""How the figures came about, in sentences, from what the measurements say about themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge_dendrite.report import fields
from edge_dendrite.report.format import clean_text, plural, seconds
from edge_dendrite.report.runs import Measurement, Run

_MAX_NAMED_RUNS = 24


def describe_method(examined: Sequence[tuple[Run, Measurement]]) -> tuple[str, ...]:
    """One sentence or two per step: check, timing, order, pooling, comparing, memory, energy, MACs."""
    valid = [(run, measurement) for run, measurement in examined if not run.reasons]
    measurements = [measurement for _, measurement in valid]
    steps = [_check(valid), _timing(measurements), _order(examined), *_rules(), *_energy(measurements)]
    counted = (fields.text(measurement["bundle"]["stats"], "not_counted", 500) for _, measurement in examined)
    steps += [f"What is counted and what is not: {text}." for text in dict.fromkeys(counted) if text][:3]
    return tuple(step for step in steps if step)


def _check(valid: Sequence[tuple[Run, Measurement]]) -> str:
    errors = [run.max_abs_error for run, _ in valid if run.max_abs_error is not None]
    text = "Before anything was timed, each network's outputs on the board were compared with its bundle's reference"
    return f"{text}; the largest absolute error was {max(errors):.2g}." if errors else ""


def _timing(measurements: Sequence[Measurement]) -> str:
    if not measurements:
        return ""
    settings = [measurement["settings"] for measurement in measurements]
    warmup = _span(fields.number(setting, "warmup_s") for setting in settings)
    shapes = {_input_shapes(measurement) for measurement in measurements} - {""}
    after = f" after a warm-up of {warmup}" if warmup else ""
    inputs = f" (inputs {' or '.join(sorted(shapes)[:3])})" if shapes else ""
    return (
        f"Single inferences{inputs} were timed one after another with the monotonic clock{after}. "
        "All samples are kept; none is dropped as an outlier."
    )


def _input_shapes(measurement: Measurement) -> str:
    tensors = measurement["bundle"]["model"].get("inputs")
    shapes = (
        [tensor.get("shape") for tensor in tensors if isinstance(tensor, dict)] if isinstance(tensors, list) else []
    )
    return clean_text(", ".join("x".join(map(str, shape)) for shape in shapes if isinstance(shape, list)), 60)


def _order(examined: Sequence[tuple[Run, Measurement]]) -> str:
    names = [run.name for run, _ in examined]
    rounds = max(run.round for run, _ in examined)
    text = f"{plural(len(names), 'run')} in {plural(rounds, 'round')}"
    if len(names) > _MAX_NAMED_RUNS:
        return f"There were {text}, interleaved as the list of runs shows."
    return f"There were {text}, in this order: {', '.join(names)}."


def _rules() -> tuple[str, ...]:
    return (
        "Throughput is inputs per second, one inference after another: the batch over the mean latency.",
        "Medians and percentiles pool the samples of all valid runs of a network; MAD is the median absolute "
        "deviation. p90 is given from 64 samples on, p99 from 662 (the early-stopping rule of MLPerf Inference).",
        "Two networks are compared by the ratio of their run medians, round by round. Where the ratios of all rounds "
        "lie on both sides of 1, or there is only one round, the report does not call them different.",
        "Intervals of accuracies are 95 % Wilson intervals. Two accuracies are called different only where the 95 % "
        "Newcombe interval of their difference excludes zero. Neither covers how training varies from seed to seed.",
        "Peak memory is that of the whole measuring process, interpreter and runtime too; of several runs the highest.",
    )


def _energy(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    records = [fields.mapping(measurement, "energy") for measurement in measurements]
    records = [record for record in records if record]
    if not records:
        return ()
    last = records[-1]
    scope = fields.text(last, "scope") or "scope not recorded"
    rails = ", ".join(fields.texts(last, "rails")) or "rails not recorded"
    text = f"Energy was measured in a phase of its own, from {rails} ({scope})."
    text += (
        " Gross is all that flowed, net is without idle power. Of several runs it is the mean; intervals (about 95 %) "
    )
    text += "are of one run its own, of several by how they scatter (Student's t), and no narrower than their own."
    ratios = [fields.number(record, "latency_ratio_while_sampling") for record in records]
    known = sorted(ratio for ratio in ratios if ratio is not None)
    if known:
        span = " to ".join(dict.fromkeys(f"{ratio:.2f}" for ratio in (known[0], known[-1])))
        text += f" While power was sampled, latency was {span} times that of the latency phase."
    return (text,)


def _span(values: Iterable[float | None]) -> str:
    """'0.5 s', or '0.5 s to 1.0 s' when runs differ."""
    known = sorted({value for value in values if value is not None})
    return " to ".join(seconds(value) for value in dict.fromkeys((known[0], known[-1]))) if known else ""

"""What the tables take from a measurement, for lists, filters and pictures. Nothing of it is trusted to be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import inf
from typing import Any

from edge_bench.stats import median
from edge_bench.verdict import figures as measured
from edge_dendrite.report import fields
from edge_dendrite.report.pool import read_accuracy, read_energy, read_sizes
from edge_dendrite.report.runs import Condition, examine_runs

VALID, INVALID, PARTIAL, FAILED = "valid", "invalid", "partial", "failed"
STATUSES = (VALID, INVALID, PARTIAL, FAILED)
ENERGY_OF = "energy of"
# A board without a battery for its clock starts in 1970; none of ours measured before this.
_FIRST_YEAR = 2020
_MAX_REASONS, _MAX_RUN_ID = 20, 100
# Outside of these nothing was measured: such a run is invalid, and its figures would only break an axis.
_SHORTEST_S, _LONGEST_S = 1e-12, 1e8


@dataclass(frozen=True)
class Figure:
    """SI units; a bound is None where it is not known."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Facts:
    """started_at is UTC, as in "2026-08-21T10:00:00Z"; None where the board's clock was not set.

    state: what was recorded of runtime and board, as words by what they are of; what was not recorded is not in it.
    figures: by the names of metrics.py; what was not measured is not in it.
    """

    run_id: str | None
    started_at: str | None
    status: str
    reasons: tuple[str, ...]
    bundle_id: str
    network: str
    role: str
    precision: str | None
    board_where: str
    emulated: str | None
    state: Mapping[str, str]
    num_samples: int
    figures: Mapping[str, Figure]


def read_facts(measurement: Mapping[str, Any]) -> Facts:
    """The facts of a measurement that `edge_bench.schema` accepted."""
    run, _ = examine_runs([measurement])[0]
    status = {"partial": PARTIAL, "failed": FAILED}.get(run.status, INVALID if run.reasons else VALID)
    run_id = fields.text(measurement, "run_id")
    return Facts(
        run_id=run_id if run_id and run_id == measurement["run_id"] and len(run_id) <= _MAX_RUN_ID else None,
        started_at=read_moment(measurement["started_at"]),
        status=status,
        reasons=run.reasons[:_MAX_REASONS],
        bundle_id=run.bundle_id,
        network=run.name,
        role=run.role,
        precision=fields.text(measurement["bundle"]["model"], "precision"),
        board_where=run.condition.where(),
        emulated=run.condition.emulated,
        state=_state(run.condition, measurement),
        num_samples=run.num_samples,
        figures=read_figures(measurement),
    )


def read_moment(text: str) -> str | None:
    """A time of a measurement as UTC to the second; None for what is none, or from a clock that was not set."""
    try:
        moment = datetime.fromisoformat(text[:40].replace("Z", "+00:00"))
        moment = moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year >= _FIRST_YEAR else None


def _state(condition: Condition, measurement: Mapping[str, Any]) -> dict[str, str]:
    backend, energy = fields.mapping(measurement, "backend"), fields.mapping(measurement, "energy")
    batch, rails = fields.whole(backend, "batch"), ", ".join(fields.texts(energy, "rails"))
    sensor = (fields.text(energy, "scope"), fields.text(energy, "source"), rails)
    words = {
        "power mode": condition.power_mode,
        "governor": ", ".join(condition.governors),
        "clock limits": ", ".join(condition.clock_limits),
        "CPUs online": condition.online_cpus,
        "runtime": condition.runtime,
        "provider": ", ".join(condition.providers),
        "threads": condition.num_threads and str(condition.num_threads),
        "timed by": fields.text(backend, "timed_by"),
        "batch": batch and str(batch),
        ENERGY_OF: "; ".join(filter(None, sensor)),
    }
    return {key: word for key, word in words.items() if word}


def read_figures(measurement: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures of metrics.py that this measurement has. Latencies are those of its samples, not of its summary."""
    bundle, memory = measurement["bundle"], fields.mapping(measurement, "memory")
    samples, sizes = fields.mapping(measurement, "latency").get("samples_s") or [], read_sizes(bundle)
    is_timed = samples and _SHORTEST_S <= min(samples) <= max(samples) <= _LONGEST_S
    figures = {
        **(_latencies(measurement, samples) if is_timed else {}),
        "energy": _energy(measurement, "gross"),
        "net-energy": _energy(measurement, "net"),
        "memory": _once(fields.whole(memory, "process_peak_rss_bytes")),
        "accuracy": _accuracy(bundle),
        "size": _once(sizes["onnx_bytes"]),
        "parameters": _once(sizes["num_parameters"]),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _once(value: int | None) -> Figure | None:
    return None if value is None else Figure(float(value))


def _latencies(measurement: Mapping[str, Any], samples: Sequence[float]) -> dict[str, Figure | None]:
    """As `edge-bench validate` has them, which gives no median of fewer samples than an interval needs."""
    # No limit is asked about, so none is near.
    found = {f"p{percent:.0f}": measured.latency(dict(measurement), percent, inf) for percent in (50.0, 90.0, 99.0)}
    return {
        "latency": _figure(found["p50"]) or Figure(median(samples)),
        "p90": _figure(found["p90"]),
        "p99": _figure(found["p99"]),
        "throughput": _figure(measured.throughput(dict(measurement))),
    }


def _figure(found: measured.Figure) -> Figure | None:
    return None if found.value is None else Figure(found.value, found.low, found.high)


def _energy(measurement: Mapping[str, Any], kind: str) -> Figure | None:
    found = read_energy(measurement, kind)
    return None if found is None else Figure(found[0], *(found[1] or ()))


def _accuracy(bundle: Mapping[str, Any]) -> Figure | None:
    accuracy = read_accuracy(fields.mapping(bundle, "accuracy"))
    if accuracy is None or accuracy.metric != "accuracy" or not 0 <= accuracy.value <= 1:
        return None
    return Figure(accuracy.value, *(accuracy.interval or ()))

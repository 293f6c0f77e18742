"""The content of a report, apart from how it looks: a row per network, pooled over its valid runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from edge_dendrite.report import fields, pool
from edge_dendrite.report.format import clean_text
from edge_dendrite.report.layer_times import LayerTimes, pool_layer_times
from edge_dendrite.report.method import describe_method
from edge_dendrite.report.notices import Notice, collect_notices
from edge_dendrite.report.pool import Accuracy, Energy, Latency, Layer
from edge_dendrite.report.reproduce import (
    Command,
    describe_model,
    describe_origin,
    making_commands,
    measuring_commands,
)
from edge_dendrite.report.runs import Condition, Measurement, Run, examine_runs
from edge_dendrite.report.series import Traces, build_traces
from edge_dendrite.report.steps import Step, read_steps
from edge_dendrite.roles import BASELINE, COMPRESSED, CONTROL, CONTROLS, PEER

SCHEMA = "edge-dendrite.report"
VERSION = 1
_ROLE_ORDER = (BASELINE, COMPRESSED, *CONTROLS)


@dataclass(frozen=True)
class Row:
    """One network. A figure that is None has its reason in `missing`, under the figure's name.

    run_peaks_bytes: the peak of memory of each valid run that told it, by its round.
    """

    id: str
    name: str
    role: str
    precision: str | None
    num_parameters: int | None
    num_nonzero: int | None
    num_macs: int | None
    onnx_bytes: int | None
    layers: tuple[Layer, ...]
    accuracy: Accuracy | None
    latency: Latency | None
    peak_memory_bytes: int | None
    energy: Energy | None
    missing: Mapping[str, str] = field(default_factory=dict)
    traces: Traces = field(default_factory=Traces, repr=False)
    layer_times: LayerTimes | None = None
    run_peaks_bytes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """One epoch of training history."""

    stage: str
    epoch: int
    train_loss: float
    val_metric: float


@dataclass(frozen=True)
class Report:
    """All that the renderers show. `condition` is None when no run was valid; `method` is prose, a point each.

    steps: how the compressed network came about, the network as it came first; provenance: terms and values; commands:
    what makes all of it again.
    """

    title: str
    rows: tuple[Row, ...]
    runs: tuple[Run, ...]
    condition: Condition | None
    method: tuple[str, ...]
    warnings: tuple[Notice, ...]
    unavailable: tuple[Notice, ...]
    history: tuple[Epoch, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    commands: tuple[Command, ...] = ()

    def with_role(self, role: str) -> tuple[Row, ...]:
        """The rows of one role, in order."""
        return tuple(row for row in self.rows if row.role == role)

    def peers(self) -> tuple[Row, ...]:
        """The networks that others made."""
        return tuple(row for row in self.rows if row.role.startswith(PEER))

    def left_out(self) -> tuple[Run, ...]:
        """The runs that enter no figure."""
        return tuple(run for run in self.runs if run.reasons)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, SI units in the key names; raw samples stay in the measurement files."""
        plain = asdict(replace(self, rows=tuple(replace(row, traces=Traces()) for row in self.rows)))
        for entry, row in zip(plain["rows"], self.rows, strict=True):
            entry["traces"] = row.traces.to_dict()
        return {"schema": SCHEMA, "version": VERSION, **plain}

    def _repr_html_(self) -> str:
        from edge_dendrite.report.notebook import framed  # what draws pages draws reports: not at import time

        return framed(self)


def build_report(
    measurements: Sequence[Measurement],
    *,
    title: str,
    history: Sequence[Mapping[str, Any]] = (),
    provenance: Mapping[str, str] | None = None,
    records: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """Pool measurements that `edge_bench.schema.read_measurement` accepted.

    history: epochs, as models hold them. provenance: terms and values beside those that the measurements give. records:
    of the compressed model and of its baseline, as `edge_dendrite.compress.record` reads them, for the steps and for
    the commands that make them again. Invalid, partial and failed runs, and runs under other conditions than the rest,
    enter no figure; they stay in `runs` with their reasons. Raises ValueError when there is no measurement at all.
    """
    if not measurements:
        raise ValueError("no measurements to report: run `edge-bench run BUNDLE` on the board and pass its files")
    examined = examine_runs(measurements)
    ids = dict.fromkeys(run.bundle_id for run, _ in examined)
    rows = [_build_row([(run, made) for run, made in examined if run.bundle_id == id_]) for id_ in ids]
    runs = tuple(run for run, _ in examined)
    rows.sort(key=_role_rank)
    compressed = next((record for record in records if record.get("role") == COMPRESSED), None)
    known = {clean_text(key): clean_text(value, 1000) for key, value in (provenance or {}).items()}
    known |= {**describe_origin(examined), **(describe_model(compressed) if compressed else {})}
    return Report(
        title=clean_text(title),
        rows=tuple(rows),
        runs=runs,
        condition=next((run.condition for run in runs if not run.reasons), None),
        method=describe_method(examined),
        warnings=collect_notices(examined, "warnings"),
        unavailable=collect_notices(examined, "unavailable"),
        history=_read_history(history),
        provenance=known,
        steps=read_steps(records),
        commands=(
            *_making(compressed, rows, examined),
            *measuring_commands(examined, clean_text(title), has_model=compressed is not None),
        ),
    )


def _making(
    record: Mapping[str, Any] | None, rows: Sequence[Row], examined: Sequence[tuple[Run, Measurement]]
) -> tuple[Command, ...]:
    bundles = {run.bundle_id: measurement["bundle"] for run, measurement in examined}
    return making_commands(record, [(row.name, row.role, bundles[row.id]) for row in rows]) if record else ()


def _role_rank(row: Row) -> tuple[int, str]:
    if row.role in _ROLE_ORDER:
        return _ROLE_ORDER.index(row.role), ""
    return len(_ROLE_ORDER) + (0 if row.role.startswith(CONTROL) else 1 if row.role.startswith(PEER) else 2), row.role


def _build_row(examined: Sequence[tuple[Run, Measurement]]) -> Row:
    run, measurement = examined[0]
    bundle = measurement["bundle"]
    valid = [(run, measurement) for run, measurement in examined if not run.reasons]
    sizes = pool.read_sizes(bundle)
    missing = {key: "the bundle does not state it" for key, value in sizes.items() if value is None}
    # First, since the others give its reason as theirs.
    latency = pool.pool_latency(valid, missing)
    peaks = pool.peak_memories(valid, missing)
    accuracy = pool.read_accuracy(fields.mapping(bundle, "accuracy"))
    if accuracy is None:
        missing["accuracy"] = "the bundle holds no accuracy: it was exported without test data"
    layers = pool.read_layers(bundle["stats"].get("layers"))
    return Row(
        id=run.bundle_id,
        name=run.name,
        role=run.role,
        precision=fields.text(bundle["model"], "precision"),
        layers=layers,
        accuracy=accuracy,
        latency=latency,
        peak_memory_bytes=max(peaks.values(), default=None),
        energy=pool.pool_energy(valid, missing),
        missing=missing,
        traces=build_traces(examined),
        layer_times=pool_layer_times(valid, layers),
        run_peaks_bytes=peaks,
        **sizes,
    )


def _read_history(history: Sequence[Mapping[str, Any]]) -> tuple[Epoch, ...]:
    """The epochs whose figures are finite numbers; others cannot be drawn."""
    epochs = []
    for entry in history:
        stage, epoch = fields.text(entry, "stage"), fields.whole(entry, "epoch")
        loss, metric = fields.number(entry, "train_loss"), fields.number(entry, "val_metric")
        if stage is not None and epoch is not None and loss is not None and metric is not None:
            epochs.append(Epoch(stage, epoch, loss, metric))
    return tuple(epochs)

"""The table of networks, as both renderers show it: cells of text, and footnotes for what is missing."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dendrite.report import format as fmt
from edge_dendrite.report.rows import Report, Row
from edge_dendrite.roles import BASELINE

DASH = "-"
COLUMNS = (
    "Network",
    "Accuracy",
    "Parameters",
    "Non-zero",
    "MACs",
    "ONNX file",
    "Median latency",
    "p90",
    "p99",
    "Throughput",
    "Peak memory",
    "Gross energy",
    "Net energy",
)


@dataclass(frozen=True)
class Cell:
    """`detail` is a second, smaller line; `tooltip` the exact value; `note` the number of a footnote, 0 for none."""

    text: str
    detail: str = ""
    tooltip: str = ""
    note: int = 0


@dataclass(frozen=True)
class Table:
    """Rows of one cell per column of COLUMNS; `roles` has the role of each row."""

    roles: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...]


class _Notes:
    """Footnotes, numbered from 1; the same reason keeps its number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def dash(self, row: Row, key: str) -> Cell:
        text = row.missing.get(key, "not measured")
        if text not in self.texts:
            self.texts.append(text)
        return Cell(DASH, note=self.texts.index(text) + 1)


def build_table(report: Report) -> Table:
    """The table of all rows. What is missing is a dash with a footnote, never a zero."""
    notes = _Notes()
    baseline = next(iter(report.with_role(BASELINE)), None)
    mixed = len({row.precision for row in report.rows}) > 1
    rows = tuple(_cells(row, baseline, notes, mixed) for row in report.rows)
    return Table(tuple(row.role for row in report.rows), rows, tuple(notes.texts))


def _cells(row: Row, baseline: Row | None, notes: _Notes, mixed: bool) -> tuple[Cell, ...]:
    """`mixed`: the networks differ in precision, so each line names its own."""
    reference = None if row is baseline else baseline
    role = f"{row.role}, {row.precision}" if mixed and row.precision else row.role
    return (
        Cell(row.name, role, f"bundle {row.id}"),
        _accuracy(row, notes),
        _size(row, reference, "num_parameters", notes),
        _nonzero(row, notes),
        _size(row, reference, "num_macs", notes),
        _size(row, reference, "onnx_bytes", notes),
        *_latency(row, notes),
        _throughput(row, notes),
        _memory(row, notes),
        *_energy(row, notes),
    )


def _accuracy(row: Row, notes: _Notes) -> Cell:
    accuracy = row.accuracy
    if accuracy is None:
        return notes.dash(row, "accuracy")
    samples = f"{accuracy.num_samples:,} samples" if accuracy.num_samples else "samples not counted"
    tooltip = ", ".join(filter(None, (f"{accuracy.value!r}", accuracy.split, samples, accuracy.runtime)))
    if accuracy.interval is None:
        return Cell(f"{accuracy.value:.4g}", accuracy.metric, tooltip)
    decimals = fmt.accuracy_decimals(accuracy.num_samples)
    low, high = (100 * bound for bound in accuracy.interval)
    interval = f"{low:.{decimals}f} to {high:.{decimals}f} %"
    return Cell(fmt.percent(accuracy.value, decimals), interval, tooltip)


def _nonzero(row: Row, notes: _Notes) -> Cell:
    """Its own figure only where some parameters are zero."""
    if row.num_nonzero is None:
        return notes.dash(row, "num_nonzero")
    if row.num_nonzero == row.num_parameters:
        return Cell("all", "", f"{row.num_nonzero:,} non-zero parameters")
    share = f"{fmt.percent(row.num_nonzero / row.num_parameters)} of them" if row.num_parameters else ""
    return Cell(fmt.count(row.num_nonzero), share)


def _size(row: Row, reference: Row | None, key: str, notes: _Notes) -> Cell:
    value: int | None = getattr(row, key)
    if value is None:
        return notes.dash(row, key)
    before: int | None = getattr(reference, key) if reference else None
    detail = fmt.change(before, value) if before and before != value else ""
    if key == "onnx_bytes":
        return Cell(fmt.file_size(value), detail, f"{value:,} bytes")
    return Cell(fmt.count(value), detail)


def _latency(row: Row, notes: _Notes) -> tuple[Cell, Cell, Cell]:
    latency = row.latency
    if latency is None:
        return notes.dash(row, "latency"), notes.dash(row, "p90"), notes.dash(row, "p99")
    tooltip = f"{fmt.plural(latency.num_samples, 'sample')} in {fmt.plural(len(latency.rounds), 'run')}"
    median = Cell(fmt.seconds(latency.median_s), f"MAD {fmt.seconds_like(latency.mad_s, latency.median_s)}", tooltip)
    p90 = notes.dash(row, "p90") if latency.p90_s is None else Cell(fmt.seconds(latency.p90_s))
    p99 = notes.dash(row, "p99") if latency.p99_s is None else Cell(fmt.seconds(latency.p99_s))
    return median, p90, p99


def _throughput(row: Row, notes: _Notes) -> Cell:
    """Examples per second, one inference after another."""
    if row.latency is None:
        return notes.dash(row, "latency")
    per_s, batch = row.latency.throughput_per_s, row.latency.batch
    detail = "batches of several sizes" if batch is None else f"batch {batch}" if batch > 1 else ""
    tooltip = "inputs per second, one inference after another: 1 / mean latency"
    return Cell(fmt.rate(per_s), detail, tooltip + (f" x batch {batch}" if batch and batch > 1 else ""))


def _memory(row: Row, notes: _Notes) -> Cell:
    if row.peak_memory_bytes is None:
        return notes.dash(row, "memory")
    return Cell(fmt.file_size(row.peak_memory_bytes), "", f"{row.peak_memory_bytes:,} bytes, the whole process")


def _energy(row: Row, notes: _Notes) -> tuple[Cell, Cell]:
    energy = row.energy
    if energy is None:
        return notes.dash(row, "energy"), notes.dash(row, "energy")
    scope = ", ".join(filter(None, (energy.source, energy.scope, *energy.rails)))
    tooltip = f"per inference; {scope}; mean of {fmt.plural(len(energy.rounds), 'run')}, about 95 % interval"
    return (
        Cell(fmt.joules(energy.gross_j), fmt.joules_interval(energy.gross_interval_j), tooltip),
        Cell(fmt.joules(energy.net_j), fmt.joules_interval(energy.net_interval_j), f"{tooltip}; without idle power"),
    )

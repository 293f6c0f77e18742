"""The runs of a side: read from files and folders, each with the board that its folder names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.errors import EdgeBenchError
from edge_bench.verdict import records
from edge_dendrite.errors import ConfigError, DataError
from edge_dendrite.report.format import clean_text
from edge_dendrite.report.measurement_files import find_files
from edge_dendrite.report.runs import read_condition


@dataclass(frozen=True)
class Loaded:
    """One measurement. `folder`: the board that its folder is named after; None where a folder names none."""

    path: str
    folder: str | None
    record: dict[str, Any]

    @property
    def bundle_id(self) -> str:
        return str(self.record["bundle"]["id"])

    @property
    def name(self) -> str:
        return clean_text(self.record["bundle"]["name"]) or "unnamed"

    @property
    def role(self) -> str:
        return clean_text(self.record["bundle"]["role"])

    def where(self) -> str:
        """The board by what the measurement says of it."""
        condition = read_condition(self.record)
        emulated = f", emulated by {condition.emulated}" if condition.emulated else ""
        return f"{condition.where()}{emulated}"


@dataclass(frozen=True)
class Side:
    """All runs that were given together, of any boards and networks. `left_out` says which were taken out, and why."""

    name: str
    runs: tuple[Loaded, ...]
    left_out: tuple[str, ...] = ()


def divide(paths: Iterable[Path]) -> list[list[Path]]:
    """What is new as sides: each folder is one of its own, and all files together are one."""
    files: list[Path] = []
    sides = []
    for path in paths:
        if path.is_dir():
            sides.append([path])
        else:
            if not files:
                sides.append(files)
            files.append(path)
    return sides


def read_side(paths: Sequence[Path], *, networks: Sequence[str] = (), skip_invalid: bool = False) -> Side:
    """Read a side. Raises DataError for what is no measurement, ConfigError where none is of the networks asked for.

    networks: names or roles; none for all. skip_invalid: leave out runs that are invalid or were interrupted. One with
    wrong outputs stays: leaving it out would hide what matters most.
    """
    runs, left_out = [], []
    for folder, path in find_files(paths):
        run = Loaded(clean_text(path, 500), None if folder is None else clean_text(folder), _read(path))
        if networks and not {run.name, run.role} & set(networks):
            continue
        if skip_invalid and run.record["status"] != "failed" and not records.outputs_failed(run.record):
            doubts = records.doubts(run.record)
            if doubts:
                left_out.append(clean_text(f"{run.path}: {'; '.join(doubts)}", 600))
                continue
        runs.append(run)
    name = ", ".join(clean_text(path) for path in paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    if not runs and not left_out:
        raise ConfigError(
            f"{name}: no run of a network {' or '.join(networks)} is there; --network takes names and roles"
        )
    return Side(name, tuple(runs), tuple(left_out))


def _read(path: Path) -> dict[str, Any]:
    try:
        return records.read_record(str(path))
    except EdgeBenchError as error:
        raise DataError(str(error)) from error

"""Measurement files into a history, many of them; one that is bad does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.errors import EdgeBenchError
from edge_bench.schema import read_measurement
from edge_dendrite.history.store import Added, History, RefusedError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.report.measurement_files import files_of

_MAX_BATCH, _MAX_BATCH_SAMPLES = 50, 500_000


@dataclass(frozen=True)
class Found:
    """A file, and what its board is called where the folder says so."""

    path: Path
    board_name: str = ""


@dataclass(frozen=True)
class Gathered:
    """What became of each file; error says why one was not taken."""

    path: Path
    added: Added | None
    error: str = ""


def find_files(paths: Sequence[Path]) -> list[Found]:
    """The files behind FILE and DIR, as `report` reads them, each once. What is not there is among them, and fails when
    it is read.
    """
    found = [Found(file, board or "") for path in paths for board, file in files_of(path)]
    return list({one.path: one for one in found}.values())


def add_files(
    history: History,
    files: Sequence[Found],
    *,
    board_name: str | None = None,
    tags: Iterable[str] = (),
    progress: Progress = silent,
) -> list[Gathered]:
    """Add files, some at a time: what was done before an interrupt, or a full disk, is kept.

    board_name: of all of them, instead of their folders'. Raises DataError when the history itself fails.
    """
    gathered: list[Gathered] = []
    words, batch = tuple(tags), []
    for number, one in enumerate(files):
        progress("adding measurements", number, len(files))
        batch.append(_read(one))
        # A transaction waits for the disk, and what a batch holds is in memory.
        if len(batch) == _MAX_BATCH or sum(map(_num_samples, batch)) > _MAX_BATCH_SAMPLES or one is files[-1]:
            gathered += _add_batch(history, batch, board_name, words)
            batch = []
    progress("adding measurements", len(files), len(files))
    return gathered


def _read(file: Found) -> tuple[Found, dict[str, Any] | str]:
    """The file with its measurement, or with what is wrong with it."""
    try:
        return file, read_measurement(str(file.path))
    except EdgeBenchError as error:
        return file, str(error)


def _num_samples(read: tuple[Found, dict[str, Any] | str]) -> int:
    return len(read[1].get("latency", {}).get("samples_s", ())) if isinstance(read[1], dict) else 0


def _add_batch(
    history: History,
    batch: Sequence[tuple[Found, dict[str, Any] | str]],
    board_name: str | None,
    tags: Sequence[str],
) -> list[Gathered]:
    gathered = []
    with history.together():
        for file, found in batch:
            if isinstance(found, str):
                gathered.append(Gathered(file.path, None, found))
                continue
            name = file.board_name if board_name is None else board_name
            try:
                gathered.append(Gathered(file.path, history.add(found, board_name=name, tags=tags)))
            except RefusedError as error:
                gathered.append(Gathered(file.path, None, f"measurement {file.path}: {error}"))
    return gathered

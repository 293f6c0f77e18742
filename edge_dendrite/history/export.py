"""Runs out of a history: their measurements as files, or a table of figures for a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

from edge_bench.atomic import write_bytes
from edge_dendrite.errors import DataError
from edge_dendrite.history.metrics import METRICS
from edge_dendrite.history.store import History
from edge_dendrite.history.stored import StoredRun
from edge_dendrite.progress import Progress, silent

_UNITS = {"latency": "s", "p90": "s", "p99": "s", "throughput": "per_s", "energy": "j", "net-energy": "j"}
_UNITS |= {"memory": "bytes", "accuracy": "share", "size": "bytes", "parameters": ""}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def export_runs(history: History, runs: Sequence[StoredRun], path: Path, *, progress: Progress = silent) -> list[Path]:
    """Write a table (.csv), the runs with their figures (.json), or into a folder each measurement as it was added,
    which `report` and `compare` read. Raises DataError for a file that is there with another content.
    """
    if path.suffix in (".csv", ".json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = _table(runs) if path.suffix == ".csv" else json.dumps([run.to_dict() for run in runs], indent=1) + "\n"
        write_bytes(str(path), text.encode("utf-8"))
        return [path]
    path.mkdir(parents=True, exist_ok=True)
    written = []
    for number, run in enumerate(runs):
        progress("writing measurements", number, len(runs))
        file, content = path / _file_name(run), history.measurement(run.id)
        if not file.exists():
            write_bytes(str(file), content)
        elif file.read_bytes() != content:
            raise DataError(f"{file}: is there with another content; give another folder, or move it away")
        written.append(file)
    progress("writing measurements", len(runs), len(runs))
    return written


def _file_name(run: StoredRun) -> str:
    name = _NOT_IN_NAMES.sub("-", run.facts.network)[:60].strip("-.") or "run"
    return f"{name}-{run.id}.json"


def _table(runs: Sequence[StoredRun]) -> str:
    figures = [
        (f"{metric.name.replace('-', '_')}_{_UNITS[metric.name]}".rstrip("_"), metric.name) for metric in METRICS
    ]
    keys = ("network", "role", "precision", "bundle_id")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    bounds = [f"{column}{end}" for column, _ in figures for end in ("", "_low", "_high")]
    writer.writerow(["id", "started_at", "status", *keys, "board", "state", "num_samples", "tags", *bounds])
    for run in runs:
        facts = run.facts
        texts = [getattr(facts, key) or "" for key in keys]
        state = "; ".join(f"{key} {word}" for key, word in facts.state.items())
        numbers = [
            "" if number is None else number
            for _, metric in figures
            for number in (vars(facts.figures[metric]).values() if metric in facts.figures else (None, None, None))
        ]
        cells = [facts.started_at or "", facts.status, *texts, run.board(), state]
        tags = _cell(" ".join(run.tags))
        writer.writerow([run.id, *map(_cell, cells), facts.num_samples, tags, *numbers])
    return buffer.getvalue()


def _cell(text: str) -> str:
    """A spreadsheet takes what begins so for a formula, and runs it; names come from others."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text

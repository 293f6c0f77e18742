"""FOLDER/fleet.json: what became of each board of a fleet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_bench.atomic import parse_json, write_json
from edge_dendrite.errors import ConfigError, DeployError
from edge_dendrite.ship.target import parse_target

SCHEMA, VERSION = "edge-dendrite.fleet", 1
FLEET_FILE = "fleet.json"
_MAX_BYTES = 16 << 20

NOT_STARTED, RUNNING, INTERRUPTED = "not started", "running", "interrupted"
MEASURED, KEPT, INVALID, FAILED = "measured", "kept", "invalid", "failed"
STATES = (NOT_STARTED, RUNNING, MEASURED, KEPT, INVALID, FAILED, INTERRUPTED)


@dataclass(frozen=True)
class BoardResult:
    """One board. state: one of STATES ("kept": what was there is valid and stays); reason: why it is not measured, or
    why its run is invalid; files: its measurements, of a failed or interrupted one those that are new."""

    name: str
    target: str
    state: str
    reason: str = ""
    files: tuple[Path, ...] = ()
    duration_s: float = 0.0

    @property
    def short_reason(self) -> str:
        """Without the target in front, for places where that or the name stands beside it."""
        return self.reason.removeprefix(str(parse_target(self.target) or "this machine")).lstrip(": ")


class FleetFile:
    """The file, and what it holds of boards that are not of this call (`--only`). Raises DeployError when a file of
    that name is something else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._others = {result.name: result for result in read_fleet(path)} if path.exists() else {}

    def update(self, results: Sequence[BoardResult]) -> None:
        """Write it anew, atomically."""
        self._others.update({result.name: result for result in results})
        boards = [_entry(result, self.path.parent) for result in self._others.values()]
        write_json(str(self.path), {"schema": SCHEMA, "version": VERSION, "boards": boards})


def read_fleet(path: str | Path) -> tuple[BoardResult, ...]:
    """The boards of a fleet.json. Raises DeployError for any other file."""
    path = Path(path)
    refusal = f"{path}: is no fleet.json of this program, version {VERSION}; move it away, or give another --out"
    try:
        with path.open("rb") as stream:
            record = parse_json(stream.read(_MAX_BYTES))
        if record["schema"] != SCHEMA or record["version"] != VERSION:
            raise DeployError(refusal)
        return tuple(_result(entry, path.parent) for entry in record["boards"])
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise DeployError(refusal) from error


def _entry(result: BoardResult, folder: Path) -> dict[str, Any]:
    return {
        "name": result.name,
        "target": result.target,
        "state": result.state,
        "reason": result.reason,
        "files": [path.relative_to(folder).as_posix() for path in result.files],
        "duration_s": round(result.duration_s, 3),
    }


def _result(entry: Mapping[str, Any], folder: Path) -> BoardResult:
    name, target, state, reason = texts = [entry[key] for key in ("name", "target", "state", "reason")]
    files = [folder / file for file in entry["files"] if ".." not in Path(file).parts]
    if not all(isinstance(text, str) for text in texts) or entry["state"] not in STATES:
        raise ValueError("an entry of another form")
    parse_target(target)
    return BoardResult(name, target, state, reason, tuple(files), float(entry["duration_s"]))

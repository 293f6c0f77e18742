"""Which files of a folder are measurements, and of which board: the same for reports, comparisons and histories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_dendrite.errors import DataError
from edge_dendrite.ship.fleet_file import FLEET_FILE


def find_files(paths: Sequence[Path]) -> list[tuple[str | None, Path]]:
    """The files of measurements, each with the board that its folder names; None for one that names none.

    Raises DataError for a folder without one.
    """
    found: list[tuple[str | None, Path]] = []
    for path in paths:
        files = files_of(path)
        if not files:
            raise DataError(f"{path}: no measurement (*.json) in this folder; make one with `edge-dendrite deploy`")
        found += files
    return found


def files_of(path: Path) -> list[tuple[str | None, Path]]:
    """A file is itself. Of a folder all .json files, by name; where it has none, those of its folders, which are the
    boards, as `deploy` makes them.
    """
    if not path.is_dir():
        return [(None, path)]
    files = _json_files(path)
    if files:
        return [(None, file) for file in files]
    folders = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    return [(folder.name, file) for folder in folders for file in _json_files(folder)]


def _json_files(folder: Path) -> list[Path]:
    """All but the list of boards that `deploy --boards` keeps beside their folders."""
    return sorted(path for path in folder.glob("*.json") if path.name != FLEET_FILE)

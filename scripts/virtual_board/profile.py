"""Boards as data: the JSON files of `boards/`, read and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.virtual_board.errors import BoardError

FOLDER = Path(__file__).parent / "boards"


@dataclass(frozen=True)
class Profile:
    """One kind of board. `sources` says where each part of it is from; `replay` is read by replay.py."""

    name: str
    title: str
    suite: str
    sources: dict[str, str]
    root_files: dict[str, str]
    sys_files: dict[str, str]
    cpus: dict[str, Any]
    zones: dict[str, int]
    cpuinfo: dict[str, list[str]]
    meminfo_kib: dict[str, int]
    programs: dict[str, str]
    replay: dict[str, Any]


def profile_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_profile(name: str) -> Profile:
    """The profile of a name. Raises BoardError when there is none, or when its file has other keys."""
    if name not in profile_names():
        raise BoardError(f"there is no board {name!r}; there are: {', '.join(profile_names())}")
    path = FOLDER / f"{name}.json"
    try:
        profile = Profile(**json.loads(path.read_text("utf-8")))
    except (TypeError, ValueError) as error:
        raise BoardError(f"{path}: {error}") from error
    if profile.name != name:
        raise BoardError(f"{path}: is named {profile.name!r} inside")
    return profile

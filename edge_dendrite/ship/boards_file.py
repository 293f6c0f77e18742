"""The boards of a fleet, from a TOML file that is read strictly.

    jobs = 4                           # boards at once; --jobs wins

    [defaults]                         # for boards that say nothing else; flags of the command line win
    python = "python3"
    threads = 1

    [boards.nano]                      # NAME: also the name of the folder of its measurements
    target = "pi@192.168.1.20"         # user@host, ssh://user@host:port or local; the one key that a board must have
    python = "/usr/bin/python3.8"      # Python 3.6 or newer on the board
    remote_dir = "/mnt/ssd/bench"      # folder on the board, instead of ~/.cache/edge-dendrite
    ssh_config = "ssh_config"          # file instead of your own
    provider = "CPUExecutionProvider"  # of onnxruntime, instead of the one that the board prefers
    threads = 4                        # intra-op threads
    bundle = "bundles/small-opset13"   # or a list of them: instead of those of the command line

Paths are relative to the file. What is not known here is refused with its place, so that no word is silently without
effect.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_dendrite.errors import ConfigError
from edge_dendrite.ship.target import parse_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_BYTES, _MAX_BOARDS, _MAX_JOBS = 1 << 20, 1000, 256
# It becomes the name of a folder.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_TOP = {"jobs": int, "defaults": dict, "boards": dict}
_SHARED = {"python": str, "remote_dir": str, "ssh_config": str, "provider": str, "threads": int}
_OWN = {"target": str, **_SHARED, "bundle": (str, list)}
_WORDS = {str: "text in quotes", int: "a whole number", dict: "a table", (str, list): "a path, or a list of paths"}
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(#.*)?")


@dataclass(frozen=True)
class BoardSettings:
    """How one board is reached and what it runs; None: nothing was said."""

    python: str | None = None
    remote_dir: str | None = None
    ssh_config: Path | None = None
    provider: str | None = None
    threads: int | None = None


@dataclass(frozen=True)
class FleetBoard:
    """One board. `bundles` is empty where those of the command line are meant."""

    name: str
    target: str
    settings: BoardSettings
    bundles: tuple[Path, ...] = ()


@dataclass(frozen=True)
class BoardsFile:
    """All of a file. `jobs` None: nothing was said."""

    boards: tuple[FleetBoard, ...]
    defaults: BoardSettings
    jobs: int | None = None

    def choose(self, names: Sequence[str] = (), flags: BoardSettings | None = None) -> tuple[FleetBoard, ...]:
        """The boards of these names, or all, in the order of the file, with settings complete.

        What a board says itself comes first, then `flags` (those of the command line), then the file's defaults.
        Raises ConfigError for a name that is not there.
        """
        known = [board.name for board in self.boards]
        for name in names:
            if name not in known:
                raise ConfigError(f"--only {name}: no board of this name{_meant(name, known)}")
        layers = [asdict(flags or BoardSettings()), asdict(self.defaults)]
        return tuple(_fill(board, layers) for board in self.boards if not names or board.name in names)


def read_boards(path: str | Path) -> BoardsFile:
    """Read and check a boards file. Raises ConfigError, with the place, for anything that it should not hold."""
    return _Reader(Path(path)).read()


def _fill(board: FleetBoard, layers: Sequence[Mapping[str, Any]]) -> FleetBoard:
    values = asdict(board.settings)
    for layer in layers:
        values = {key: layer[key] if value is None else value for key, value in values.items()}
    return replace(board, settings=BoardSettings(**values))


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as stream:
                content = stream.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                raise ConfigError(f"{path}: larger than {_MAX_BYTES:,} bytes: this is no file of boards")
            self._text = content.decode("utf-8")
            self._tables = tomllib.loads(self._text)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror or error}; give the TOML file of your boards") from error
        except (UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: is no TOML in UTF-8; write it anew") from error
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: is no TOML: {error}") from error

    def read(self) -> BoardsFile:
        self._check((), self._tables, _TOP)
        tables = self._tables.get("boards", {})
        if not tables:
            raise ConfigError(f"{self._path}: no boards; add a table for each: [boards.NAME] with target = 'user@host'")
        if len(tables) > _MAX_BOARDS:
            raise ConfigError(f"{self._path}: {len(tables):,} boards, more than {_MAX_BOARDS:,}; make two files")
        defaults = self._tables.get("defaults", {})
        for key in ("target", "bundle"):
            if key in defaults:
                words = "belongs to one board" if key == "target" else "for all boards is BUNDLE on the command line"
                raise self._error(("defaults", key), f"a {key} {words}")
        self._check(("defaults",), defaults, _SHARED)
        boards = tuple(self._board(name, table) for name, table in tables.items())
        self._check_apart(boards)
        jobs = self._tables.get("jobs")
        if jobs is not None and not 1 <= jobs <= _MAX_JOBS:
            raise self._error(("jobs",), f"{jobs} is not from 1 to {_MAX_JOBS}")
        return BoardsFile(boards, self._settings(("defaults",), defaults), jobs)

    def _board(self, name: str, table: object) -> FleetBoard:
        place = ("boards", name)
        if not _NAME.fullmatch(name) or name.casefold() == "fleet.json":
            words = "letters, digits, '_', '.' and '-', at most 64, and no '.' or '-' first"
            raise self._error(place, f"{name!r} is no name for a board, since it becomes a folder: {words}")
        if not isinstance(table, dict):
            hint = f": write [boards.{name}], and its keys below" if not isinstance(table, list) else ""
            raise self._error(place, f"has to be a table{hint}")
        self._check(place, table, _OWN)
        if "target" not in table:
            raise self._error(place, "has no target; give user@host, ssh://user@host:port or local")
        try:
            parse_target(table["target"])
        except ConfigError as error:
            raise self._error((*place, "target"), str(error)) from error
        return FleetBoard(name, table["target"], self._settings(place, table), self._bundles(place, table))

    def _settings(self, place: tuple[str, ...], table: Mapping[str, Any]) -> BoardSettings:
        values = {key: table[key] for key in _SHARED if key in table}
        for key in ("python", "provider", "remote_dir"):
            if key in values and (not values[key].isprintable() or not values[key].strip()):
                raise self._error((*place, key), "is empty, or holds what cannot be printed")
        if values.get("threads", 1) < 1:
            raise self._error((*place, "threads"), "has to be 1 or more")
        if "ssh_config" in values:
            values["ssh_config"] = self._file((*place, "ssh_config"), values["ssh_config"])
        return BoardSettings(**values)

    def _bundles(self, place: tuple[str, ...], table: Mapping[str, Any]) -> tuple[Path, ...]:
        given = table.get("bundle", [])
        paths = [given] if isinstance(given, str) else given
        if "bundle" in table and (not paths or not all(isinstance(path, str) for path in paths)):
            raise self._error((*place, "bundle"), f"has to be {_WORDS[(str, list)]}")
        return tuple(self._file((*place, "bundle"), path) for path in paths)

    def _file(self, place: tuple[str, ...], text: str) -> Path:
        path = self._path.parent / os.path.expanduser(text)  # noqa: PTH111 - never raises
        if not text or not os.path.exists(path):  # noqa: PTH110 - as well
            raise self._error(place, f"{text!r} is not there; paths are relative to {self._path.parent.absolute()}")
        return path

    def _check_apart(self, boards: tuple[FleetBoard, ...]) -> None:
        """No board twice: its two runs would disturb each other, and one folder would be for both."""
        names: dict[str, str] = {}
        targets: dict[object, str] = {}
        for board in boards:
            other = names.setdefault(board.name.casefold(), board.name)
            if other != board.name:
                raise self._error(("boards", board.name), f"differs from {other!r} in case only; name it otherwise")
            # Two ssh_config files may mean two machines by one name.
            twin = targets.setdefault((parse_target(board.target), board.settings.ssh_config), board.name)
            if twin != board.name:
                words = f"is the target of {twin!r} already; measured side by side they would disturb each other"
                raise self._error(("boards", board.name, "target"), words)

    def _check(self, place: tuple[str, ...], table: Mapping[str, Any], known: Mapping[str, Any]) -> None:
        """Every key is known, and of its type."""
        for key, value in table.items():
            if key not in known:
                raise self._error((*place, key), f"unknown key{_meant(key, list(known))}")
            kind = known[key]
            if not isinstance(value, kind) or isinstance(value, bool):
                raise self._error((*place, key), f"has to be {_WORDS[kind]}, not {_shown(value)}")

    def _error(self, place: tuple[str, ...], words: str) -> ConfigError:
        line = self._line_of(place)
        return ConfigError(f"{self._path}{f', line {line}' if line else ''}: {'.'.join(place)}: {words}")

    def _line_of(self, place: tuple[str, ...]) -> int | None:
        """Where a table or a key begins, if it is written in the plain way; the parser does not tell."""
        table: tuple[str, ...] = ()
        for number, line in enumerate(self._text.splitlines(), 1):
            header = _HEADER.fullmatch(line)
            if header:
                table = tuple(part.strip().strip("\"'") for part in header[1].split(".", 1))
                if table == place:
                    return number
            elif table == place[:-1] and line.partition("=")[0].strip().strip("\"'") == place[-1]:
                return number
        return None


def _meant(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known[:20])}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""What is known of each board: a JSON file per board in `profiles/`, every figure with its source, or null.

What depends on the system that runs on it (JetPack) stands in a file of its own in `profiles/software/`, for all boards
that run it: `jetson-agx-orin` is that board with the first system that its profile names, `jetson-agx-orin@5.1` with
another one of them.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.resources
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge_dendrite.errors import ConfigError, EdgeDendriteError

_SCHEMA = "edge-dendrite.board"
_SOFTWARE_SCHEMA = "edge-dendrite.software"
_VERSION = 1
_JETPACK = "jetpack-"


@dataclass(frozen=True)
class BoardProfile:
    """One board with one system.

    name: as it was asked for, with "@system" where that is not the first. title: its name for people. match: texts,
    one of which is in the board's device-tree model; empty for a family. software: the systems that it runs, the one
    that the figures are of first; empty where nothing is known of any.
    figures: by name, each {"value": ..., "source": ...}; a value that nobody has looked up is None, as is its source.
    """

    name: str
    title: str
    match: tuple[str, ...]
    software: tuple[str, ...]
    figures: Mapping[str, Mapping[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """As in the profile's file."""
        lists = {"match": list(self.match), "software": list(self.software)}
        return {"schema": _SCHEMA, "version": _VERSION, **dataclasses.asdict(self), **lists}


def load_board(name: str) -> BoardProfile:
    """The profile of that name: "BOARD", or "BOARD@SYSTEM" for another system than the first that it runs.

    Raises ConfigError, naming the closest and all known names, when there is none, or the board does not run that
    system; EdgeDendriteError, naming file and key, when a file is not what it should be.
    """
    board, _, system = name.partition("@")
    known = _board_names()
    if board not in known:
        close = difflib.get_close_matches(board, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(f"board {board!r} is not known; {hint}known boards: {', '.join(known)}")
    hardware = parse_board(_profile(f"{board}.json"), f"{board}.json")
    return _with_software(hardware, system, name) if hardware.software or "@" in name else hardware


def _profile(name: str) -> bytes:
    return importlib.resources.files("edge_profiles").joinpath(name).read_bytes()


def _with_software(hardware: BoardProfile, system: str, name: str) -> BoardProfile:
    """The board with the figures of a system that it runs, its first one for an empty name."""
    short = {one.removeprefix(_JETPACK): one for one in hardware.software}
    chosen = short.get(system.removeprefix(_JETPACK)) if system else next(iter(hardware.software), None)
    if chosen is None or name.endswith("@"):
        known = f"known are {', '.join(f'{hardware.name}@{one}' for one in short)}" if short else "none is known of it"
        raise ConfigError(f"board {name!r}: {hardware.title} with such a system is not known; {known}")
    title, figures = parse_software(_profile(f"software/{chosen}.json"), f"{chosen}.json")
    others = tuple(one for one in hardware.software if one != chosen)
    return dataclasses.replace(
        hardware,
        name=hardware.name if chosen == hardware.software[0] else f"{hardware.name}@{chosen.removeprefix(_JETPACK)}",
        title=f"{hardware.title}, {title}",
        software=(chosen, *others),
        figures={key: {**hardware.figures, **figures}[key] for key in _figure_kinds()},
    )


def list_boards() -> list[BoardProfile]:
    """All profiles, by name. Raises EdgeDendriteError when a file is not what it should be."""
    return [load_board(name) for name in _board_names()]


def require_structured_sparsity(board: BoardProfile, pattern: str) -> None:
    """Raise ConfigError, naming the board, unless its profile says that its hardware skips zeros of that pattern."""
    patterns = board.figures["structured_sparsity"]["value"]
    if patterns is None:
        known = "its profile does not say which patterns of zeros its hardware skips"
    else:
        known = f"its hardware skips {', '.join(patterns) if patterns else 'no pattern of zeros'}"
    if pattern not in (patterns or []):
        raise ConfigError(
            f"board {board.name}: {pattern} sparsity would gain nothing that is known of ({known}); prune neurons, "
            "segments or groups instead, which make the network smaller everywhere"
        )


def board_precisions(board: BoardProfile) -> tuple[str, ...] | None:
    """The precisions that a board has; None where its profile does not say."""
    known = board.figures["precisions"]["value"]
    return None if known is None else tuple(known)


def require_precision(board: BoardProfile, precision: str) -> None:
    """Raise ConfigError, naming the board, when its profile says which precisions it has and this is not among them."""
    known = board_precisions(board)
    if known is not None and precision not in known:
        raise ConfigError(f"board {board.name}: has no {precision}; its profile names {', '.join(known)}: take one")


def parse_board(content: bytes, file_name: str) -> BoardProfile:
    """Check and build a profile from the bytes of its file. Raises EdgeDendriteError naming file and key."""
    fields = _parse_json(content, file_name)
    _check_keys(file_name, "", fields, ("schema", "version", "name", "title", "match", "software", "figures"))
    _check_head(file_name, fields, _SCHEMA, {"title": _is_text, "match": _is_texts, "software": _is_texts})
    kinds = _figure_kinds()
    if fields["software"]:
        kinds = {key: kind for key, kind in kinds.items() if key not in _SOFTWARE_FIGURES}
    _check_figures(file_name, fields["figures"], kinds)
    names = {key: tuple(fields[key]) for key in ("match", "software")}
    return BoardProfile(fields["name"], fields["title"], figures=fields["figures"], **names)


def parse_software(content: bytes, file_name: str) -> tuple[str, dict[str, Any]]:
    """(title, figures) of a system from the bytes of its file. Raises EdgeDendriteError naming file and key."""
    fields = _parse_json(content, file_name)
    _check_keys(file_name, "", fields, ("schema", "version", "name", "title", "figures"))
    _check_head(file_name, fields, _SOFTWARE_SCHEMA, {"title": _is_text})
    kinds = _figure_kinds()
    _check_figures(file_name, fields["figures"], {key: kinds[key] for key in _SOFTWARE_FIGURES})
    return fields["title"], fields["figures"]


def _parse_json(content: bytes, file_name: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EdgeDendriteError(f"profile {file_name}: not JSON: {error}") from error


def _check_head(file_name: str, fields: Any, schema: str, kinds: Mapping[str, Callable[[Any], bool]]) -> None:
    if fields["schema"] != schema or type(fields["version"]) is not int or fields["version"] != _VERSION:
        raise EdgeDendriteError(f"profile {file_name}: schema and version are not {schema!r} and {_VERSION}")
    if fields["name"] != file_name.removesuffix(".json"):
        raise EdgeDendriteError(f"profile {file_name}: name is {fields['name']!r}, the file is called otherwise")
    for key, is_right in kinds.items():
        if not is_right(fields[key]):
            raise EdgeDendriteError(f"profile {file_name}: {key} is {fields[key]!r}, not what it should be")


def _board_names() -> list[str]:
    files = importlib.resources.files("edge_profiles").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


def _check_keys(file_name: str, place: str, value: Any, keys: tuple[str, ...]) -> None:
    """Exactly these keys: a misspelt one would otherwise be a figure that silently is not there."""
    if not isinstance(value, dict):
        raise EdgeDendriteError(f"profile {file_name}: {place.rstrip('.') or 'the whole'} is not an object")
    for key in value:
        if key not in keys:
            raise EdgeDendriteError(f"profile {file_name}: unknown key {place + key!r}; known: {', '.join(keys)}")
    for key in keys:
        if key not in value:
            raise EdgeDendriteError(f"profile {file_name}: key {place + key!r} is missing")


def _check_figures(file_name: str, figures: Any, kinds: Mapping[str, Callable[[Any], bool]]) -> None:
    _check_keys(file_name, "figures.", figures, tuple(kinds))
    for key, is_right in kinds.items():
        _check_keys(file_name, f"figures.{key}.", figures[key], ("value", "source"))
        value, source = figures[key]["value"], figures[key]["source"]
        if value is not None and not is_right(value):
            raise EdgeDendriteError(f"profile {file_name}: figures.{key}.value is {value!r}, not what it should be")
        if (source is not None) != (value is not None) or (source is not None and not _is_text(source)):
            raise EdgeDendriteError(
                f"profile {file_name}: figures.{key} needs a source if it has a value, else neither"
            )


_SOFTWARE_FIGURES = (
    "jetpack",
    "l4t",
    "python",
    "glibc",
    "cuda",
    "tensorrt",
    "onnxruntime",
    "max_opset",
    "max_ir_version",
)


def _figure_kinds() -> dict[str, Callable[[Any], bool]]:
    """Every figure that a profile has, and what its value must be. Versions are texts; rails are names."""
    return {
        "soc": _is_text,
        "compute_capability": _is_text,
        "memory_bytes": _is_count,
        "jetpack": _is_text,
        "l4t": _is_text,
        "python": _is_text,
        "glibc": _is_text,
        "cuda": _is_text,
        "tensorrt": _is_text,
        "onnxruntime": _is_text,  # the last wheel for the system's Python
        "max_opset": _is_count,
        "max_ir_version": _is_count,
        "precisions": _is_texts,
        "structured_sparsity": _is_texts,  # patterns of zeros whose products the hardware skips; none is an empty list
        "power_rails": _is_texts,
        "total_power_rail": _is_texts,  # the rails whose sum is the whole
        "power_modes": _is_texts,
    }


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(text) for text in value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0

"""What every config can do: conversion to and from plain dicts, and checks that name the config and the key."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edge_dendrite.errors import ConfigError

ConfigType = TypeVar("ConfigType", bound="Config")


@dataclass(frozen=True)
class Config:
    """Base of all configs: conversion to and from plain dicts."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict that `from_dict` turns back into an equal config."""
        values: dict[str, Any] = _json_ready(dataclasses.asdict(self))
        return values

    @classmethod
    def from_dict(cls: type[ConfigType], values: Mapping[str, Any]) -> ConfigType:
        """Build from a dict. Raises ConfigError for a key that does not exist, or a value out of range."""
        known = [one.name for one in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
                raise ConfigError(f"{cls.__name__}: unknown key {key!r}; {hint}")
        required = [one.name for one in dataclasses.fields(cls) if one.default is one.default_factory]
        for name in required:
            if name not in values:
                raise ConfigError(f"{cls.__name__}: {name} is missing")
        # JSON has no tuples.
        tuples = {one.name for one in dataclasses.fields(cls) if isinstance(one.default, tuple)}
        return cls(
            **{key: tuple(one) if key in tuples and isinstance(one, list) else one for key, one in values.items()}
        )

    def _require_one_of(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ConfigError(
                f"{type(self).__name__}: {name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}"
            )

    def _require(self, name: str, kind: type, low: float, high: float, *, open_low: bool = False) -> None:
        value = getattr(self, name)
        allowed = (int, float) if kind is float else (int,)
        is_number = isinstance(value, allowed) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not (low < value if open_low else low <= value) or value > high:
            bounds = f"{'above' if open_low else 'from'} {low:g} to {high:g}"
            raise ConfigError(f"{type(self).__name__}: {name} must be a {kind.__name__} {bounds}, not {value!r}")

    def _check_names(self, name: str) -> None:
        """A tuple of names or regular expressions of parts of a network."""
        value = getattr(self, name)
        if not isinstance(value, tuple) or not all(isinstance(one, str) and one for one in value):
            raise ConfigError(f"{type(self).__name__}: {name} must be a tuple of names, not {value!r}")
        for one in value:
            self._check_expression(one)

    def _check_expression(self, expression: str) -> None:
        try:
            re.compile(expression)
        except re.error as error:
            raise ConfigError(f"{type(self).__name__}: {expression!r} is no regular expression ({error})") from error

    def _check_bool(self, name: str) -> None:
        if not isinstance(getattr(self, name), bool):
            raise ConfigError(f"{type(self).__name__}: {name} must be true or false, not {getattr(self, name)!r}")

    def _without_defaults(self, names: tuple[str, ...]) -> dict[str, Any]:
        """As `to_dict`, without these where they have their default: older records stay equal."""
        defaults = {one.name: one.default for one in dataclasses.fields(self)}
        values = dataclasses.asdict(self)
        return {key: value for key, value in values.items() if key not in names or value != defaults[key]}


def _json_ready(value: Any) -> Any:
    """Tuples as lists, so that what was saved and read again is equal."""
    if isinstance(value, dict):
        return {key: _json_ready(one) for key, one in value.items()}
    return [_json_ready(one) for one in value] if isinstance(value, (list, tuple)) else value

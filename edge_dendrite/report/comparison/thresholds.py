"""How much worse each figure may be before it is a regression: from flags, and from a file with the same names."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_bench.atomic import parse_json
from edge_dendrite.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OVERALL, ACCURACY = "max_regression", "max_accuracy_drop"
_MAX_BYTES = 1 << 20
_PERCENT = re.compile(r"\s*([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)\s*%\s*")


@dataclass(frozen=True)
class Kind:
    """A figure that can be judged. `in_overall`: the threshold for all figures holds for it too."""

    key: str
    label: str
    unit: str
    in_overall: bool = True

    @property
    def threshold(self) -> str:
        """The name of its threshold in a file; with dashes the flag."""
        return ACCURACY if self.key == "accuracy" else f"max_{self.key}_regression"

    @property
    def flag(self) -> str:
        """As on a command line."""
        return "--" + self.threshold.replace("_", "-")


# The first five are rows of `edge-bench compare` by their labels there. Net energy is a difference of two powers, often
# of few per cent, which is why it is judged only where it is asked for.
KINDS = (
    Kind("latency", "latency median", "s"),
    Kind("p99", "latency p99", "s"),
    Kind("energy", "gross energy", "J"),
    Kind("net_energy", "net energy", "J", in_overall=False),
    Kind("memory", "peak memory", "bytes"),
    Kind("accuracy", "accuracy", "share"),
    Kind("parameters", "parameters", "count"),
    Kind("macs", "MACs", "count"),
    Kind("size", "ONNX file", "bytes"),
)


@dataclass(frozen=True)
class Thresholds:
    """What is allowed, as shares: 0.05 is 5 % more time, memory or size, and of accuracy 5 points less.

    A negative one asks for a gain. `by_figure` has the keys of `KINDS` and wins over `overall`.
    """

    overall: float | None = None
    by_figure: Mapping[str, float] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.overall is not None or bool(self.by_figure)

    def of(self, kind: Kind) -> float | None:
        """The threshold of a figure; None where it has none."""
        return self.by_figure.get(kind.key, self.overall if kind.in_overall else None)

    def to_dict(self) -> dict[str, float]:
        """By the names of a file, as shares."""
        found = {} if self.overall is None else {OVERALL: self.overall}
        return {**found, **{kind.threshold: self.by_figure[kind.key] for kind in KINDS if kind.key in self.by_figure}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], origin: str = "thresholds") -> Thresholds:
        """{"max_regression": "5%", "max_latency_regression": "3%", "max_accuracy_drop": 0.5}.

        Percentages are texts with their sign, since 0.05 could mean both; accuracy is in points. Raises ConfigError.
        """
        names = {OVERALL: "", **{kind.threshold: kind.key for kind in KINDS}}
        overall, by_figure = None, {}
        for name, value in values.items():
            if name not in names:
                raise ConfigError(f"{origin}: {str(name)[:60]!r} is not known; known: {', '.join(names)}")
            share = _points(value, f"{origin}: {name}") if name == ACCURACY else _percent(value, f"{origin}: {name}")
            if names[name]:
                by_figure[names[name]] = share
            else:
                overall = share
        return cls(overall, by_figure)


def read_thresholds(path: Path) -> dict[str, Any]:
    """The values of a .toml or .json file, not yet checked. Raises ConfigError."""
    if path.suffix not in (".toml", ".json"):
        raise ConfigError(f"--thresholds {path}: a file of thresholds ends in .toml or .json")
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise ValueError(f"larger than {_MAX_BYTES:,} bytes")
        values = parse_json(data) if path.suffix == ".json" else tomllib.loads(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # both readers raise a ValueError of their own
        raise ConfigError(f"--thresholds {path}: cannot be read: {str(error)[:200]}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"--thresholds {path}: not an object of thresholds by name")
    return values


def _percent(value: object, what: str) -> float:
    found = _PERCENT.fullmatch(value) if isinstance(value, str) and len(value) < 40 else None
    if found is None:
        shown = value if isinstance(value, str) else json.dumps(value, default=str)
        raise ConfigError(f'{what}: {shown[:60]!r} is no percentage; write it with its sign, like "5%" or "0.5%"')
    percent = float(found[1])
    if not -100 < percent <= 10_000:
        raise ConfigError(f"{what}: {percent:g} % is not between -100 % and 10000 %")
    return percent / 100


def _points(value: object, what: str) -> float:
    try:
        points = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        points = math.nan
    if not -100 <= points <= 100:
        shown = value if isinstance(value, str) else json.dumps(value, default=str)
        raise ConfigError(
            f"{what}: {shown[:60]!r} are no points of accuracy; write a number without sign of its own: "
            "0.5 allows 98.0 % after 98.5 %"
        )
    return points / 100

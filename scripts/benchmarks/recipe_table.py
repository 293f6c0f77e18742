"""What the recipe's trials chose in each seed, and whether its settings were the same in all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_dendrite.report.format import plural
from scripts.benchmarks.rows import Row


def recipe_sentences(rows: Sequence[Row], settings: Mapping[str, Any]) -> Iterator[str]:
    """Nothing for rows of other arms. settings: as a new row would have them."""
    if not rows or "steps" not in rows[0]:
        return
    seeds_by_method: dict[str, list[int]] = {}
    for row in rows:
        seeds_by_method.setdefault(row["steps"][1]["method"], []).append(row["seed"])
    found = "; ".join(f"{method} ({_seeds(seeds)})" for method, seeds in seeds_by_method.items())
    num_grown = sum(row["steps"][1]["method"].endswith(", grow") for row in rows)
    yield f"the trials took: {found}. Dendrites in {num_grown} of {plural(len(rows), 'seed')}."
    yield from _differences(rows, _flat(settings))


def _differences(rows: Sequence[Row], now: Mapping[str, Any]) -> Iterator[str]:
    """Settings that came or changed while seeds were added, or since."""
    settings = {row["seed"]: _flat(row["recipe"]) for row in rows}
    for key in sorted({*now, *(key for one in settings.values() for key in one)}):
        seeds_by_value: dict[str, list[int]] = {}
        for seed, one in settings.items():
            seeds_by_value.setdefault(_value(one, key), []).append(seed)
        values = ", ".join(f"{value} ({_seeds(seeds)})" for value, seeds in seeds_by_value.items())
        if len(seeds_by_value) > 1:
            yield f"the setting `{key}` is not the same in all seeds: {values}."
        elif _value(now, key) not in seeds_by_value:
            yield f"the setting `{key}` is {_value(now, key)} by now; here it was {next(iter(seeds_by_value))}."


def _value(settings: Mapping[str, Any], key: str) -> str:
    return str(settings[key]) if key in settings else "not there yet"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"

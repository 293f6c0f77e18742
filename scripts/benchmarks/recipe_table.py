"""What the recipe's trials chose in each seed, and whether its settings were the same in all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edge_dendrite.report.format import plural
from scripts.benchmarks.rows import Row


def recipe_sentences(rows: Sequence[Row]) -> Iterator[str]:
    """Nothing for rows of other arms."""
    if not rows or "steps" not in rows[0]:
        return
    seeds_by_method: dict[str, list[int]] = {}
    for row in rows:
        seeds_by_method.setdefault(row["steps"][1]["method"], []).append(row["seed"])
    found = "; ".join(f"{method} ({_seeds(seeds)})" for method, seeds in seeds_by_method.items())
    num_grown = sum(row["steps"][1]["method"].endswith(", grow") for row in rows)
    yield f"the trials took: {found}. Dendrites in {num_grown} of {plural(len(rows), 'seed')}."
    yield from _differences(rows)


def _differences(rows: Sequence[Row]) -> Iterator[str]:
    """Settings that came or changed while seeds were added."""
    settings = {row["seed"]: _flat(row["recipe"]) for row in rows}
    for key in sorted({key for one in settings.values() for key in one}):
        seeds_by_value: dict[str, list[int]] = {}
        for seed, one in settings.items():
            seeds_by_value.setdefault(str(one[key]) if key in one else "not there yet", []).append(seed)
        if len(seeds_by_value) > 1:
            values = ", ".join(f"{value} ({_seeds(seeds)})" for value, seeds in seeds_by_value.items())
            yield f"the setting `{key}` is not the same in all seeds: {values}."


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))}"

"""What each step of compressing did: from the records of the compressed model and of the network that it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_dendrite.report import fields
from edge_dendrite.report import format as fmt
from edge_dendrite.report.format import clean_text
from edge_dendrite.roles import BASELINE, COMPRESSED

COLUMNS = ("Step", "Parameters", "Epochs", "Validation metric", "Gained")
_MAX_STEPS, _MAX_TRIALS = 40, 200


@dataclass(frozen=True)
class Step:
    """A step and the network that it left.

    epochs: of training since the step before. val_metric: on validation data. trials: candidates that were tried for
    it, each with its loss on validation data or the reason why it has none.
    """

    method: str
    num_parameters: int
    epochs: float
    val_metric: float
    trials: Mapping[str, float | str]


def read_steps(records: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """The recipe's steps where the compressed model has some, else before and after; none where neither is told."""
    compressed = next((one for one in records if one.get("role") == COMPRESSED), None)
    if compressed is None:
        return ()
    entries = compressed.get("steps")
    entries = entries[:_MAX_STEPS] if isinstance(entries, list) else []
    steps = [_read_step(one) for one in entries if isinstance(one, Mapping)]
    if not steps:
        steps = _before_and_after(next((one for one in records if one.get("role") == BASELINE), {}), compressed)
    known = tuple(step for step in steps if step is not None)
    return known if len(known) > 1 else ()


def _read_step(entry: Mapping[str, Any]) -> Step | None:
    """None for a step whose figures are not finite numbers: such a one cannot be drawn."""
    method, size = fields.text(entry, "method"), fields.whole(entry, "num_parameters")
    epochs, metric = fields.number(entry, "epochs"), fields.number(entry, "metric")
    if method is None or size is None or epochs is None or metric is None:
        return None
    trials: dict[str, float | str] = {}
    tried = fields.mapping(entry, "trials")
    for name in list(tried)[:_MAX_TRIALS]:
        loss = fields.number(tried, name)
        reason = tried[name] if isinstance(tried[name], str) else "no finite loss"
        trials[clean_text(name)] = clean_text(reason, 300) if loss is None else loss
    return Step(method, size, epochs, metric, trials)


def _before_and_after(baseline: Mapping[str, Any], compressed: Mapping[str, Any]) -> list[Step | None]:
    """Of a network that was compressed without the recipe: what it was, and what it became after its training."""
    config = fields.mapping(fields.mapping(compressed, "recipe"), "config")
    level = fields.text(fields.mapping(config, "prune"), "level") or "compressed"
    words = (("dense, trained", baseline), (f"{level}, then distilled", compressed))
    return [
        _read_step(
            {
                "method": method,
                "num_parameters": fields.mapping(record, "stats").get("num_parameters"),
                "epochs": len(record["history"]) if isinstance(record.get("history"), list) else None,
                "metric": record.get("val_metric"),
            }
        )
        for method, record in words
    ]


def step_cells(steps: Sequence[Step]) -> list[tuple[str, ...]]:
    """A line for each step as in `COLUMNS`."""
    lines: list[tuple[str, ...]] = []
    for before, step in zip((None, *steps), steps, strict=False):
        gained = "-" if before is None else f"{step.val_metric - before.val_metric:+.4f}"
        figures = (fmt.count(step.num_parameters), f"{step.epochs:.3g}", f"{step.val_metric:.4f}", gained)
        lines.append((step.method, *figures))
    return lines

"""A run as it stands in a history, read out of its tables without trusting what is in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_dendrite.history.facts import STATUSES, Facts, Figure
from edge_dendrite.report.format import clean_text

COLUMNS = (
    "run_id, sha256, added_at, started_at, status, reasons, bundle_id, network, role, precision, board_name, "
    "board_where, emulated, state, num_samples"
)
_MAX_TEXT = 500


@dataclass(frozen=True)
class StoredRun:
    """A run of the history. Its texts are clean, whoever wrote the file."""

    id: int
    sha256: str
    added_at: str
    board_name: str
    tags: tuple[str, ...]
    facts: Facts

    def board(self) -> str:
        """What the board is called, else what it says of itself; one that is emulated is said to be."""
        emulated = f" (emulated by {self.facts.emulated}: not a board's speed)" if self.facts.emulated else ""
        return (self.board_name or self.facts.board_where) + emulated

    def state(self) -> str:
        """The board's state in a few words."""
        known = self.facts.state
        words = [f"{key} {known[key]}" for key in ("power mode", "governor") if key in known]
        return ", ".join(words) or "state not readable"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; times are UTC, figures in SI units by metric."""
        facts = vars(self.facts) | {"figures": {name: vars(one) for name, one in self.facts.figures.items()}}
        own = {"id": self.id, "sha256": self.sha256, "added_at": self.added_at, "board_name": self.board_name}
        return {**own, **facts, "reasons": list(self.facts.reasons), "tags": list(self.tags)}


def row_of(facts: Facts, sha256: str, added_at: str, board_name: str) -> tuple[str | int | None, ...]:
    """The values of COLUMNS."""
    return (
        facts.run_id,
        sha256,
        added_at,
        facts.started_at,
        facts.status,
        json.dumps(facts.reasons),
        facts.bundle_id,
        facts.network,
        facts.role,
        facts.precision,
        board_name,
        facts.board_where,
        facts.emulated,
        json.dumps(facts.state),
        facts.num_samples,
    )


def read_row(row: Sequence[Any], figures: Mapping[str, Figure], tags: Sequence[str]) -> StoredRun:
    """From `id` and COLUMNS to a run. Raises ValueError for a row that this program did not write."""
    id_, *texts, num_samples = row
    if type(id_) is not int or type(num_samples) is not int:
        raise ValueError("a number is none")
    values = dict(zip(COLUMNS.split(", "), map(_clean, texts), strict=False))
    if values["status"] not in STATUSES:
        raise ValueError(f"status {values['status']!r}")
    reasons, state = json.loads(texts[5]), json.loads(texts[13])
    if not isinstance(reasons, list) or not isinstance(state, dict):
        raise ValueError("reasons or state are not what they should be")
    facts = Facts(
        run_id=values["run_id"],
        started_at=values["started_at"],
        status=values["status"],
        reasons=tuple(_clean(str(reason)) or "" for reason in reasons),
        bundle_id=values["bundle_id"] or "",
        network=values["network"] or "unnamed",
        role=values["role"] or "",
        precision=values["precision"],
        board_where=values["board_where"] or "",
        emulated=values["emulated"],
        state={clean_text(key): clean_text(word) for key, word in state.items()},
        num_samples=num_samples,
        figures=figures,
    )
    return StoredRun(
        id_, values["sha256"] or "", values["added_at"] or "", values["board_name"] or "", tuple(tags), facts
    )


def read_figure(numbers: Sequence[Any]) -> Figure:
    """Value and bounds of a row of figures. Raises ValueError."""
    value, low, high = numbers
    if not isinstance(value, (int, float)) or not all(isinstance(one, (int, float, type(None))) for one in (low, high)):
        raise ValueError("a figure is no number")
    return Figure(value, low, high)


def _clean(text: Any) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError("a text is none")
    # Nearly all of them are clean, and there may be many.
    return text if text.isprintable() and len(text) <= _MAX_TEXT else clean_text(text, _MAX_TEXT)

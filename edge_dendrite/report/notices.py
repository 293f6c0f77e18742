"""Warnings and figures that could not be measured, gathered over all runs: each once, with its fix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_dendrite.report.format import clean_text
from edge_dendrite.report.runs import Run

_MAX_TEXT = 500


@dataclass(frozen=True)
class Notice:
    """What happened or is missing, why, and what to do. `networks`: in whose runs; empty when in every run."""

    what: str
    reason: str
    fix: str
    num_runs: int
    networks: tuple[str, ...]


def collect_notices(examined: Sequence[tuple[Run, Mapping[str, Any]]], key: str) -> tuple[Notice, ...]:
    """The entries of `warnings` or `unavailable`, in the order in which they first appear."""
    first, second = ("code", "message") if key == "warnings" else ("what", "reason")
    seen: dict[tuple[str, str, str], dict[Run, None]] = {}
    for run, measurement in examined:
        for entry in measurement[key]:
            texts = (entry[first], entry[second], entry["fix"])
            seen.setdefault(texts, {})[run] = None
    return tuple(_notice(texts, list(runs), len(examined)) for texts, runs in seen.items())


def _notice(texts: tuple[str, str, str], runs: Sequence[Run], num_all: int) -> Notice:
    what, reason, fix = (clean_text(text, _MAX_TEXT) for text in texts)
    names = tuple(dict.fromkeys(run.name for run in runs)) if len(runs) < num_all else ()
    return Notice(what, reason, fix, len(runs), names)

"""A metric over time: a line for each board and network, where it may be drawn through, and what changed on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from edge_dendrite.history.facts import ENERGY_OF, VALID, Figure
from edge_dendrite.history.metrics import Metric
from edge_dendrite.history.stored import StoredRun


@dataclass(frozen=True)
class Point:
    """A run on a line. figure is None where the run did not give it: a gap, not a zero."""

    run: StoredRun
    time: datetime
    figure: Figure | None

    @property
    def is_valid(self) -> bool:
        """Whether the figure may be compared."""
        return self.run.facts.status == VALID


@dataclass(frozen=True)
class Change:
    """What is different from this run on. What was not recorded on both sides is not known to have changed."""

    time: datetime
    words: str


@dataclass(frozen=True)
class Line:
    """The runs of one network on one board, in the order of time.

    stretches: the valid points with a figure between which nothing changed and nothing is missing; only within one
    of them can points be compared.
    """

    board: str
    network: str
    role: str
    precision: str | None
    points: tuple[Point, ...]
    changes: tuple[Change, ...] = ()
    stretches: tuple[tuple[Point, ...], ...] = field(default=(), repr=False)

    def name(self) -> str:
        """The network as it is told apart from others on this board."""
        return f"{self.network} ({', '.join(filter(None, (self.role, self.precision)))})"

    def known(self) -> tuple[Point, ...]:
        """The points with a figure, those of runs that are not valid among them."""
        return tuple(point for point in self.points if point.figure is not None)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        points = [
            {
                "id": point.run.id,
                "started_at": point.run.facts.started_at,
                "status": point.run.facts.status,
                "state": point.run.facts.state,
                **(vars(point.figure) if point.figure else {"value": None, "low": None, "high": None}),
            }
            for point in self.points
        ]
        changes = [{"time": f"{one.time:%Y-%m-%dT%H:%M:%SZ}", "words": one.words} for one in self.changes]
        key = {"board": self.board, "network": self.network, "role": self.role, "precision": self.precision}
        return {**key, "points": points, "changes": changes}


def build_lines(runs: Sequence[StoredRun], metric: Metric) -> list[Line]:
    """The lines of a metric, those with the latest run first; a run whose time is not known is on none of them."""
    by_line: dict[tuple[str, str, str, str | None], list[Point]] = {}
    for run in sorted(runs, key=lambda run: (run.facts.started_at or "", run.id)):
        if run.facts.started_at is None:
            continue
        time = datetime.strptime(run.facts.started_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
        key = (run.board(), run.facts.network, run.facts.role, run.facts.precision)
        by_line.setdefault(key, []).append(Point(run, time, run.facts.figures.get(metric.name)))
    lines = [_build_line(key, points, metric) for key, points in by_line.items()]
    return sorted(lines, key=lambda line: line.points[-1].time, reverse=True)


def _build_line(key: tuple[str, str, str, str | None], points: Sequence[Point], metric: Metric) -> Line:
    changes: list[Change] = []
    stretches: list[list[Point]] = [[]]
    before: Point | None = None
    for point in points:
        if not point.is_valid:
            continue  # it may be invalid because its state changed while it ran
        words = _changes(before.run, point.run, metric) if before else []
        if words:
            changes.append(Change(point.time, "; ".join(words)))
        if point.figure is None or words:
            stretches.append([])
        if point.figure is not None:
            stretches[-1].append(point)
        before = point
    return Line(*key, tuple(points), tuple(changes), tuple(tuple(one) for one in stretches if one))


def _changes(before: StoredRun, after: StoredRun, metric: Metric) -> list[str]:
    words = ["another bundle"] if before.facts.bundle_id != after.facts.bundle_id else []
    if metric.kind == "bundle":
        return words
    old, new = before.facts.state, after.facts.state
    for key in old.keys() & new.keys():
        if old[key] != new[key] and (key != ENERGY_OF or metric.kind == "energy"):
            words.append(f"{key} {old[key]} -> {new[key]}")
    return sorted(words)

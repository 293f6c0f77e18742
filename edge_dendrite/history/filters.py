"""Which runs of a history are meant, from the words of a command line to a condition with parameters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from edge_dendrite.errors import ConfigError
from edge_dendrite.history.facts import STATUSES


@dataclass(frozen=True)
class Filter:
    """None leaves a thing open. board and network: a part of the name, capitals or not; bundle: how its id begins.

    since, until: UTC, as read_day gives them; a run whose time is not known is in no span of time.
    """

    id: int | None = None
    board: str | None = None
    network: str | None = None
    role: str | None = None
    precision: str | None = None
    status: str | None = None
    bundle: str | None = None
    tag: str | None = None
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        """Raises ConfigError for a status that is none."""
        if self.status is not None and self.status not in STATUSES:
            raise ConfigError(f"--status {self.status!r}: give one of {', '.join(STATUSES)}")

    def condition(self) -> tuple[str, list[str | int]]:
        """An SQL condition on the table `runs` and its parameters."""
        # Words of users are parameters, never text of the statement.
        parts: tuple[tuple[str, str | int | None], ...] = (
            ("id = ?", self.id),
            ("instr(lower(board_name || ' ' || board_where), lower(?)) > 0", self.board),
            ("instr(lower(network), lower(?)) > 0", self.network),
            ("role = ?", self.role),
            ("precision = ?", self.precision),
            ("status = ?", self.status),
            ("instr(bundle_id, ?) = 1", self.bundle),
            ("id IN (SELECT run FROM tags WHERE tag = ?)", self.tag),
            ("started_at >= ?", self.since),
            ("started_at < ?", self.until),
        )
        given = [(sql, value) for sql, value in parts if value is not None]
        parameters = [_storable(value) if isinstance(value, str) else value for _, value in given]
        return " AND ".join(sql for sql, _ in given) or "1", parameters


def _storable(text: str) -> str:
    """Words of a command line may hold bytes that are no text; they are in no name."""
    return text.encode("utf-8", "replace").decode("utf-8")


def read_day(flag: str, text: str, *, is_end: bool = False) -> str:
    """A moment as a history keeps them: UTC to the second. A day as an end is the whole of it. Raises ConfigError."""
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        moment = moment.replace(tzinfo=moment.tzinfo or timezone.utc).astimezone(timezone.utc)
        if is_end:
            moment += timedelta(days=1) if len(text.strip()) == len("2026-08-21") else timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise ConfigError(f"{flag} {text!r}: write a day, 2026-08-21, or a time (UTC), 2026-08-21T10:00") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

"""A history: measurements in, runs out. Each change is a transaction: it is there whole, or nothing has happened."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

from edge_bench.atomic import canonical_json
from edge_bench.schema import MAX_BYTES
from edge_dendrite.errors import ConfigError, DataError
from edge_dendrite.history.database import explained, open_database, transaction
from edge_dendrite.history.facts import PARTIAL, Facts, Figure, read_facts
from edge_dendrite.history.filters import Filter
from edge_dendrite.history.schema import STEPS, Step
from edge_dendrite.history.stored import COLUMNS, StoredRun, read_figure, read_row, row_of
from edge_dendrite.report.format import clean_text

ADDED, KNOWN, COMPLETED = "added", "known", "completed"
_MAX_TAG, _MAX_NAME = 100, 100


class RefusedError(DataError):
    """This measurement cannot be kept; the history is as it was, and takes others."""


@dataclass(frozen=True)
class Added:
    """outcome: ADDED, KNOWN (nothing was done), or COMPLETED (the whole run replaces what a cut-off one had left)."""

    id: int
    outcome: str


class History:
    """One file of runs. Used as `with History.open(path) as history`."""

    def __init__(self, connection: sqlite3.Connection, path: Path):
        self.path = path
        self._connection = connection

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        create: bool = False,
        steps: Sequence[Step] = STEPS,
        notice: Callable[[str], None] = lambda _: None,
    ) -> History:
        """Open the file, brought up to date if it is older; `notice` is told about that. Raises DataError."""
        return cls(open_database(path, steps, create=create, notice=notice), path)

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All that is added inside is there at the end, or nothing of it."""
        with explained(self.path), transaction(self._connection):
            yield

    def add(self, measurement: Mapping[str, Any], *, board_name: str = "", tags: Iterable[str] = ()) -> Added:
        """Keep a measurement that `edge_bench.schema` accepted, once: known by its content, or by its run_id.

        Of a run that was cut off, the measurement with more samples stays. Raises RefusedError for another
        content under a run_id that is there and for what is too large, DataError where the file fails.
        """
        content = canonical_json(measurement)
        if len(content) > MAX_BYTES:
            raise RefusedError(f"larger than {MAX_BYTES:,} bytes as it would be kept; measure fewer samples")
        facts, sha256, packed = read_facts(measurement), hashlib.sha256(content).hexdigest(), zlib.compress(content)
        row = row_of(facts, sha256, _now(), clean_text(board_name, _MAX_NAME))
        cleaned = [clean_tag(tag) for tag in tags]
        is_inside = self._connection.in_transaction
        with explained(self.path), contextlib.nullcontext() if is_inside else transaction(self._connection):
            added = self._known(sha256, facts)
            # Names of tables and columns are ours; all that comes from outside is a parameter.
            marks = ", ".join("?" * len(row))
            if added is None:
                cursor = self._connection.execute(f"INSERT INTO runs ({COLUMNS}) VALUES ({marks})", row)
                added = Added(cursor.lastrowid or 0, ADDED)
            elif added.outcome == COMPLETED:
                self._connection.execute(f"UPDATE runs SET ({COLUMNS}) = ({marks}) WHERE id = ?", (*row, added.id))
                for table in ("figures", "measurements"):
                    self._connection.execute(f"DELETE FROM {table} WHERE run = ?", (added.id,))
            if added.outcome != KNOWN:
                figures = [(added.id, name, one.value, one.low, one.high) for name, one in facts.figures.items()]
                self._connection.executemany("INSERT INTO figures VALUES (?, ?, ?, ?, ?)", figures)
                self._connection.execute("INSERT INTO measurements VALUES (?, ?, ?)", (added.id, len(content), packed))
            for tag in cleaned:
                self._connection.execute("INSERT OR IGNORE INTO tags VALUES (?, ?)", (added.id, tag))
        return added

    def _known(self, sha256: str, facts: Facts) -> Added | None:
        row = self._connection.execute("SELECT id FROM runs WHERE sha256 = ?", (sha256,)).fetchone()
        if row is not None:
            return Added(row[0], KNOWN)
        question = "SELECT id, status, num_samples FROM runs WHERE run_id = ?"
        row = self._connection.execute(question, (facts.run_id,)).fetchone()
        if row is None:
            return None
        id_, status, num_samples = row
        if status == PARTIAL:
            is_more = facts.status != PARTIAL or facts.num_samples > num_samples
            return Added(id_, COMPLETED if is_more else KNOWN)
        if facts.status == PARTIAL:
            return Added(id_, KNOWN)
        raise RefusedError(
            f"another content under the run_id of run {id_}: one of the two was changed after it was measured; look at "
            f"`edge-dendrite history show {id_} --json`, and `history remove {id_}` if this file is the right one"
        )

    def count(self, which: Filter | None = None) -> int:
        """How many runs there are."""
        condition, parameters = (which or Filter()).condition()
        with explained(self.path):
            question = f"SELECT count(*) FROM runs WHERE {condition}"
            return int(self._connection.execute(question, parameters).fetchone()[0])

    def runs(self, which: Filter | None = None, *, limit: int | None = None) -> list[StoredRun]:
        """Runs, the latest first; those whose time is not known come last."""
        condition, parameters = (which or Filter()).condition()
        order = "ORDER BY started_at IS NULL, started_at DESC, id DESC LIMIT ?"
        parameters = [*parameters, -1 if limit is None else limit]
        inner = f"SELECT id FROM runs WHERE {condition} {order}"
        questions = (
            f"SELECT id, {COLUMNS} FROM runs WHERE {condition} {order}",
            f"SELECT run, metric, value, low, high FROM figures WHERE run IN ({inner})",
            f"SELECT run, tag FROM tags WHERE run IN ({inner}) ORDER BY tag",
        )
        with explained(self.path), transaction(self._connection, writes=False):  # one state for three questions
            rows, numbers, words = (self._connection.execute(one, parameters).fetchall() for one in questions)
        try:
            figures: dict[int, dict[str, Figure]] = {}
            for run, metric, *three in numbers:
                figures.setdefault(run, {})[clean_text(metric)] = read_figure(three)
            tags: dict[int, list[str]] = {}
            for run, tag in words:
                tags.setdefault(run, []).append(clean_text(tag))
            return [read_row(row, figures.get(row[0], {}), tags.get(row[0], [])) for row in rows]
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(str(error)) from error

    def run(self, id_: int) -> StoredRun:
        """One run. Raises DataError when there is none of this number."""
        found = self.runs(Filter(id=id_)) if abs(id_) < 1 << 62 else []
        if not found:
            raise DataError(f"{self.path}: no run {id_}; `edge-dendrite history list` shows those that are there")
        return found[0]

    def measurement(self, id_: int) -> bytes:
        """The measurement of a run as canonical JSON, which is how the agent writes its files. Raises DataError."""
        sha256 = self.run(id_).sha256
        with explained(self.path):
            row = self._connection.execute("SELECT content FROM measurements WHERE run = ?", (id_,)).fetchone()
        if row is None or not isinstance(row[0], bytes):
            raise self._damaged(f"run {id_} has no measurement")
        reader = zlib.decompressobj()
        try:
            content = reader.decompress(row[0], MAX_BYTES + 1)
        except zlib.error as error:
            raise self._damaged(f"run {id_}: {error}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise self._damaged(f"the measurement of run {id_} is not the one that was added")
        return content

    def remove(self, ids: Sequence[int]) -> None:
        """Forget runs, all of them or, where one is not there, none. Raises DataError."""
        for id_ in ids:
            self.run(id_)
        with explained(self.path), transaction(self._connection):
            self._connection.executemany("DELETE FROM runs WHERE id = ?", [(id_,) for id_ in ids])

    def tag(self, id_: int, text: str) -> None:
        """Give a run a tag; one that it has stays. Raises DataError, and ConfigError for a text that is none."""
        self.run(id_)
        with explained(self.path), transaction(self._connection):
            self._connection.execute("INSERT OR IGNORE INTO tags VALUES (?, ?)", (id_, clean_tag(text)))

    def untag(self, id_: int, text: str) -> None:
        """Take a tag away. Raises DataError where the run does not have it."""
        tag = clean_tag(text)
        if tag not in self.run(id_).tags:
            raise DataError(f"run {id_} has no tag {tag!r}")
        with explained(self.path), transaction(self._connection):
            self._connection.execute("DELETE FROM tags WHERE run = ? AND tag = ?", (id_, tag))

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self.path}: damaged: {clean_text(what)}; put back a copy of the file, or give another --db")


def clean_tag(text: str) -> str:
    """A tag on one line. Raises ConfigError for one without a letter, or too long."""
    tag = clean_text(text, _MAX_TAG + 1)
    if not 0 < len(tag) <= _MAX_TAG:
        raise ConfigError(f"tag {tag[:40]!r}: give 1 to {_MAX_TAG} characters")
    return tag


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

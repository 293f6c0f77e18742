"""One SQLite file: opened, told from others, brought to this version's tables; its errors in words.

The file has a rollback journal, not a write-ahead log: it is one file that can be copied, kept by a CI job and lie on
a network drive, while a log is a second one that belongs to it. Writers are few and write for milliseconds.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from edge_dendrite.errors import DataError
from edge_dendrite.history.schema import APPLICATION_ID, Step

# For another process to finish; Ctrl-C is heard afterwards.
_BUSY_S = 15.0
_BEGINNING = b"SQLite format 3\0"
_REMEDIES = (
    ("locked", "another program holds it; run the same command again when that one has ended"),
    ("disk is full", "make room and run the same command again; what was in it is still there"),
    ("disk i/o error", "look at the disk, its free space and quota, and run the same command again"),
    ("readonly", "give a place that you may write to, or change its permissions"),
    ("unable to open", "give a file in a folder that you may write to"),
    ("not a database", "it is not a history; give another --db. Nothing was changed"),
    ("malformed", "it is damaged; put back a copy (*.backup beside it, if there is one), or give another --db"),
)


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """What SQLite says, as a DataError with what to do."""
    try:
        yield
    except sqlite3.Error as error:
        remedy = next((words for sign, words in _REMEDIES if sign in str(error).lower()), None)
        raise DataError(f"{path}: {error}; {remedy or 'it may be damaged; give another --db, or a copy'}") from error
    except UnicodeDecodeError as error:  # of SQLite's own message, which quotes what it found in the file
        raise DataError(f"{path}: damaged; put back a copy of it, or give another --db") from error


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection, *, writes: bool = True) -> Iterator[None]:
    """All or nothing, however it ends. A writer waits for another one at its beginning, where nothing is lost."""
    connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def open_database(
    path: Path, steps: Sequence[Step], *, create: bool, notice: Callable[[str], None]
) -> sqlite3.Connection:
    """A connection to the history in `path`, whose tables are those of `steps`.

    create: make the file where there is none. An older file is brought up to date, with a copy of it beside. Raises
    DataError for a file of a newer version, and for one that is not a history: these are left as they are.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a file; give the file of a history with --db")
    if not create and not path.exists():
        raise DataError(f"{path}: no history there; `edge-dendrite history add FILE` begins one, --db names another")
    _check_beginning(path)
    if create:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with explained(path):
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
        connection = sqlite3.connect(uri, timeout=_BUSY_S, isolation_level=None, uri=True)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")  # a file may come from others
            connection.execute("PRAGMA synchronous = FULL")
            if _version(connection, path, len(steps), create) < len(steps):
                _migrate(connection, path, steps, create, notice)
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def _check_beginning(path: Path) -> None:
    """Refuse what is no SQLite file: of very small files SQLite itself takes some for empty, and replaces them."""
    if not path.exists() or path.with_name(f"{path.name}-journal").exists():  # a killed writer's is put right first
        return
    with path.open("rb") as stream:
        if stream.read(len(_BEGINNING)) not in (b"", _BEGINNING):
            raise DataError(f"{path}: not a history, nor any SQLite file; give another --db. Nothing was changed")


def _version(connection: sqlite3.Connection, path: Path, newest: int, create: bool) -> int:
    """The version of the tables; 0 for a file without content. Raises DataError for what cannot be used."""
    version, application_id = (_pragma(connection, name) for name in ("user_version", "application_id"))
    is_empty = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
    if is_empty and version == application_id == 0:
        if not create:
            raise DataError(f"{path}: an empty file; `edge-dendrite history add FILE` makes a history of it")
        return 0
    if application_id != APPLICATION_ID or version < 1:
        raise DataError(f"{path}: a SQLite file of another program, not a history; give another --db")
    if version > newest:
        raise DataError(
            f"{path}: a history of version {version}, and this edge-dendrite reads up to {newest}; update "
            "edge-dendrite, or give another --db"
        )
    return version


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _migrate(
    connection: sqlite3.Connection, path: Path, steps: Sequence[Step], create: bool, notice: Callable[[str], None]
) -> None:
    """The steps that are missing, in one transaction, after a copy of the file."""
    # Steps may rebuild a table that others refer to; what they leave is checked before it counts.
    connection.execute("PRAGMA foreign_keys = OFF")
    with transaction(connection):
        version = _version(connection, path, len(steps), create)  # another process may have been quicker
        if version == len(steps):
            return
        if version:
            copy = _back_up(path, version)
            notice(f"{path}: version {version} becomes {len(steps)}; the file as it was is kept as {copy}")
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise DataError(f"{path}: damaged: rows refer to runs that are not there; it stays as it is")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")


def _back_up(path: Path, version: int) -> Path:
    """A whole copy beside the file. The caller holds the write lock, so nothing changes meanwhile."""
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    copy = path.with_name(f"{path.name}.version-{version}-{moment}.backup")
    unfinished = path.with_name(f"{path.name}.writing")
    for leftover in (unfinished, path.with_name(f"{unfinished.name}-journal")):
        leftover.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(unfinished)) as target,
        ):
            answer = source.execute("PRAGMA quick_check").fetchone()[0]
            if answer != "ok":
                raise DataError(f"{path}: damaged ({answer}); put back a copy of it, or give another --db")
            source.backup(target)
        unfinished.replace(copy)
    finally:
        unfinished.unlink(missing_ok=True)
    return copy

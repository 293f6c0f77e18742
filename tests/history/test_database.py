"""The file itself: others' files stay untouched, older ones are migrated with a copy, nothing is lost by a crash."""

from __future__ import annotations

import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from edge_dendrite.errors import DataError
from edge_dendrite.history.gather import Found, add_files, find_files
from edge_dendrite.history.place import default_path
from edge_dendrite.history.schema import APPLICATION_ID, STEPS
from edge_dendrite.history.store import History

# What a later version might do: a table that is rebuilt while others refer to it, and a column.
LATER = (
    "ALTER TABLE runs ADD COLUMN note TEXT NOT NULL DEFAULT ''",
    "CREATE TABLE tags_new (run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE, tag TEXT NOT NULL, "
    "PRIMARY KEY (run, tag)) WITHOUT ROWID",
    "INSERT INTO tags_new SELECT run, upper(tag) FROM tags",
    "DROP TABLE tags",
    "ALTER TABLE tags_new RENAME TO tags",
)


def versions(path):
    with closing(sqlite3.connect(path)) as connection:
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")]


def test_a_new_file_says_what_it_is(history, path):
    assert versions(path) == [APPLICATION_ID, len(STEPS)]
    assert history._connection.execute("PRAGMA journal_mode").fetchone()[0] == "delete"
    assert history._connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def test_damage_that_sqlite_cannot_even_quote_is_told(path):
    """Its message repeats the name of a table, which is no text here."""
    with History.open(path, create=True):
        pass
    path.write_bytes(path.read_bytes().replace(b"tagstags", b"tag\xf9ta\xf9s"))
    with pytest.raises(DataError, match="damaged|malformed"), History.open(path) as history:
        history.runs()


def foreign_text(path):
    path.write_text("dear diary\n" * 200)


def foreign_bytes(path):
    path.write_bytes(b"\x7f")


def foreign_database(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
        connection.commit()


def other_application(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")
        connection.execute("PRAGMA user_version = 1")


def newer_version(path):
    with History.open(path, create=True) as history:
        history._connection.execute("PRAGMA user_version = 9")


def cut_off(path):
    with History.open(path, create=True):
        pass
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (foreign_text, "not a history, nor any SQLite file"),
        (foreign_bytes, "not a history, nor any SQLite file"),
        (foreign_database, "of another program"),
        (other_application, "of another program"),
        (newer_version, "version 9, and this edge-dendrite reads up to 2; update"),
        (cut_off, "malformed"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_what_is_not_ours_is_refused_and_stays(path, measurement, spoil, message, create):
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=message), History.open(path, create=create) as history:
        history.add(measurement())
    assert path.read_bytes() == before


def test_no_file_and_no_place(tmp_path, path):
    with pytest.raises(DataError, match="history add FILE"):
        History.open(path)
    assert not path.exists()
    with pytest.raises(DataError, match="not a file"):
        History.open(tmp_path, create=True)
    path.touch()
    with pytest.raises(DataError, match="an empty file"):
        History.open(path)
    with History.open(path, create=True) as history:
        assert history.count() == 0
    odd = tmp_path / "a%20b?mode=memory#c\nd" / "h.sqlite"
    with History.open(odd, create=True):
        assert odd.is_file()


def test_where_it_is_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_DENDRITE_HISTORY", "~/lab.sqlite")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / "lab.sqlite"
    monkeypatch.setenv("EDGE_DENDRITE_HISTORY", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_path() == tmp_path / "data" / "edge-dendrite" / "history.sqlite"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_path() == tmp_path / ".local" / "share" / "edge-dendrite" / "history.sqlite"


def test_an_older_file_is_migrated_and_kept_as_it_was(path, measurement):
    with History.open(path, create=True) as history:
        history.add(measurement(), tags=["a", "b"])
    before, said = path.read_bytes(), []
    with History.open(path, steps=(*STEPS, LATER), notice=said.append) as history:
        assert history.run(1).tags == ("A", "B")
        assert history._connection.execute("SELECT note FROM runs").fetchone() == ("",)
        history.remove([1])
        assert history._connection.execute("SELECT count(*) FROM tags").fetchone() == (0,)
    assert versions(path) == [APPLICATION_ID, len(STEPS) + 1]
    (copy,) = path.parent.glob("*.backup")
    assert str(copy) in said[0]
    with History.open(copy) as old:  # a whole history of its own
        assert old.run(1).tags == ("a", "b")
    assert len(copy.read_bytes()) == len(before)
    with pytest.raises(DataError, match="version 3, and this edge-dendrite reads up to 2"):
        History.open(path)
    with History.open(path, steps=(*STEPS, LATER), notice=said.append):
        assert len(said) == 1


def test_figures_of_the_first_version_get_the_names_of_compare(path, measurement):
    with History.open(path, create=True, steps=STEPS[:1]) as history:
        history.add(measurement())
        with history._connection as connection:
            for old, new in (("median", "latency"), ("bytes", "size")):
                connection.execute("UPDATE figures SET metric = ? WHERE metric = ?", (old, new))
    with History.open(path) as history:
        figures = history.run(1).facts.figures
    assert {"latency", "size", "p99"} <= figures.keys()
    assert not {"median", "bytes"} & figures.keys()


@pytest.mark.parametrize("last", ["CREATE TABLE runs (id INTEGER)", "INSERT INTO tags VALUES (99, 'of no run')"])
def test_a_migration_that_fails_changes_nothing(path, measurement, last):
    with History.open(path, create=True) as history:
        history.add(measurement(), tags=["a"])
    with pytest.raises(DataError):
        History.open(path, steps=(*STEPS, (*LATER, last)))
    assert versions(path) == [APPLICATION_ID, len(STEPS)]
    with History.open(path) as history:
        assert history.run(1).tags == ("a",)


def test_a_damaged_file_is_not_migrated(path, measurement):
    with History.open(path, create=True) as history:
        for day in range(1, 29):
            history.add(measurement(f"2026-08-{day:02d}T09:00:00Z"))
    content = bytearray(path.read_bytes())
    content[6 * 4096 : 12 * 4096] = b"\xff" * 6 * 4096
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged|malformed"):
        History.open(path, steps=(*STEPS, LATER))
    assert path.read_bytes() == content
    assert not list(path.parent.glob("*.backup"))


ADD_MANY = """
import json, sys
from pathlib import Path
from edge_dendrite.history.store import History
base = json.loads(Path(sys.argv[2]).read_text())
for number in range(int(sys.argv[4])):
    with History.open(Path(sys.argv[1]), create=True) as history:
        history.add(base | {"run_id": f"{sys.argv[3]}-{number}"})
    print(number, flush=True)
"""


def test_two_writers_at_once_lose_nothing(path, data):
    """Both also find no file at first, and make it."""
    command = [sys.executable, "-c", ADD_MANY, str(path), str(data[-1])]
    writers = [
        subprocess.Popen([*command, name, "12"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    assert [writer.communicate(timeout=120)[1] for writer in writers] == ["", ""]
    with History.open(path) as history:
        assert {run.facts.run_id for run in history.runs()} == {
            f"{name}-{number}" for name in "ab" for number in range(12)
        }


def test_a_killed_writer_leaves_whole_runs(path, data):
    command = [sys.executable, "-c", ADD_MANY, str(path), str(data[-1]), "a", "10000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        for _ in range(5):
            writer.stdout.readline()
        time.sleep(0.05)  # in the middle of anything
        writer.send_signal(signal.SIGKILL)
        told = 5 + len(writer.stdout.readlines())
    with History.open(path) as history:
        runs = history.runs()
        assert len(runs) >= told
        assert all(history.measurement(run.id) for run in runs)
        assert history._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_full_disk_loses_nothing_that_was_there(path, data, tmp_path, measurement):
    from edge_bench.atomic import write_json

    with History.open(path, create=True) as history:
        history.add(measurement())
    files = []
    for day in range(1, 20):
        files.append(tmp_path / f"{day}.json")
        write_json(str(files[-1]), measurement(f"2026-07-{day:02d}T09:00:00Z", num_samples=3000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100_000, limits[1]))
    try:
        with pytest.raises(DataError, match="what to do|free space|make room"), History.open(path) as history:
            for file in files:
                add_files(history, [Found(file)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with History.open(path) as history:
        kept = history.count()
        assert 1 < kept < 20
        assert all(history.measurement(run.id) for run in history.runs())
        assert history._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        gathered = add_files(history, [Found(file) for file in files])  # the same files again, with room
        assert {one.added.outcome for one in gathered} == {"added", "known"}
        assert history.count() == 20


def test_an_interrupt_keeps_what_was_finished(path, tmp_path, measurement, monkeypatch):
    from edge_bench.atomic import write_json
    from edge_dendrite.history import gather

    monkeypatch.setattr(gather, "_MAX_BATCH", 2)
    files = []
    for day in range(1, 8):
        files.append(tmp_path / f"{day}.json")
        write_json(str(files[-1]), measurement(f"2026-07-{day:02d}T09:00:00Z"))

    def interrupt(description, done, total):
        if done == 5:
            raise KeyboardInterrupt

    with History.open(path, create=True) as history:
        with pytest.raises(KeyboardInterrupt):
            add_files(history, [Found(file) for file in files], progress=interrupt)
        assert history.count() == 4
        assert len(add_files(history, [Found(file) for file in files])) == 7
        assert history.count() == 7


def test_folders_are_read_as_a_report_reads_them(tmp_path):
    for name in ("orin/a.json", "orin/b.json", "pi/a.json", "fleet.json"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).touch()
    found = find_files([tmp_path / "m", tmp_path / "m" / "pi", tmp_path / "gone.json"])
    assert [(str(one.path.relative_to(tmp_path)), one.board_name) for one in found] == [
        ("m/orin/a.json", "orin"),
        ("m/orin/b.json", "orin"),
        ("m/pi/a.json", ""),
        ("gone.json", ""),
    ]

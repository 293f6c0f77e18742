"""The store itself, in this process: several deploys in one folder, in orders that no timing gives on purpose."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from edge_dendrite.ship.on_board.channel import Channel
from edge_dendrite.ship.on_board.files import STALE_S, lock
from edge_dendrite.ship.on_board.store import Store

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILES = [["model.onnx", SHA256, len(CONTENT)]]
LONG_AGO = (0, os.stat(__file__).st_mtime - 100 * STALE_S)


@pytest.fixture
def opened(tmp_path):
    """A function that gives a store as another deploy has it, all in one folder."""
    stores = []

    def make() -> Store:
        store = Store(Channel(f"token{len(stores)}"))
        store.open({"remote_dir": str(tmp_path / "there"), "files": []})
        stores.append(store)
        return store

    yield make
    for store in stores:
        store.bundles.release()


def look(store: Store, bundle: str) -> dict:
    return store.look({"bundle": bundle, "files": FILES})


def install(store: Store, bundle: str, keep: int = 10) -> None:
    store.install({"bundle": bundle, "files": FILES, "keep": keep})


def end(store: Store, *bundles: str, clean: bool = True) -> None:
    store.end({"clean": clean, "bundles": bundles, "agent": "0", "parts": []})


def give_object(store: Store) -> Path:
    path = Path(store.place("objects", SHA256))
    path.write_bytes(CONTENT)
    return path


def test_objects_that_a_deploy_counts_on_outlive_the_clean_of_another(opened):
    first, second = opened(), opened()
    give_object(second)
    assert look(second, "b" * 64)["missing"] == []
    install(second, "b" * 64)
    assert look(first, "a" * 64)["missing"] == []
    end(second, "b" * 64)
    install(first, "a" * 64)
    assert Path(first.place("bundles", "a" * 64, "model.onnx")).read_bytes() == CONTENT
    end(first, "a" * 64)
    assert not Path(first.folder, "objects").exists(), "the last one takes them away"


def test_old_objects_that_a_deploy_counts_on_outlive_the_sweep_of_another(opened):
    first = opened()
    path = give_object(first)
    os.utime(path, LONG_AGO)
    assert look(first, "a" * 64)["missing"] == []
    opened()
    install(first, "a" * 64)
    assert Path(first.place("bundles", "a" * 64, "model.onnx")).read_bytes() == CONTENT


def test_old_objects_that_nobody_counts_on_go(opened):
    path = give_object(opened())
    os.utime(path, LONG_AGO)
    opened()
    assert not path.exists()


def test_an_old_part_that_is_being_written_stays(opened):
    store = opened()
    written, left = Path(store.place("parts", "a")), Path(store.place("parts", "b"))
    for path in (written, left):
        path.write_bytes(b"x")
        os.utime(path, LONG_AGO)
    held = lock(str(written), fcntl.LOCK_EX)
    opened()
    assert (written.exists(), left.exists()) == (True, False)
    os.close(held)


def test_a_lock_is_of_what_has_the_name_now(tmp_path, monkeypatch):
    path, flock = tmp_path / "file", fcntl.flock
    path.touch()

    def replaced_meanwhile(descriptor: int, how: int) -> None:
        (tmp_path / "new").touch()
        os.rename(tmp_path / "new", path)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", replaced_meanwhile)
    assert lock(str(path), fcntl.LOCK_EX) is None

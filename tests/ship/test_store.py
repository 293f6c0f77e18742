"""The store itself, in this process: several deploys in one folder, in orders that no timing gives on purpose."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from edge_dendrite.ship.on_board.channel import Channel
from edge_dendrite.ship.on_board.files import STALE_S, lock, remove_unused
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


def test_a_folder_loses_its_name_before_its_files(tmp_path, monkeypatch):
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "file").touch()
    monkeypatch.setattr(shutil, "rmtree", lambda folder, ignore_errors: None)  # the power fails
    assert remove_unused(str(path))
    assert [left.name[:5] for left in tmp_path.iterdir()] == [".old-"]


def test_what_was_being_removed_goes_with_the_next_deploy(opened):
    store = opened()
    for folder in ("bundles", "runs"):
        Path(store.place(folder, ".old-1")).mkdir()
    of_one_that_lives = ".new-" + os.path.basename(store.run)
    for name in (of_one_that_lives, ".new-1"):
        Path(store.place("bundles", name)).mkdir()
    other = opened()
    assert os.listdir(store.place("bundles")) == [of_one_that_lives]
    assert sorted(os.listdir(store.place("runs"))) == sorted([os.path.basename(store.run), os.path.basename(other.run)])


def test_names_that_others_remove_meanwhile_are_passed_over(opened, monkeypatch):
    store, listdir = opened(), os.listdir
    give_object(store)
    look(store, "a" * 64)
    install(store, "a" * 64)
    monkeypatch.setattr(os, "listdir", lambda folder: [*listdir(folder), "gone", "edge-bench-gone.pyz"])
    other = opened()
    other.bundles._drop_old(0)
    look(other, "a" * 64)
    install(other, "a" * 64, keep=0)
    end(other, "a" * 64, "c" * 64)
    assert Path(store.place("bundles", "a" * 64, "model.onnx")).exists()


def test_an_error_of_the_disk_is_said_as_it_is(opened, monkeypatch):
    store, rename = opened(), os.rename
    give_object(store)
    look(store, "a" * 64)

    def full(source: str, target: str) -> None:
        if os.path.basename(source).startswith(".new-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        install(store, "a" * 64)


def test_the_log_of_a_build_is_of_the_one_that_began_last(opened, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    elsewhere, logs = (Path(place, "edge-bench", "engines", "logs") for place in (tmp_path, tmp_path / "home/.cache"))
    for folder in (elsewhere, logs):
        folder.mkdir(parents=True)
    store = opened()
    earlier = logs / "earlier.log"
    earlier.touch()
    os.utime(earlier, (0, earlier.stat().st_mtime - 10))
    (elsewhere / "not-of-the-cache.log").touch()
    store.begin_build({})
    assert store._newest_log() == ""
    (logs / "this.log").touch()
    assert store._newest_log() == str(logs / "this.log")

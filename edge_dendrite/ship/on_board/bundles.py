"""Whole bundles on a board: folders that appear by one rename, made of links to files that are kept by content."""

import errno
import fcntl
import os
import shutil
import time
from typing import Any, Callable, Dict, List, Optional

from edge_dendrite.ship.on_board.files import (
    OLD,
    PLAIN,
    Refused,
    hash_file,
    is_old,
    lock,
    names_in,
    remove_unused,
    status_of,
    unlink,
)

NEW = ".new-"  # names of folders that are being made begin so; the rest is the token of their deploy
Files = List[List[Any]]  # of each name, sha256, size


class Bundles:
    """The folders of objects and of bundles. Bundles that this deploy uses are held, so that no other removes them."""

    def __init__(self, folder: str, token: str):
        self.folder, self.token = folder, token
        self.held: Dict[str, int] = {}
        self.kept_objects: Optional[int] = None

    def place(self, *parts: str) -> str:
        return os.path.join(self.folder, *parts)

    def is_whole(self, bundle: str, files: Files) -> bool:
        """Whether a bundle is in place with these files and no others, each of its hash."""
        folder = self.place("bundles", bundle)
        if not os.path.isdir(folder) or os.path.islink(folder):
            return False
        found = set()
        for parent, folders, names in os.walk(folder):
            if any(os.path.islink(os.path.join(parent, name)) for name in folders):
                return False
            found |= {os.path.relpath(os.path.join(parent, name), folder) for name in names}
        if found != {name for name, _, _ in files}:
            return False
        return all(hash_file(os.path.join(folder, name), size) == sha256 for name, sha256, size in files)

    def sweep(self) -> None:
        """Remove what deploys that were cut off have left of bundles, and old objects that no bundle has."""
        for name in names_in(self.place("bundles")):
            path = self.place("bundles", name)
            if name.startswith(OLD):
                remove_unused(path)
            # While a deploy lives its folder in runs is there, before it makes anything and after.
            elif name.startswith(NEW) and not os.path.lexists(self.place("runs", name[len(NEW) :])):
                shutil.rmtree(path, ignore_errors=True)
        self._remove_objects(lambda path, status: is_old(path))

    def use(self, bundle: str) -> None:
        """Keep others from removing it; of those that stay it is the last that was used."""
        self.hold(self.place("bundles", bundle))
        os.utime(self.place("bundles", bundle))

    def hold(self, path: str) -> None:
        """Keep other deploys from removing a folder until this one ends."""
        if path not in self.held:
            descriptor = lock(path, fcntl.LOCK_SH)
            if descriptor is None:
                raise Refused("%s is being removed by another deploy; run this again" % path)
            self.held[path] = descriptor

    def keep_objects(self) -> None:
        """Keep other deploys from removing objects, until `let_objects_go`; those that do so now are soon done."""
        if self.kept_objects is None:
            self.kept_objects = os.open(self.place("objects"), os.O_RDONLY | PLAIN)
            fcntl.flock(self.kept_objects, fcntl.LOCK_SH)

    def let_objects_go(self) -> None:
        if self.kept_objects is not None:
            os.close(self.kept_objects)
            self.kept_objects = None

    def install(self, bundle: str, files: Files, keep: int) -> None:
        """Build the folder of the bundle beside its place, check all of it there, and rename it into place."""
        final, made = self.place("bundles", bundle), self.place("bundles", NEW + self.token)
        os.mkdir(made, 0o700)
        try:
            for name, sha256, size in files:
                path = os.path.join(made, name)
                os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
                self._link(self.place("objects", sha256), path)
                if hash_file(path, size) != sha256:
                    raise Refused("%s was damaged on the board while it was installed; run this again" % name)
            self._put_in_place(made, final, bundle, files)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        self.use(bundle)
        self.let_objects_go()
        self._drop_old(keep)

    @staticmethod
    def _link(source: str, path: str) -> None:
        try:
            os.link(source, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS):
                raise
            shutil.copyfile(source, path)  # a file system without links

    def _put_in_place(self, made: str, final: str, bundle: str, files: Files) -> None:
        for _ in range(10):
            try:
                os.rename(made, final)
                return
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                    raise
                if self.is_whole(bundle, files):  # another deploy was faster
                    return
            old = self.place("bundles", "%s%s-%d" % (OLD, self.token, time.time() * 1e6))
            try:
                os.rename(final, old)  # damaged, or no folder at all
            except FileNotFoundError:
                continue  # another deploy removed it
            if os.path.isdir(old) and not os.path.islink(old):
                shutil.rmtree(old, ignore_errors=True)
            else:
                unlink(old)
        raise Refused("others keep writing %s; run this again" % final)

    def _drop_old(self, keep: int) -> None:
        """Of the bundles that no deploy uses now, those beyond the last `keep` go, and the objects only they had."""
        found = []
        for name in names_in(self.place("bundles")):
            status = status_of(self.place("bundles", name))
            if status is not None and not name.startswith("."):
                found.append((status.st_mtime, name))
        for _, name in sorted(found, reverse=True)[keep:]:
            self.drop(name)

    def drop(self, bundle: str) -> None:
        """Remove a bundle that no deploy uses, and the objects that only it had."""
        objects = set()
        for parent, _, names in os.walk(self.place("bundles", bundle)):
            for name in names:
                status = status_of(os.path.join(parent, name))
                if status is not None:
                    objects.add(status.st_ino)
        if remove_unused(self.place("bundles", bundle)):
            self._remove_objects(lambda path, status: status.st_ino in objects)

    def _remove_objects(self, is_meant: Callable[[str, os.stat_result], bool]) -> None:
        """Remove objects that no bundle has, unless another deploy counts on objects now: then a later one does it."""
        held = lock(self.place("objects"), fcntl.LOCK_EX)
        if held is None:
            return
        for name in names_in(self.place("objects")):
            path = self.place("objects", name)
            status = status_of(path)
            if status is not None and status.st_nlink == 1 and is_meant(path, status):
                unlink(path)
        os.close(held)

    def release(self) -> None:
        """Hold nothing any more."""
        self.let_objects_go()
        for descriptor in self.held.values():
            os.close(descriptor)
        self.held.clear()

"""Folders in which engines are made, `.building-*`: gone at the end of the build, or at the next one after a kill.

Each is locked by the build that works in it (flock, which ends with the process however it ends, and holds across
containers). It gets its name only once it is locked, so a folder of this name that can be locked is nobody's.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from typing import Iterator

_BUILDING, _NEW = ".building-", ".new-"
# What has no lock of its own may be in use: for so long.
_STALE_S = 2 * 86400.0


@contextlib.contextmanager
def work_folder(parent: str) -> Iterator[str]:
    """A new folder in `parent`, which is made too; what is left in it goes at the end. Raises OSError."""
    os.makedirs(parent, exist_ok=True)
    _sweep(parent)
    path = tempfile.mkdtemp(prefix=_NEW, dir=parent)
    lock = None
    try:
        lock = os.open(path, os.O_RDONLY)
        _try_lock(lock)
        named = os.path.join(parent, _BUILDING + os.path.basename(path)[len(_NEW) :])
        os.rename(path, named)
        path = named
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _sweep(parent: str) -> None:
    """Take away what killed builds left."""
    for name in os.listdir(parent):
        path = os.path.join(parent, name)
        with contextlib.suppress(OSError):  # another build took it away just now, or it is another user's
            if not name.startswith((_BUILDING, _NEW, ".old-")):
                continue
            is_stale = time.time() - os.path.getmtime(path) > _STALE_S
            if is_stale or (name.startswith(_BUILDING) and _is_abandoned(path)):
                shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        return _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """Whether it could be locked; some network file systems lock no folders."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

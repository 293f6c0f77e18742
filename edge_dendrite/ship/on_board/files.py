"""Files on a board as the programs here see them: hashes, locks, and names under any locale."""

import fcntl
import hashlib
import os
import shutil
import stat
import time
from typing import Any, List, Optional

CHUNK = 1 << 18
STALE_S = 7 * 86400.0
OLD = ".old-"  # names of folders that are being removed begin so
PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo must not keep us waiting, a link not lead us away


class Refused(Exception):
    """Cannot be done here; the message is for the user."""


def native(text: str) -> str:
    """A path as this Python has it: under a C locale Python 3.6 takes names for ASCII."""
    return os.fsdecode(text.encode("utf-8"))


def user_cache() -> str:
    """The folder of the user's caches (XDG Base Directory Specification; a relative one is to be ignored)."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return cache if os.path.isabs(cache) else os.path.join(os.path.expanduser("~"), ".cache")


def portable(path: str) -> str:
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("the name of the folder %r is not UTF-8; give another with --remote-dir" % path) from None


def open_plain(path: str) -> Any:
    """A stream of a plain file; None where there is none, or something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | PLAIN)
    except OSError:
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    return None


def hash_file(path: str, limit: int) -> Optional[str]:
    """sha256 of a plain file of at most so many bytes; None where there is no such file."""
    stream = open_plain(path)
    if stream is None:
        return None
    with stream:
        is_larger = os.fstat(stream.fileno()).st_size > limit
        return None if is_larger else hash_stream(stream).hexdigest()


def is_good(path: str, sha256: str, size: int) -> bool:
    """Whether a whole file is there; one that is damaged goes."""
    if not os.path.lexists(path):
        return False
    if hash_file(path, size) == sha256:
        return True
    if os.path.isdir(path) and not os.path.islink(path):
        raise Refused("%s is a folder; remove it" % path)
    unlink(path)
    return False


def names_in(folder: str) -> List[str]:
    """What is in a folder; nothing where another deploy has just removed it."""
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def status_of(path: str) -> Optional[os.stat_result]:
    """Of the name itself; None where another deploy has just removed it."""
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def unlink(path: str) -> None:
    """Remove a file that another deploy may remove too."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def hash_stream(stream: Any) -> Any:
    digest = hashlib.sha256()
    for data in iter(lambda: stream.read(CHUNK), b""):
        digest.update(data)
    return digest


def lock(path: str, how: int) -> Optional[int]:
    """A descriptor that holds the lock of a file or folder; None when others hold it, or nothing is there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | PLAIN)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        # Whoever held it may have removed it, or put another in its place.
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def remove_unused(path: str) -> bool:
    """Remove a folder, or a file, that nobody holds. A folder loses its name first: no half of one ever has it."""
    held = lock(path, fcntl.LOCK_EX)
    if held is None:
        return False
    if stat.S_ISDIR(os.fstat(held).st_mode):
        parent = os.path.dirname(path)
        old = os.path.join(parent, "%s%d-%d" % (OLD, os.getpid(), time.time() * 1e6))
        os.rename(path, old)
        shutil.rmtree(old, ignore_errors=True)
    else:
        unlink(path)
    os.close(held)
    return True


def is_old(path: str) -> bool:
    try:
        return time.time() - os.lstat(path).st_mtime > STALE_S
    except OSError:
        return False


def free_bytes(path: str) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize

"""Which folder of a board is used: the one that was asked for, or the first that can be written and has room."""

import os
import stat
from typing import Dict, Iterator, List, Tuple

from edge_dendrite.ship.on_board.files import Refused, free_bytes, native, user_cache

MARGIN_BYTES = 8 << 20  # for the agent, the measurement and temporary files


def make_folders(path: str) -> List[str]:
    """Make a folder and those above it, for this user alone; returns what was made, the innermost first."""
    missing, parent = [], path
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    os.makedirs(path, 0o700, exist_ok=True)
    return missing


def check_owner(path: str, is_shared: bool) -> None:
    """Refuse a folder in which others could replace the agent after its hash was checked."""
    status = os.lstat(path) if is_shared else os.stat(path)  # where all may write, a link is anybody's
    if not stat.S_ISDIR(status.st_mode):
        raise Refused("it is there and not a folder")
    if status.st_uid != os.getuid():
        raise Refused("the folder belongs to another user, who could change what runs here; make one of your own")
    if status.st_mode & (0o077 if is_shared else 0o022):
        raise Refused("other users may write to the folder, and change what runs here; run chmod go-w on it")


class Places:
    """Where a folder can be. `files` are the sizes of what is to come, by hash."""

    def __init__(self, asked: str, files: Dict[str, int]):
        self.files = files
        self.asked = native(asked)

    def choose(self) -> str:
        if self.asked:
            path = os.path.abspath(os.path.expanduser(self.asked))
            try:
                return self._claim(path, False)
            except (OSError, Refused) as error:
                raise Refused(
                    "%s: %s; give another --remote-dir, or leave it out and a place is looked for"
                    % (path, getattr(error, "strerror", None) or error)
                ) from None
        reasons = []
        for path, is_shared in self._candidates():
            try:
                return self._claim(path, is_shared)
            except (OSError, Refused) as error:
                reasons.append("%s: %s" % (path, getattr(error, "strerror", None) or error))
        raise Refused("no folder to write to (%s); make room, or give one with --remote-dir" % "; ".join(reasons))

    def _candidates(self) -> Iterator[Tuple[str, bool]]:
        yield os.path.join(user_cache(), "edge-dendrite"), False
        for parent in ("/var/tmp", os.environ.get("TMPDIR", ""), "/tmp", "/dev/shm"):
            if os.path.isabs(parent) and os.path.isdir(parent):
                yield os.path.join(parent, "edge-dendrite-%d" % os.getuid()), True

    def _claim(self, path: str, is_shared: bool) -> str:
        made = make_folders(path)
        try:
            check_owner(path, is_shared)
            path = os.path.realpath(path)
            self._check_room(path)
        except (OSError, Refused):
            for folder in made:
                try:
                    os.rmdir(folder)
                except OSError:  # another deploy uses it
                    break
            raise
        return path

    def _check_room(self, path: str) -> None:
        probe = os.path.join(path, ".probe-%d" % os.getpid())
        try:
            with open(probe, "wb") as stream:
                stream.write(b"x")
        finally:
            if os.path.lexists(probe):
                os.unlink(probe)
        missing = sum(self._missing_bytes(path, sha256, size) for sha256, size in self.files.items())
        free = free_bytes(path)
        if missing and free < missing + MARGIN_BYTES:
            raise Refused(
                "%.1f MB are to be copied (and %d MB to run), %.1f MB are free"
                % (missing / 1e6, MARGIN_BYTES / 1e6, free / 1e6)
            )

    @staticmethod
    def _missing_bytes(path: str, sha256: str, size: int) -> int:
        for folder in ("objects", "parts"):
            try:
                return max(0, size - os.lstat(os.path.join(path, folder, sha256)).st_size)
            except OSError:
                continue
        return size

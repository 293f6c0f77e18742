"""Which folder of a board is used: the one that was asked for, or the first that can be written and has room."""

import os
import stat
from typing import Dict, Iterator, Tuple

from edge_dendrite.ship.on_board.files import Refused, free_bytes, native

MARGIN_BYTES = 8 << 20  # for the agent, the measurement and temporary files


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
        cache = os.environ.get("XDG_CACHE_HOME", "")
        cache = cache if os.path.isabs(cache) else os.path.join(os.path.expanduser("~"), ".cache")
        yield os.path.join(cache, "edge-dendrite"), False
        for parent in ("/var/tmp", os.environ.get("TMPDIR", ""), "/tmp", "/dev/shm"):
            if os.path.isabs(parent) and os.path.isdir(parent):
                yield os.path.join(parent, "edge-dendrite-%d" % os.getuid()), True

    def _claim(self, path: str, is_shared: bool) -> str:
        os.makedirs(path, 0o700, exist_ok=True)
        status = os.lstat(path)
        if is_shared and (status.st_uid != os.getuid() or status.st_mode & 0o077 or not stat.S_ISDIR(status.st_mode)):
            raise Refused("it is there and not a folder of this user alone")
        path = os.path.realpath(path)
        probe = os.path.join(path, ".probe-%d" % os.getpid())
        with open(probe, "wb") as stream:
            stream.write(b"x")
        os.unlink(probe)
        missing = sum(self._missing_bytes(path, sha256, size) for sha256, size in self.files.items())
        free = free_bytes(path)
        if missing and free < missing + MARGIN_BYTES:
            raise Refused(
                "%.1f MB are to be copied (and %d MB to run), %.1f MB are free"
                % (missing / 1e6, MARGIN_BYTES / 1e6, free / 1e6)
            )
        return path

    @staticmethod
    def _missing_bytes(path: str, sha256: str, size: int) -> int:
        for folder in ("objects", "parts"):
            try:
                return max(0, size - os.lstat(os.path.join(path, folder, sha256)).st_size)
            except OSError:
                continue
        return size

"""Files that come to a board: whole and of the right hash, or kept as a part that a later deploy continues."""

import errno
import fcntl
import hashlib
import os
import stat
import time
from typing import Any, Dict

from edge_dendrite.ship.on_board.channel import Channel
from edge_dendrite.ship.on_board.files import CHUNK, PLAIN, Refused, hash_stream, is_good


class Incoming:
    """The folder of parts, each written by the one deploy that holds its lock."""

    def __init__(self, folder: str, channel: Channel):
        self.folder, self.channel = folder, channel

    def path(self, sha256: str) -> str:
        return os.path.join(self.folder, sha256)

    def num_bytes(self, sha256: str, size: int) -> int:
        """How much of a file is there."""
        try:
            status = os.lstat(self.path(sha256))
        except OSError:
            return 0
        return min(status.st_size, size) if stat.S_ISREG(status.st_mode) else 0

    def take(self, sha256: str, size: int, final: str) -> Dict[str, Any]:
        """Take a file in: say what is there of it, take the rest, and give it its name when the whole has its hash."""
        part = self.path(sha256)
        with self._locked_part(part) as stream:
            if is_good(final, sha256, size):  # another deploy brought it while we waited
                os.unlink(part)
                return {"done": True}
            if os.fstat(stream.fileno()).st_size > size:
                stream.truncate(0)
            digest = hash_stream(stream)
            have = stream.tell()
            self.channel.answer({"done": False, "have": have, "sha256": digest.hexdigest()})
            start = self.channel.request()["from"]
            if start != have:
                stream.seek(0)
                stream.truncate(0)
                digest = hashlib.sha256()
            self._take(stream, digest, size - (have if start == have else 0))
            if digest.hexdigest() != sha256:
                stream.truncate(0)
                return {"done": False, "sha256": digest.hexdigest()}
            os.fchmod(stream.fileno(), 0o400)
            os.rename(part, final)
        return {"done": True}

    def _locked_part(self, part: str) -> Any:
        told = time.time()
        while True:
            stream = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | PLAIN, 0o600), "r+b", 0)
            try:
                fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                    raise Refused("%s is not a plain file; remove it" % part)
                # Whoever held it may have given it its last name, or removed it.
                if os.path.lexists(part) and os.path.samestat(os.fstat(stream.fileno()), os.lstat(part)):
                    return stream
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.time() - told > 1.0:
                    self.channel.answer({"waiting": True})
                    told = time.time()
                time.sleep(0.1)
            stream.close()

    def _take(self, stream: Any, digest: Any, num_bytes: int) -> None:
        while num_bytes:
            data = self.channel.read(min(CHUNK, num_bytes))
            digest.update(data)
            view = memoryview(data)
            while view:
                view = view[stream.write(view) :]
            num_bytes -= len(data)

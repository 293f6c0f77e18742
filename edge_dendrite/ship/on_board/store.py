"""Keeps what was deployed on a board, by content; runs there, as text on the standard input of its Python.

A line of JSON is a request, a line `TOKEN {...}` the answer; bytes of files follow both ways where the lines say so. An
error is answered once and ends the program, as does the end of its input: what arrived by then stays and is used.

    FOLDER/edge-bench-SHA256.pyz   agents
    FOLDER/objects/SHA256          files of bundles, whole and checked
    FOLDER/parts/SHA256            files that are still coming; locked by the one deploy that writes them
    FOLDER/bundles/ID/             whole bundles, of links to the objects; locked (shared) by the deploys that use them
    FOLDER/runs/TOKEN/             of one deploy: its measurement, its temporary files; locked while it lives
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import sys
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

CHUNK = 1 << 18
MAX_REQUEST_BYTES = 8 << 20
MARGIN_BYTES = 8 << 20  # for the agent, the measurement and temporary files
STALE_S = 7 * 86400.0
MAX_AGENTS = 3
PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo must not keep us waiting, a link not lead us away
PARTS = ("objects", "parts", "bundles", "runs")


class Refused(Exception):
    """Cannot be done here; the message is for the user."""


def native(text: str) -> str:
    """A path as this Python has it: under a C locale Python 3.6 takes names for ASCII."""
    return os.fsdecode(text.encode("utf-8"))


def portable(path: str) -> str:
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("the name of the folder %r is not UTF-8; give another with --remote-dir" % path) from None


def hash_file(path: str, limit: int) -> Optional[str]:
    """sha256 of a plain file of at most so many bytes; None where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | PLAIN)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        return hash_stream(stream).hexdigest()


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
        return descriptor
    except OSError:
        os.close(descriptor)
        return None


def remove_unused(path: str) -> bool:
    """Remove a folder that nobody holds."""
    held = lock(path, fcntl.LOCK_EX)
    if held is None:
        return False
    shutil.rmtree(path, ignore_errors=True)
    os.close(held)
    return True


def is_old(path: str) -> bool:
    try:
        return time.time() - os.lstat(path).st_mtime > STALE_S
    except OSError:
        return False


class Places:
    """Where a folder can be: the one that was asked for, or the first in which there is room."""

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


def free_bytes(path: str) -> int:
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize


class Store:
    """The folder of one user on this board, and what the requests do with it."""

    def __init__(self, token: str):
        self.token = token
        self.folder = ""
        self.run = ""
        self.held: Dict[str, int] = {}

    def place(self, *parts: str) -> str:
        return os.path.join(self.folder, *parts)

    def open(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Choose the folder, make this deploy's own one in it, and tidy up after those that were cut off."""
        self.folder = Places(request["remote_dir"], dict(request["files"])).choose()
        for name in PARTS:
            try:
                os.mkdir(self.place(name), 0o700)
            except FileExistsError:
                if not stat.S_ISDIR(os.lstat(self.place(name)).st_mode):
                    raise Refused("%s is not a folder; remove it" % self.place(name)) from None
        self._sweep()
        self.run = self.place("runs", self.token)
        os.makedirs(os.path.join(self.run, "tmp"), 0o700)
        self._hold(self.run)
        return {"folder": portable(self.folder), "free_bytes": free_bytes(self.folder)}

    def _hold(self, path: str) -> None:
        if path not in self.held:
            descriptor = lock(path, fcntl.LOCK_SH)
            if descriptor is None:
                raise Refused("%s is being removed by another deploy; run this again" % path)
            self.held[path] = descriptor

    def _sweep(self) -> None:
        for name in os.listdir(self.place("runs")):
            remove_unused(self.place("runs", name))
        for folder in ("parts", "objects"):
            for name in os.listdir(self.place(folder)):
                path = self.place(folder, name)
                if is_old(path) and os.lstat(path).st_nlink == 1:
                    os.unlink(path)
        for name in os.listdir(self.place("bundles")):
            if name.startswith(".") and is_old(self.place("bundles", name)):
                shutil.rmtree(self.place("bundles", name), ignore_errors=True)
        agents = [self.place(name) for name in os.listdir(self.folder) if name.startswith("edge-bench-")]
        for path in sorted(agents, key=lambda path: os.lstat(path).st_mtime)[:-MAX_AGENTS]:
            if is_old(path):
                os.unlink(path)

    def look(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Which of these files are missing, and how much of each is there; everything that is there is hashed."""
        if self._is_whole(request["bundle"], request["files"]):
            self._use(request["bundle"])
            return {"installed": True, "missing": [], "free_bytes": free_bytes(self.folder)}
        missing: List[List[Any]] = []
        for sha256, size in {sha256: size for _, sha256, size in request["files"]}.items():
            if not self._is_good(self.place("objects", sha256), sha256, size):
                missing.append([sha256, self._part_bytes(sha256, size)])
        return {"installed": False, "missing": missing, "free_bytes": free_bytes(self.folder)}

    def look_agent(self, request: Dict[str, Any]) -> Dict[str, Any]:
        path = self._final("agent", request["sha256"])
        is_there = self._is_good(path, request["sha256"], request["num_bytes"])
        if is_there:
            os.utime(path)
        return {"is_there": is_there, "path": portable(path)}

    def _is_good(self, path: str, sha256: str, size: int) -> bool:
        """Whether a whole file is there; one that is damaged goes."""
        if not os.path.lexists(path):
            return False
        if hash_file(path, size) == sha256:
            return True
        if os.path.isdir(path) and not os.path.islink(path):
            raise Refused("%s is a folder; remove it" % path)
        os.unlink(path)
        return False

    def _part_bytes(self, sha256: str, size: int) -> int:
        try:
            status = os.lstat(self.place("parts", sha256))
        except OSError:
            return 0
        return min(status.st_size, size) if stat.S_ISREG(status.st_mode) else 0

    def _is_whole(self, bundle: str, files: List[List[Any]]) -> bool:
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

    def _use(self, bundle: str) -> None:
        self._hold(self.place("bundles", bundle))
        os.utime(self.place("bundles", bundle))

    def _final(self, kind: str, sha256: str) -> str:
        return self.place("edge-bench-%s.pyz" % sha256) if kind == "agent" else self.place("objects", sha256)

    def put(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Take a file in: say what is there of it, take the rest, and give it its name when the whole has its hash."""
        sha256, size = request["sha256"], request["num_bytes"]
        final, part = self._final(request["kind"], sha256), self.place("parts", sha256)
        with self._locked_part(part) as stream:
            if self._is_good(final, sha256, size):  # another deploy brought it while we waited
                os.unlink(part)
                return {"done": True}
            if os.fstat(stream.fileno()).st_size > size:
                stream.truncate(0)
            digest = hash_stream(stream)
            have = stream.tell()
            self.answer({"done": False, "have": have, "sha256": digest.hexdigest()})
            start = self.request()["from"]
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
                    self.answer({"waiting": True})
                    told = time.time()
                time.sleep(0.1)
            stream.close()

    def _take(self, stream: Any, digest: Any, num_bytes: int) -> None:
        while num_bytes:
            data = sys.stdin.buffer.read1(min(CHUNK, num_bytes))  # type: ignore[union-attr,attr-defined,unused-ignore]
            if not data:
                raise EOFError
            digest.update(data)
            view = memoryview(data)
            while view:
                view = view[stream.write(view) :]
            num_bytes -= len(data)

    def install(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Build the folder of the bundle beside its place, check all of it there, and rename it into place."""
        bundle, files = request["bundle"], request["files"]
        final, made = self.place("bundles", bundle), self.place("bundles", ".new-" + self.token)
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
        self._use(bundle)
        self._drop_old(request["keep"])
        return {}

    @staticmethod
    def _link(source: str, path: str) -> None:
        try:
            os.link(source, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS):
                raise
            shutil.copyfile(source, path)  # a file system without links

    def _put_in_place(self, made: str, final: str, bundle: str, files: List[List[Any]]) -> None:
        for _ in range(10):
            try:
                os.rename(made, final)
                return
            except OSError:
                if self._is_whole(bundle, files):  # another deploy was faster
                    return
            old = self.place("bundles", ".old-%s-%d" % (self.token, time.time() * 1e6))
            os.rename(final, old)  # damaged, or no folder at all
            if os.path.isdir(old) and not os.path.islink(old):
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.unlink(old)
        raise Refused("others keep writing %s; run this again" % final)

    def _drop_old(self, keep: int) -> None:
        """Of the bundles that no deploy uses now, those beyond the last `keep` go, and the objects only they had."""
        names = [name for name in os.listdir(self.place("bundles")) if not name.startswith(".")]
        names.sort(key=lambda name: os.lstat(self.place("bundles", name)).st_mtime, reverse=True)
        for name in names[keep:]:
            self._drop(name)

    def _drop(self, bundle: str) -> None:
        objects = {}
        for parent, _, names in os.walk(self.place("bundles", bundle)):
            for name in names:
                status = os.lstat(os.path.join(parent, name))
                objects[status.st_ino] = status
        if remove_unused(self.place("bundles", bundle)):
            for name in os.listdir(self.place("objects")):
                path = self.place("objects", name)
                if os.lstat(path).st_ino in objects and os.lstat(path).st_nlink == 1:
                    os.unlink(path)

    def fetch(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """A file of this run, or the newest log of a build; its bytes follow the answer."""
        path = os.path.join(self.run, request["name"])
        if request["name"] == "build log":
            path = self._newest_log()
        try:
            descriptor = os.open(path, os.O_RDONLY | PLAIN)
        except OSError:
            return {"num_bytes": 0}
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            num_bytes = min(status.st_size, request["limit"]) if stat.S_ISREG(status.st_mode) else 0
            if request["name"] != "build log" and num_bytes < status.st_size:
                num_bytes = 0
            stream.seek(status.st_size - num_bytes)  # of a log the end
            self.answer({"num_bytes": num_bytes})
            while num_bytes:
                data = stream.read(min(CHUNK, num_bytes)) or bytes(min(CHUNK, num_bytes))
                sys.stdout.buffer.write(data)
                num_bytes -= len(data)
        return {"sent": True}

    def _newest_log(self) -> str:
        caches = [os.path.join(self.run, "cache"), self.place("cache"), os.environ.get("XDG_CACHE_HOME", "")]
        caches.append(os.path.join(os.path.expanduser("~"), ".cache"))
        for cache in caches:
            folder = os.path.join(cache, "edge-bench", "engines", "logs")
            try:
                paths = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".log")]
            except OSError:
                continue
            since = os.stat(os.path.join(self.run, "tmp")).st_ctime - 1.0
            paths = [path for path in paths if os.lstat(path).st_mtime >= since]
            if paths:
                return max(paths, key=lambda path: os.lstat(path).st_mtime)
        return ""

    def end(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """This deploy's own folder goes; with `clean` its bundles and agent too, unless others use them."""
        for descriptor in self.held.values():
            os.close(descriptor)
        self.held.clear()
        remove_unused(self.run)
        if request["clean"]:
            for bundle in request["bundles"]:
                self._drop(bundle)
            for sha256 in request["parts"]:
                held = lock(self.place("parts", sha256), fcntl.LOCK_EX)
                if held is not None:
                    os.unlink(self.place("parts", sha256))
                    os.close(held)
            if not os.listdir(self.place("runs")):  # nobody else is here
                agent = self._final("agent", request["agent"])
                if os.path.lexists(agent):
                    os.unlink(agent)
            self._remove_empty()
        return {}

    def _remove_empty(self) -> None:
        lock_file = self.place("measuring.lock")
        left = set(os.listdir(self.folder)) - {os.path.basename(lock_file)} - set(PARTS)
        if left or any(os.listdir(self.place(name)) for name in PARTS):
            return
        for remove, path in [(os.rmdir, self.place(name)) for name in PARTS] + [(os.unlink, lock_file)]:
            try:
                remove(path)
            except OSError:
                pass
        if os.path.basename(self.folder).startswith("edge-dendrite"):
            try:
                os.rmdir(self.folder)
            except OSError:
                pass

    def answer(self, value: Dict[str, Any]) -> None:
        sys.stdout.buffer.write(("\n%s %s\n" % (self.token, json.dumps(value))).encode("ascii"))
        sys.stdout.buffer.flush()

    @staticmethod
    def request() -> Any:
        line = sys.stdin.buffer.readline(MAX_REQUEST_BYTES)
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line.decode("utf-8"))


def main(token: str) -> None:
    os.umask(0o077)
    store = Store(token)
    actions = {
        "open": store.open,
        "look": store.look,
        "look_agent": store.look_agent,
        "put": store.put,
        "install": store.install,
        "fetch": store.fetch,
        "end": store.end,
    }
    try:
        while True:
            request = store.request()
            answer = actions[request["do"]](request)
            if "sent" not in answer:
                store.answer(answer)
            else:
                sys.stdout.buffer.flush()
    except EOFError:
        return
    except Refused as error:
        store.answer({"error": str(error).encode("utf-8", "replace").decode("utf-8")})
    except OSError as error:
        place = os.fsencode(error.filename).decode("utf-8", "replace") if error.filename else store.folder
        store.answer({"error": "%s: %s" % (place, error.strerror or error)})


if __name__ == "__main__":
    main(sys.argv[1])

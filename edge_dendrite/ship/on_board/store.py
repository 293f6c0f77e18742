"""Keeps what was deployed on a board, by content; runs there, as text on the standard input of its Python.

A line of JSON is a request, a line `TOKEN {...}` the answer; bytes of files follow both ways where the lines say so. An
error is answered once and ends the program, as does the end of its input: what arrived by then stays and is used.

    FOLDER/edge-bench-SHA256.pyz   agents
    FOLDER/objects/SHA256          files of bundles, whole and checked
    FOLDER/parts/SHA256            files that are still coming; locked by the one deploy that writes them
    FOLDER/bundles/ID/             whole bundles, of links to the objects; locked (shared) by the deploys that use them
    FOLDER/runs/TOKEN/             of one deploy: its measurement, its temporary files; locked while it lives
"""

import os
import shutil
import stat
import sys
import time
from typing import Any, Dict, List

from edge_dendrite.ship.on_board.bundles import Bundles
from edge_dendrite.ship.on_board.channel import Channel
from edge_dendrite.ship.on_board.files import (
    CHUNK,
    Refused,
    is_good,
    is_old,
    names_in,
    open_plain,
    portable,
    remove_unused,
    status_of,
    unlink,
    user_cache,
)
from edge_dendrite.ship.on_board.incoming import Incoming
from edge_dendrite.ship.on_board.places import Places

MAX_AGENTS = 3
PARTS = ("objects", "parts", "bundles", "runs")
BUILD_LOG = "build log"
CLOCK_STEP_S = 2.0  # in which the coarsest file systems tell times


class Store:
    """The folder of one user on this board, and what the requests do with it."""

    def __init__(self, channel: Channel):
        self.channel = channel
        self.folder = ""
        self.run = ""
        self.build_began = 0.0

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
        self.incoming = Incoming(self.place("parts"), self.channel)
        self.bundles = Bundles(self.folder, self.channel.token)
        self._sweep()
        self.run = self.place("runs", self.channel.token)
        os.makedirs(os.path.join(self.run, "tmp"), 0o700)
        self.bundles.hold(self.run)
        return {"folder": portable(self.folder)}

    def _sweep(self) -> None:
        for name in names_in(self.place("runs")):
            remove_unused(self.place("runs", name))
        self.bundles.sweep()
        for name in names_in(self.place("parts")):
            if is_old(self.place("parts", name)):
                remove_unused(self.place("parts", name))
        agents = []
        for name in names_in(self.folder):
            status = status_of(self.place(name))
            if status is not None and name.startswith("edge-bench-"):
                agents.append((status.st_mtime, self.place(name)))
        for _, path in sorted(agents)[:-MAX_AGENTS]:
            if is_old(path):
                unlink(path)

    def look(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Which of these files are missing, and how much of each is there; everything that is there is hashed."""
        if self.bundles.is_whole(request["bundle"], request["files"]):
            self.bundles.use(request["bundle"])
            return {"installed": True, "missing": []}
        self.bundles.keep_objects()  # what is found here has to be there still when it is installed
        missing: List[List[Any]] = []
        for sha256, size in {sha256: size for _, sha256, size in request["files"]}.items():
            if not is_good(self.place("objects", sha256), sha256, size):
                missing.append([sha256, self.incoming.num_bytes(sha256, size)])
        return {"installed": False, "missing": missing}

    def look_agent(self, request: Dict[str, Any]) -> Dict[str, Any]:
        path = self._final("agent", request["sha256"])
        is_there = is_good(path, request["sha256"], request["num_bytes"])
        if is_there:
            os.utime(path)
        return {"is_there": is_there, "path": portable(path)}

    def _final(self, kind: str, sha256: str) -> str:
        return self.place("edge-bench-%s.pyz" % sha256) if kind == "agent" else self.place("objects", sha256)

    def put(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Take a file in."""
        sha256 = request["sha256"]
        return self.incoming.take(sha256, request["num_bytes"], self._final(request["kind"], sha256))

    def install(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Put a bundle in place, all files of which are there."""
        self.bundles.install(request["bundle"], request["files"], request["keep"])
        return {}

    def begin_build(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Note the time, which tells the log of the build that begins now from those of others."""
        self.build_began = time.time()
        return {}

    def fetch(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """A file of this run, or the log of the build that began last; its bytes follow the answer."""
        path = os.path.join(self.run, request["name"])
        if request["name"] == BUILD_LOG:
            path = self._newest_log()
        stream = open_plain(path)
        if stream is None:
            return {"num_bytes": 0}
        with stream:
            size = os.fstat(stream.fileno()).st_size
            num_bytes = min(size, request["limit"])
            if request["name"] == BUILD_LOG:
                stream.seek(size - num_bytes)  # of a log the end
            elif num_bytes < size:
                return {"num_bytes": 0}
            self.channel.answer({"num_bytes": num_bytes})
            while num_bytes:
                data = stream.read(min(CHUNK, num_bytes)) or bytes(min(CHUNK, num_bytes))
                self.channel.write(data)
                num_bytes -= len(data)
        return {"sent": True}

    def _newest_log(self) -> str:
        for cache in (os.path.join(self.run, "cache"), self.place("cache"), user_cache()):
            folder = os.path.join(cache, "edge-bench", "engines", "logs")
            try:
                paths = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".log")]
            except OSError:
                continue
            found = [(status.st_mtime, path) for path, status in zip(paths, map(status_of, paths)) if status]
            found = [(mtime, path) for mtime, path in found if mtime >= self.build_began - CLOCK_STEP_S]
            if found:
                return max(found)[1]
        return ""

    def end(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """This deploy's own folder goes; with `clean` its bundles and agent too, unless others use them."""
        self.bundles.release()
        remove_unused(self.run)
        if request["clean"]:
            for bundle in request["bundles"]:
                self.bundles.drop(bundle)
            for sha256 in request["parts"]:
                remove_unused(self.place("parts", sha256))
            if not names_in(self.place("runs")):  # nobody else is here
                unlink(self._final("agent", request["agent"]))
            self._remove_empty()
        return {}

    def _remove_empty(self) -> None:
        lock_file, cache = self.place("measuring.lock"), self.place("cache")
        left = set(names_in(self.folder)) - {os.path.basename(lock_file), os.path.basename(cache)} - set(PARTS)
        if left or any(names_in(self.place(name)) for name in PARTS):
            return
        shutil.rmtree(cache, ignore_errors=True)  # what runs without a cache of the user's own left there
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


def main(token: str) -> None:
    os.umask(0o077)
    channel = Channel(token)
    store = Store(channel)
    actions = {
        "open": store.open,
        "look": store.look,
        "look_agent": store.look_agent,
        "put": store.put,
        "install": store.install,
        "begin_build": store.begin_build,
        "fetch": store.fetch,
        "end": store.end,
    }
    try:
        while True:
            request = channel.request()
            answer = actions[request["do"]](request)
            if "sent" not in answer:
                channel.answer(answer)
            else:
                sys.stdout.buffer.flush()
    except EOFError:
        return
    except Refused as error:
        channel.answer({"error": str(error).encode("utf-8", "replace").decode("utf-8")})
    except OSError as error:
        place = os.fsencode(error.filename).decode("utf-8", "replace") if error.filename else store.folder
        channel.answer({"error": "%s: %s" % (place, error.strerror or error)})


if __name__ == "__main__":
    main(sys.argv[1])

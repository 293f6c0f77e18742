"""The folder of a deploy on a board: what is there, bringing what is not, and fetching what came of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from edge_bench import schema
from edge_dendrite.errors import DeployError
from edge_dendrite.progress import Progress
from edge_dendrite.ship.bundle_files import ShippedFile
from edge_dendrite.ship.remote import SshConnection
from edge_dendrite.ship.session import BoardSession

_MAX_LOG_BYTES = 256 << 10
# A file of 4 GiB, hashed on a slow card.
_HASHING_TIMEOUT_S = 1800.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Seen:
    """What of a bundle is on the board: all of it in place, or the bytes that are there of each missing hash."""

    installed: bool
    missing: dict[str, int]


class BoardFiles:
    """Files on a board by content; a context manager. Raises DeployError for whatever the board answers wrongly."""

    def __init__(self, connection: SshConnection, token: str) -> None:
        self._session = BoardSession(connection, token)
        self._board = str(connection.target)
        self._agent = ""
        self._bundles: dict[str, list[ShippedFile]] = {}
        self.folder = ""
        self._token = token

    def __enter__(self) -> BoardFiles:
        self._session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.__exit__(kind, error, trace)

    @property
    def run(self) -> str:
        """This deploy's own folder there."""
        return f"{self.folder}/runs/{self._token}"

    def bundle_path(self, bundle_id: str) -> str:
        """Where a bundle lies when it was brought."""
        return f"{self.folder}/bundles/{bundle_id}"

    def open(self, remote_dir: str, files: list[ShippedFile]) -> None:
        """Have the board choose the folder, with room for these files."""
        sizes = [[file.sha256, file.num_bytes] for file in files]
        answer = self._session.ask(
            {"do": "open", "remote_dir": remote_dir, "files": sizes}, "choosing a folder", _HASHING_TIMEOUT_S
        )
        self.folder = self._path(answer, "folder")

    def bring_agent(self, agent: ShippedFile, progress: Progress) -> str:
        """The agent's path on the board, where a file of its hash lies now."""
        self._agent = agent.sha256
        request = {"do": "look_agent", "sha256": agent.sha256, "num_bytes": agent.num_bytes}
        if not self._flag(self._session.ask(request, "looking for the agent"), "is_there"):
            for num_bytes in self._put(agent, "agent"):
                progress(f"copying the agent to {self._board}", num_bytes, agent.num_bytes)
        answer = self._session.ask(request, "checking the agent")
        if not self._flag(answer, "is_there"):
            raise self._nonsense("the agent that was just copied is not there")
        return self._path(answer, "path")

    def look(self, bundle_id: str, files: list[ShippedFile]) -> Seen:
        """What of a bundle is there; all that is there is hashed."""
        self._bundles[bundle_id] = files
        request = {"do": "look", "bundle": bundle_id, "files": self._rows(files)}
        answer = self._session.ask(request, "looking for the bundle", _HASHING_TIMEOUT_S)
        sizes = {file.sha256: file.num_bytes for file in files}
        missing: dict[str, int] = {}
        rows = answer.get("missing")
        for row in rows if isinstance(rows, list) else [None]:
            if not isinstance(row, list) or len(row) != 2 or row[0] not in sizes:
                raise self._nonsense("it misses files that nobody spoke of")
            missing[row[0]] = self._whole(row[1], sizes[row[0]])
        return Seen(self._flag(answer, "installed"), missing)

    def bring(self, bundle_id: str, seen: Seen, keep: int, progress: Progress) -> None:
        """Copy what is missing, and install the bundle: whole and checked, or not at all."""
        if seen.installed:
            return
        files = self._bundles[bundle_id]
        missing = {file.sha256: file for file in files if file.sha256 in seen.missing}
        done, total = 0, sum(file.num_bytes for file in missing.values())
        for file in missing.values():
            for num_bytes in self._put(file, "object"):
                progress(f"copying to {self._board}", done + num_bytes, total)
            done += file.num_bytes
        request = {"do": "install", "bundle": bundle_id, "files": self._rows(files), "keep": keep}
        self._session.ask(request, "installing the bundle", _HASHING_TIMEOUT_S)

    def _put(self, file: ShippedFile, kind: str) -> Iterator[int]:
        """Copy a file; yields how many bytes of it are there."""
        what = f"copying {file.name}"
        request = {"do": "put", "kind": kind, "sha256": file.sha256, "num_bytes": file.num_bytes}
        answer = self._session.ask(request, what, _HASHING_TIMEOUT_S)
        if self._flag(answer, "done"):
            return
        # Nobody but the bytes themselves can say that these are the beginning of this file.
        start = self._whole(answer.get("have"), file.num_bytes)
        if start and answer.get("sha256") != file.prefix_sha256(start):
            start = 0
        self._session.send([b'{"from": %d}\n' % start], what)
        done = start
        yield done
        for chunk in file.chunks(start):
            self._session.send([chunk], what)
            done += len(chunk)
            yield done
        answer = self._session.answer(what, _HASHING_TIMEOUT_S)
        if not self._flag(answer, "done"):
            found = str(answer.get("sha256"))
            seen = found if _SHA256.fullmatch(found) else "no hash"
            raise DeployError(
                f"{self._board}: {file.name} arrived damaged, or changed here meanwhile: expected sha256 "
                f"{file.sha256}, the board has {seen}; run this again"
            )

    def fetch_measurement(self, name: str) -> bytes:
        """The bytes of a measurement of this deploy, empty when there is none."""
        return self._fetch(name, schema.MAX_BYTES, "fetching the measurement")

    def begin_build(self) -> None:
        """Say that an engine is built next: what `fetch_build_log` fetches is of this build, or later."""
        self._session.ask({"do": "begin_build"}, "building the engine")

    def fetch_build_log(self) -> bytes:
        """The end of the log of the engine's build, empty when there is none."""
        return self._fetch("build log", _MAX_LOG_BYTES, "fetching the log of the build")

    def _fetch(self, name: str, limit: int, what: str) -> bytes:
        answer = self._session.ask({"do": "fetch", "name": name, "limit": limit}, what)
        return self._session.read(self._whole(answer.get("num_bytes"), limit), what)

    def count(self, bundle_id: str, files: list[ShippedFile]) -> None:
        """Take a bundle for one of this deploy, which `end` may remove, whether it was looked for or not."""
        self._bundles.setdefault(bundle_id, files)

    def end(self, clean: bool) -> None:
        """Remove what is of this deploy alone; with `clean` also bundles and agent, unless others use them."""
        hashes = sorted({file.sha256 for files in self._bundles.values() for file in files} | {self._agent})
        request = {"do": "end", "clean": clean, "bundles": sorted(self._bundles), "agent": self._agent, "parts": hashes}
        self._session.ask(request, "tidying up")

    @staticmethod
    def _rows(files: list[ShippedFile]) -> list[list[Any]]:
        return [[file.name, file.sha256, file.num_bytes] for file in files]

    def _flag(self, answer: dict[str, Any], key: str) -> bool:
        if not isinstance(answer.get(key), bool):
            raise self._nonsense(f"{key} is missing")
        return bool(answer[key])

    def _whole(self, value: Any, limit: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
            raise self._nonsense("a number of bytes is out of range")
        return value

    def _path(self, answer: dict[str, Any], key: str) -> str:
        path = answer.get(key)
        if not isinstance(path, str) or not path.startswith("/") or not path.isprintable() or len(path) > 4096:
            raise self._nonsense(f"the board names an impossible {key}")
        return path

    def _nonsense(self, what: str) -> DeployError:
        return DeployError(f"{self._board}: answers nonsense: {what}; look at the board, then run this again")

"""The cache folder: container storage, base trees, wheels, contexts and logs; one process at a time in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from scripts.docker_images.errors import ImageError
from scripts.docker_images.programs import check, run


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-dendrite" / "docker-images"


class Store:
    """Everything that the script writes is below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.wheels = self.folder / "wheels"
        self.trees = self.folder / "trees"
        self.work = self.folder / "work"
        self.logs = self.folder / "logs"

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder for this process, and leave no working files and no mounts in it."""
        with self._locked():
            for folder in (self.wheels, self.trees, self.logs, self.folder / "storage", self.folder / "run"):
                folder.mkdir(parents=True, exist_ok=True)
            # vfs copies whole trees: slow, and the only driver that needs nothing of the machine.
            (self.folder / "storage.conf").write_text(
                f'[storage]\ndriver = "vfs"\ngraphroot = "{self.folder}/storage"\nrunroot = "{self.folder}/run"\n'
            )
            self._tidy()
            try:
                yield
            finally:
                self._tidy()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ImageError(f"{self.folder}: {error.strerror}; give a folder with --cache") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise ImageError(
                f"{self.folder}: another docker-images works there; wait for it, or give another --cache"
            ) from error
        try:
            yield
        finally:
            os.close(handle)

    def _tidy(self) -> None:
        """What an interrupted run left: containers, contexts. Bases, wheels and images stay."""
        if mounts := self.mounts():
            # Deleting through a mount would delete what is mounted.
            raise ImageError(f"mounts of an earlier run are left; unmount them first: {', '.join(mounts)}")
        if self.work.exists():
            if shutil.which("buildah"):
                self.buildah_code("rm", "--all")
                # Images whose names went to newer ones.
                self.buildah_code("rmi", "--prune")
            shutil.rmtree(self.work)
        self.work.mkdir()

    def mounts(self) -> list[str]:
        """Mount points below the folder."""
        points = [line.split()[1] for line in Path("/proc/self/mounts").read_text("utf-8").splitlines()]
        return [point for point in points if point.startswith(f"{self.folder}/")]

    def clean(self) -> None:
        """Remove everything; refused while something is mounted there, or another process works there."""
        if mounts := self.mounts():
            raise ImageError(f"{self.folder}: unmount first: {', '.join(mounts)}")
        if self.folder.exists():
            with self._locked():
                shutil.rmtree(self.folder)

    def _environment(self) -> dict[str, str]:
        return dict(
            os.environ,
            CONTAINERS_STORAGE_CONF=str(self.folder / "storage.conf"),
            BUILDAH_ISOLATION="chroot",
            TMPDIR=str(self.work),
        )

    def buildah(self, what: str, *arguments: str, log: str = "buildah", timeout_s: float = 1800) -> str:
        """Run buildah on this storage; its stdout. Raises ImageError."""
        command = ["buildah", *arguments]
        return check(what, command, self.logs / f"{log}.log", env=self._environment(), timeout_s=timeout_s)

    def buildah_code(self, *arguments: str, log: str = "buildah", timeout_s: float = 1800) -> tuple[int, str]:
        """The same where a failure is an answer: (exit code, stdout)."""
        return run(["buildah", *arguments], self.logs / f"{log}.log", env=self._environment(), timeout_s=timeout_s)

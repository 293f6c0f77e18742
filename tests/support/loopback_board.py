"""A real sshd on loopback as the board of a test, with keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge_dendrite.ship.options import SshOptions
from loopback_sshd import LoopbackSshd, make_key, write_client_config

SECRET_DIR = "odd folder; it's $HOME"


class Board:
    """One board that can be stopped and started again."""

    def __init__(self, folder: Path, *, forced_command: str = "", inside: Sequence[str | Path] = ()) -> None:
        self.folder = folder
        self._sshd = LoopbackSshd(folder, make_key(folder / "user_key"), forced_command, inside)
        self.start, self.stop, self.port = self._sshd.start, self._sshd.stop, self._sshd.port
        self.num_logins = self._sshd.num_logins
        (folder / "known_hosts").write_text(self._sshd.known_host())
        self.ssh_config = write_client_config(folder, more="  BatchMode yes\n")
        self.target = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    def __enter__(self) -> Board:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def options(self, **changes) -> SshOptions:
        """How this board is reached; `python` and `remote_dir` can be others."""
        remote_dir = changes.get("remote_dir", str(self.folder / SECRET_DIR))
        return SshOptions(self.ssh_config, changes.get("python", sys.executable), remote_dir)

    @contextlib.contextmanager
    def known_as(self, port: int) -> Iterator[None]:
        """Its host key is also known for another port, from which something forwards to it."""
        known_hosts = self.folder / "known_hosts"
        before = known_hosts.read_text()
        known_hosts.write_text(before + before.replace(f":{self.port} ", f":{port} "))
        yield
        known_hosts.write_text(before)

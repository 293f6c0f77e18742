"""Boards on loopback, each a real sshd with a host key, a port and a folder of its own; one user key for all."""

from __future__ import annotations

import getpass
import os
import shlex
import signal
import socket
import sys
from pathlib import Path

from loopback_sshd import LoopbackSshd, free_port, make_key, write_client_config


class LoopbackBoards:
    """A context manager: boards are added one by one, and end with it, with all that they started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: list[LoopbackSshd] = []
        self._silent: list[socket.socket] = []
        self._entries: list[str] = []
        self.toml = folder / "boards.toml"
        self._known_hosts = folder / "known_hosts"
        self._known_hosts.touch()
        self._user_key = make_key(folder / "user_key")
        write_client_config(folder)

    def __enter__(self) -> LoopbackBoards:
        return self

    def __exit__(self, *_: object) -> None:
        for sshd in self._running:
            sshd.stop()
        for listener in self._silent:
            listener.close()
        for number in running_under(self.folder):
            os.kill(number, signal.SIGKILL)

    def add(
        self,
        name: str,
        *,
        python: str | Path = sys.executable,
        remote_dir: str = "",
        accepts_key: bool = True,
        known_key: bool = True,
        forced: str = "",
        more: str = "",
    ) -> Path:
        """A board that answers; its folder."""
        folder = self.folder / name
        folder.mkdir()
        sshd = LoopbackSshd(folder, self._user_key if accepts_key else "", forced)
        former = "" if known_key else make_key(folder / "former_host_key")
        with self._known_hosts.open("a") as stream:
            stream.write(sshd.known_host(former))
        self._running.append(sshd)
        sshd.start()
        self._write(name, sshd.port, python, remote_dir or str(folder / "work"), more)
        return folder

    def add_down(self, name: str) -> None:
        """Nobody listens there."""
        self._write(name, free_port(), sys.executable, "work", "")

    def add_silent(self, name: str) -> None:
        """Takes connections and says nothing."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._silent.append(listener)
        self._write(name, listener.getsockname()[1], sys.executable, "work", "")

    def _write(self, name: str, port: int, python: str | Path, remote_dir: str, more: str) -> None:
        self._entries.append(
            f"[boards.{name}]\ntarget = 'ssh://{getpass.getuser()}@127.0.0.1:{port}'\npython = '{python}'\n"
            f"ssh_config = 'ssh_config'\nremote_dir = '{remote_dir}'\n{more}\n"
        )
        self.toml.write_text("\n".join(self._entries))


def running_under(folder: Path) -> list[int]:
    """Processes that have this folder in their command lines, but for ours and those of sshd itself."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(os.fsencode(folder) in word for word in words) and b"sshd" not in words[0]:
                found.append(int(entry.name))
    return found


def left_of_runs(folder: Path) -> list[str]:
    """What deploys that have ended left in a board's folder, besides what they keep for the next time."""
    return [path.name for kind in ("runs", "parts") for path in os.scandir(folder / kind)]


def waiting_python(path: Path, seconds: float) -> Path:
    """A Python that waits before each run of the agent, as a board does that is busy with nothing of this host."""
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *edge-bench*" run "*) sleep {seconds} ;; esac\n'
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    path.chmod(0o755)
    return path

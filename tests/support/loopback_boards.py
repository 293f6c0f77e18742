"""Boards on loopback, each a real sshd with a host key, a port and a folder of its own; one user key for all."""

from __future__ import annotations

import getpass
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from parts import find_part


class LoopbackBoards:
    """A context manager: boards are added one by one, and end with it, with all that they started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._silent: list[socket.socket] = []
        self._entries: list[str] = []
        self.toml = folder / "boards.toml"
        self._known_hosts = folder / "known_hosts"
        self._known_hosts.touch()
        make_key(folder / "user_key")
        (folder / "ssh_config").write_text(
            f'Host *\n  IdentityFile "{folder}/user_key"\n  IdentitiesOnly yes\n'
            f'  UserKnownHostsFile "{folder}/known_hosts"\n  StrictHostKeyChecking yes\n'
        )

    def __enter__(self) -> LoopbackBoards:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()
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
        folder, port = self.folder / name, free_port()
        folder.mkdir()
        make_key(folder / "host_key")
        shown = "host_key"
        if not known_key:
            make_key(folder / "former_host_key")
            shown = "former_host_key"
        with self._known_hosts.open("a") as stream:
            stream.write(f"[127.0.0.1]:{port} {(folder / f'{shown}.pub').read_text()}")
        key = (self.folder / "user_key.pub").read_text() if accepts_key else ""
        (folder / "authorized_keys").write_text(key)
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nUseDNS no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            + (f"ForceCommand {forced}\n" if forced else "")
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation wants it
        with (folder / "sshd.log").open("wb") as log:
            command = [str(find_part("sshd")), "-D", "-e", "-f", str(folder / "sshd_config")]
            self._processes.append(subprocess.Popen(command, stderr=log))
        wait_for_port(port, folder / "sshd.log")
        self._write(name, port, python, remote_dir or str(folder / "work"), more)
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


def make_key(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, log: Path) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(log.read_text())


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


def waiting_python(path: Path, seconds: float) -> Path:
    """A Python that waits before each run of the agent, as a board does that is busy with nothing of this host."""
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *edge-bench*" run "*) sleep {seconds} ;; esac\n'
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    path.chmod(0o755)
    return path

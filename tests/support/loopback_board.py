"""A real sshd on loopback as the board of a test, with keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from edge_dendrite.ship.options import SshOptions
from parts import find_part

SECRET_DIR = "odd folder; it's $HOME"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Board:
    """A real sshd for this user on loopback, with keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        for name in ("host_key", "user_key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile {folder}/sshd.pid\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nUseDNS no\n"
            "Subsystem sftp internal-sftp\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        host_key = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        self.ssh_config = folder / "ssh_config"
        self.ssh_config.write_text(
            f"Host *\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n  BatchMode yes\n"
        )
        self.target = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation wants it
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(find_part("sshd")), "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log
            )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.folder / "sshd.log").read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

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

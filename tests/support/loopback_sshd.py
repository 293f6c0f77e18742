"""A real sshd on loopback for this user: what the boards of the tests are made of."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from parts import find_part


class LoopbackSshd:
    """An sshd with a host key, a port and a log of its own, all below its folder.

    authorized: public keys that it takes; inside: a command that runs it, where that makes another world for it.
    """

    def __init__(
        self, folder: Path, authorized: str, forced_command: str = "", inside: Sequence[str | Path] = ()
    ) -> None:
        self.port = free_port()
        self._config, self._log = folder / "sshd_config", folder / "sshd.log"
        self._inside = list(map(str, inside))
        self._host_key = make_key(folder / "host_key")
        (folder / "authorized_keys").write_text(authorized)
        self._config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nUseDNS no\n"
            "Subsystem sftp internal-sftp\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin yes\n" + (f"ForceCommand {forced_command}\n" if forced_command else "")
        )
        self._process: subprocess.Popen[bytes] | None = None

    def known_host(self, host_key: str = "") -> str:
        """The line of a known_hosts file that tells this key of the host, or another."""
        return f"[127.0.0.1]:{self.port} {host_key or self._host_key}"

    def num_logins(self) -> int:
        """Connections on which somebody logged in, since the beginning."""
        return self._log.read_text().count("Accepted publickey for ")

    def start(self) -> None:
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation wants it
        with self._log.open("ab") as log:
            command = [*self._inside, str(find_part("sshd")), "-D", "-e", "-f", str(self._config)]
            self._process = subprocess.Popen(command, stderr=log)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        self.stop()
        raise AssertionError(self._log.read_text())

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None


def make_key(path: Path) -> str:
    """A new key pair beside this name; the public one as text."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path.with_suffix(".pub").read_text()


def write_client_config(folder: Path, more: str = "") -> Path:
    """An ssh_config with the `user_key` and the `known_hosts` of a folder, and nothing of this user's own."""
    config = folder / "ssh_config"
    config.write_text(
        f'Host *\n  IdentityFile "{folder}/user_key"\n  IdentitiesOnly yes\n'
        f'  UserKnownHostsFile "{folder}/known_hosts"\n  StrictHostKeyChecking yes\n{more}'
    )
    return config


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

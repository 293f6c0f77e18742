"""One multiplexed OpenSSH connection to a board. The user's ssh_config, agent and host-key checks hold.

What comes back is data: read up to a limit, never run, stripped of control characters before anyone sees it.
"""

from __future__ import annotations

import hashlib
import secrets
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from edge_dendrite.errors import DeployError
from edge_dendrite.ship.process import last_line, printable, run_bounded, wait_for
from edge_dendrite.ship.target import SshTarget

_CONNECT_TIMEOUT_S = 15
_COMMAND_TIMEOUT_S = 120.0
# Of the whole login, where nobody can be asked for anything.
_LOGIN_TIMEOUT_S = 60.0
# A slower link than this (100 kB/s) makes a copy fail; it can be repeated.
_MIN_BYTES_PER_S = 100_000
_SSH_FAILED = 255


class SshConnection:
    """Runs commands and copies files; a context manager."""

    def __init__(
        self,
        target: SshTarget,
        ssh_config: str | Path | None = None,
        *,
        may_ask: bool = True,
        interrupt: threading.Event | None = None,
    ) -> None:
        if shutil.which("ssh") is None:
            raise DeployError(
                "ssh is not installed here; install OpenSSH's client (sudo apt-get install openssh-client)"
            )
        self._target, self._may_ask, self._interrupt = target, may_ask, interrupt
        # A socket's path has at most about 100 characters, and ssh adds some of its own.
        parent = tempfile.gettempdir() if len(tempfile.gettempdir()) < 50 else "/tmp"
        self._folder = tempfile.mkdtemp(prefix="ed-ssh-", dir=parent)
        self._options = ["-o", f"ControlPath={self._folder}/c", "-o", f"ConnectTimeout={_CONNECT_TIMEOUT_S}"]
        # A board that freezes or loses power must not keep us waiting for ever.
        self._options += ["-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"]
        if not may_ask:
            self._options += ["-o", "BatchMode=yes"]
        if ssh_config is not None:
            self._options = ["-F", str(ssh_config), *self._options]
        if target.port is not None:
            self._options += ["-p", str(target.port)]

    def __enter__(self) -> SshConnection:
        # The master must not hold our pipes, so its messages go to a file. It keeps the terminal: ssh may have to
        # ask for a passphrase.
        with tempfile.TemporaryFile() as errors:
            code = self._log_in(errors)
            errors.seek(0)
            message = printable(errors.read(4096)).strip()
        if code != 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            reason = f"no login within {_LOGIN_TIMEOUT_S:.0f} s" if code is None else last_line(message)
            reason = reason or f"ssh ended with {code}"
            raise DeployError(
                f"{self._target} does not answer: {reason}. Check that `ssh {self._hint()}` works, then run this again"
            )
        return self

    def _log_in(self, errors: BinaryIO) -> int | None:
        """The exit code of ssh; None when there was no login in time."""
        words = ["-o", "ControlMaster=yes", "-o", "ControlPersist=600", *self._destination, "true"]
        child = subprocess.Popen(
            ["ssh", *self._options, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=not self._may_ask,
        )
        try:
            return wait_for(child, 1e9 if self._may_ask else _LOGIN_TIMEOUT_S, self._interrupt)
        except subprocess.TimeoutExpired:
            return None
        except KeyboardInterrupt:
            self.__exit__(None, None, None)  # the login may have come at this very moment
            raise
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.call(
            ["ssh", *self._options, "-O", "exit", *self._destination],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _destination(self) -> list[str]:
        return ["--", self._target.destination]

    def _hint(self) -> str:
        port = f"-p {self._target.port} " if self._target.port else ""
        return f"{port}{self._target.destination}"

    def argv(self, script: str, *arguments: str) -> list[str]:
        """The command line that runs a POSIX shell script on the board with `arguments` as $1, $2, ..."""
        words = ["sh", "-c", script, "sh", *arguments]
        return [
            "ssh",
            *self._options,
            "-T",
            *self._destination,
            " ".join(shlex.quote(word) for word in words),
        ]

    def run(
        self,
        script: str,
        *arguments: str,
        content: bytes = b"",
        limit: int = 1 << 20,
        what: str = "a command",
    ) -> bytes:
        """Output of a script. Raises DeployError when it fails, takes too long, or answers more than `limit` bytes."""
        timeout_s = _COMMAND_TIMEOUT_S + max(len(content), limit if limit > 1 << 20 else 0) / _MIN_BYTES_PER_S
        result = run_bounded(
            self.argv(script, *arguments),
            content=content,
            limit=limit,
            timeout_s=timeout_s,
            interrupt=self._interrupt,
        )
        if result.problem:
            raise DeployError(f"{self._target}: {what}: {result.problem}")
        if result.code == _SSH_FAILED:
            raise DeployError(f"{self._target}: the connection broke during {what}: {result.errors}; run this again")
        if result.code != 0:
            raise DeployError(
                f"{self._target}: {what} failed on the board: {result.errors or f'exit code {result.code}'}"
            )
        return result.output

    def put(self, content: bytes, path: str, python: str, log: Callable[[str], None]) -> None:
        """Bring a file to the board unless it is there already; it appears whole and checked, or not at all.

        Raises DeployError when what arrived has another hash.
        """
        sha256 = hashlib.sha256(content).hexdigest()
        if self.hash_of(path, python) == sha256:
            return
        log(f"copying {path.rpartition('/')[2]} ({len(content):,} bytes)")
        part = f"{path}.{secrets.token_hex(6)}.part"  # two hosts may bring the same file at once
        self.run('trap \'rm -f "$1"\' HUP INT TERM; cat > "$1"', part, content=content, what=f"copying {path}")
        arrived = self.hash_of(part, python)
        if arrived != sha256:
            self.run('rm -f "$1"', part, what="removing a damaged copy")
            raise DeployError(f"{self._target}: {path} arrived damaged (sha256 {arrived}); run this again")
        self.run('mv -f "$1" "$2"', part, path, what=f"installing {path}")

    def hash_of(self, path: str, python: str) -> str:
        """sha256 of a file on the board, empty when it is not there."""
        program = "import hashlib,sys; print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())"
        script = 'if [ -f "$1" ]; then "$2" -c "$3" "$1"; fi'
        return printable(self.run(script, path, python, program, what="hashing a file", limit=4096)).strip()

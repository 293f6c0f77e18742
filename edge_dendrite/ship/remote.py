"""One multiplexed OpenSSH connection to a board. The user's ssh_config, agent and host-key checks hold.

All that runs on a board is a program of ours in the Python there, sent as text on its standard input. The one command
line that a login shell sees is of harmless characters, whatever that shell is: sh, bash, fish, csh.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from edge_dendrite.errors import DeployError
from edge_dendrite.ship.board_program import board_program
from edge_dendrite.ship.process import last_line, printable
from edge_dendrite.ship.target import SshTarget

_CONNECT_TIMEOUT_S = 15
# Of the whole login, where nobody can be asked for anything.
_LOGIN_TIMEOUT_S = 30.0
# An empty one may be of a connection that is being made: somebody may be asked for a passphrase for long.
_FOLDER, _LEFT_OVER_S = "ed-ssh-", 86400.0
_NO_PYTHON, _OLD_PYTHON, _BROKEN = 97, 98, 255
# Python 2 has to understand it, to say that it is too old. The program's own input follows it.
_LOADER = (
    "import sys;sys.version_info<(3,6) and sys.exit({old});"
    "exec(compile(sys.stdin.buffer.read({num_bytes}),'<{name}>','exec'))"
)
_START = 'command -v "$1" >/dev/null 2>&1 || exit {no}; exec "$1" -c "$2" "$3"'
_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-./:=,+@%")


class SshConnection:
    """Starts programs on a board; a context manager."""

    def __init__(self, target: SshTarget, python: str = "python3", ssh_config: str | Path | None = None) -> None:
        if shutil.which("ssh") is None:
            raise DeployError(
                "ssh is not installed here; install OpenSSH's client (sudo apt-get install openssh-client)"
            )
        self.target, self.python = target, python
        # A socket's path has at most about 100 characters, and ssh adds some of its own.
        parent = tempfile.gettempdir() if len(tempfile.gettempdir()) < 50 else "/tmp"
        _remove_left_over(Path(parent))
        self._folder = tempfile.mkdtemp(prefix=_FOLDER, dir=parent)
        self._options = ["-o", f"ControlPath={self._folder}/c", "-o", f"ConnectTimeout={_CONNECT_TIMEOUT_S}"]
        # A board that freezes or loses power must not keep us waiting for ever.
        self._options += ["-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=3"]
        self._may_ask = _has_terminal()
        if not self._may_ask:
            self._options += ["-o", "BatchMode=yes"]  # nobody could answer a question
        if ssh_config is not None:
            self._options = ["-F", str(ssh_config), *self._options]
        if target.port is not None:
            self._options += ["-p", str(target.port)]

    def __enter__(self) -> SshConnection:
        try:
            code, message = self._connect()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        if code != 0:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise DeployError(f"{self.target} does not answer: {self._explain(code, message)}")
        return self

    def _connect(self) -> tuple[int, str]:
        # The master must not hold our pipes, so its messages go to a file. It keeps the terminal: ssh may have to
        # ask for a passphrase.
        master = ["-o", "ControlMaster=yes", "-o", "ControlPersist=30", *self._destination, "true"]
        with tempfile.TemporaryFile() as errors:
            try:
                code = subprocess.call(
                    ["ssh", *self._options, *master],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    timeout=None if self._may_ask else _LOGIN_TIMEOUT_S,
                )
            except subprocess.TimeoutExpired:
                self.__exit__(None, None, None)  # the master is in the background already
                return _BROKEN, f"no login within {_LOGIN_TIMEOUT_S:.0f} s"
            errors.seek(0)
            return code, printable(errors.read(8192)).strip()

    def _explain(self, code: int, message: str) -> str:
        reason = last_line(message) or f"ssh ended with {code}"
        if "IDENTIFICATION HAS CHANGED" in message:
            return (
                f"its host key is not the one that is known ({reason}). If the board was installed anew, look at its "
                f"new fingerprint there, then: ssh-keygen -R {self._known_as()}; else somebody may be in between"
            )
        if "Host key verification failed" in message:
            return (
                f"its host key is not known here ({reason}). Connect once by hand and compare the fingerprint with "
                f"the board's: ssh {self._hint()}"
            )
        return f"{reason}. Check that `ssh {self._hint()}` works, then run this again"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            subprocess.call(
                ["ssh", *self._options, "-O", "exit", *self._destination],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _destination(self) -> list[str]:
        return ["--", self.target.destination]

    def _hint(self) -> str:
        port = f"-p {self.target.port} " if self.target.port else ""
        return f"{port}{self.target.destination}"

    def _known_as(self) -> str:
        return f"'[{self.target.host}]:{self.target.port}'" if self.target.port else self.target.host

    def start(self, name: str, token: str) -> tuple[list[str], bytes]:
        """A command line, and what goes to its input first, that run a program of `on_board/` with one argument."""
        program = board_program(name)
        loader = _LOADER.format(old=_OLD_PYTHON, num_bytes=len(program), name=name)
        words = ["sh", self.python, loader, token]
        command = f"set -- {shlex.join(words[1:])}; {_START.format(no=_NO_PYTHON)}"
        # Without its own connection a client fails at once: a new one might ask for a passphrase, or reach another.
        options = [*self._options, "-o", "ControlMaster=no", "-o", "ProxyCommand=false"]
        return ["ssh", *options, "-T", *self._destination, for_any_shell(command)], program

    def why_ended(self, code: int, errors: str, what: str) -> DeployError:
        """What the end of a program on the board means, in words."""
        if code in (_NO_PYTHON, _OLD_PYTHON):
            found = " (the one there is older)" if code == _OLD_PYTHON else ""
            return DeployError(
                f"{self.target}: no Python 3.6 or newer as {self.python!r} there{found}; install python3 or give "
                "--python PATH"
            )
        if code == _BROKEN:
            # ssh says the same of a program that a signal ended there, so what it said last may tell.
            said = f" (the last that came: {errors})" if errors else ""
            return DeployError(
                f"{self.target}: the connection broke, or {self.python} was killed there, during {what}{said}; what "
                "arrived is kept: run the same command again"
            )
        return DeployError(f"{self.target}: {what} failed on the board: {errors or f'exit code {code}'}")


def for_any_shell(command: str) -> str:
    """A command line that gives `command` to sh, whatever shell reads it: only plain characters, in single quotes.

    Shells differ in what stands between quotes: csh has its `!` and no line ends there, fish its backslash. So all of
    that travels as octal numbers, which printf of sh reads; a lone backslash and a zero mean themselves everywhere.
    """
    encoded = "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in os.fsencode(command))
    return f"""exec sh -c 'eval "$(printf %b "$0")"' '{encoded}'"""


def _remove_left_over(parent: Path) -> None:
    """Folders of connections whose host was killed; the master has taken its socket away when nobody came any more."""
    for folder in parent.glob(f"{_FOLDER}*"):
        with contextlib.suppress(OSError):  # gone, not empty, or of another user
            status = folder.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > _LEFT_OVER_S:
                folder.rmdir()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True

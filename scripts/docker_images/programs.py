"""Running programs: their output in a log, their failure in words, none left behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.docker_images.errors import CannotRun, ImageError

# How apt and pip say that nothing answers.
_NO_NETWORK = re.compile(
    r"Could not resolve|Temporary failure (in name resolution|resolving)|Network is unreachable|Could not connect to"
)
# Of a log in a message; the whole one is in the file.
_LAST_LINES = 15


def run(
    command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, timeout_s: float = 1800
) -> tuple[int, str]:
    """Run a program to its end; (exit code, stdout). Both streams are appended to `log`.

    Raises ImageError when it does not end in time. However this function is left, the program has ended.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        stream.write(("\n$ " + " ".join(command) + "\n").encode())
        stream.flush()
        # A group of its own: a Ctrl-C reaches us first, and everything that the program started ends with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            env=dict(env) if env is not None else None,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise ImageError(f"{command[0]} was not done after {timeout_s:.0f} s; see {log}") from error
        except BaseException:
            _end(process)
            raise
        stream.write(output)
    return process.returncode, output.decode("utf-8", "replace")


def check(
    what: str, command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, timeout_s: float = 1800
) -> str:
    """Run a program that has to succeed; its stdout.

    Raises ImageError with the last lines of its log, and CannotRun where there is no network.
    """
    start = log.stat().st_size if log.exists() else 0
    code, output = run(command, log, env=env, timeout_s=timeout_s)
    if code:
        if _NO_NETWORK.search(log.read_bytes()[start:].decode("utf-8", "replace")):
            raise CannotRun(f"no network: {what} failed, and nothing answered; the whole log is {log}")
        raise ImageError(f"{what} failed: {command[0]} ended with {code}; the whole log is {log}\n{last_lines(log)}")
    return output


def last_lines(log: Path) -> str:
    """The end of a log, without what would move a terminal's cursor."""
    lines = log.read_bytes()[-20_000:].decode("utf-8", "replace").splitlines()[-_LAST_LINES:]
    return "\n".join("  " + "".join(one for one in line if one.isprintable() or one == "\t") for line in lines)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    process.stdout.close()
    # SIGTERM lets mmdebstrap and buildah clean up; what does not listen is killed.
    for number, wait_s in ((signal.SIGTERM, 20), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, number)
            process.wait(wait_s)
            return
        except (subprocess.TimeoutExpired, ProcessLookupError):
            continue

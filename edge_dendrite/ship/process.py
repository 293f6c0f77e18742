"""Child processes whose output is bounded and whose messages are safe to show."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass

_MAX_ERROR_BYTES = 64 << 10
_MAX_LINE_BYTES = 4096


@dataclass(frozen=True)
class Result:
    """How a child ended. `errors` is the printable end of its stderr; `problem` says why it was ended by us."""

    code: int
    output: bytes
    errors: str
    problem: str = ""


def printable(data: bytes) -> str:
    """Text without anything that could steer a terminal."""
    text = data.decode("utf-8", "replace").replace("\r", "")
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def last_line(text: str) -> str:
    """The last line that is not empty."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def run_bounded(argv: list[str], *, content: bytes, limit: int, timeout_s: float) -> Result:
    """Run a child with `content` on stdin and read at most `limit` bytes of its stdout."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(content)
        stdin.seek(0)
        child = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr)
        timed_out = threading.Event()

        def end() -> None:
            timed_out.set()
            child.kill()

        timer = threading.Timer(timeout_s, end)
        timer.start()
        try:
            assert child.stdout is not None
            output = child.stdout.read(limit + 1)
            problem = f"it answered more than {limit:,} bytes; not read further" if len(output) > limit else ""
            if problem:
                child.kill()
            child.stdout.close()
            code = child.wait()
        finally:
            timer.cancel()
            if child.poll() is None:
                child.kill()
                child.wait()
        if timed_out.is_set():
            problem = f"no answer within {timeout_s:.0f} s"
        stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _MAX_ERROR_BYTES))
        errors = last_line(printable(stderr.read(_MAX_ERROR_BYTES)))
    return Result(code, output, errors, problem)


def run_logged(argv: list[str], log: Callable[[str], None], stop: Callable[[], None] | None = None) -> Result:
    """Run a child and hand each line of its stderr to `log` as it comes; stdout is ignored.

    The child is in a session of its own, so that a Ctrl-C reaches only us: then it is asked to end (by `stop`, or
    SIGTERM), waited for, and KeyboardInterrupt goes on upwards.
    """
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    kept: list[str] = []
    try:
        _drain(child, kept, log)
        child.wait()
    except KeyboardInterrupt:
        stop() if stop else child.terminate()  # not SIGINT, which a child of a background job ignores
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            child.wait(timeout=15)
        raise
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        assert child.stderr is not None
        child.stderr.close()
    return Result(child.returncode, b"", last_line("\n".join(kept)))


def _drain(child: subprocess.Popen[bytes], kept: list[str], log: Callable[[str], None]) -> None:
    assert child.stderr is not None
    while True:
        line = child.stderr.readline(_MAX_LINE_BYTES)
        if not line:
            return
        text = printable(line).rstrip("\n")
        kept.append(text)
        del kept[:-50]
        log(text)

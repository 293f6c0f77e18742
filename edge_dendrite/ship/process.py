"""Child processes whose output is bounded and whose messages are safe to show."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_MAX_ERROR_BYTES = 64 << 10
_MAX_LINE_BYTES = 4096
# How soon an interrupt from another thread is seen.
_LOOK_S = 0.1
_FOREVER_S = 1e9


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


def take_interrupt(interrupt: threading.Event | None) -> None:
    """Raise KeyboardInterrupt if another thread has set `interrupt`, and clear it.

    Python gives Ctrl-C to the main thread alone; this is how it reaches work in others. Cleared, so that what ends
    the work in good order can still wait; set again, it ends that too, as a second Ctrl-C does.
    """
    if interrupt is not None and interrupt.is_set():
        interrupt.clear()
        raise KeyboardInterrupt


def wait_for(child: subprocess.Popen[bytes], timeout_s: float, interrupt: threading.Event | None = None) -> int:
    """The exit code of a child. Raises subprocess.TimeoutExpired, and KeyboardInterrupt as `take_interrupt`."""
    deadline = time.monotonic() + timeout_s
    while True:
        left_s = deadline - time.monotonic()
        try:
            return child.wait(max(0.0, left_s if interrupt is None else min(_LOOK_S, left_s)))
        except subprocess.TimeoutExpired:
            take_interrupt(interrupt)
            if time.monotonic() >= deadline:
                raise


def run_bounded(
    argv: list[str], *, content: bytes, limit: int, timeout_s: float, interrupt: threading.Event | None = None
) -> Result:
    """Run a child with `content` on stdin and read at most `limit` bytes of its stdout.

    The child is in a session of its own: a Ctrl-C on the terminal ends it through us or not at all.
    """
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(content)
        stdin.seek(0)
        child = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)
        timed_out, ended = threading.Event(), threading.Event()

        def watch() -> None:
            deadline = time.monotonic() + timeout_s
            while not ended.wait(timeout_s if interrupt is None else _LOOK_S):
                if time.monotonic() >= deadline:
                    timed_out.set()
                if timed_out.is_set() or (interrupt is not None and interrupt.is_set()):
                    child.kill()
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            assert child.stdout is not None
            output = child.stdout.read(limit + 1)
            problem = f"it answered more than {limit:,} bytes; not read further" if len(output) > limit else ""
            if problem:
                child.kill()
            child.stdout.close()
            code = child.wait()
        finally:
            ended.set()
            if child.poll() is None:
                child.kill()
                child.wait()
        take_interrupt(interrupt)
        if timed_out.is_set():
            problem = f"no answer within {timeout_s:.0f} s"
        stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - _MAX_ERROR_BYTES))
        errors = last_line(printable(stderr.read(_MAX_ERROR_BYTES)))
    return Result(code, output, errors, problem)


def run_logged(
    argv: list[str],
    log: Callable[[str], None],
    stop: Callable[[], None] | None = None,
    interrupt: threading.Event | None = None,
) -> Result:
    """Run a child and hand each line of its stderr to `log` as it comes; stdout is ignored.

    The child is in a session of its own, so that a Ctrl-C reaches only us: then it is asked to end (by `stop`, or
    SIGTERM), waited for, and KeyboardInterrupt goes on upwards. So it is when another thread sets `interrupt`.
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
        _drain(child, kept, log, interrupt)
        wait_for(child, _FOREVER_S, interrupt)
    except KeyboardInterrupt:
        stop() if stop else child.terminate()  # not SIGINT, which a child of a background job ignores
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            wait_for(child, 15.0, interrupt)
        raise
    finally:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        assert child.stderr is not None
        child.stderr.close()
    return Result(child.returncode, b"", last_line("\n".join(kept)))


def _drain(
    child: subprocess.Popen[bytes], kept: list[str], log: Callable[[str], None], interrupt: threading.Event | None
) -> None:
    assert child.stderr is not None
    pending = b""
    while True:
        take_interrupt(interrupt)
        if not select.select([child.stderr], [], [], None if interrupt is None else _LOOK_S)[0]:
            continue
        chunk = os.read(child.stderr.fileno(), _MAX_ERROR_BYTES)
        *lines, pending = (pending + chunk).split(b"\n")
        if pending and (not chunk or len(pending) > _MAX_LINE_BYTES):
            lines, pending = [*lines, pending], b""
        for line in lines:
            for start in range(0, max(1, len(line)), _MAX_LINE_BYTES):
                text = printable(line[start : start + _MAX_LINE_BYTES])
                kept.append(text)
                del kept[:-50]
                log(text)
        if not chunk:
            return

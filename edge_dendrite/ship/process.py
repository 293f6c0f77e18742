"""Child processes whose output is bounded and whose messages are safe to show."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass

_MAX_LINE_BYTES = 4096
# What an agent says in a day of building and measuring is far below.
_MAX_LOG_BYTES = 16 << 20
_NUM_KEPT_LINES = 50
_MAX_MESSAGE = 1000
_GRACE_S = 20.0
_LOOK_S, _TAIL_S = 0.1, 2.0


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


def without_prefix(line: str) -> str:
    """A message of the agent without the words that every one of them begins with."""
    return line.removeprefix("edge-bench: ").removeprefix("error: ")


class LineReader:
    """Reads lines of a child's stderr in a thread: hands each on, keeps the last; ends a child that never stops."""

    def __init__(self, child: subprocess.Popen[bytes], log: Callable[[str], None] = lambda line: None) -> None:
        assert child.stderr is not None
        self._child, self._stream, self._log = child, child.stderr, log
        self._kept: list[str] = []
        self._is_endless = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def finish(self) -> str:
        """Wait for the end of the stream; returns the last line.

        Where the child has ended, not for long: ssh gives its streams to its master, which holds them for as long as
        what it started on the board lives.
        """
        while self._thread.is_alive():
            is_gone = self._child.poll() is not None
            self._thread.join(_TAIL_S if is_gone else _LOOK_S)
            if is_gone:
                break
        return self.last()

    def last(self) -> str:
        """The last line so far that is not empty, cut to what fits into a message."""
        return last_line("\n".join(self._kept))[:_MAX_MESSAGE]

    @property
    def problem(self) -> str:
        """Why reading was given up, or nothing."""
        return f"it wrote more than {_MAX_LOG_BYTES:,} bytes of messages; not read further" if self._is_endless else ""

    def _read(self) -> None:
        num_bytes = 0
        with self._stream:
            for line in iter(lambda: self._stream.readline(_MAX_LINE_BYTES), b""):
                num_bytes += len(line)
                if num_bytes > _MAX_LOG_BYTES:
                    self._is_endless = True
                    _kill_group(self._child)
                    return
                text = printable(line).rstrip("\n")
                self._kept = [*self._kept[1 - _NUM_KEPT_LINES :], text]
                self._log(text)


def run_logged(
    argv: list[str],
    log: Callable[[str], None],
    *,
    request: bytes | None = None,
    max_output_bytes: int = 0,
    timeout_s: float | None = None,
) -> Result:
    """Run a child and hand each line of its stderr to `log` as it comes. Of stdout `max_output_bytes` are kept.

    `request` goes to its stdin, which then stays open: its end asks the child to end; without one, SIGTERM does. The
    child is in a session of its own, so that a Ctrl-C reaches only us: then it is asked to end, waited for, and
    KeyboardInterrupt goes on upwards. What answers more, says more, or takes longer than it may is ended.
    """
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if request is None else subprocess.PIPE,
        stdout=subprocess.PIPE if max_output_bytes else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    lines = LineReader(child, log)
    timed_out = threading.Event()

    def end() -> None:
        timed_out.set()
        end_group(child)

    timer = threading.Timer(timeout_s or 0.0, end)
    if timeout_s is not None:
        timer.start()
    try:
        _send(child, request)
        output, problem = _read(child, max_output_bytes)
        lines.finish()
        problem = problem or lines.problem
        child.wait()
    except KeyboardInterrupt:
        if request is None:
            child.terminate()  # not SIGINT, which a child of a background job ignores
        _close_stdin(child)
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            child.wait(timeout=_GRACE_S)
        raise
    finally:
        timer.cancel()
        end_group(child)
        _close_stdin(child)
        if child.stdout is not None:
            child.stdout.close()
    if timed_out.is_set():
        problem = f"no answer within {timeout_s:.0f} s"
    return Result(child.returncode, output, lines.finish(), problem)


def _send(child: subprocess.Popen[bytes], request: bytes | None) -> None:
    if request is not None and child.stdin is not None:
        with contextlib.suppress(BrokenPipeError):  # it ended already; its code and its last line say why
            child.stdin.write(request)
            child.stdin.flush()


def _close_stdin(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()


def _read(child: subprocess.Popen[bytes], limit: int) -> tuple[bytes, str]:
    if child.stdout is None:
        return b"", ""
    output = b""
    while len(output) <= limit:
        # As in LineReader.finish: the stream may stay open when the child is gone.
        is_gone = child.poll() is not None
        if select.select([child.stdout], [], [], _LOOK_S)[0]:
            chunk = os.read(child.stdout.fileno(), 1 << 16)
            output += chunk
            if not chunk:
                break
        elif is_gone:
            break
    if len(output) > limit:
        end_group(child)
        return b"", f"it answered more than {limit:,} bytes; not read further"
    return output, ""


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a child and what it started, if it has not ended."""
    if child.poll() is None:
        _kill_group(child)
        child.wait()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)

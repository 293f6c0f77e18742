"""A conversation with the store on a board: requests and answers in lines of JSON, and bytes of files between them."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from edge_bench.atomic import parse_json
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.process import LineReader, end_group, printable
from edge_dendrite.ship.remote import SshConnection

_CHUNK = 1 << 16
# A bundle has at most 4,096 files, each a line of 100 bytes in the longest answer.
_MAX_ANSWER_BYTES = 1 << 20
# What a login shell says before our program begins.
_MAX_NOISE_BYTES = 1 << 20
_TIMEOUT_S = 120.0


class BoardSession:
    """The store on a board, as long as it is connected; a context manager. All of its answers are data."""

    def __init__(self, connection: SshConnection, token: str) -> None:
        self._connection, self.token = connection, token
        self._mark = f"{token} ".encode()
        self._pending = b""

    def __enter__(self) -> BoardSession:
        argv, program = self._connection.start("store", self.token)
        # A session of its own: Ctrl-C reaches only us, and we end it in order.
        self._child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._stdin, self._stdout = self._child.stdin.fileno(), self._child.stdout.fileno()
        os.set_blocking(self._stdin, False)
        self._errors = LineReader(self._child)
        try:
            self.send([program], "starting")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        assert self._child.stdin and self._child.stdout
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=2.0)
        end_group(self._child)
        self._child.stdout.close()

    def ask(self, request: dict[str, Any], what: str, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
        """The answer to a request. Raises DeployError with what the board says against it, or how it ended."""
        self.send([json.dumps(request).encode("ascii") + b"\n"], what)
        return self.answer(what, timeout_s)

    def send(self, chunks: Iterable[bytes], what: str) -> None:
        """Send bytes as fast as the board takes them. What it says in between is read by the next answer()."""
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                readable, writable, _ = select.select([self._stdout], [self._stdin], [], _TIMEOUT_S)
                if not readable and not writable:
                    raise self._ended(what, f"it took no bytes for {_TIMEOUT_S:.0f} s")
                if readable:
                    self._receive(what)
                    if len(self._pending) > _MAX_NOISE_BYTES:
                        raise self._ended(what, "it talks without being asked")
                    if self._mark + b"{" in self._pending:
                        return  # an answer before the end: it says what is wrong
                try:
                    view = view[os.write(self._stdin, view[:_CHUNK]) :] if writable else view
                except BrokenPipeError:
                    return  # the answer, or how it ended, says why
                except BlockingIOError:
                    continue

    def answer(self, what: str, timeout_s: float = _TIMEOUT_S) -> dict[str, Any]:
        """The next answer; lines of a login shell before it are passed over."""
        deadline, num_noise = time.monotonic() + timeout_s, 0
        while True:
            line = self._line(what, deadline)
            if not line.startswith(self._mark):
                num_noise += len(line)
                if num_noise > _MAX_NOISE_BYTES:
                    reason = f"more than {_MAX_NOISE_BYTES:,} bytes came before an answer"
                    raise self._ended(what, f"{reason}; if a login script there prints that, mend it")
                continue
            answer = self._parse(line[len(self._mark) :], what)
            if "waiting" in answer:
                deadline = time.monotonic() + timeout_s  # it is alive; another deploy copies the same file
                continue
            if "error" in answer:
                reason = " ".join(printable(str(answer["error"]).encode("utf-8", "replace")).split())[:500]
                raise DeployError(f"{self._connection.target}: {what}: {reason}")
            return answer

    def _parse(self, text: bytes, what: str) -> dict[str, Any]:
        try:
            answer = parse_json(text)
        except ValueError as error:
            raise self._ended(what, f"its answer is no JSON: {str(error)[:200]}") from error
        if not isinstance(answer, dict):
            raise self._ended(what, "its answer is no object")
        return answer

    def _line(self, what: str, deadline: float) -> bytes:
        while b"\n" not in self._pending:
            if len(self._pending) > _MAX_ANSWER_BYTES:
                raise self._ended(what, f"it answered more than {_MAX_ANSWER_BYTES:,} bytes in a line")
            self._wait(what, deadline)
            self._receive(what)
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def read(self, num_bytes: int, what: str) -> bytes:
        """So many bytes, which an answer has announced."""
        deadline = time.monotonic() + _TIMEOUT_S + num_bytes / 100_000
        found = [self._pending[:num_bytes]]
        self._pending = self._pending[num_bytes:]
        missing = num_bytes - len(found[0])
        while missing:
            self._wait(what, deadline)
            self._receive(what)
            found.append(self._pending[:missing])
            self._pending = self._pending[missing:]
            missing -= len(found[-1])
        return b"".join(found)

    def _wait(self, what: str, deadline: float) -> None:
        if not select.select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise self._ended(what, "no answer in time")

    def _receive(self, what: str) -> None:
        data = os.read(self._stdout, _CHUNK)
        if not data:
            raise self._ended(what, "")
        self._pending += data

    def _ended(self, what: str, problem: str) -> DeployError:
        """End the conversation, and say why it ended: our reason, or that of the program there."""
        problem = problem or self._errors.problem
        if problem:
            end_group(self._child)
            return DeployError(f"{self._connection.target}: {what}: {problem}; look at the board, then run this again")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=10.0)
        end_group(self._child)
        return self._connection.why_ended(self._child.returncode, self._errors.finish(), what)

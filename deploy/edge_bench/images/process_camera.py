"""Frames that another program writes into a pipe of its own.

Not to its stdout: NVIDIA's camera source ("GST_ARGUS: ..."), libraries and gst-launch-1.0 itself print messages there,
and one line of text in the middle would shift every later frame.
"""

import collections
import contextlib
import os
import select
import subprocess
import threading
import time
from typing import Any, Callable, Deque, List, Optional

from edge_bench.child import started
from edge_bench.errors import CameraError
from edge_bench.images.image import Image, check_size
from edge_bench.images.newest import Camera

_FIX = "correct what it says; a camera has to be free, and you in the group video"
_NUM_LINES = 40
_MAX_LINE = 500
# Linux gives a pipe 64 KiB, a fourteenth of a small frame; F_SETPIPE_SZ of fcntl(2).
_SET_PIPE_SIZE, _PIPE_BYTES = 1031, 1 << 20


class ProcessCamera(Camera):
    """A child that writes RGB frames of one size to the open file whose number `command` gets.

    alignment: of its rows in bytes. ends: whether an end without an error is one (of a recording); a camera has none.
    """

    def __init__(
        self, name: str, command: Callable[[int], List[str]], width: int, height: int, alignment: int, ends: bool
    ):
        check_size(name, width, height, 3)
        self.name = name
        self._width, self._height, self._ends = width, height, ends
        self._alignment = alignment
        self._has_begun = False
        self._messages: Deque[str] = collections.deque(maxlen=_NUM_LINES)
        self._open = contextlib.ExitStack()
        # The end that is read stays open until we end: another thread may be waiting on it.
        self._frames, writing = os.pipe()
        try:
            _enlarge(writing)
            self._child = self._open.enter_context(started(command(writing), subprocess.STDOUT, (writing,)))
        except OSError as error:
            os.close(self._frames)
            raise CameraError("%s: cannot be started: %s" % (name, error)) from error
        finally:
            os.close(writing)  # else the end of the child would not be the end of the pipe
        self._reader = threading.Thread(target=self._read_messages, args=(self._child.stdout,), daemon=True)
        self._reader.start()

    def grab(self, limit_s: float) -> Optional[Image]:
        missing = _row_bytes(self._width, self._alignment) * self._height
        parts = []
        deadline = time.monotonic() + limit_s
        while missing:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._frames], [], [], left)[0]:
                raise CameraError("%s: no frame within %d s%s" % (self.name, limit_s, self._reason()))
            part = os.read(self._frames, min(missing, _PIPE_BYTES))
            if not part:
                self._end()
                return None
            parts.append(part)
            missing -= len(part)
        self._has_begun = True
        pixels = without_padding(b"".join(parts), self._width, self._height, self._alignment)
        return Image(self._width, self._height, 3, pixels)

    def close(self) -> None:
        self._open.close()
        self._reader.join(1.0)

    def _end(self) -> None:
        """The pipe was closed: that is the end of a recording, or an error. Raises CameraError for the latter."""
        code = self._exit_code()
        self._reader.join(1.0)
        if code == 0 and self._ends:
            return
        ended = "stopped writing" if code is None else "ended (exit code %d)" % code
        advice = "is the camera still plugged in?" if self._has_begun else _FIX
        raise CameraError("%s %s%s; %s" % (self.name, ended, self._reason(), advice))

    def _exit_code(self) -> Optional[int]:
        """Its exit code, negative for a signal, once it ends within a moment.

        It is not reaped: `close`, in another thread, ends the group by its number, which has to stay its own.
        """
        deadline = time.monotonic() + 3.0
        while time.monotonic() < deadline:
            try:
                ended = os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:  # `close` was quicker
                return self._child.returncode
            if ended is not None:
                return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
            time.sleep(0.02)
        return None

    def _reason(self) -> str:
        """The line of its messages that says what happened, as far as one can tell."""
        lines = list(self._messages)
        telling = [line for line in lines if "error" in line.lower() or "could not" in line.lower()]
        return ": " + (telling or lines[-1:])[0] if lines else ""

    def _read_messages(self, stream: Any) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed under us at the end
            for line in iter(lambda: stream.readline(_MAX_LINE), b""):
                text = line.decode("utf-8", "replace").strip()
                if text:
                    self._messages.append(text)


def without_padding(content: bytes, width: int, height: int, alignment: int) -> bytes:
    """Rows of RGB without the bytes that follow each so that the next begins at a multiple of `alignment`."""
    row, step = 3 * width, _row_bytes(width, alignment)
    if step == row:
        return content[: row * height]
    return b"".join(content[y * step : y * step + row] for y in range(height))


def _row_bytes(width: int, alignment: int) -> int:
    return 3 * width + -3 * width % alignment


def _enlarge(pipe: int) -> None:
    import fcntl

    with contextlib.suppress(OSError):  # not more than this system allows
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_BYTES)

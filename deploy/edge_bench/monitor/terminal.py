"""A terminal that is drawn in place and given back as it was: after the end, Ctrl-C, SIGTERM, an error, and Ctrl-Z.

Plain control sequences (ECMA-48, and xterm's alternate screen), no curses: a board may lack its terminal's entry.
"""

import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from typing import Any, Dict, List, Optional, Tuple

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"


def can_draw() -> bool:
    """Whether stdout is a terminal that understands control sequences."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def wants_colour() -> bool:
    return not os.environ.get("NO_COLOR")  # no-color.org


class Terminal:
    """A context manager around drawing."""

    def __init__(self) -> None:
        self._settings = None  # type: Optional[List[Any]]
        self._handlers: Dict[int, Any] = {}
        self._is_ending = False
        self._size = _size()

    def __enter__(self) -> "Terminal":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._interrupt)
        self._handlers[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._suspend)
        self._begin()
        return self

    def __exit__(self, *_raised: Any) -> None:
        self._is_ending = True
        self._end()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _interrupt(self, _signal: int, _frame: Any) -> None:
        """Only the first of several counts: the next one must not come in between while the terminal is given back."""
        if not self._is_ending:
            self._is_ending = True
            raise KeyboardInterrupt

    def _begin(self) -> None:
        try:
            # A job in the background may not touch the terminal: it would be stopped.
            if sys.stdin.isatty() and os.tcgetpgrp(0) == os.getpgrp():
                self._settings = termios.tcgetattr(0)
                tty.setcbreak(0, termios.TCSANOW)
        except (OSError, ValueError, termios.error):
            self._settings = None
        _write(_ENTER)

    def _end(self) -> None:
        try:
            _write(_LEAVE)
        except OSError:
            return  # the terminal is gone
        finally:
            if self._settings is not None:
                try:
                    termios.tcsetattr(0, termios.TCSANOW, self._settings)
                except (OSError, termios.error):
                    self._settings = None

    def _suspend(self, _signal: int, _frame: Any) -> None:
        """Ctrl-Z: the shell gets its screen; the board's figures come back with `fg`."""
        self._end()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._suspend)
        self._begin()

    def size(self) -> Tuple[int, int]:
        """(columns, rows), as they are now; wait() tells when they are others."""
        self._size = _size()
        return self._size

    def draw(self, lines: List[str]) -> None:
        """Replace what is shown, without a flicker. Lines have to be narrower than the terminal."""
        _write("\x1b[H" + "".join(line + "\x1b[0m\x1b[K\r\n" for line in lines[:-1]) + lines[-1] + "\x1b[0m\x1b[J")

    def wait(self, duration_s: float) -> Optional[str]:
        """A key that was pressed within the time, "resize" when the terminal has another size, or None."""
        end = time.monotonic() + duration_s
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return None
            if self._settings is None:
                time.sleep(min(left, 0.2))
            elif select.select([0], [], [], min(left, 0.2))[0]:
                return os.read(0, 64).decode("ascii", "replace")
            if _size() != self._size:
                return "resize"


def _size() -> Tuple[int, int]:
    columns, rows = shutil.get_terminal_size((80, 24))
    return columns, rows


def _write(text: str) -> None:
    """Past the buffers of sys.stdout, which a handler of a signal must not enter while they are being written."""
    data = text.encode("ascii", "replace")
    while data:
        data = data[os.write(1, data) :]

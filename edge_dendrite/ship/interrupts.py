"""Ctrl-C for work in several threads: counted in the main one, and handed on from there."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def counted_interrupts() -> Iterator[Callable[[], int]]:
    """How many of SIGINT, SIGTERM and SIGHUP came inside of the block; none of them raises KeyboardInterrupt there.

    So nothing is cut in the middle, and the second of them can mean something else than the first. Signals that are
    ignored (SIGHUP under nohup, SIGINT in a background job) stay so. Outside of the main thread, which alone may
    handle signals, it counts nothing.
    """
    count = 0

    def add(_signal: int, _frame: Any) -> None:
        # Nothing but this: it runs between any two instructions of the main thread, also where that holds a lock.
        nonlocal count
        count += 1

    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    signal.signal(number, add)
                    stack.callback(signal.signal, number, before)
        yield lambda: count

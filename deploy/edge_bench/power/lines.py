"""Values from the lines of a program that runs beside the window: stamped on arrival, restarted when it ends."""

import os
import threading
from typing import Any, Callable, Dict, List, Optional, Tuple

from edge_bench import child
from edge_bench.power.window import Clock, Feed, Push, Values

MAX_RESTARTS = 5
# Between the end of a program and its restart.
_PAUSE_S = 0.1
_KEPT_LINES = 3
# A program that floods its output must not fill the memory.
_MIN_SPACING_S = 1e-3

# The watts by rail that a line holds, or None for a line without any.
Parse = Callable[[str], Optional[Dict[str, float]]]


class LinesFeed(Feed):
    """Runs `command` in `cwd` while the window is open; `make_parser` gives a parser for each of its starts."""

    daemon = False  # its thread ends the child when the main thread is gone

    def __init__(
        self,
        command: List[str],
        make_parser: Callable[[], Parse],
        interval_s: float,
        clock: Clock,
        cwd: str = os.path.abspath(os.sep),
    ):
        self._command = command
        self._cwd = cwd
        self._make_parser = make_parser
        self._interval_s = interval_s
        self._clock = clock
        self._ends: List[str] = []
        self._num_values = 0
        # Lines without a value may say why there is none.
        self._strange: List[str] = []
        self.num_strange = 0
        self.first_strange = ""
        self._last_s = self._pushed_s = float("-inf")
        self.num_restarts = 0

    def run(self, push: Push, stopped: threading.Event) -> None:
        self._last_s = self._clock.now()
        main = threading.main_thread()

        def should_stop() -> bool:
            return stopped.is_set() or not main.is_alive()

        while not should_stop():
            parse, values_before = self._make_parser(), self._num_values

            def on_line(line: str, num_waiting: int, parse: Parse = parse) -> None:
                self._take(line, num_waiting, parse, push)

            end = child.follow(self._command, on_line, should_stop, max(10.0, 10.0 * self._interval_s), self._cwd)
            if should_stop():
                return
            self._ends.append(end)
            if self._num_values == values_before and len(self._ends) > 1:
                return  # a second start without a single value: a third would end alike
            if self.num_restarts >= MAX_RESTARTS or self._num_values == 0:
                return
            self.num_restarts += 1
            self._clock.wait(stopped, _PAUSE_S)

    def _take(self, line: str, num_waiting: int, parse: Parse, push: Push) -> None:
        values = parse(line)
        if values is None:
            if line.strip():
                self._strange = (self._strange + [line.strip()[:200]])[-_KEPT_LINES:]
                self.num_strange += 1
                self.first_strange = self.first_strange or self._strange[-1]
            return
        # Lines that waited in the pipe for this process came one interval after the other.
        now_s = self._clock.now()
        spacing_s = min(self._interval_s, (now_s - self._last_s) / (num_waiting + 1))
        self._last_s = now_s - num_waiting * spacing_s
        self._num_values += 1
        if self._last_s - self._pushed_s >= _MIN_SPACING_S:
            self._pushed_s = self._last_s
            push(self._last_s, values)

    @property
    def has_values(self) -> bool:
        return self._num_values > 0

    def notes(self) -> Dict[str, Any]:
        problems = []
        name = self._command[0].rsplit("/", 1)[-1]
        if self._ends:
            problems.append("%s %s and was restarted %d times" % (name, self._ends[0], self.num_restarts))
        if not self._num_values and self._strange:
            problems.append("%s said: %s" % (name, " | ".join(self._strange)))
        return {"num_restarts": self.num_restarts, "problems": problems}


def first_values(feed: LinesFeed, limit_s: float) -> Tuple[Values, str]:
    """The first values that a program gives, and what was seen instead when it gives none in `limit_s`."""
    found: List[Values] = []
    stopped = threading.Event()

    def keep(_moment_s: float, values: Values) -> None:
        found.append(values)
        stopped.set()

    timer = threading.Timer(limit_s, stopped.set)
    timer.daemon = True
    timer.start()
    try:
        feed.run(keep, stopped)
    finally:
        timer.cancel()
    if found:
        return found[0], ""
    return None, "; ".join(feed.notes()["problems"]) or "%.3g s without a value" % limit_s

"""A meter, and a window of time in which it measures: start(), stop(), and what was seen in between."""

import threading
import time
from typing import Any, Callable, Dict, Optional, Tuple

from edge_bench.power.result import Recorded, window_result

# How long a window waits for its first value before it begins without one.
FIRST_VALUE_S = 3.0

# Watts (or, for a counter, joules since the feed began) by rail; None: the sensor did not answer.
Values = Optional[Dict[str, float]]
Push = Callable[[float, Values], None]


class Clock:
    """Our monotonic clock. On Linux time.perf_counter() is the same one, so marks may come from either."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Whether the event was set within so many seconds."""
        return event.wait(max(seconds, 0.0))


class Feed:
    """Where a window's values come from. One feed serves one window; `run` is its thread."""

    # A feed with a child process must end it even when the main thread dies: it is not a daemon.
    daemon = True

    def run(self, push: Push, stopped: threading.Event) -> None:
        """Push values until `stopped`; None where the sensor did not answer."""
        raise NotImplementedError

    def notes(self) -> Dict[str, Any]:
        """What else a reader of the result has to know: restarts, lost lines, problems in words."""
        return {}


class Meter:
    """One way to measure power here. `rails` are those that make the total; others are reported beside it."""

    def __init__(
        self,
        source: str,
        rails: Tuple[str, ...],
        scope: str,
        interval_s: float,
        make_feed: Callable[[Clock], Feed],
        step_w: Optional[float] = None,
        details: Optional[Dict[str, Any]] = None,
        counts_energy: bool = False,
        step_is_assumed: bool = False,
    ):
        self.source = source
        self.rails = rails
        self.scope = scope
        self.interval_s = interval_s
        self.step_w = step_w
        self.step_is_assumed = step_is_assumed
        self.details = details or {}
        self.counts_energy = counts_energy
        self.clock = Clock()
        self._make_feed = make_feed

    def open_window(self) -> "Window":
        return Window(self, self._make_feed(self.clock))

    def describe(self) -> Dict[str, Any]:
        """The meter as data: what is measured, how often, in which steps (None: seen only in the data)."""
        return {
            "source": self.source,
            "rails": list(self.rails),
            "scope": self.scope,
            "interval_s": self.interval_s,
            "step_w": self.step_w,
            "details": self.details,
        }


class Window:
    """Energy between start() and stop(). stop() may be called again, and without start()."""

    def __init__(self, meter: Meter, feed: Feed):
        self._meter = meter
        self._feed = feed
        self._recorded = Recorded(meter.rails)
        self._first = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-bench power", daemon=feed.daemon)
        self._began_s: Optional[float] = None
        self._result: Optional[Dict[str, Any]] = None
        self.problem = ""

    def start(self) -> None:
        """Begin; returns after the first value, or after FIRST_VALUE_S without one."""
        self._thread.start()
        self._meter.clock.wait(self._first, FIRST_VALUE_S + self._meter.interval_s)
        self._began_s = self._meter.clock.now()

    def _run(self) -> None:
        try:
            self._feed.run(self._push, self._stopped)
        finally:
            self._first.set()

    def _push(self, moment_s: float, values: Values) -> None:
        self._recorded.add(moment_s, values)
        self._first.set()

    def stop(self) -> Optional[Dict[str, Any]]:
        """What was measured (see result.py for the keys), or None, and `problem` says why, without two values."""
        if self._began_s is None or self._stopped.is_set():
            return self._result
        ended_s = self._meter.clock.now()
        self._stopped.set()
        self._thread.join(10.0)
        notes = self._feed.notes()
        if self._thread.is_alive():
            notes.setdefault("problems", []).append("the sensor was still being read 10 s after the end")
        self._result, self.problem = window_result(self._meter, self._recorded, self._began_s, ended_s, notes)
        return self._result

"""Values from a sensor that is read: by a thread, every so many seconds."""

import threading
from typing import Callable, Dict, Optional

from edge_bench.power.window import Clock, Feed, Push, Values

# Rails beside the total cost an I2C transfer each; so often is enough for their mean.
OTHER_RAILS_S = 0.5


class PolledFeed(Feed):
    """Calls `read` every interval, and once more at the end; `read_others` seldom."""

    def __init__(
        self,
        read: Callable[[], Values],
        interval_s: float,
        clock: Clock,
        read_others: Optional[Callable[[], Dict[str, float]]] = None,
    ):
        self._read = read
        self._interval_s = interval_s
        self._clock = clock
        self._read_others = read_others

    def run(self, push: Push, stopped: threading.Event) -> None:
        others_s = due_s = self._clock.now()
        while True:
            last = stopped.is_set()
            before_s = self._clock.now()
            values = self._read()
            # Voltage and current are not read at one time; the middle is nearest to both.
            moment_s = (before_s + self._clock.now()) / 2.0
            if values is not None and self._read_others is not None and (moment_s >= others_s or last):
                values = dict(self._read_others(), **values)
                others_s = moment_s + OTHER_RAILS_S
            push(moment_s, values)
            if last:
                return
            # What was missed is not made up for: readings in a burst would say nothing new.
            now_s = self._clock.now()
            due_s = due_s + self._interval_s if due_s + self._interval_s > now_s else now_s + self._interval_s
            self._clock.wait(stopped, due_s - now_s)

"""Counters of energy: differences of what they show, over their wrap."""

import threading
from typing import Any, Dict, List, NamedTuple, Optional

from edge_bench.board.files import read_number
from edge_bench.power.polled import PolledFeed
from edge_bench.power.window import Clock, Feed, Push, Values

# Beyond it a jump is no consumption: the counter was set back (a suspend, a driver that was loaded again).
_MAX_POWER_W = 5000.0


class Zone(NamedTuple):
    """A counter in microjoules that starts again at zero behind `wrap_uj`."""

    name: str
    path: str
    wrap_uj: float


class Counter:
    """Joules since the first reading."""

    def __init__(self, zone: Zone):
        self.zone = zone
        self._last_uj: Optional[float] = None
        self._last_s = 0.0
        self._total_j = 0.0
        self.num_resets = 0

    def read(self, now_s: float) -> Optional[float]:
        """Joules, or None when it does not answer. Where it was set back, that time counts as nothing."""
        value_uj = read_number(self.zone.path)
        if value_uj is None:
            return None
        if self._last_uj is not None:
            change_uj = value_uj - self._last_uj
            if change_uj < 0:
                change_uj += self.zone.wrap_uj
            if 0 <= change_uj <= 1e6 * _MAX_POWER_W * max(now_s - self._last_s, 1e-3):
                self._total_j += change_uj / 1e6
            else:
                self.num_resets += 1
        self._last_uj, self._last_s = value_uj, now_s
        return self._total_j


class CounterFeed(Feed):
    """Reads `zones` (the total) and `others` every interval: often enough that none wraps twice."""

    def __init__(self, zones: List[Zone], others: List[Zone], interval_s: float, clock: Clock):
        self._counters = [Counter(zone) for zone in zones]
        self._others = [Counter(zone) for zone in others]
        self._clock = clock
        self._polled = PolledFeed(self._read, interval_s, clock)

    def run(self, push: Push, stopped: threading.Event) -> None:
        self._polled.run(push, stopped)

    def _read(self) -> Values:
        now_s = self._clock.now()
        values = {counter.zone.name: counter.read(now_s) for counter in self._counters}
        if None in values.values():
            return None
        values.update((counter.zone.name, counter.read(now_s)) for counter in self._others)
        return {name: joules for name, joules in values.items() if joules is not None}

    def notes(self) -> Dict[str, Any]:
        num_resets = sum(counter.num_resets for counter in self._counters)
        problem = "the energy counter was set back %d times; what it missed is not counted" % num_resets
        return {"problems": [problem] if num_resets else []}

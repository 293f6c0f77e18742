"""What other programs took of the processors while a phase ran: it slows us down, and a power sensor sees it too."""

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from edge_bench.board.load import busy_seconds
from edge_bench.schema import warning

# The system counts processor time in ticks of ten milliseconds.
MIN_WINDOW_S = 0.5
# Above this share a valid run says so.
NOTED_SHARE = 0.1


class OtherLoad:
    """From when it is made. What ran in our own children counts as ours as soon as they have ended."""

    def __init__(self) -> None:
        self._busy_s, self._own_s, self._began_s = busy_seconds(), _own_seconds(), time.perf_counter()

    def share(self) -> Optional[float]:
        """Of all processor time so far, 0 to 1; None where that is not readable or the time was too short."""
        own_s, busy_s, duration_s = _own_seconds() - self._own_s, busy_seconds(), time.perf_counter() - self._began_s
        if busy_s is None or self._busy_s is None or duration_s < MIN_WINDOW_S:
            return None
        return max(0.0, busy_s - self._busy_s - own_s) / (duration_s * (os.cpu_count() or 1))


def judge(shares: List[Tuple[str, Any]], allowed: float) -> Tuple[List[str], List[Dict[str, str]]]:
    """(reasons why the run is invalid, warnings) for (phase, share or None)."""
    invalid, warnings = [], []
    for phase, share in shares:
        if share is None:
            continue
        words = "other programs used %.0f %% of all processor time during the %s" % (100 * share, phase)
        if share > allowed:
            invalid.append("%s (allowed: %.0f %%); end them and run again" % (words, 100 * allowed))
        elif share > NOTED_SHARE:
            code = "other-load" if phase.startswith("latency") else "other-load-energy"
            warnings.append(warning(code, words, "end them and run again"))
    return invalid, warnings


def _own_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times[0] + times[1] + times[2] + times[3]

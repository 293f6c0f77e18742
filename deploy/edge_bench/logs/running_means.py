"""Were lines lost, or was tegrastats started again? Its own averages tell.

The second power figure of a rail is the plain mean of the first figures since tegrastats started: in 2,775 recorded
lines of three logs (TX2 with two releases, Xavier NX) to 1 mW. So with `count` figures behind a known mean, the means
that follow are determined by the figures in between; where they differ, figures are missing, or the mean began anew.
The count is not printed, and a log may begin anywhere: each line bounds it from both sides, and as long as some count
explains all rails of all lines nothing is amiss.

A loss is seen only if what was lost differs enough from the mean: by 2 mW times the number of lines so far.
"""

import math
from typing import Any, Dict, Optional

# 1 mW for the mean that is known and 1 mW for the one that is predicted.
_TOLERANCE_MW = 2.0


class Break:
    """Where a log is broken: at which line, and whether tegrastats was started again there or lines are missing."""

    RESTART = "restart"
    LOST = "lost lines"

    def __init__(self, kind: str, line_number: int):
        self.kind = kind
        self.line_number = line_number


class RunningMeans:
    """Takes the rails of one line after the other and says where the log is broken."""

    def __init__(self) -> None:
        self._track = None  # type: Optional[_Track]
        self._restarted = None  # type: Optional[_Track]

    def add(self, power_w: Dict[str, Dict[str, Optional[float]]], line_number: int) -> Optional[Break]:
        """The break before this line, if there is one; `power_w` as parse_line gives it."""
        figures = {
            rail: (1000.0 * (values["current"] or 0.0), 1000.0 * (values["average"] or 0.0))
            for rail, values in power_w.items()
            if values["current"] is not None and values["average"] is not None
        }
        if not figures:
            return None
        # A mean that equals the figure is how a start looks; whether it was one, the next lines show.
        if self._restarted is not None and not self._restarted.take(figures):
            self._restarted = None
        if self._restarted is None and all(abs(now - mean) <= 1.0 for now, mean in figures.values()):
            self._restarted = _Track(figures, 1, 1, line_number)
        if self._track is None or not self._track.knows(figures):
            self._track = _Track(figures, 1, math.inf, line_number)
            return None
        if self._track.take(figures):
            return None
        if self._restarted is not None:
            self._track, self._restarted = self._restarted, None
            return Break(Break.RESTART, self._track.line_number)
        self._track = _Track(figures, self._track.min_count + 1, math.inf, line_number)
        return Break(Break.LOST, line_number)


class _Track:
    """The lines since one whose means are known, and the counts of figures behind these means that explain them."""

    def __init__(self, figures: Dict[str, Any], min_count: float, max_count: float, line_number: int):
        self.line_number = line_number
        self._means = {rail: mean for rail, (_, mean) in figures.items()}
        self._sums = dict.fromkeys(self._means, 0.0)
        self._num_lines = 0
        self._min_count = min_count
        self._max_count = max_count

    @property
    def min_count(self) -> float:
        """The least number of figures behind the means of the last line."""
        return self._min_count + self._num_lines

    def knows(self, figures: Dict[str, Any]) -> bool:
        """Whether it can say anything about these rails."""
        return any(rail in figures for rail in self._means)

    def take(self, figures: Dict[str, Any]) -> bool:
        """Go on by a line; False, and nothing changed, when no count explains it."""
        num_lines = self._num_lines + 1
        low, high = self._min_count, self._max_count
        rails = [rail for rail in self._means if rail in figures]
        for rail in rails:
            now, mean = figures[rail]
            total = self._sums[rail] + now
            # mean - tolerance <= (known * count + total) / (count + num_lines) <= mean + tolerance
            for bound, sign in ((mean + _TOLERANCE_MW, 1.0), (mean - _TOLERANCE_MW, -1.0)):
                slope, rest = sign * (self._means[rail] - bound), sign * (bound * num_lines - total)
                if slope > 0:
                    high = min(high, rest / slope)
                elif slope < 0:
                    low = max(low, rest / slope)
                elif rest < 0:
                    return False
        if math.ceil(low - 1e-9) > high + 1e-9:
            return False
        self._num_lines, self._min_count, self._max_count = num_lines, low, high
        self._means = {rail: self._means[rail] for rail in rails}  # a rail that was missing once has no sum any more
        self._sums = {rail: self._sums[rail] + figures[rail][0] for rail in rails}
        return True

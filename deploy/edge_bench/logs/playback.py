"""The lines of a recorded log at the times at which they were written."""

from typing import Iterable, Iterator, List, NamedTuple, Optional

from edge_bench.logs.tegrastats import parse_line
from edge_bench.logs.times import seconds_of

# tegrastats' own, where a log does not tell another.
DEFAULT_INTERVAL_S = 1.0
# Samples of one second, for more than these nothing waits; of what lies between samples twice as many lines are kept.
_MAX_HELD = 10000


class Timed(NamedTuple):
    """A line, and when it is due after the first one."""

    time_s: float
    text: str


def timed_lines(lines: Iterable[str], interval_s: Optional[float] = None) -> Iterator[Timed]:
    """Each line with its time: by the stamps, or `interval_s` apart. A line that is no sample comes with the next.

    Stamps are whole seconds, so the samples of one are spread evenly up to the next stamp. A stamp that goes back
    (a clock that was set, a log that begins again), and no stamps, count as a second apart.
    """
    begin_s, stamp_s, step_s = 0.0, None, DEFAULT_INTERVAL_S  # type: float, Optional[float], float
    held, num_samples = [], 0  # type: List[str], int
    for text in lines:
        sample = parse_line(text)
        if sample is not None:
            now_s = seconds_of(sample["timestamp"]) if interval_s is None else None
            if num_samples and (now_s is None or now_s != stamp_s or num_samples >= _MAX_HELD):
                step_s = _step(stamp_s, now_s, interval_s)
                for one in _spread(held, begin_s, step_s, num_samples):
                    yield one
                begin_s, held, num_samples = begin_s + step_s, [], 0
            stamp_s = now_s
            num_samples += 1
        if sample is not None or len(held) < 2 * _MAX_HELD:
            held.append(text)
    for one in _spread(held, begin_s, step_s, max(num_samples, 1)):
        yield one


def _step(last_s: Optional[float], now_s: Optional[float], interval_s: Optional[float]) -> float:
    if interval_s is not None:
        return interval_s
    return now_s - last_s if last_s is not None and now_s is not None and now_s > last_s else DEFAULT_INTERVAL_S


def _spread(held: List[str], begin_s: float, step_s: float, num_samples: int) -> Iterator[Timed]:
    position = 0
    for text in held:
        yield Timed(begin_s + step_s * position / num_samples, text)
        position += parse_line(text) is not None

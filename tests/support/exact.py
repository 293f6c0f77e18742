"""A backend whose every inference takes exactly the time that it is told: what a measurement must find again.

For the agent's own tests, under Python 3.6 too: time is a clock that the backend moves, so nothing waits or jitters.
"""

import itertools
from typing import Any, Dict, Iterable, List, Optional, Sequence

from edge_bench.backends.base import Backend
from edge_bench.errors import BackendError


class ManualClock:
    """Seconds that pass only when somebody says so. To be called as time.perf_counter is; `sleep` as time.sleep."""

    def __init__(self, now: float = 0.0):
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class ExactBackend(Backend):
    """latencies_s: of one inference after the other, from the begin again at their end. device_share: of each, the part
    that is spent on the device. outputs: what every inference gives. fails_at: the inference, counted from 1, that
    raises BackendError.
    """

    name = "exact"
    version = "1"

    def __init__(
        self,
        clock: ManualClock,
        latencies_s: Iterable[float],
        outputs: Sequence[Sequence[float]] = (),
        device_share: Optional[float] = None,
        fails_at: Optional[int] = None,
    ):
        super().__init__(clock)
        self.num_runs = 0
        self.num_closed = 0
        self.contents: List[bytes] = []
        self.providers, self.num_threads = ["a clock"], 1
        self._manual = clock
        self._latencies_s = itertools.cycle(list(latencies_s))
        self._outputs, self._device_share, self._fails_at = [list(one) for one in outputs], device_share, fails_at

    def set_inputs(self, contents: Sequence[bytes]) -> None:
        self.contents = list(contents)

    def bind(self, inputs: List[Dict[str, Any]], outputs: List[Dict[str, Any]]) -> None:
        """Any tensors are right here."""
        self.inputs, self.outputs = list(inputs), list(outputs)

    def infer(self) -> Any:
        self.num_runs += 1
        if self.num_runs == self._fails_at:
            raise BackendError("inference %d fails, as it was told to" % self.num_runs)
        self._manual.sleep(next(self._latencies_s))

    def time_slice(self, samples_s: List[float], num_runs: Optional[int], slice_s: float) -> None:
        num_before = len(samples_s)
        super().time_slice(samples_s, num_runs, slice_s)
        if self._device_share is not None:
            self.device_samples_s.extend(one * self._device_share for one in samples_s[num_before:])

    def read_outputs(self) -> List[Sequence[float]]:
        return list(self._outputs)

    def close(self) -> None:
        self.num_closed += 1

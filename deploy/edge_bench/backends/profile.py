"""Times of a network's layers, as a runtime's own profiler gives them, before they are put into a measurement.

A profiled inference is slower than others, so a profile is a phase of its own, after all that is measured, and short.
"""

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from edge_bench.errors import BackendError

# Inferences that are profiled, seconds that they may take in all, and those of them, the first, that count for nothing.
MAX_RUNS, MAX_S, NUM_WARMUP = 250, 3.0, 50


OTHER_RUNTIME = "use onnxruntime, TensorRT's Python module, or a trtexec that has --exportProfile"


class NoProfile(BackendError):
    """There are no times of layers, and `fix` would give them."""

    def __init__(self, reason: str, fix: str):
        super().__init__(reason)
        self.fix = fix


class Layer(NamedTuple):
    """What a runtime times by itself: a node, several that it fused, or one that it added.

    name: the runtime's. kind: its operator, None where that is not told. provider: of onnxruntime. nodes: names in the
    ONNX file, as far as they can be told. times_s: of each inference; a runtime that keeps only means gives one.
    """

    name: str
    kind: Optional[str]
    provider: Optional[str]
    nodes: List[str]
    times_s: List[float]


class Profile(NamedTuple):
    """source: which profiler. num_inferences: that `times_s` are of. resolution_s: its clock's step, where it has a
    coarse one. latencies_s: of the whole inferences while they were profiled, where they are known. note: what a
    reader must know about these times.
    """

    source: str
    layers: List[Layer]
    num_inferences: int
    resolution_s: Optional[float]
    latencies_s: List[float]
    note: str


def repeat(infer: Callable[[], Any], max_runs: int) -> List[float]:
    """Call it `max_runs` times, or until MAX_S have passed, once at least; the latencies after the warm-up.

    The warm-up is half of what there is at most: few calls are better than none.
    """
    latencies: List[float] = []
    began = time.perf_counter()
    while len(latencies) < max_runs:
        start = time.perf_counter()
        infer()
        latencies.append(time.perf_counter() - start)
        if time.perf_counter() - began >= MAX_S:
            break
    return latencies[min(NUM_WARMUP, len(latencies) // 2) :]


def collect(inferences: List[List[Tuple[Any, float]]]) -> Dict[Any, List[float]]:
    """From (key, seconds) of each inference to the times of each key, in the order in which they first ran.

    What comes several times in an inference, as the body of a loop, is added up; where it did not run it took no time.
    """
    found: Dict[Any, List[float]] = {}
    for number, inference in enumerate(inferences):
        for key, seconds in inference:
            times_s = found.setdefault(key, [0.0] * len(inferences))
            times_s[number] += seconds
    return found

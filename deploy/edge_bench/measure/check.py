"""The outputs against the bundle's reference, before anything is timed: a fast wrong model is no result."""

import math
import time
from typing import Any, Callable, Dict, NamedTuple, Sequence, Tuple

from edge_bench.backends.base import Backend
from edge_bench.backends.tensors import to_numbers
from edge_bench.measure.source import Source


class Checked(NamedTuple):
    """record: the measurement's `check`. first_inference_s: how long the very first inference took."""

    record: Dict[str, Any]
    first_inference_s: float


def check_outputs(backend: Backend, source: Source, progress: Callable[[float], None]) -> Checked:
    """Run every reference case; of a batch every example is that case.

    The first case is the one that stays set, to be timed. Raises BackendError when the runtime fails.
    """
    largest, passed, first_s = 0.0, True, None
    for number, case in reversed(list(enumerate(source.cases))):
        backend.set_inputs([source.read(name) for name in case.inputs])
        began = time.perf_counter()
        backend.infer()
        first_s = time.perf_counter() - began if first_s is None else first_s
        for output, name, tensor in zip(backend.read_outputs(), case.outputs, source.outputs):
            expected = to_numbers(source.read(name) * backend.batch, tensor["dtype"])
            error, close = compare_outputs(output, expected, source.atol, source.rtol)
            largest, passed = max(largest, error), passed and close
        progress(1.0 - float(number) / len(source.cases))
    assert first_s is not None
    record = {
        "passed": passed,
        "max_abs_error": largest if math.isfinite(largest) else None,
        "atol": source.atol,
        "rtol": source.rtol,
        "num_cases": len(source.cases),
    }
    return Checked(record, first_s)


def compare_outputs(output: Sequence[float], expected: Sequence[float], atol: float, rtol: float) -> Tuple[float, bool]:
    """(largest absolute error, whether every value is within atol + rtol * |expected|).

    NaN and infinity are never close, on either side.
    """
    if len(expected) != len(output):
        return math.inf, False
    largest, close = 0.0, True
    for value, wanted in zip(output, expected):
        error = abs(value - wanted)
        # An infinite reference has an infinite tolerance: without the second condition anything would pass.
        if not (error <= atol + rtol * abs(wanted) and error < math.inf):
            close = False
        largest = max(largest, error) if error == error else math.inf
    return largest, close

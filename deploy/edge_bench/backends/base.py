"""The one interface behind which networks run.

Most backends run one inference when they are told to: `infer()`, which is timed from outside, or by `time_slice` from
close by. A program such as trtexec can only be told to run many inferences and to say afterwards how long each took
(`in_bulk`). It has the same interface with two differences, and a caller that respects them needs no other: its
`infer()` starts the program for one inference to have its outputs, and must not be timed; and its `time_slice` runs the
program once, for `slice_s` at least, after a start and a warm-up of its own, so it is called once with the whole
phase. When the inferences ran, on time.monotonic's clock, is then in `window_s`: power is averaged over that, not over
the program's start.
"""

import itertools
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from edge_bench.backends.profile import OTHER_RUNTIME, NoProfile, Profile
from edge_bench.backends.tensors import check_names

HOST_CLOCK = "host clock"
# Inferences between two looks at the deadline of a slice: for at most about ten milliseconds.
_MAX_CHUNK = 512
_CHUNK_S = 1e-2


class Backend:
    """A loaded network with fixed inputs.

    name, version: of the runtime. providers: what really runs the network (an onnxruntime provider, a GPU's name, a
    program). num_threads: intra-op threads, None where that is not ours to say. inputs, outputs: its tensors as in a
    manifest (name, dtype, shape for a batch of 1). batch: so many times each input is repeated. device_samples_s:
    times on the device itself, beside those of the host, where the backend has them; its `time_slice` adds to them.
    timed_by: what took the latencies. engine_sha256: of a TensorRT engine, since two of one ONNX file are not the same.
    is_another_process: the network runs in a program of its own, so memory of ours is not its own.
    """

    name = ""
    version = ""
    timed_by = HOST_CLOCK
    in_bulk = False
    is_another_process = False

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.providers: List[str] = []
        self.num_threads: Optional[int] = None
        self.inputs: List[Dict[str, Any]] = []
        self.outputs: List[Dict[str, Any]] = []
        self.batch = 1
        self.device_samples_s: List[float] = []
        self.engine_sha256: Optional[str] = None
        self.window_s: Optional[Tuple[float, float]] = None
        self._clock = clock

    def bind(self, inputs: List[Dict[str, Any]], outputs: List[Dict[str, Any]]) -> None:
        """Take the tensors of a manifest: contents and outputs are in their order from now on.

        Raises BackendError when the network has others: one that the manifest leaves out would go unchecked.
        """
        check_names(self.inputs, inputs, "inputs")
        check_names(self.outputs, outputs, "outputs")
        self.inputs, self.outputs = list(inputs), list(outputs)

    def set_inputs(self, contents: Sequence[bytes]) -> None:
        """Fix the inputs: the raw little-endian bytes of each of `inputs`, in their order. Not timed.

        Of a batch every example gets the same content.
        """
        raise NotImplementedError

    def infer(self) -> Any:
        """One inference to its end: what is timed. Raises BackendError when the runtime fails."""
        raise NotImplementedError

    def read_outputs(self) -> List[Sequence[float]]:
        """The outputs of the latest `infer`, in the order of `outputs`, each flat and in row-major order.

        Of a batch each has the numbers of all examples, one after the other.
        """
        raise NotImplementedError

    def time_slice(self, samples_s: List[float], num_runs: Optional[int], slice_s: float) -> None:
        """Append latencies in seconds until `num_runs` more are there or `slice_s` has passed; at least one."""
        infer, append, clock = self.infer, samples_s.append, self._clock
        deadline = clock() + slice_s
        left, chunk = num_runs, 1
        while left is None or left > 0:
            chunk = chunk if left is None else min(chunk, left)
            for _ in itertools.repeat(None, chunk):
                began = clock()
                infer()
                append(clock() - began)
            left = None if left is None else left - chunk
            if clock() >= deadline:
                return
            # Of fast networks many for one look at the deadline: the looks would be a hundredth of the phase.
            chunk = max(1, min(_MAX_CHUNK, int(_CHUNK_S / max(samples_s[-1], 1e-9))))

    def num_examples(self) -> int:
        """How many examples an inference takes: `batch`, or that of a file whose batch is fixed.

        Such a file shows it only in its shapes: one number above 1 in front of every input and output that has further
        dimensions.
        """
        shapes = [tensor["shape"] for tensor in self.inputs + self.outputs]
        firsts = {shape[0] if len(shape) > 1 else 1 for shape in shapes}
        if self.batch != 1 or len(firsts) != 1 or not self.inputs:
            return self.batch
        return max(firsts.pop(), 1)

    def memory(self) -> Dict[str, int]:
        """Named figures in bytes that only this backend knows, such as `engine_scratch_bytes`; none by default."""
        return {}

    def profile_layers(self, read_model: Callable[[], bytes]) -> Profile:
        """The times of the network's layers, with the inputs as they are set. `read_model` gives the file's bytes.

        The last call before `close`: what held the network may be gone. Raises BackendError where it cannot be told.
        """
        raise NoProfile("%s has no profiler of layers that is known here" % self.name, OTHER_RUNTIME)

    def close(self) -> None:
        """Give back what the device holds. Called once, also after an error."""

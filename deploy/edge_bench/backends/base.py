"""The one interface behind which networks run."""

import time
from typing import Any, Dict, List, Optional, Sequence


class Backend:
    """A loaded network with fixed inputs.

    name, version: of the runtime. providers: what really runs the network (an onnxruntime provider, a GPU's name, a
    program). num_threads: intra-op threads, None where that is not ours to say. inputs, outputs: its tensors as in a
    manifest (name, dtype, shape). device_samples_s: times on the device itself, beside those of the host, where the
    backend has them; its `time_slice` adds to them.
    """

    name = ""
    version = ""

    def __init__(self) -> None:
        self.providers = []  # type: List[str]
        self.num_threads = None  # type: Optional[int]
        self.inputs = []  # type: List[Dict[str, Any]]
        self.outputs = []  # type: List[Dict[str, Any]]
        self.device_samples_s = []  # type: List[float]

    def set_inputs(self, contents: Sequence[bytes]) -> None:
        """Fix the inputs: the raw little-endian bytes of each of `inputs`, in their order. Not timed."""
        raise NotImplementedError

    def infer(self) -> Any:
        """One inference to its end: what is timed. Raises BackendError when the runtime fails."""
        raise NotImplementedError

    def read_outputs(self) -> List[Sequence[float]]:
        """The outputs of the latest `infer`, in the order of `outputs`, each flat and in row-major order."""
        raise NotImplementedError

    def time_slice(self, samples_s: List[float], num_runs: Optional[int], slice_s: float) -> None:
        """Append latencies in seconds until `num_runs` more are there or `slice_s` has passed; at least one."""
        infer, append, clock = self.infer, samples_s.append, time.perf_counter
        deadline = clock() + slice_s
        while num_runs is None or num_runs > 0:
            began = clock()
            infer()
            ended = clock()
            append(ended - began)
            if num_runs is not None:
                num_runs -= 1
            if ended >= deadline:
                return

    def memory(self) -> Dict[str, int]:
        """Named figures in bytes that only this backend knows, such as `engine_scratch_bytes`; none by default."""
        return {}

    def close(self) -> None:
        """Give back what the device holds. Called once, also after an error."""

"""The TensorRT backend: an engine, its buffers, and one inference from the host's memory back to it.

One `infer()` is: inputs to the device, the engine, outputs to the host, all on one stream, and the wait for it; input
and output lie in pinned memory. It is timed by the host clock around all of that; CUDA events around the engine alone
give the time on the GPU, and are read outside of what is timed (recording the two costs the host about a microsecond
each, which is inside). Never run on a GPU: it ran against a compiled fake of libcudart, whose work waits as on a
stream, and fakes of TensorRT 8.2, 8.6 and 10.3.
"""

import ctypes
import hashlib
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from edge_bench import child
from edge_bench.backends import profile, tensors
from edge_bench.backends.base import Backend
from edge_bench.backends.tensorrt_engine import LoadedEngine
from edge_bench.cuda.api import CTYPES, CudaApi, Held, open_api
from edge_bench.errors import BackendError

_PROBE_TIMEOUT_S = 120.0


class Here(NamedTuple):
    """What this board has: the device, as the driver tells it, and the TensorRT that Python has."""

    tensorrt_version: str
    device: Dict[str, Any]


def probe_runtime() -> Tuple[str, str]:
    """(version of the TensorRT that Python has, "") or ("", why it cannot be used), found out in a child process."""
    call = "edge_bench.backends.tensorrt_engine:describe_runtime"
    return child.ask_version(call, "making its runtime", _PROBE_TIMEOUT_S)


class _Buffer(NamedTuple):
    """A tensor's memory: pinned on the host, and on the device."""

    tensor: Dict[str, Any]
    host: int
    device: int
    num_bytes: int


class TensorRtBackend(Backend):
    """An engine on the first GPU."""

    name = "tensorrt"

    def __init__(self, engine: bytes, here: Here, batch: int = 1, buffers: str = CTYPES):
        """Load an engine. `here` was found in children: before, nothing of CUDA is touched in this process.

        Raises BackendError when the engine does not load here, or there is no memory for it.
        """
        super().__init__()
        self.engine_sha256 = hashlib.sha256(engine).hexdigest()
        self.providers = [here.device["name"]]
        self.batch = batch
        self._num_file_bytes = len(engine)
        self._api: Optional[CudaApi] = None
        self._held: Optional[Held] = None
        self._engine: Optional[LoadedEngine] = None
        self._stream = 0
        self._events: Tuple[int, int] = (0, 0)
        self._inputs: List[_Buffer] = []
        self._outputs: List[_Buffer] = []
        try:
            self._load(engine, buffers)
        except BaseException:  # an interrupt too
            self._release()
            raise

    def _load(self, engine: bytes, buffers: str) -> None:
        self._api = open_api(buffers)
        self._held = Held(self._api)
        # Makes CUDA's context; what it takes itself is not counted as the engine's.
        self._free_bytes_before = self._api.memory_info()[0]
        self._engine = LoadedEngine(engine)
        self.version = self._engine.version
        self._engine.set_batch(self.batch)
        self._stream = self._held.create_stream()
        self._events = (self._held.create_event(), self._held.create_event())
        for tensor in self._engine.inputs:
            self._inputs.append(self._allocate(tensor))
        for tensor in self._engine.outputs:
            self._outputs.append(self._allocate(tensor))
        addresses = {buffer.tensor["name"]: buffer.device for buffer in self._inputs + self._outputs}
        self._engine.connect(addresses, self._stream)
        self.inputs = [_for_one(buffer.tensor) for buffer in self._inputs]
        self.outputs = [_for_one(buffer.tensor) for buffer in self._outputs]

    def _allocate(self, tensor: Dict[str, Any]) -> _Buffer:
        assert self._engine is not None and self._held is not None
        size = tensors.num_bytes(tensor["dtype"], self._engine.shape_of(tensor["name"]))
        # An empty tensor has an address too.
        return _Buffer(tensor, self._held.malloc_host(max(size, 1)), self._held.malloc(max(size, 1)), size)

    def bind(self, inputs: List[Dict[str, Any]], outputs: List[Dict[str, Any]]) -> None:
        tensors.check_names([one.tensor for one in self._inputs], inputs, "inputs", narrowed=True)
        tensors.check_names([one.tensor for one in self._outputs], outputs, "outputs", narrowed=True)
        self._inputs = _in_order(self._inputs, inputs)
        self._outputs = _in_order(self._outputs, outputs)
        self.inputs, self.outputs = list(inputs), list(outputs)

    def set_inputs(self, contents: Sequence[bytes]) -> None:
        for buffer, tensor, content in zip(self._inputs, self.inputs, contents):
            if (tensor["dtype"], buffer.tensor["dtype"]) == ("int64", "int32"):
                content = tensors.narrow(content, tensor["name"])
            ctypes.memmove(buffer.host, tensors.tile(content, buffer.num_bytes, tensor["name"]), buffer.num_bytes)

    def infer(self) -> Any:
        api, engine, stream = self._api, self._engine, self._stream
        assert api is not None and engine is not None
        for one in self._inputs:
            api.copy_to_device(one.device, one.host, one.num_bytes, stream)
        api.record_event(self._events[0], stream)
        engine.execute()
        api.record_event(self._events[1], stream)
        for one in self._outputs:
            api.copy_to_host(one.host, one.device, one.num_bytes, stream)
        api.synchronize_stream(stream)

    def time_slice(self, samples_s: List[float], num_runs: Optional[int], slice_s: float) -> None:
        assert self._api is not None
        infer, clock, elapsed_s, events = self.infer, self._clock, self._api.elapsed_s, self._events
        deadline = clock() + slice_s
        while num_runs is None or num_runs > 0:
            began = clock()
            infer()
            ended = clock()
            # Both or none: an interrupt in between would shift one against the other.
            on_device_s = elapsed_s(*events)
            samples_s.append(ended - began)
            self.device_samples_s.append(on_device_s)
            if num_runs is not None:
                num_runs -= 1
            if ended >= deadline:
                return

    def read_outputs(self) -> List[Sequence[float]]:
        return [
            tensors.to_numbers(ctypes.string_at(one.host, one.num_bytes), one.tensor["dtype"]) for one in self._outputs
        ]

    def profile_layers(self, read_model: Callable[[], bytes]) -> profile.Profile:
        """With the inputs that the latest `infer` left on the device."""
        assert self._api is not None and self._engine is not None
        self._api.synchronize_stream(self._stream)
        return self._engine.profile([buffer.device for buffer in self._in_engine_order()])

    def _in_engine_order(self) -> List[_Buffer]:
        assert self._engine is not None
        by_name = {buffer.tensor["name"]: buffer for buffer in self._inputs + self._outputs}
        return [by_name[name] for name in self._engine.names]

    def memory(self) -> Dict[str, int]:
        """cuda_used_bytes: what the device's free memory fell by since before the engine was loaded, whoever took it
        (left out when others gave back more); engine_scratch_bytes: what the context uses while it runs;
        engine_file_bytes."""
        assert self._api is not None and self._engine is not None
        figures = {"engine_scratch_bytes": self._engine.scratch_bytes, "engine_file_bytes": self._num_file_bytes}
        used = self._free_bytes_before - self._api.memory_info()[0]
        if used > 0:
            figures["cuda_used_bytes"] = used
        return figures

    def close(self) -> None:
        self._release()

    def _release(self) -> None:
        """Buffers first, then context, engine, runtime; what is still at work on the stream is waited for."""
        api, held, engine = self._api, self._held, self._engine
        self._api = self._held = self._engine = None
        try:
            if api is not None and self._stream:
                api.synchronize_stream(self._stream)
        except BackendError:
            pass  # of work that failed; it was, or is being, reported
        try:
            if held is not None:
                held.close()
        except BackendError:
            pass  # nothing can be done about memory that CUDA does not take back; it goes with the process
        finally:
            if engine is not None:
                engine.close()
            if api is not None:
                api.close()


def _in_order(buffers: List[_Buffer], wanted: List[Dict[str, Any]]) -> List[_Buffer]:
    by_name = {buffer.tensor["name"]: buffer for buffer in buffers}
    return [by_name[tensor["name"]] for tensor in wanted]


def _for_one(tensor: Dict[str, Any]) -> Dict[str, Any]:
    """As manifests describe it: a batch of any size is 1."""
    return dict(tensor, shape=[1 if size == -1 else size for size in tensor["shape"]])

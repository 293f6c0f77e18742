"""A TensorRT engine and its context: the one file that touches TensorRT's objects to run, 8.0 to 10.x and 11.

8.0 to 8.4 know tensors by the index of their binding, 8.5 and later by their name; 10 has names only. Which way is
taken is decided by what the engine has, never by a version number (docs.nvidia.com, TensorRT, "Migrating Python Code
from TensorRT 8.x to 10.x"). `scripts/check-tensorrt` reads this file and checks each attribute that it uses against
the real TensorRT 8.6.0. Never run on a GPU: it ran against fakes of 8.2, 8.6 and 10.3.

Importing tensorrt, or making its Runtime, can end the process where the driver is missing or another one: ask in a
child first (`describe_runtime`, by backends/tensorrt.py).
"""

import functools
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from edge_bench.backends.profile import MAX_RUNS, Layer, Profile, collect, repeat
from edge_bench.engine.tensorrt_types import type_name
from edge_bench.errors import BackendError

_MAX_LINES = 20
_ERROR_SEVERITY = 1  # ILogger.Severity: INTERNAL_ERROR is 0, ERROR is 1


def describe_runtime() -> Dict[str, Any]:
    """The version of a TensorRT that can be imported and gives a Runtime; for a child process, where it may crash."""
    import tensorrt as trt  # type: ignore[import-not-found,import-untyped,unused-ignore]

    logger = _make_logger(trt, [])
    trt.init_libnvinfer_plugins(logger, "")
    trt.Runtime(logger)
    return {"version": trt.__version__}


class LoadedEngine:
    """An engine with its one execution context.

    version: of this TensorRT. names: of its tensors in the order of its bindings. inputs, outputs: name, dtype and
    shape as the engine has them, -1 for a batch of any size. TensorRT's objects live in the order runtime, engine,
    context, and are let go in the reverse order.
    """

    def __init__(self, content: bytes):
        """Raises BackendError with TensorRT's own words when this content is no engine for this board."""
        import tensorrt as trt

        self.version: str = trt.__version__
        self._errors: List[str] = []
        self._execute: Optional[Callable[[], bool]] = None
        self._context: Any = None
        self._engine: Any = None
        self._runtime: Any = None
        self._profiler: Any = None
        self._logger = _make_logger(trt, self._errors)
        trt.init_libnvinfer_plugins(self._logger, "")
        try:
            self._runtime = trt.Runtime(self._logger)
        except (TypeError, RuntimeError) as error:  # TypeError: pybind's word for a null pointer
            raise BackendError("TensorRT %s gives no runtime: %s" % (self.version, self._why(str(error)))) from error
        self._engine = self._runtime.deserialize_cuda_engine(content)
        if self._engine is None:
            raise BackendError(
                "TensorRT %s cannot load the engine: %s; engines load only with the TensorRT and on the GPU that they "
                "were built for: `edge-bench build` makes one here" % (self.version, self._why("it does not say why"))
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise BackendError(
                "TensorRT %s has no memory for the engine's context: %s"
                % (self.version, self._why("it does not say why"))
            )
        self._by_name = hasattr(self._engine, "num_io_tensors")
        self.inputs: List[Dict[str, Any]] = []
        self.outputs: List[Dict[str, Any]] = []
        self.names: List[str] = []
        if self._by_name:
            self._describe_by_name(trt)
        else:
            self._describe_by_index()

    @property
    def scratch_bytes(self) -> int:
        """Memory of the device that the context uses while it runs."""
        engine = self._engine
        if hasattr(engine, "device_memory_size_v2"):
            return int(engine.device_memory_size_v2)
        return int(engine.device_memory_size)

    def set_batch(self, batch: int) -> None:
        """Fix all shapes, before they are asked for. Raises BackendError for a batch that the engine does not take."""
        for tensor in self.inputs:
            shape = tensor["shape"]
            if -1 in shape[1:]:
                raise BackendError("input %r has shape %s; only the batch may be of any size" % (tensor["name"], shape))
            if -1 not in shape:
                if batch != 1 and shape[:1] != [batch]:
                    raise BackendError(
                        "the engine has a fixed batch of %s; for %d give `edge-bench build --batch %d` a network with "
                        "a batch of any size" % (shape[0] if shape else 1, batch, batch)
                    )
            elif not self._set_shape(tensor["name"], [batch] + shape[1:]):
                limits = " to ".join(str(size) for size in self._batch_limits(tensor["name"]))
                raise BackendError(
                    "the engine takes batches from %s, not %d; build one: `edge-bench build --batch %d`"
                    % (limits, batch, batch)
                )

    def shape_of(self, name: str) -> List[int]:
        """The shape of this run. Raises BackendError when it depends on the data."""
        if self._by_name:
            shape = _sizes(self._context.get_tensor_shape(name))
        else:
            shape = _sizes(self._context.get_binding_shape(self.names.index(name)))
        if any(size < 0 for size in shape):
            raise BackendError(
                "tensor %r has shape %s: its size depends on the data, which has no buffer" % (name, shape)
            )
        return shape

    def connect(self, addresses: Dict[str, int], stream: int) -> None:
        """Say where each tensor lies on the device, and on which stream `execute` runs."""
        context = self._context
        if not self._by_name:
            bindings = [addresses[name] for name in self.names]
            self._execute = functools.partial(context.execute_async_v2, bindings=bindings, stream_handle=stream)
            return
        for name in self.names:
            if not context.set_tensor_address(name, addresses[name]):
                raise BackendError("TensorRT takes no memory for tensor %r: %s" % (name, self._why("it says no more")))
        self._execute = functools.partial(context.execute_async_v3, stream_handle=stream)

    def execute(self) -> None:
        """Put one inference on the stream; it may run after this returned."""
        assert self._execute is not None
        if not self._execute():
            raise BackendError("TensorRT %s refused to run: %s" % (self.version, self._why("it does not say why")))

    def profile(self, bindings: List[int]) -> Profile:
        """Times of the layers by an IProfiler on the context, on what the addresses of its tensors hold.

        By execute_v2, which waits for its end, in all releases: 8.0 to 8.3 do not profile what is put on a stream.
        """
        import tensorrt as trt

        context, profiler = self._context, _make_profiler(trt)
        context.profiler = self._profiler = profiler
        inferences: List[List[Tuple[str, float]]] = []

        def infer() -> None:
            profiler.reported.clear()
            if not context.execute_v2(bindings=bindings):
                raise BackendError("TensorRT %s refused to run: %s" % (self.version, self._why("it does not say why")))
            inferences.append(list(profiler.reported))

        latencies_s = repeat(infer, MAX_RUNS)
        times = collect([_numbered(one) for one in inferences[-len(latencies_s) :]])
        if not times:
            raise BackendError("TensorRT %s told its profiler no layer" % self.version)
        layers = [Layer(name, None, None, name.split(" + "), times_s) for (name, _), times_s in times.items()]
        note = "IProfiler on the context: times on the GPU, without transfers; fused layers are one"
        # How long the whole took holds no transfers either, so it is not comparable to a latency.
        return Profile("TensorRT", layers, len(latencies_s), None, [], note)

    def close(self) -> None:
        """Let go of TensorRT's objects in their order; what they used on the device must be free before."""
        self._execute = None
        self._context = None
        self._engine = None
        self._runtime = None
        self._profiler = None  # after the context, which may call it

    def _describe_by_name(self, trt: Any) -> None:
        engine = self._engine
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            self._add(name, engine.get_tensor_dtype(name), engine.get_tensor_shape(name), is_input)

    def _describe_by_index(self) -> None:
        engine = self._engine
        profiles = max(engine.num_optimization_profiles, 1)
        # Each further profile repeats all bindings; ours is the first.
        for index in range(engine.num_bindings // profiles):
            self._add(
                engine.get_binding_name(index),
                engine.get_binding_dtype(index),
                engine.get_binding_shape(index),
                engine.binding_is_input(index),
            )

    def _add(self, name: str, dtype: Any, shape: Any, is_input: bool) -> None:
        self.names.append(name)
        tensor = {"name": name, "dtype": type_name(dtype.name), "shape": _sizes(shape)}
        direction = self.inputs if is_input else self.outputs
        direction.append(tensor)

    def _set_shape(self, name: str, shape: List[int]) -> bool:
        """Whether the engine takes it: some releases answer, some raise."""
        context = self._context
        try:
            if self._by_name:
                return bool(context.set_input_shape(name, tuple(shape)))
            return bool(context.set_binding_shape(self.names.index(name), tuple(shape)))
        except (ValueError, RuntimeError):
            return False

    def _batch_limits(self, name: str) -> List[int]:
        engine = self._engine
        if self._by_name:
            shapes = engine.get_tensor_profile_shape(name, 0)
        else:
            shapes = engine.get_profile_shape(0, self.names.index(name))
        return [_sizes(shapes[0])[0], _sizes(shapes[2])[0]]

    def _why(self, otherwise: str) -> str:
        """What TensorRT logged, the newest last."""
        return " ".join(self._errors[-3:])[:600] or otherwise


def _make_logger(trt: Any, errors: List[str]) -> Any:
    """A logger that keeps the last errors for our own messages, and prints nothing."""

    class Keeping(trt.ILogger):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= _ERROR_SEVERITY:
                errors.append(msg.strip())
                del errors[:-_MAX_LINES]

    return Keeping()


def _make_profiler(trt: Any) -> Any:
    """An IProfiler that keeps (layer, seconds) in `reported`. Raises BackendError where there is no such class."""
    if not hasattr(trt, "IProfiler"):
        raise BackendError("TensorRT %s has no IProfiler in Python" % trt.__version__)

    class Keeping(trt.IProfiler):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.reported: List[Tuple[str, float]] = []

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.reported.append((str(layer_name), 1e-3 * float(ms)))

    return Keeping()


def _numbered(reported: List[Tuple[str, float]]) -> List[Tuple[Tuple[str, int], float]]:
    """Layers of one name are several: each by its number among them."""
    seen: Dict[str, int] = {}
    found = []
    for name, seconds in reported:
        seen[name] = seen.get(name, -1) + 1
        found.append(((name, seen[name]), seconds))
    return found


def _sizes(shape: Sequence[Any]) -> List[int]:
    return [int(size) for size in shape]

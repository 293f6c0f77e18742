"""The onnxruntime backend. Any release from 1.10 (the last for Python 3.6) on; imported only when it is used."""

import contextlib
import os
import platform
import signal
import sys
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from edge_bench.backends.base import Backend
from edge_bench.backends.profile import Profile
from edge_bench.backends.tensors import num_bytes, tile
from edge_bench.errors import BackendError

# Providers that run anywhere but on this machine, or that only log.
_REMOTE = ("AzureExecutionProvider",)
# What manifests call the types of onnxruntime.
_DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(bool)": "bool"}


def import_runtime() -> Any:
    """The onnxruntime module. Raises BackendError with the install command when it is missing or broken."""
    command = "python3 -m pip install onnxruntime" + ("==1.10.0" if sys.version_info < (3, 7) else "")
    if platform.machine() == "aarch64":
        # numpy 1.19's OpenBLAS dies with an illegal instruction on Jetson boards without this (numpy issue 18131).
        os.environ.setdefault("OPENBLAS_CORETYPE", "ARMV8")
    # Releases around 1.31 else make a number for this machine in ~/.cache and send events, while we measure too.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        with _interrupts_deferred():
            import onnxruntime  # type: ignore[import-untyped,import-not-found,unused-ignore]

        if not hasattr(onnxruntime, "InferenceSession"):
            raise ImportError("a folder of this name is in the way: %s" % getattr(onnxruntime, "__path__", "?"))
    except Exception as error:  # a numpy that does not fit raises RuntimeError, AttributeError and others
        raise BackendError(
            "onnxruntime cannot be imported by Python %s (%s); install it there: %s"
            % (platform.python_version(), error, command)
        ) from error
    return onnxruntime


@contextlib.contextmanager
def _interrupts_deferred() -> Iterator[None]:
    """Ctrl-C and its like wait a moment: in the middle of loading, compiled modules turn one into errors of theirs."""
    waiting = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class OnnxRuntimeBackend(Backend):
    """A session of onnxruntime."""

    name = "onnxruntime"

    def __init__(self, model: bytes, num_threads: int, provider: Optional[str] = None, batch: int = 1):
        """Load a model from its bytes.

        `provider` is a name such as 'CPUExecutionProvider'; None takes what this installation prefers.
        Raises BackendError when the runtime is missing, does not have the provider, or refuses the model, and when the
        model has a fixed batch and `batch` is another.
        """
        super().__init__()
        runtime = import_runtime()
        available = [name for name in runtime.get_available_providers() if name not in _REMOTE]
        if provider is not None and provider not in available:
            raise BackendError(
                "this onnxruntime has no %s; it has %s" % (provider, ", ".join(available) or "no provider")
            )
        self._asked = [provider] if provider else available
        self._session = _open_session(runtime, model, num_threads, self._asked)
        self.version = runtime.__version__  # type: str
        self.providers = [name for name in self._session.get_providers() if name not in _REMOTE]
        self.num_threads = num_threads
        self.inputs = [_describe(node) for node in self._session.get_inputs()]
        self.outputs = [_describe(node) for node in self._session.get_outputs()]
        self._shapes = {one["name"]: one["shape"] for one in self.inputs}
        self.batch = batch
        if batch != 1 and not any(_has_any_batch(one["shape"]) for one in self.inputs):
            self.batch = 1  # its inputs are whole
        if batch not in (self.batch, self.num_examples()):
            raise BackendError(
                "the model takes a batch of %s and no other; for %d export it with --dynamic-batch"
                % (", ".join(str(one["shape"][0]) for one in self.inputs if one["shape"]) or "no size", batch)
            )
        self._names = [tensor["name"] for tensor in self.outputs]
        self._feed = {}  # type: Dict[str, Any]
        self._results = []  # type: List[Any]

    def bind(self, inputs: List[Dict[str, Any]], outputs: List[Dict[str, Any]]) -> None:
        super().bind(inputs, outputs)
        self._names = [tensor["name"] for tensor in outputs]

    def set_inputs(self, contents: Sequence[bytes]) -> None:
        import numpy

        self._feed = {}
        for tensor, content in zip(self.inputs, contents):
            shape = list(tensor["shape"])
            if _has_any_batch(self._shapes[tensor["name"]]):
                shape[0] = self.batch
                content = tile(content, num_bytes(tensor["dtype"], shape), tensor["name"])
            values = numpy.frombuffer(content, dtype=numpy.dtype(tensor["dtype"]).newbyteorder("<"))
            self._feed[tensor["name"]] = values.reshape(shape).astype(tensor["dtype"])

    def infer(self) -> Any:
        try:
            self._results = self._session.run(self._names, self._feed)
        except Exception as error:  # as above: no common base class
            raise BackendError("onnxruntime %s failed to run the model: %s" % (self.version, error)) from error

    def read_outputs(self) -> List[Sequence[float]]:
        return [result.ravel().tolist() for result in self._results]

    def profile_layers(self, read_model: Callable[[], bytes]) -> Profile:
        from edge_bench.backends.onnxrt_profile import profile_session

        # Two sessions of one network side by side may be more than a small board can hold.
        self._session = None
        self._results = []
        model, runtime, num_threads = read_model(), import_runtime(), self.num_threads or 1
        try:
            return profile_session(
                model,
                lambda prefix: _open_session(runtime, model, num_threads, self._asked, prefix),
                lambda session: session.run(self._names, self._feed),
            )
        except (BackendError, MemoryError):
            raise
        except Exception as error:  # as in `infer`
            raise BackendError("onnxruntime %s failed to profile the model: %s" % (self.version, error)) from error


def _open_session(
    runtime: Any, model: bytes, num_threads: int, providers: List[str], profile_prefix: Optional[str] = None
) -> Any:
    """A session; with a prefix of files it profiles into one of them from its start on. Raises BackendError."""
    try:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        return runtime.InferenceSession(model, sess_options=options, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen own classes without a common base
        raise BackendError(
            "onnxruntime %s cannot load the model with %d thread(s): %s" % (runtime.__version__, num_threads, error)
        ) from error


def _has_any_batch(shape: List[int]) -> bool:
    return bool(shape) and shape[0] == -1


def _describe(node: Any) -> Dict[str, Any]:
    """A tensor as manifests describe it; a dimension of any size is -1, a type that manifests lack keeps its name."""
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    return {"name": node.name, "dtype": _DTYPES.get(node.type, node.type), "shape": shape}

"""The onnxruntime backend. Any release from 1.10 (the last for Python 3.6) on; imported only when it is used."""

import contextlib
import os
import platform
import signal
import sys
from typing import Any, Dict, Iterator, List, Optional

from edge_bench.errors import BackendError

# Providers that run anywhere but on this machine, or that only log.
_REMOTE = ("AzureExecutionProvider",)
# What onnxruntime calls the types of a manifest.
_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "int32": "tensor(int32)", "bool": "tensor(bool)"}


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


class OnnxRuntimeBackend:
    """A loaded session with fixed inputs. `infer()` runs once and returns the list of output arrays."""

    name = "onnxruntime"

    def __init__(self, model: bytes, num_threads: int, provider: Optional[str] = None):
        """Load a model from its bytes.

        `provider` is a name such as 'CPUExecutionProvider'; None takes what this installation prefers.
        Raises BackendError when the runtime is missing, does not have the provider, or refuses the model.
        """
        runtime = import_runtime()
        available = [name for name in runtime.get_available_providers() if name not in _REMOTE]
        if provider is not None and provider not in available:
            raise BackendError(
                "this onnxruntime has no %s; it has %s" % (provider, ", ".join(available) or "no provider")
            )
        try:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = num_threads
            options.inter_op_num_threads = 1
            options.log_severity_level = 3
            self._session = runtime.InferenceSession(
                model, sess_options=options, providers=[provider] if provider else available
            )
        except Exception as error:  # onnxruntime raises a dozen own classes without a common base
            raise BackendError(
                "onnxruntime %s cannot load the model with %d thread(s): %s" % (runtime.__version__, num_threads, error)
            ) from error
        self.version = runtime.__version__  # type: str
        self.providers = [name for name in self._session.get_providers() if name not in _REMOTE]  # type: List[str]
        self._feed = {}  # type: Dict[str, Any]
        self._outputs = []  # type: List[str]

    def bind(self, inputs: List[Dict[str, Any]], outputs: List[Dict[str, Any]]) -> None:
        """Take the tensors of the manifest: `infer()` gives the outputs in their order, whatever the model's is.

        Raises BackendError when the model has others: one that the manifest leaves out would go unchecked.
        """
        for direction, tensors, nodes in (
            ("inputs", inputs, self._session.get_inputs()),
            ("outputs", outputs, self._session.get_outputs()),
        ):
            found = sorted((node.name, node.type) for node in nodes)
            named = sorted((tensor["name"], _TYPES[tensor["dtype"]]) for tensor in tensors)
            if found != named:
                seen, wanted = (", ".join("%s %s" % pair for pair in pairs) for pairs in (found, named))
                raise BackendError(
                    "the model's %s are %s, its manifest names %s: export it again" % (direction, seen, wanted)
                )
        self._outputs = [tensor["name"] for tensor in outputs]

    def set_inputs(self, tensors: List[Dict[str, Any]], contents: List[bytes]) -> None:
        """Fix the inputs: raw little-endian bytes for each tensor description of the manifest."""
        import numpy

        self._feed = {
            tensor["name"]: numpy.frombuffer(content, dtype=numpy.dtype(tensor["dtype"]).newbyteorder("<"))
            .reshape(tensor["shape"])
            .astype(tensor["dtype"])
            for tensor, content in zip(tensors, contents)
        }

    def infer(self) -> List[Any]:
        """One inference on the fixed inputs. Raises BackendError when the runtime fails."""
        try:
            return self._session.run(self._outputs, self._feed)
        except Exception as error:  # as above: no common base class
            raise BackendError("onnxruntime %s failed to run the model: %s" % (self.version, error)) from error

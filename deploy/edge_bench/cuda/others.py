"""CUDA by packages that are used on request only: cuda-python (NVIDIA) and pycuda. Imported when they are opened.

cuda-python 12 has its runtime API in `cuda.cudart`, 13 in `cuda.bindings.runtime`; releases between have both. Its
names and signatures were compared with cuda-bindings 12 and 13 on a machine without a GPU. pycuda (documen.tician.de)
speaks the driver's API; it gets the device's primary context, the one that libcudart and TensorRT use, so that they
all see the same memory. No GPU has run either.
"""

import importlib
from typing import Any, Dict, Tuple

from edge_bench.cuda.api import CUDA_PYTHON, PYCUDA, CudaApi
from edge_bench.errors import BackendError


class CudaPythonApi(CudaApi):
    """cuda-python: every function gives a tuple, the error code first."""

    name = CUDA_PYTHON

    def __init__(self) -> None:
        self._runtime = _import_cuda_python()
        kinds = self._runtime.cudaMemcpyKind
        self._to_device, self._to_host = kinds.cudaMemcpyHostToDevice, kinds.cudaMemcpyDeviceToHost
        version = int(self._call("cudaRuntimeGetVersion"))
        self.version = "%d.%d" % (version // 1000, version % 1000 // 10)
        # Streams and events are objects, which die with their last reference.
        self._objects: Dict[int, Any] = {}

    def malloc(self, num_bytes: int) -> int:
        return int(self._call("cudaMalloc", num_bytes))

    def free(self, pointer: int) -> None:
        self._call("cudaFree", pointer)

    def malloc_host(self, num_bytes: int) -> int:
        return int(self._call("cudaMallocHost", num_bytes))

    def free_host(self, address: int) -> None:
        self._call("cudaFreeHost", address)

    def copy_to_device(self, pointer: int, address: int, num_bytes: int, stream: int) -> None:
        self._call("cudaMemcpyAsync", pointer, address, num_bytes, self._to_device, self._objects[stream])

    def copy_to_host(self, address: int, pointer: int, num_bytes: int, stream: int) -> None:
        self._call("cudaMemcpyAsync", address, pointer, num_bytes, self._to_host, self._objects[stream])

    def create_stream(self) -> int:
        return self._keep(self._call("cudaStreamCreate"))

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", self._objects.pop(stream))

    def synchronize_stream(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", self._objects[stream])

    def create_event(self) -> int:
        return self._keep(self._call("cudaEventCreate"))

    def record_event(self, event: int, stream: int) -> None:
        self._call("cudaEventRecord", self._objects[event], self._objects[stream])

    def synchronize_event(self, event: int) -> None:
        self._call("cudaEventSynchronize", self._objects[event])

    def elapsed_s(self, begin: int, end: int) -> float:
        return float(self._call("cudaEventElapsedTime", self._objects[begin], self._objects[end])) / 1e3

    def destroy_event(self, event: int) -> None:
        self._call("cudaEventDestroy", self._objects.pop(event))

    def memory_info(self) -> Tuple[int, int]:
        free, total = self._call("cudaMemGetInfo")
        return int(free), int(total)

    def _keep(self, made: Any) -> int:
        self._objects[int(made)] = made
        return int(made)

    def _call(self, name: str, *arguments: Any) -> Any:
        """What the function gives behind its error code: one value, or all of them."""
        answer = getattr(self._runtime, name)(*arguments)
        code = int(answer[0])
        if code:
            text = self._runtime.cudaGetErrorString(answer[0])[1]
            words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
            raise BackendError("%s of cuda-python failed with CUDA error %d (%s)" % (name, code, words))
        return answer[1] if len(answer) == 2 else answer[1:]


def _import_cuda_python() -> Any:
    reasons = []
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return importlib.import_module(name)
        except Exception as error:  # a wheel of another CUDA fails with whatever its loader raises
            reasons.append("%s: %s" % (name, error))
    raise BackendError(
        "cuda-python cannot be imported (%s); install it: python3 -m pip install cuda-python, or leave --buffers at "
        "ctypes, which needs nothing" % "; ".join(reasons)
    )


class PycudaApi(CudaApi):
    """pycuda, with the device's primary context made current; `close` takes it away again."""

    name = PYCUDA

    def __init__(self) -> None:
        self._driver = _import_pycuda()
        self._objects: Dict[int, Any] = {}
        self._context: Any = None
        try:
            self._driver.init()
            device = self._driver.Device(0)
            if not hasattr(device, "retain_primary_context"):
                raise BackendError(
                    "this pycuda has no primary contexts, so TensorRT would not see its memory; install 2021.1 or "
                    "newer, or leave --buffers at ctypes"
                )
            self._context = device.retain_primary_context()
            self._context.push()
        except self._driver.Error as error:
            raise BackendError("pycuda finds no device: %s" % error) from error
        self.version = "%d.%d" % tuple(self._driver.get_version()[:2])

    def malloc(self, num_bytes: int) -> int:
        return self._keep(self._call(self._driver.mem_alloc, num_bytes))

    def free(self, pointer: int) -> None:
        self._call(self._objects.pop(pointer).free)

    def malloc_host(self, num_bytes: int) -> int:
        import numpy

        pinned = self._call(self._driver.pagelocked_empty, (num_bytes,), numpy.uint8)
        self._objects[pinned.ctypes.data] = pinned
        return int(pinned.ctypes.data)

    def free_host(self, address: int) -> None:
        del self._objects[address]  # an array: its memory goes with the last reference

    def copy_to_device(self, pointer: int, address: int, num_bytes: int, stream: int) -> None:
        pinned = self._objects[address]
        self._call(self._driver.memcpy_htod_async, pointer, pinned[:num_bytes], self._objects[stream])

    def copy_to_host(self, address: int, pointer: int, num_bytes: int, stream: int) -> None:
        pinned = self._objects[address]
        self._call(self._driver.memcpy_dtoh_async, pinned[:num_bytes], pointer, self._objects[stream])

    def create_stream(self) -> int:
        stream = self._call(self._driver.Stream)
        self._objects[int(stream.handle)] = stream
        return int(stream.handle)

    def destroy_stream(self, stream: int) -> None:
        del self._objects[stream]

    def synchronize_stream(self, stream: int) -> None:
        self._call(self._objects[stream].synchronize)

    def create_event(self) -> int:
        event = self._call(self._driver.Event)
        self._objects[id(event)] = event  # an event of pycuda shows no number of its own
        return id(event)

    def record_event(self, event: int, stream: int) -> None:
        self._call(self._objects[event].record, self._objects[stream])

    def synchronize_event(self, event: int) -> None:
        self._call(self._objects[event].synchronize)

    def elapsed_s(self, begin: int, end: int) -> float:
        return float(self._call(self._objects[begin].time_till, self._objects[end])) / 1e3

    def destroy_event(self, event: int) -> None:
        del self._objects[event]

    def memory_info(self) -> Tuple[int, int]:
        free, total = self._call(self._driver.mem_get_info)
        return int(free), int(total)

    def close(self) -> None:
        if self._context is not None:
            context, self._context = self._context, None
            context.pop()

    def _keep(self, made: Any) -> int:
        self._objects[int(made)] = made
        return int(made)

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            raise BackendError("%s of pycuda failed: %s" % (getattr(function, "__name__", "a call"), error)) from error


def _import_pycuda() -> Any:
    try:
        return importlib.import_module("pycuda.driver")
    except Exception as error:  # as above
        raise BackendError(
            "pycuda cannot be imported (%s); it has to be compiled on the board: python3 -m pip install pycuda, or "
            "leave --buffers at ctypes, which needs nothing" % error
        ) from error

"""CUDA's runtime library, libcudart, through ctypes: memory, streams and events without compiling or installing.

Signatures are those of cuda_runtime_api.h, unchanged from CUDA 10.2 to 13. Every function has its argument types and
result type set, and every code is checked. Run against a library that the tests compile, which behaves as CUDA's
does where this file asks it; no GPU has run it.
"""

import ctypes
import glob
from typing import Any, Dict, List, Optional, Tuple

from edge_bench.cuda.api import CTYPES, CudaApi
from edge_bench.errors import BackendError

# The loader's own search comes first: it finds the one that TensorRT has loaded. On JetPack the folder below is not
# always in that search.
_NAMES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2")
_FILES = "/usr/local/cuda/lib64/libcudart.so.*"
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t
_OUT, _OUT_SIZE = ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_size_t)
# Arguments of the functions that return an error code.
_SIGNATURES: Dict[str, List[Any]] = {
    "cudaRuntimeGetVersion": [ctypes.POINTER(ctypes.c_int)],
    "cudaMalloc": [_OUT, _SIZE],
    "cudaFree": [_POINTER],
    "cudaMallocHost": [_OUT, _SIZE],
    "cudaFreeHost": [_POINTER],
    "cudaMemcpyAsync": [_POINTER, _POINTER, _SIZE, ctypes.c_int, _POINTER],
    "cudaStreamCreate": [_OUT],
    "cudaStreamDestroy": [_POINTER],
    "cudaStreamSynchronize": [_POINTER],
    "cudaEventCreate": [_OUT],
    "cudaEventRecord": [_POINTER, _POINTER],
    "cudaEventSynchronize": [_POINTER],
    "cudaEventElapsedTime": [ctypes.POINTER(ctypes.c_float), _POINTER, _POINTER],
    "cudaEventDestroy": [_POINTER],
    "cudaMemGetInfo": [_OUT_SIZE, _OUT_SIZE],
    "cudaGetLastError": [],
}
# CUDA's own text does not say what to do.
_REMEDIES = {
    2: "end other programs, use a smaller batch, or make the engine with less workspace",
    35: "the driver is older than this CUDA runtime needs; use the CUDA that came with it",
    46: "another program holds the GPU for itself alone",
    100: "no NVIDIA GPU is visible; in a container start it with the NVIDIA runtime",
    700: "the engine read or wrote outside of its memory; build it again",
    719: "the engine failed on the GPU; see the kernel's log (dmesg), and build it again",
}


def library_paths() -> List[str]:
    """Where libcudart may be, in the order in which it is tried."""
    return list(_NAMES) + sorted(glob.glob(_FILES), reverse=True)


def load_library() -> Tuple[Optional[Any], str]:
    """(the library with all of its signatures set, "") or (None, why there is none)."""
    reasons: List[str] = []
    for path in library_paths():
        try:
            library = ctypes.CDLL(path)
            for name, argtypes in _SIGNATURES.items():
                function = getattr(library, name)
                function.argtypes, function.restype = argtypes, ctypes.c_int
            library.cudaGetErrorString.argtypes = [ctypes.c_int]
            library.cudaGetErrorString.restype = ctypes.c_char_p
            return library, ""
        except (OSError, AttributeError) as error:
            reasons.append(str(error))
    # That of the first name says what is usual: no such file.
    broken = [reason for reason in reasons if "No such file" not in reason]
    return None, broken[0] if broken else reasons[0]


def explain(library: Any, name: str, code: int) -> str:
    """An error code in words."""
    text = (library.cudaGetErrorString(code) or b"").decode("utf-8", "replace")
    words = "%s failed with CUDA error %d%s" % (name, code, " (%s)" % text if text else "")
    return words + ("; " + _REMEDIES[code] if code in _REMEDIES else "")


class CtypesApi(CudaApi):
    """libcudart. Raises BackendError when there is none; the driver has to be asked before, in a child."""

    name = CTYPES

    def __init__(self) -> None:
        self._library, reason = load_library()
        if self._library is None:
            raise BackendError(
                "the CUDA runtime library cannot be loaded (%s); it comes with JetPack: sudo apt-get install "
                "cuda-cudart-12-2, or the version that `apt-cache search cuda-cudart` lists" % reason
            )
        version = ctypes.c_int()
        self._call("cudaRuntimeGetVersion", ctypes.byref(version))
        self.version = "%d.%d" % (version.value // 1000, version.value % 1000 // 10)
        # What is called for every inference, looked up once.
        self._copy = self._library.cudaMemcpyAsync
        self._record = self._library.cudaEventRecord
        self._synchronize = self._library.cudaStreamSynchronize

    def malloc(self, num_bytes: int) -> int:
        return self._new("cudaMalloc", num_bytes)

    def free(self, pointer: int) -> None:
        self._call("cudaFree", pointer)

    def malloc_host(self, num_bytes: int) -> int:
        return self._new("cudaMallocHost", num_bytes)

    def free_host(self, address: int) -> None:
        self._call("cudaFreeHost", address)

    def copy_to_device(self, pointer: int, address: int, num_bytes: int, stream: int) -> None:
        code = self._copy(pointer, address, num_bytes, _HOST_TO_DEVICE, stream)
        if code:
            self._fail("cudaMemcpyAsync to the device", code)

    def copy_to_host(self, address: int, pointer: int, num_bytes: int, stream: int) -> None:
        code = self._copy(address, pointer, num_bytes, _DEVICE_TO_HOST, stream)
        if code:
            self._fail("cudaMemcpyAsync to the host", code)

    def create_stream(self) -> int:
        return self._new("cudaStreamCreate")

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", stream)

    def synchronize_stream(self, stream: int) -> None:
        code = self._synchronize(stream)
        if code:
            self._fail("cudaStreamSynchronize", code)

    def create_event(self) -> int:
        return self._new("cudaEventCreate")

    def record_event(self, event: int, stream: int) -> None:
        code = self._record(event, stream)
        if code:
            self._fail("cudaEventRecord", code)

    def synchronize_event(self, event: int) -> None:
        self._call("cudaEventSynchronize", event)

    def elapsed_s(self, begin: int, end: int) -> float:
        elapsed_ms = ctypes.c_float()
        self._call("cudaEventElapsedTime", ctypes.byref(elapsed_ms), begin, end)
        return elapsed_ms.value / 1e3

    def destroy_event(self, event: int) -> None:
        self._call("cudaEventDestroy", event)

    def memory_info(self) -> Tuple[int, int]:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def _new(self, name: str, *arguments: int) -> int:
        made = ctypes.c_void_p()
        self._call(name, ctypes.byref(made), *arguments)
        return made.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code:
            wanted = " of %d bytes" % arguments[1] if name.startswith("cudaMalloc") else ""
            self._fail(name + wanted, code)

    def _fail(self, name: str, code: int) -> None:
        assert self._library is not None
        self._library.cudaGetLastError()  # else the next call of anybody reports it once more
        raise BackendError(explain(self._library, name, code))

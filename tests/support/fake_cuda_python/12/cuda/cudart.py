"""A fake of cuda-python's runtime API over the fake libcudart: every function gives a tuple, the error first.

Shapes of answers as those of cuda-bindings 12 and 13, looked at on a machine without a GPU: on an error the values are
None; cudaGetErrorString gives (error, bytes); streams and events are objects that int() makes numbers of.
"""

import ctypes
import enum
import os

_LIBRARY = ctypes.CDLL(os.environ["FAKE_LIBCUDART"])
_LIBRARY.cudaGetErrorString.restype = ctypes.c_char_p


class cudaError_t(enum.IntEnum):  # noqa: N801 - NVIDIA's name
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorInvalidResourceHandle = 400
    cudaErrorNotReady = 600


class cudaMemcpyKind(enum.IntEnum):  # noqa: N801
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class _Handle:
    def __init__(self, value):
        self._value = value

    def __int__(self):
        return self._value


class cudaStream_t(_Handle):  # noqa: N801
    pass


class cudaEvent_t(_Handle):  # noqa: N801
    pass


def _pointer(value):
    return ctypes.c_void_p(int(value))


def _made(name, kind, *arguments):
    made = ctypes.c_void_p()
    code = cudaError_t(getattr(_LIBRARY, name)(ctypes.byref(made), *arguments))
    return code, (None if code else kind(made.value))


def _done(name, *arguments):
    return (cudaError_t(getattr(_LIBRARY, name)(*arguments)),)


def cudaRuntimeGetVersion():
    version = ctypes.c_int()
    return cudaError_t(_LIBRARY.cudaRuntimeGetVersion(ctypes.byref(version))), version.value


def cudaMalloc(size):
    return _made("cudaMalloc", int, ctypes.c_size_t(size))


def cudaMallocHost(size):
    return _made("cudaMallocHost", int, ctypes.c_size_t(size))


def cudaFree(devPtr):
    return _done("cudaFree", _pointer(devPtr))


def cudaFreeHost(ptr):
    return _done("cudaFreeHost", _pointer(ptr))


def cudaMemcpyAsync(dst, src, count, kind, stream):
    if not isinstance(kind, cudaMemcpyKind) or not isinstance(stream, cudaStream_t):
        raise TypeError("Argument 'kind' has incorrect type")
    return _done(
        "cudaMemcpyAsync", _pointer(dst), _pointer(src), ctypes.c_size_t(count), ctypes.c_int(kind), _pointer(stream)
    )


def cudaStreamCreate():
    return _made("cudaStreamCreate", cudaStream_t)


def cudaStreamDestroy(stream):
    return _done("cudaStreamDestroy", _pointer(stream))


def cudaStreamSynchronize(stream):
    return _done("cudaStreamSynchronize", _pointer(stream))


def cudaEventCreate():
    return _made("cudaEventCreate", cudaEvent_t)


def cudaEventRecord(event, stream):
    return _done("cudaEventRecord", _pointer(event), _pointer(stream))


def cudaEventSynchronize(event):
    return _done("cudaEventSynchronize", _pointer(event))


def cudaEventElapsedTime(start, end):
    elapsed = ctypes.c_float()
    code = cudaError_t(_LIBRARY.cudaEventElapsedTime(ctypes.byref(elapsed), _pointer(start), _pointer(end)))
    return code, (None if code else elapsed.value)


def cudaEventDestroy(event):
    return _done("cudaEventDestroy", _pointer(event))


def cudaMemGetInfo():
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    code = cudaError_t(_LIBRARY.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)))
    return (code, None, None) if code else (code, free.value, total.value)


def cudaGetErrorString(error):
    if not isinstance(error, cudaError_t):
        raise TypeError("Argument 'error' has incorrect type")
    return cudaError_t.cudaSuccess, _LIBRARY.cudaGetErrorString(ctypes.c_int(error))

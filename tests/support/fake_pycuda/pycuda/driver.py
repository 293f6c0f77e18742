"""What pycuda.driver offers, with its habits: objects that free themselves, and nothing works without a context.

From its documentation ("Device Interface"); not compared with the real one, which has to be compiled with CUDA.
"""

import ctypes
import os

import numpy

_LIBRARY = ctypes.CDLL(os.environ["FAKE_LIBCUDART"])
_current = []


class Error(Exception):
    pass


class MemoryError(Error):  # noqa: A001 - pycuda's name
    pass


class LogicError(Error):
    pass


def _check(name, *arguments):
    if not _current:
        raise LogicError("%s failed: invalid device context" % name)
    code = getattr(_LIBRARY, name)(*arguments)
    if code:
        raise (MemoryError if code == 2 else LogicError)("%s failed: error %d" % (name, code))


def _made(name, *arguments):
    made = ctypes.c_void_p()
    _check(name, ctypes.byref(made), *arguments)
    return made.value


def init(flags=0):
    pass


def get_version():
    return (12, 2, 0)


class Context:
    def push(self):
        _current.append(self)

    @staticmethod
    def pop():
        _current.pop()


class Device:
    def __init__(self, number):
        assert number == 0

    def retain_primary_context(self):
        return Context()


class _Handle:
    _giver = ""

    def __init__(self, value):
        self._value = value

    def _give(self):
        if self._value is not None:
            value, self._value = self._value, None
            getattr(_LIBRARY, self._giver)(ctypes.c_void_p(value))

    __del__ = _give


class DeviceAllocation(_Handle):
    _giver = "cudaFree"

    def free(self):
        self._give()

    def __int__(self):
        return self._value


class Stream(_Handle):
    _giver = "cudaStreamDestroy"

    def __init__(self, flags=0):
        _Handle.__init__(self, _made("cudaStreamCreate"))

    @property
    def handle(self):
        return self._value

    def synchronize(self):
        _check("cudaStreamSynchronize", ctypes.c_void_p(self._value))


class Event(_Handle):
    _giver = "cudaEventDestroy"

    def __init__(self, flags=0):
        _Handle.__init__(self, _made("cudaEventCreate"))

    def record(self, stream=None):
        _check("cudaEventRecord", ctypes.c_void_p(self._value), ctypes.c_void_p(stream._value))
        return self

    def synchronize(self):
        _check("cudaEventSynchronize", ctypes.c_void_p(self._value))
        return self

    def time_till(self, event):
        elapsed = ctypes.c_float()
        _check(
            "cudaEventElapsedTime", ctypes.byref(elapsed), ctypes.c_void_p(self._value), ctypes.c_void_p(event._value)
        )
        return elapsed.value


def mem_alloc(num_bytes):
    return DeviceAllocation(_made("cudaMalloc", ctypes.c_size_t(num_bytes)))


class _Pinned(_Handle):
    _giver = "cudaFreeHost"


def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
    size = int(numpy.prod(shape)) * numpy.dtype(dtype).itemsize
    pinned = _Pinned(_made("cudaMallocHost", ctypes.c_size_t(size)))
    block = (ctypes.c_uint8 * size).from_address(pinned._value)
    block.pinned = pinned  # freed with the array, which is the block's last user
    return numpy.frombuffer(block, dtype=dtype).reshape(shape)


def memcpy_htod_async(dest, src, stream=None):
    _copy(int(dest), src.ctypes.data, src.nbytes, 1, stream)


def memcpy_dtoh_async(dest, src, stream=None):
    _copy(dest.ctypes.data, int(src), dest.nbytes, 2, stream)


def _copy(to, source, size, kind, stream):
    _check(
        "cudaMemcpyAsync",
        ctypes.c_void_p(to),
        ctypes.c_void_p(source),
        ctypes.c_size_t(size),
        kind,
        ctypes.c_void_p(stream._value),
    )


def mem_get_info():
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    _check("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
    return free.value, total.value

"""What the TensorRT backend needs of CUDA, by three ways: ctypes (runtime.py), cuda-python and pycuda (others.py).

Pointers, streams and events are whole numbers here, so that nothing of one way leaks into the caller.
"""

from typing import Callable, List, Tuple

from edge_bench.errors import BackendError

CTYPES, PYCUDA, CUDA_PYTHON = "ctypes", "pycuda", "cuda-python"
WAYS = (CTYPES, PYCUDA, CUDA_PYTHON)


class CudaApi:
    """The calls; each raises BackendError with CUDA's own words when it fails."""

    name = ""
    version = ""

    def malloc(self, num_bytes: int) -> int:
        """Memory of the device."""
        raise NotImplementedError

    def free(self, pointer: int) -> None:
        raise NotImplementedError

    def malloc_host(self, num_bytes: int) -> int:
        """Pinned memory of the host: the device copies to and from it on its own."""
        raise NotImplementedError

    def free_host(self, address: int) -> None:
        raise NotImplementedError

    def copy_to_device(self, pointer: int, address: int, num_bytes: int, stream: int) -> None:
        """From pinned memory, in the order of the stream; returns before it is done."""
        raise NotImplementedError

    def copy_to_host(self, address: int, pointer: int, num_bytes: int, stream: int) -> None:
        """Into pinned memory, likewise."""
        raise NotImplementedError

    def create_stream(self) -> int:
        raise NotImplementedError

    def destroy_stream(self, stream: int) -> None:
        raise NotImplementedError

    def synchronize_stream(self, stream: int) -> None:
        """Wait for all that is on the stream; errors of the work itself come out here."""
        raise NotImplementedError

    def create_event(self) -> int:
        raise NotImplementedError

    def record_event(self, event: int, stream: int) -> None:
        raise NotImplementedError

    def synchronize_event(self, event: int) -> None:
        raise NotImplementedError

    def elapsed_s(self, begin: int, end: int) -> float:
        """Seconds on the device between two events that have happened; steps of about half a microsecond."""
        raise NotImplementedError

    def destroy_event(self, event: int) -> None:
        raise NotImplementedError

    def memory_info(self) -> Tuple[int, int]:
        """(free, total) bytes of the device, of all programs together."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the way itself holds, such as a context of its own."""


class Held:
    """All that was taken from an api, given back in reverse order."""

    def __init__(self, api: CudaApi):
        self.api = api
        self._givers: List[Tuple[Callable[[int], None], int]] = []

    def malloc(self, num_bytes: int) -> int:
        return self._keep(self.api.malloc(num_bytes), self.api.free)

    def malloc_host(self, num_bytes: int) -> int:
        return self._keep(self.api.malloc_host(num_bytes), self.api.free_host)

    def create_stream(self) -> int:
        return self._keep(self.api.create_stream(), self.api.destroy_stream)

    def create_event(self) -> int:
        return self._keep(self.api.create_event(), self.api.destroy_event)

    def _keep(self, value: int, give: Callable[[int], None]) -> int:
        self._givers.append((give, value))
        return value

    def close(self) -> None:
        """Give back all of it, also when giving back one of them fails; then the first error is raised."""
        first = None
        while self._givers:
            give, value = self._givers.pop()
            try:
                give(value)
            except BackendError as error:
                first = first or error
        if first is not None:
            raise first


def open_api(way: str) -> CudaApi:
    """The api by one of WAYS. Raises BackendError when it cannot be had, with what to do."""
    if way == CTYPES:
        from edge_bench.cuda.runtime import CtypesApi

        return CtypesApi()
    from edge_bench.cuda import others

    if way == CUDA_PYTHON:
        return others.CudaPythonApi()
    if way == PYCUDA:
        return others.PycudaApi()
    raise BackendError("buffers %r: choose one of %s" % (way, ", ".join(WAYS)))

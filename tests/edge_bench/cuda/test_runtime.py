"""CUDA's runtime through real ctypes calls into a library compiled here, and through fakes of the packages above it.

No GPU ran any of it."""

import ctypes
import os
import sys

import pytest

from edge_bench.cuda import api as apis
from edge_bench.cuda import runtime
from edge_bench.errors import BackendError

WAYS = ["ctypes", "cuda-python 12", "cuda-python 13", "pycuda"]


@pytest.fixture
def open_way(cudart, cuda_package):
    """A function that opens one of WAYS; what it opened is closed at the end."""
    opened = []

    def open_it(way):
        name, _, release = way.partition(" ")
        if name == "pycuda":
            pytest.importorskip("numpy")
            cuda_package("fake_pycuda")
        elif release:
            cuda_package("fake_cuda_python", release)
        opened.append(apis.open_api(name))
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()


@pytest.mark.parametrize("way", WAYS)
def test_what_goes_to_the_device_comes_back_when_the_stream_was_waited_for(open_way, cudart, way):
    api = open_way(way)
    held = apis.Held(api)
    stream = held.create_stream()
    content = bytes(range(256)) * 4
    there, back, device = held.malloc_host(1024), held.malloc_host(1024), held.malloc(1024)
    ctypes.memmove(there, content, 1024)
    ctypes.memset(back, 0, 1024)
    api.copy_to_device(device, there, 1024, stream)
    api.copy_to_host(back, device, 1024, stream)
    assert ctypes.string_at(back, 1024) == bytes(1024)  # on a stream nothing is done at once
    api.synchronize_stream(stream)
    assert ctypes.string_at(back, 1024) == content
    assert cudart.fake_live() == 4
    held.close()
    held.close()
    assert cudart.fake_live() == 0
    assert api.version == "12.2"


@pytest.mark.parametrize("way", WAYS)
def test_events_measure_what_lies_between_them(open_way, cudart, way):
    api = open_way(way)
    held = apis.Held(api)
    stream, begin, end = held.create_stream(), held.create_event(), held.create_event()
    with pytest.raises(BackendError, match="600|not ready"):
        api.elapsed_s(begin, end)  # neither has happened
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    work = function(lambda _: __import__("time").sleep(0.02))
    api.record_event(begin, stream)
    cudart.fake_enqueue(ctypes.c_void_p(stream), work, None)
    api.record_event(end, stream)
    api.synchronize_event(end)
    assert 0.02 <= api.elapsed_s(begin, end) < 2.0
    held.close()


@pytest.mark.parametrize("way", WAYS)
def test_memory_is_counted(open_way, way):
    api = open_way(way)
    before, total = api.memory_info()
    pointer = api.malloc(1 << 20)
    assert api.memory_info() == (before - (1 << 20), total)
    api.free(pointer)
    assert api.memory_info() == (before, total)


def test_errors_are_in_words(open_way, cudart, monkeypatch):
    api = open_way("ctypes")
    with pytest.raises(BackendError) as caught:
        api.malloc(1 << 50)
    assert str(caught.value).startswith(
        "cudaMalloc of 1125899906842624 bytes failed with CUDA error 2 (out of memory); end other programs"
    )
    cudart.cudaGetLastError.restype = ctypes.c_int
    assert cudart.cudaGetLastError() == 0  # nobody else finds it there
    with pytest.raises(BackendError, match="cudaFree failed with CUDA error 1 .invalid argument."):
        api.free(4096)
    with pytest.raises(BackendError, match="cudaStreamSynchronize failed with CUDA error 400"):
        api.synchronize_stream(12345)
    stream = api.create_stream()
    with pytest.raises(BackendError, match="cudaMemcpyAsync to the device failed with CUDA error 1"):
        api.copy_to_device(1, 2, 3, stream)
    api.destroy_stream(stream)


@pytest.mark.parametrize("way", ["cuda-python 12", "cuda-python 13", "pycuda"])
def test_errors_of_the_packages_are_ours(open_way, way):
    with pytest.raises(BackendError, match="error 2"):
        open_way(way).malloc(1 << 50)


def test_a_copy_beyond_its_buffer_is_refused_by_the_fake(open_way):
    """The fake would be worth nothing if it took any pointer."""
    api = open_way("ctypes")
    held = apis.Held(api)
    stream, host, device = held.create_stream(), held.malloc_host(16), held.malloc(16)
    for arguments in ((device, host, 17, stream), (device + 1, host, 16, stream), (host, device, 16, stream)):
        with pytest.raises(BackendError, match="error 1"):
            api.copy_to_device(*arguments)
    held.close()


def test_every_function_has_its_types_set(cudart):
    library, reason = runtime.load_library()
    assert reason == ""
    for name, argtypes in runtime._SIGNATURES.items():
        assert getattr(library, name).argtypes == argtypes and getattr(library, name).restype is ctypes.c_int
    # A pointer above 32 bits survives: without argtypes ctypes would cut it.
    assert ctypes.c_void_p in runtime._SIGNATURES["cudaFree"]


def test_held_gives_all_back_though_one_of_them_fails(open_way, cudart, monkeypatch):
    api = open_way("ctypes")
    held = apis.Held(api)
    kept = [held.malloc(64) for _ in range(3)]
    api.free(kept[1])
    with pytest.raises(BackendError, match="cudaFree failed"):
        held.close()
    assert cudart.fake_live() == 0


def test_without_the_library_the_reason_and_the_remedy_are_said(monkeypatch):
    monkeypatch.setattr(runtime, "library_paths", lambda: ["libcudart-that-is-nowhere.so"])
    with pytest.raises(BackendError, match="libcudart-that-is-nowhere.so.*apt-get install"):
        apis.open_api("ctypes")


def test_a_library_that_is_no_cudart_is_passed_over(cudart, monkeypatch, fake_cuda):
    monkeypatch.setattr(runtime, "library_paths", lambda: ["libc.so.6", os.path.join(fake_cuda, "libcudart.so")])
    assert apis.open_api("ctypes").version == "12.2"
    monkeypatch.setattr(runtime, "library_paths", lambda: ["libcudart-nowhere.so", "libc.so.6"])
    with pytest.raises(BackendError, match="undefined symbol: cudaRuntimeGetVersion"):
        apis.open_api("ctypes")


@pytest.mark.parametrize("way, words", [("cuda-python", "pip install cuda-python"), ("pycuda", "has to be compiled")])
def test_a_package_that_is_not_there_is_said_with_its_command(way, words, monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    for name in [name for name in sys.modules if name.split(".")[0] in ("cuda", "pycuda")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BackendError, match=words):
        apis.open_api(way)


def test_another_word_names_the_ways():
    with pytest.raises(BackendError, match="choose one of ctypes, pycuda, cuda-python"):
        apis.open_api("opencl")

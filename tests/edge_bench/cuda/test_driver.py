"""The driver's answers through real ctypes calls: into libraries compiled here, and into none."""

import os

import pytest

from edge_bench.cuda import driver as cuda

ORIN = {"index": 0, "name": "Orin", "compute_capability": "8.7", "memory_bytes": 8 << 30}
H200 = {"index": 1, "name": "NVIDIA H200", "compute_capability": "9.0", "memory_bytes": (141 << 30) + 1}


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    monkeypatch.setattr(cuda, "_DRIVER", "libcuda-that-is-nowhere.so.1")


def test_without_a_driver_there_is_a_reason_and_no_error(no_driver):
    answer = cuda.ask_driver()
    assert answer["devices"] == []
    assert "no NVIDIA driver here: libcuda-that-is-nowhere.so.1" in answer["reason"]


def test_a_library_that_is_no_driver(monkeypatch):
    monkeypatch.setattr(cuda, "_DRIVER", "libc.so.6")
    assert "libc.so.6 is not the NVIDIA driver" in cuda.ask_driver()["reason"]


@pytest.mark.parametrize("count, devices", [(1, [ORIN]), (2, [ORIN, H200])])
def test_devices(with_driver, count, devices):
    with_driver(cuda_devices=count)
    assert cuda.probe_driver() == {
        "cuda_version": "12.6",
        "devices": devices,
        "reason": None,
        "runtime_version": "12.2",
        "runtime_reason": None,
    }


def test_a_driver_without_devices(with_driver):
    with_driver(cuda_devices=0)
    answer = cuda.probe_driver()
    assert answer["devices"] == []
    assert answer["cuda_version"] == "12.6"
    assert "no NVIDIA GPU is visible" in answer["reason"]


@pytest.mark.parametrize(
    "code, words",
    [
        (100, "error 100 (no CUDA-capable device is detected); no NVIDIA GPU is visible"),
        (803, "error 803; driver and libcuda are of different versions"),
        (999, "error 999 (unknown error); the driver is in a bad state"),
        (2, "cuInit of the NVIDIA driver answered with error 2"),
    ],
)
def test_codes_of_the_driver_are_words_with_a_remedy(with_driver, code, words):
    with_driver(cuda_init=code)
    answer = cuda.probe_driver()
    assert words in answer["reason"]
    assert answer["devices"] == []


@pytest.mark.parametrize(
    "call", ["cuDriverGetVersion", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceGetAttribute"]
)
def test_a_later_call_that_fails_is_named(with_driver, call):
    with_driver(cuda_fails=call)
    assert cuda.probe_driver()["reason"].startswith(call + " of the NVIDIA driver answered with error 999")


def test_a_runtime_newer_than_the_driver_is_told_beside_the_devices(with_driver):
    with_driver(cudart=35)
    answer = cuda.probe_driver()
    assert answer["devices"] == [ORIN]
    assert answer["reason"] is None
    assert answer["runtime_version"] == "12.2"
    assert "CUDA driver version is insufficient" in answer["runtime_reason"]
    assert "the driver is older than this CUDA runtime needs" in answer["runtime_reason"]


def test_a_driver_that_crashes_is_a_reason(with_driver):
    with_driver(cuda_init=139)
    assert cuda.probe_driver()["reason"] == "asking the NVIDIA driver crashed Python (signal 11)"


def test_a_driver_that_hangs_is_a_reason(with_driver, monkeypatch):
    with_driver(cuda_init=-1)
    monkeypatch.setattr(cuda, "_TIMEOUT_S", 5.0)
    assert cuda.probe_driver()["reason"] == "asking the NVIDIA driver took more than 5 s"


def test_a_damaged_library_is_a_reason(tmp_path, monkeypatch):
    (tmp_path / "libcuda.so.1").write_bytes(b"\x7fELF" + b"\0" * 100)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    answer = cuda.probe_driver()
    assert "no NVIDIA driver here" in answer["reason"]
    assert os.path.basename("libcuda.so.1") in answer["reason"]

"""What the NVIDIA driver says of its devices, asked through ctypes: nothing is compiled, installed or imported for it.

This comes before TensorRT is touched: without a driver TensorRT 8.6's Builder raises TypeError and its Runtime ends
the process. Names and signatures are those of CUDA's driver API (libcuda, cu*) and runtime API (libcudart, cuda*),
unchanged from CUDA 10.2 to 13. Run against libraries that tests compile and against no library; never on a GPU.
"""

import ctypes
from typing import Any, Dict, List, Optional, Tuple

from edge_bench import child
from edge_bench.cuda.runtime import library_paths

_TIMEOUT_S = 60.0
_DRIVER = "libcuda.so.1"
_MAX_DEVICES = 64
_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR = 75, 76
# Said in CUDA's own texts, but these need a remedy too.
_REMEDIES = {
    100: "no NVIDIA GPU is visible; in a container start it with the NVIDIA runtime, and see CUDA_VISIBLE_DEVICES",
    35: "the driver is older than this CUDA runtime needs; update it, or use the CUDA that came with it",
    803: "driver and libcuda are of different versions; on a workstation restart it after the driver's update",
    999: "the driver is in a bad state; restart the machine, or reload the driver",
}


def probe_driver() -> Dict[str, Any]:
    """As `ask_driver`, in a child process: also a driver that crashes or hangs gives a reason."""
    answer, reason = child.ask(
        child.python_call("edge_bench.cuda.driver:ask_driver"), "asking the NVIDIA driver", _TIMEOUT_S
    )
    return answer if answer is not None else _answer(reason=reason)


def ask_driver() -> Dict[str, Any]:
    """The driver's devices, or the reason why there are none; never raises for what is missing.

    cuda_version: the newest CUDA that the driver runs. devices: index, name, compute_capability ('8.7') and
    memory_bytes of each. reason: None when there is at least one. runtime_version: of libcudart, where one is found;
    runtime_reason: why that one cannot be used, which says nothing of TensorRT: some releases bring their own.
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError as error:
        return _answer(reason="no NVIDIA driver here: %s" % error)
    try:
        return _ask_devices(driver)
    except AttributeError as error:
        return _answer(reason="%s is not the NVIDIA driver: %s" % (_DRIVER, error))
    except _CudaError as error:
        return _answer(reason=str(error))


class _CudaError(Exception):
    """A call returned an error code."""


def _ask_devices(driver: ctypes.CDLL) -> Dict[str, Any]:
    _call(driver, "cuInit", ctypes.c_uint(0))
    version, count = ctypes.c_int(), ctypes.c_int()
    _call(driver, "cuDriverGetVersion", ctypes.byref(version))
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    devices = [_describe(driver, index) for index in range(min(count.value, _MAX_DEVICES))]
    runtime_version, runtime_reason = _ask_runtime()
    return _answer(
        cuda_version=_words(version.value),
        devices=devices,
        reason=None if devices else _REMEDIES[100],
        runtime_version=runtime_version,
        runtime_reason=runtime_reason,
    )


def _describe(driver: ctypes.CDLL, index: int) -> Dict[str, Any]:
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    _call(driver, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(index))
    _call(driver, "cuDeviceGetName", name, ctypes.c_int(len(name)), device)
    _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    numbers = []
    for attribute in (_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR):
        value = ctypes.c_int()
        _call(driver, "cuDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), device)
        numbers.append(value.value)
    return {
        "index": index,
        "name": name.value.decode("utf-8", "replace").strip(),
        "compute_capability": "%d.%d" % tuple(numbers),
        "memory_bytes": memory.value,
    }


def _call(driver: ctypes.CDLL, name: str, *arguments: Any) -> None:
    function = getattr(driver, name)
    function.restype = ctypes.c_int
    code = function(*arguments)
    if code:
        text = ctypes.c_char_p()
        explain = getattr(driver, "cuGetErrorString", None)
        if explain is not None:
            explain.restype = ctypes.c_int
            explain(ctypes.c_int(code), ctypes.byref(text))
        raise _CudaError(_error("%s of the NVIDIA driver" % name, code, text.value))


def _ask_runtime() -> Tuple[Optional[str], Optional[str]]:
    """(version of libcudart, why it cannot be used); (None, None) where there is none, which many do without."""
    for path in library_paths():
        try:
            runtime = ctypes.CDLL(path)
            functions = [getattr(runtime, name) for name in ("cudaRuntimeGetVersion", "cudaGetDeviceCount")]
            runtime.cudaGetErrorString.restype = ctypes.c_char_p
        except (OSError, AttributeError):
            continue
        values: List[int] = []
        for function in functions:
            value = ctypes.c_int()
            function.restype = ctypes.c_int
            code = function(ctypes.byref(value))
            if code:
                text = runtime.cudaGetErrorString(ctypes.c_int(code))
                version = _words(values[0]) if values else None
                return version, _error("the CUDA runtime %s" % path, code, text)
            values.append(value.value)
        return _words(values[0]), None
    return None, None


def _error(who: str, code: int, text: Optional[bytes]) -> str:
    words = (text or b"").decode("utf-8", "replace")
    remedy = "; " + _REMEDIES[code] if code in _REMEDIES else ""
    return "%s answered with error %d%s%s" % (who, code, " (%s)" % words if words else "", remedy)


def _words(version: int) -> str:
    """12040 is 12.4."""
    return "%d.%d" % (version // 1000, version % 1000 // 10)


def _answer(**known: Any) -> Dict[str, Any]:
    keys = ("cuda_version", "reason", "runtime_version", "runtime_reason")
    answer = dict.fromkeys(keys)  # type: Dict[str, Any]
    answer.update({"devices": []}, **known)
    return answer

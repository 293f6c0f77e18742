"""A small fake of TensorRT 8.6.0's Python module: what building needs of it, and its habits where it says no.

Every public name here is one of the real module, with the same numbers; scripts/check-tensorrt compares them. It runs
under Python 3.6 and without the onnx package. FAKE_TENSORRT says how it fails: no-import, crash (a signal while a
builder is made), no-builder, no-plan, out-of-memory, hang. FAKE_DEVICE names the device that timing caches belong to.
A plan is JSON of everything that the build was told, and of the network's tensors.

An engine computes: each number of output k is k + 1 plus twice the sum of the numbers at the same place (modulo the
input's length) of all inputs. It does so on the "device", through the addresses that it was given, when the stream of
the fake libcudart (fake_cuda/libcudart.c) gets there. FAKE_TENSORRT for running: no-load (the engine is another
device's), no-context, no-run, no-layers (a profiler hears of none), crash-at-load. FAKE_TENSORRT_LOG: a file with a
line for each object of an engine that is made or let go.
"""

import array
import ctypes
import enum
import json
import os
import signal
import sys
import time

__version__ = "8.6.0"
_MODE = os.environ.get("FAKE_TENSORRT", "")
_UNSUPPORTED = ("Unique", "StringNormalizer")

if _MODE == "no-import":
    raise ImportError("libnvinfer.so.8: cannot open shared object file: No such file or directory")


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4


class BuilderFlag(enum.IntEnum):
    FP16 = 0
    INT8 = 1
    TF32 = 7
    VERSION_COMPATIBLE = 15


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4


class Logger(ILogger):
    INTERNAL_ERROR = ILogger.Severity.INTERNAL_ERROR
    ERROR = ILogger.Severity.ERROR
    WARNING = ILogger.Severity.WARNING
    INFO = ILogger.Severity.INFO
    VERBOSE = ILogger.Severity.VERBOSE

    def __init__(self, min_severity=ILogger.Severity.WARNING):
        self.min_severity = min_severity

    def log(self, severity, msg):
        if severity <= self.min_severity:
            sys.stderr.write("[TRT] [%s] %s\n" % ("FEWIV"[severity], msg))


class IProfiler:
    def __init__(self):
        self._is_made = True

    def report_layer_time(self, layer_name, ms):
        raise NotImplementedError("must be overridden")


def init_libnvinfer_plugins(logger, namespace):
    assert isinstance(logger, ILogger) and isinstance(namespace, str)
    return True


class IHostMemory(bytes):
    @property
    def nbytes(self):
        return len(self)


class ITensor:
    def __init__(self, name, kind, shape):
        self.name, self.dtype, self.shape = name, kind, shape


class INetworkDefinition:
    def __init__(self, flags):
        self._flags, self._inputs, self._outputs, self._operators = flags, [], [], set()

    @property
    def num_inputs(self):
        return len(self._inputs)

    @property
    def num_outputs(self):
        return len(self._outputs)

    def get_input(self, index):
        return self._inputs[index]

    def get_output(self, index):
        return self._outputs[index]


class ParserError:
    def __init__(self, node, desc):
        self._node, self._desc = node, desc

    def node(self):
        return self._node

    def desc(self):
        return self._desc


class OnnxParser:
    def __init__(self, network, logger):
        assert isinstance(network, INetworkDefinition) and isinstance(logger, ILogger)
        self._network, self._logger, self._errors = network, logger, []

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]

    def parse(self, model, path=None):
        try:
            graph = dict(_fields(model))[7]
        except (KeyError, IndexError, ValueError):
            self._errors.append(ParserError(-1, "Failed to parse the ONNX model"))
            return False
        parts = list(_fields(graph))
        if not self._network._flags & 1:
            self._errors.append(ParserError(-1, "this version of the parser only supports explicit batch"))
        weights = {dict(_fields(part)).get(8, b"") for number, part in parts if number == 5}
        for number, part in parts:
            if number in (11, 12) and dict(_fields(part))[1] not in weights:
                (self._network._inputs if number == 11 else self._network._outputs).append(_tensor(part))
        for index, node in enumerate(part for number, part in parts if number == 1):
            operator = dict(_fields(node))[4].decode()
            self._network._operators.add(operator)
            if operator in _UNSUPPORTED:
                self._errors.append(ParserError(index, "No importer registered for op: %s" % operator))
        return not self._errors


class IOptimizationProfile:
    def __init__(self):
        self._shapes = {}

    def set_shape(self, input, min, opt, max):
        if not len(min) == len(opt) == len(max):
            raise ValueError("Shape provided for %s is inconsistent" % input)
        self._shapes[input] = [list(min), list(opt), list(max)]


class ITimingCache:
    def __init__(self, content):
        self._content = content

    def serialize(self):
        return IHostMemory(self._content)


class IBuilderConfig:
    def __init__(self):
        self._flags, self._pools, self._profiles, self._cache = {int(BuilderFlag.TF32)}, {}, [], None
        self.max_workspace_size = 0

    def set_flag(self, flag):
        self._flags.add(int(flag))

    def clear_flag(self, flag):
        self._flags.discard(int(flag))

    def set_memory_pool_limit(self, pool, pool_size):
        self._pools[MemoryPoolType(pool).name] = pool_size

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache) or b"timings of " + _device())

    def set_timing_cache(self, cache, ignore_mismatch):
        if not cache._content.startswith(b"timings of " + _device()) and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache


class Builder:
    def __init__(self, logger):
        assert isinstance(logger, ILogger)
        if _MODE == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if _MODE == "no-builder":
            logger.log(ILogger.Severity.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger
        self.platform_has_fast_fp16 = True
        self.platform_has_fast_int8 = False

    def create_network(self, flags=0):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        if _MODE == "hang":
            sys.stderr.write("hangs as process %d\n" % os.getpid())
            sys.stderr.flush()
            time.sleep(600)
        if _MODE == "out-of-memory":
            os.kill(os.getpid(), signal.SIGKILL)
        problem = "told to fail" if _MODE == "no-plan" else _problem(network, config)
        if problem:
            self._logger.log(ILogger.Severity.ERROR, "4: [network.cpp::validate] Error Code 4: " + problem)
            return None
        self._logger.log(ILogger.Severity.INFO, "Total Activation Memory: 1024")
        if config._cache is not None:
            config._cache._content += b", and of this build"
        told = {
            "flags": sorted(BuilderFlag(one).name for one in config._flags),
            "network_flags": network._flags,
            "pools": dict(config._pools, **({"MAX": config.max_workspace_size} if config.max_workspace_size else {})),
            "profiles": [one._shapes for one in config._profiles],
            "cached": config._cache is not None,
            "inputs": [[one.name, one.dtype.name, list(one.shape)] for one in network._inputs],
            "outputs": [[one.name, one.dtype.name, list(one.shape)] for one in network._outputs],
        }
        return IHostMemory(json.dumps(told, sort_keys=True).encode())


class _Counted:
    """Writes down when it is made and let go, if asked to."""

    def __init__(self):
        _log("make " + type(self).__name__)

    def __del__(self):
        _log("drop " + type(self).__name__)


class Runtime(_Counted):
    def __init__(self, logger):
        assert isinstance(logger, ILogger)
        if _MODE == "crash-at-load":
            os.kill(os.getpid(), signal.SIGSEGV)
        self._logger = logger
        _Counted.__init__(self)

    def deserialize_cuda_engine(self, serialized_engine):
        try:
            plan = json.loads(bytes(serialized_engine).decode("utf-8"))
        except ValueError:
            self._logger.log(ILogger.Severity.ERROR, "1: [stdArchiveReader.cpp] Error Code 1: Serialization (magicTag)")
            return None
        if _MODE == "no-load":
            self._logger.log(ILogger.Severity.ERROR, "6: The engine plan file is generated on an incompatible device")
            return None
        return ICudaEngine(plan, self._logger)


class ICudaEngine(_Counted):
    def __init__(self, plan, logger):
        self._logger = logger
        self._profile = plan["profiles"][0] if plan["profiles"] else {}
        self._tensors = [(TensorIOMode.INPUT, name, DataType[kind], shape) for name, kind, shape in plan["inputs"]]
        self._tensors += [(TensorIOMode.OUTPUT, name, DataType[kind], shape) for name, kind, shape in plan["outputs"]]
        _Counted.__init__(self)

    device_memory_size = 4096
    num_optimization_profiles = 1

    @property
    def num_bindings(self):
        return len(self._tensors)

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def _index(self, name):
        return [one[1] for one in self._tensors].index(name)

    def get_binding_name(self, index):
        return self._tensors[index][1]

    def get_binding_dtype(self, index):
        return self._tensors[index][2]

    def get_binding_shape(self, index):
        return tuple(self._tensors[index][3])

    def binding_is_input(self, index):
        return self._tensors[index][0] == TensorIOMode.INPUT

    def get_profile_shape(self, profile_index, binding):
        return [tuple(shape) for shape in self._profile[self._tensors[binding][1]]]

    def get_tensor_name(self, index):
        return self._tensors[index][1]

    def get_tensor_mode(self, name):
        return self._tensors[self._index(name)][0]

    def get_tensor_dtype(self, name):
        return self._tensors[self._index(name)][2]

    def get_tensor_shape(self, name):
        return tuple(self._tensors[self._index(name)][3])

    def get_tensor_profile_shape(self, name, profile_index):
        return [tuple(shape) for shape in self._profile[name]]

    def create_execution_context(self):
        if _MODE == "no-context":
            self._logger.log(ILogger.Severity.ERROR, "2: [executionContext.cpp] Error Code 2: OutOfMemory")
            return None
        return IExecutionContext(self, self._logger)


class IExecutionContext(_Counted):
    def __init__(self, engine, logger):
        self._engine, self._logger, self._shapes, self._addresses = engine, logger, {}, {}
        self._running = []
        self._profiler = None
        _Counted.__init__(self)

    def _set(self, binding, shape):
        name = self._engine._tensors[binding][1]
        limits = self._engine._profile.get(name)
        if limits is None:
            return tuple(shape) == tuple(self._engine._tensors[binding][3])
        if len(shape) != len(limits[0]) or not all(a <= b <= c for a, b, c in zip(limits[0], shape, limits[2])):
            self._logger.log(ILogger.Severity.ERROR, "3: [executionContext.cpp] Error Code 3: API Usage Error")
            return False
        self._shapes[name] = tuple(shape)
        return True

    def _get(self, binding):
        mode, name, _, shape = self._engine._tensors[binding]
        if mode == TensorIOMode.INPUT or -1 not in shape:
            return self._shapes.get(name, tuple(shape))
        batches = [given[0] for given in self._shapes.values()]
        return tuple([batches[0] if batches else -1] + shape[1:])

    def set_binding_shape(self, binding, shape):
        return self._set(binding, shape)

    def set_input_shape(self, name, shape):
        return self._set(self._engine._index(name), shape)

    def get_binding_shape(self, binding):
        return self._get(binding)

    def get_tensor_shape(self, name):
        return self._get(self._engine._index(name))

    def set_tensor_address(self, name, memory):
        self._addresses[name] = memory
        return True

    @property
    def profiler(self):
        return self._profiler

    @profiler.setter
    def profiler(self, profiler):
        # pybind: a class that did not call the base's __init__ is refused.
        if not (isinstance(profiler, IProfiler) and getattr(profiler, "_is_made", False)):
            raise TypeError("IProfiler.__init__() must be called when overriding __init__")
        self._profiler = profiler

    def execute_v2(self, bindings):
        """Waits for its end; only this one is profiled, as it is up to 8.3."""
        if not self._execute(list(bindings), None):
            return False
        for name, ms in _LAYERS if self._profiler is not None and _MODE != "no-layers" else ():
            self._profiler.report_layer_time(name, ms)
        return True

    def execute_async_v2(self, bindings, stream_handle, input_consumed=None):
        return self._execute(list(bindings), stream_handle)

    def execute_async_v3(self, stream_handle):
        return self._execute([self._addresses.get(one[1], 0) for one in self._engine._tensors], stream_handle)

    def _execute(self, addresses, stream):
        places = [
            (one[0], addresses[index], "fi"[one[2] == DataType.INT32], _product(self._get(index)))
            for index, one in enumerate(self._engine._tensors)
        ]
        cuda = _libcudart()
        if _MODE == "no-run" or not all(cuda.fake_is_device(at, 4 * size) for _, at, _, size in places):
            self._logger.log(
                ILogger.Severity.ERROR, "1: [genericReformat.cu] Error Code 1: Cuda Runtime (invalid argument)"
            )
            return False
        if stream is None:
            _compute(places)
            return True
        work = _WORK(lambda _: _compute(places))
        self._running = self._running[-7:] + [work]  # as long as the stream may call it
        return not cuda.fake_enqueue(stream, work, None)


# Two of one name, as TensorRT makes them of what it copies.
_LAYERS = (("/conv1/Conv + /Relu", 0.5), ("Reformatting CopyNode", 0.01), ("/fc/Gemm", 0.125))
_LAYERS += (("Reformatting CopyNode", 0.03),)
_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _libcudart():
    cuda = ctypes.CDLL(os.environ.get("FAKE_LIBCUDART", "libcudart.so"))
    cuda.fake_is_device.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    cuda.fake_enqueue.argtypes = [ctypes.c_void_p, _WORK, ctypes.c_void_p]
    return cuda


def _compute(places):
    inputs = []
    for mode, at, code, size in places:
        if mode == TensorIOMode.INPUT:
            inputs.append(array.array(code, ctypes.string_at(at, 4 * size)))
    outputs = [place for place in places if place[0] == TensorIOMode.OUTPUT]
    for number, (_, at, code, size) in enumerate(outputs):
        values = [number + 1 + 2 * sum(one[place % len(one)] for one in inputs) for place in range(size)]
        content = array.array(code, [int(one) if code == "i" else one for one in values]).tobytes()
        ctypes.memmove(at, content, len(content))


def _product(shape):
    size = 1
    for one in shape:
        size *= one
    return size


def _log(line):
    if os is not None and os.environ.get("FAKE_TENSORRT_LOG"):
        with open(os.environ["FAKE_TENSORRT_LOG"], "a") as stream:
            stream.write(line + "\n")


def _problem(network, config):
    dynamic = {one.name: list(one.shape) for one in network._inputs if -1 in one.shape}
    if dynamic and not config._profiles:
        return "Network has dynamic or shape inputs, but no optimization profile has been defined."
    for name, shape in dynamic.items():
        for one in config._profiles[0]._shapes.get(name, [[]]):
            if len(one) != len(shape) or any(size not in (-1, got) for size, got in zip(shape, one)):
                return "profile of %s does not fit its shape" % name
    if (
        not network._flags >> 1
        and "QuantizeLinear" in network._operators
        and int(BuilderFlag.INT8) not in config._flags
    ):
        return "Networks with Q/DQ layers require the INT8 builder flag"
    return ""


def _device():
    return os.environ.get("FAKE_DEVICE", "a fake GPU").encode()


def _tensor(part):
    value = dict(_fields(part))
    tensor = dict(_fields(dict(_fields(value[2]))[1]))
    dims = [dict(_fields(dim)) for number, dim in _fields(tensor[2]) if number == 1]
    # Whole numbers of 64 bits become those of 32.
    kind = {1: DataType.FLOAT, 6: DataType.INT32, 7: DataType.INT32, 9: DataType.BOOL, 10: DataType.HALF}[tensor[1]]
    return ITensor(value[1].decode(), kind, tuple(dim.get(1, -1) for dim in dims))


def _fields(message):
    """(field, value) of a protobuf message: numbers as int, everything with a length as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            value, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = message[at : at + size], at + size
        yield key >> 3, value


def _varint(message, at):
    value = shift = 0
    while True:
        value |= (message[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if message[at - 1] < 128:
            return value, at

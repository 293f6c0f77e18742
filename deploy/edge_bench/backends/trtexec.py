"""An engine run by trtexec, NVIDIA's own program: where no Python binding of TensorRT works.

trtexec runs many inferences and writes down how long each took, so this backend is `in_bulk` (base.py). A latency is
trtexec's: host to device, compute and device to host, by CUDA events; what the host spends to start them is not in
it, so it is not the same figure as the host clock's of other backends (`timed_by` says which it is). The warm-up is
cut by us, by the queries' time stamps, since releases differ in whether they write it: trtexec itself is told none.
Outputs have the six digits that it prints. Run against a program that behaves like it; no GPU has run it.
"""

import hashlib
import io
import math
import os
import shutil
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from edge_bench import atomic, child
from edge_bench.backends import profile, tensors
from edge_bench.backends.base import Backend
from edge_bench.engine import trtexec
from edge_bench.engine.trtexec import SAFE_NAME, Trtexec
from edge_bench.errors import BackendError, EdgeBenchError
from edge_bench.logs.trtexec import MAX_JSON_BYTES, read_json

_NEEDED = ("loadEngine", "exportTimes", "iterations", "duration", "warmUp")
_WARMUP_S = 0.2
_START_TIMEOUT_S = 600.0
_MAX_LOG_BYTES = 1 << 20
_MAX_OUTPUT_BYTES = 256 << 20
# Lines of trtexec between which it runs inferences (samples/common/sampleInference.cpp, sampleReporting.cpp).
_BEGINS, _ENDS = "Starting inference", "Timing trace has"


class TrtexecBackend(Backend):
    """An engine in a program of its own."""

    name = "trtexec"
    timed_by = "trtexec (CUDA events)"
    in_bulk = True
    is_another_process = True

    def __init__(
        self,
        engine: bytes,
        program: Trtexec,
        device_name: str,
        inputs: List[Dict[str, Any]],
        outputs: List[Dict[str, Any]],
        batch: int = 1,
    ):
        """inputs, outputs: as the engine's sidecar has them; without inputs trtexec makes up its own.

        Raises BackendError when this release cannot do it.
        """
        super().__init__()
        self.engine_sha256 = hashlib.sha256(engine).hexdigest()
        missing = [flag for flag in _NEEDED if flag not in program.flags]
        if missing:
            raise BackendError("%s %s has no --%s" % (program.path, program.version, ", --".join(missing)))
        unsafe = [one["name"] for one in inputs if not SAFE_NAME.match(one["name"])]
        if unsafe:
            raise BackendError(
                "trtexec takes no input of the name %r; export the network with a plain name" % unsafe[0]
            )
        self.version, self.providers = program.version, [device_name]
        self.inputs, self.outputs, self.batch = list(inputs), list(outputs), batch
        self._program, self._of_engine = program, list(inputs)
        self._num_file_bytes = len(engine)
        self._values: Dict[str, Sequence[float]] = {}
        self._input_flags: List[str] = []
        self._began: Optional[float] = None
        try:
            self._work = tempfile.mkdtemp(prefix="edge-bench-")
            atomic.write_bytes(self._path("engine"), engine)
        except OSError as error:
            raise BackendError("no place for the engine: %s" % (error.strerror or error)) from error

    def bind(self, inputs: List[Dict[str, Any]], outputs: List[Dict[str, Any]]) -> None:
        if self._of_engine:
            tensors.check_names(self.inputs, inputs, "inputs", narrowed=True)
            tensors.check_names(self.outputs, outputs, "outputs", narrowed=True)
        self.inputs, self.outputs = list(inputs), list(outputs)

    def set_inputs(self, contents: Sequence[bytes]) -> None:
        if "loadInputs" not in self._program.flags:
            raise BackendError(
                "trtexec %s takes no inputs, so its outputs cannot be checked; install TensorRT's Python module: sudo "
                "apt-get install python3-libnvinfer" % self.version
            )
        of_engine = {one["name"]: one for one in self._of_engine}
        words = []
        for number, (tensor, content) in enumerate(zip(self.inputs, contents)):
            name = tensor["name"]
            found = of_engine.get(name, tensor)
            if (tensor["dtype"], found["dtype"]) == ("int64", "int32"):
                content = tensors.narrow(content, name)
            content = tensors.tile(content, tensors.num_bytes(found["dtype"], self._shape(found)), name)
            atomic.write_bytes(self._path("input-%d" % number), content)
            words.append("%s:%s" % (name, self._path("input-%d" % number)))
        self._input_flags = ["--loadInputs=" + ",".join(words)]

    def infer(self) -> Any:
        """One run of the program for its outputs; it is not for timing."""
        if "exportOutput" not in self._program.flags:
            raise BackendError("trtexec %s gives no outputs that could be checked" % self.version)
        self._run(["--iterations=1", "--duration=0", "--exportOutput=" + self._path("output.json")], 0.0)
        self._values = _read_outputs(self._path("output.json"))

    def read_outputs(self) -> List[Sequence[float]]:
        missing = [one["name"] for one in self.outputs if one["name"] not in self._values]
        if missing:
            raise BackendError("trtexec wrote the outputs %s, not %s" % (", ".join(sorted(self._values)), missing[0]))
        return [self._values[one["name"]] for one in self.outputs]

    def time_slice(self, samples_s: List[float], num_runs: Optional[int], slice_s: float) -> None:
        """Start the program once: for `num_runs` inferences after its warm-up, or for `slice_s` seconds."""
        left, num_warmup = num_runs, 0
        while True:
            times = self._time(left, num_warmup, _WARMUP_S + (slice_s if num_runs is None else 0.0))
            samples_s.extend(times["latency_s"][:left])
            self.device_samples_s.extend(times["compute_s"][:left])
            if left is None or left <= len(times["latency_s"]):
                return
            # Of the queries that were asked for some were warm-up; now it is known how many.
            left, num_warmup = left - len(times["latency_s"]), times["num_warmup_cut"]

    def _time(self, num_runs: Optional[int], num_warmup: int, seconds: float) -> Dict[str, Any]:
        num_queries = 10 if num_runs is None else num_runs + num_warmup
        limits = ["--duration=%d" % math.ceil(seconds), "--iterations=%d" % num_queries]
        self._run(limits + ["--exportTimes=" + self._path("times.json")], seconds)
        try:
            with open(self._path("times.json"), "rb") as stream:
                times = read_json(stream.read(MAX_JSON_BYTES + 1), "its times", _WARMUP_S)
        except (OSError, EdgeBenchError) as error:
            raise BackendError("trtexec %s: %s" % (self.version, error)) from error
        return {
            "latency_s": times["latency"]["samples_s"],
            "compute_s": times["compute"]["samples_s"],
            "num_warmup_cut": times["num_warmup_cut"],
        }

    def profile_layers(self, read_model: Callable[[], bytes]) -> profile.Profile:
        """By --exportProfile: means or medians of each layer over a run of its own, that of its warm-up too."""
        if "exportProfile" not in self._program.flags:
            raise profile.NoProfile("trtexec %s has no --exportProfile" % self.version, profile.OTHER_RUNTIME)
        path = self._path("profile.json")
        # Where it can, trtexec attaches its profiler only in a second run, after all else.
        apart = ["--separateProfileRun"] if "separateProfileRun" in self._program.flags else []
        limits = ["--iterations=%d" % profile.MAX_RUNS, "--duration=0"]
        self._run(limits + apart + ["--exportProfile=" + path], 0.0)
        try:
            with open(path, "rb") as stream:
                found = read_json(stream.read(MAX_JSON_BYTES + 1), "its profile", 0.0)
        except (OSError, EdgeBenchError) as error:
            raise BackendError("trtexec %s: %s" % (self.version, error)) from error
        if found["kind"] != "profile":
            raise BackendError("trtexec %s wrote times of queries, not of layers" % self.version)
        has_medians = all(one["median_s"] is not None for one in found["layers"])
        layers = [
            profile.Layer(
                one["name"], None, None, one["name"].split(" + "), [one["median_s" if has_medians else "mean_s"]]
            )
            for one in found["layers"]
        ]
        note = "trtexec --exportProfile: %s on the GPU, without transfers; fused layers are one"
        words = note % ("medians" if has_medians else "means, this release has no medians,")
        return profile.Profile("trtexec", layers, found["num_runs"], None, [], words)

    def memory(self) -> Dict[str, int]:
        return {"engine_file_bytes": self._num_file_bytes}

    def close(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)

    def _path(self, name: str) -> str:
        return os.path.join(self._work, name)

    def _shape(self, tensor: Dict[str, Any]) -> List[int]:
        return [self.batch if size == -1 else size for size in tensor["shape"]]

    def _run(self, flags: List[str], seconds: float) -> None:
        command = [self._program.path, "--loadEngine=" + self._path("engine"), "--warmUp=0"] + flags + self._input_flags
        dynamic = [one for one in self._of_engine if -1 in one["shape"]]
        if dynamic:
            shapes = ["%s:%s" % (one["name"], "x".join(map(str, self._shape(one)))) for one in dynamic]
            command.append("--shapes=" + ",".join(shapes))
        self.window_s = self._began = None
        try:
            ended = child.run_logged(child.tied(command), io.BytesIO(), 0, seconds + _START_TIMEOUT_S, self._on_line)
        except OSError as error:
            raise BackendError("%s cannot be started: %s" % (self._program.path, error.strerror or error)) from error
        if ended.returncode:
            raise BackendError("trtexec ended with %s: %s" % (ended.how(), trtexec.explain(ended.tail)))
        if ended.returncode is None:
            raise BackendError("trtexec took more than %.0f s and was ended" % (seconds + _START_TIMEOUT_S))

    def _on_line(self, line: str) -> None:
        """When it runs inferences, on our own clock: its lines come as they are written."""
        now = time.monotonic()
        if _BEGINS in line:
            self._began = now + _WARMUP_S
        elif _ENDS in line and self._began is not None and now > self._began:
            self.window_s = (self._began, now)


def _read_outputs(path: str) -> Dict[str, Sequence[float]]:
    """Of --exportOutput: a list of name, dimensions and values."""
    try:
        with open(path, "rb") as stream:
            found = atomic.parse_json(stream.read(_MAX_OUTPUT_BYTES))
        return {one["name"]: [float(value) for value in one["values"]] for one in found}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BackendError("trtexec's outputs cannot be read (%r); are they finite numbers?" % error) from error

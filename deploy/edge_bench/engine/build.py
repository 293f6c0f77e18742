"""Building a TensorRT engine where TensorRT and a GPU are: one builder for the board and the workstation.

The driver is asked first (cuda/driver.py), then TensorRT's Python API in a child process, then trtexec. The build is a
child too: it has a time limit, its whole output is in a log, an interrupt ends its group, a kill of this process ends
it as well, what is written appears whole.
Never run on a GPU: the tests build with a fake of TensorRT, checked against the real module by
scripts/check-tensorrt, and with a program that behaves like trtexec.
"""

import hashlib
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from edge_bench import __version__, atomic, child
from edge_bench.cuda import driver
from edge_bench.engine import sidecar, tensorrt_build, trtexec
from edge_bench.engine.workplace import work_folder
from edge_bench.errors import BackendError

PYTHON, TRTEXEC = "python", "trtexec"
_PROBE_TIMEOUT_S = 120.0
_MAX_LOG_BYTES = 16 << 20
_MAX_RESULT_BYTES = 1 << 20
_SAY_EVERY_S = 5.0
_SAY_ANYWAY_S = 20.0
_INSTALL = "on a Jetson it comes with JetPack: sudo apt-get install python3-libnvinfer libnvinfer-bin"


class EngineSettings(NamedTuple):
    """What an engine is to be. A bundle's `engine_recipe` holds these, apart from the time limit.

    precision: that of the ONNX file, 'fp32', 'fp16' or 'int8'; it is allowed, never forced. workspace_bytes: memory
    that tactics may use while it is built and runs, None for TensorRT's own choice. batch: smallest, usual and largest
    batch of a file whose batch is of any size. allow_tf32: products of float32 with ten bits, where GPUs have them.
    """

    precision: str = "fp32"
    workspace_bytes: Optional[int] = None
    batch: Optional[Tuple[int, int, int]] = None
    version_compatible: bool = False
    allow_tf32: bool = False
    timeout_s: float = 7200.0

    def to_dict(self) -> Dict[str, Any]:
        """As it stands in a sidecar: what decides over the engine."""
        values = {key: getattr(self, key) for key in self._fields if key != "timeout_s"}
        values["batch"] = list(self.batch) if self.batch else None
        return values


class Builder(NamedTuple):
    """A way to build that works here: TensorRT's version, the device it builds for, the driver's CUDA version."""

    way: str
    tensorrt_version: str
    device: Dict[str, Any]
    cuda_version: str
    program: Optional[trtexec.Trtexec] = None


def find_builder() -> Tuple[Optional[Builder], str]:
    """(what builds here, "") or (None, why nothing does, in words). Never raises."""
    found_driver = driver.probe_driver()
    if found_driver["reason"]:
        return None, found_driver["reason"]
    device, cuda_version = found_driver["devices"][0], found_driver["cuda_version"]
    found, no_python = probe_tensorrt()
    if found:
        return Builder(PYTHON, found, device, cuda_version), ""
    program, no_program = trtexec.find_trtexec()
    if program:
        return Builder(TRTEXEC, program.version, device, cuda_version, program), ""
    return None, "no TensorRT: Python has none (%s), and %s; %s" % (no_python, no_program, _INSTALL)


def probe_tensorrt() -> Tuple[str, str]:
    """(version of the tensorrt module, "") or ("", how its import ended), found out in a child process."""
    return child.ask_version("edge_bench.engine.tensorrt_build:describe", "importing it", _PROBE_TIMEOUT_S)


def build_engine(
    builder: Builder,
    onnx: bytes,
    inputs: List[Dict[str, Any]],
    outputs: List[Dict[str, Any]],
    settings: EngineSettings,
    folder: str,
    log_path: str,
    timing_cache: Optional[str] = None,
    say: Callable[[str], None] = lambda line: None,
) -> Dict[str, Any]:
    """Build `model.engine` and its sidecar into `folder`; returns the sidecar.

    inputs and outputs: the tensors of the manifest, with shapes for a batch of 1. timing_cache: a file that is read
    and written. say: gets a line for each step. Raises BackendError, naming the log, when it fails; what was in the
    folder before is then untouched.
    """
    folder = os.path.abspath(folder)  # children work elsewhere
    try:
        with work_folder(folder) as work:
            job = _write_job(work, onnx, inputs, outputs, settings, timing_cache)
            started = time.time()
            result, num_seconds = _run(builder, work, job, settings, os.path.abspath(log_path), say)
            record = _describe(builder, job, result, settings, onnx, inputs, outputs)
            record["built_with"].update(num_seconds=round(num_seconds, 3), started_at=int(started))
            # A crash between the two leaves an engine that is not its sidecar's, which open_engine finds out.
            os.replace(job["engine"], os.path.join(folder, sidecar.ENGINE))
            atomic.write_json(os.path.join(folder, sidecar.SIDECAR), record)
    except OSError as error:
        raise BackendError("the engine cannot be written into %s: %s" % (folder, error.strerror or error)) from error
    say("built in %.0f s: %d bytes" % (num_seconds, record["num_bytes"]))
    return record


def cache_key(onnx_sha256: str, builder: Builder, settings: EngineSettings) -> str:
    """The name under which an engine can be kept and found again: equal where the same build would be made."""
    parts = {
        "onnx_sha256": onnx_sha256,
        "tensorrt_version": builder.tensorrt_version,
        "device": [builder.device["name"], builder.device["compute_capability"]],
        "platform": sidecar.this_platform(),
        "settings": settings.to_dict(),
    }
    return hashlib.sha256(atomic.canonical_json(parts)).hexdigest()


def _write_job(
    work: str,
    onnx: bytes,
    inputs: List[Dict[str, Any]],
    outputs: List[Dict[str, Any]],
    settings: EngineSettings,
    timing_cache: Optional[str],
) -> Dict[str, Any]:
    job = dict(
        settings.to_dict(),
        onnx=os.path.join(work, "model.onnx"),
        engine=os.path.join(work, "engine"),
        result=os.path.join(work, "result.json"),
        timing_cache=os.path.abspath(timing_cache) if timing_cache else None,
        inputs=[one["name"] for one in inputs],
        outputs=[one["name"] for one in outputs],
        input_shapes={one["name"]: one["shape"] for one in inputs},
    )
    atomic.write_bytes(job["onnx"], onnx)
    atomic.write_json(os.path.join(work, "job.json"), job)
    return job


def _run(
    builder: Builder,
    work: str,
    job: Dict[str, Any],
    settings: EngineSettings,
    log_path: str,
    say: Callable[[str], None],
) -> Tuple[Dict[str, Any], float]:
    notes = []  # type: List[str]
    if builder.program is None:
        command = child.python_call("edge_bench.engine.tensorrt_build:build", os.path.join(work, "job.json"))
    else:
        try:
            command, notes = trtexec.build_command(builder.program, job)
        except ValueError as error:
            raise BackendError(str(error)) from error
    say("TensorRT %s builds for %s by %s" % (builder.tensorrt_version, builder.device["name"], builder.way))
    # Unbuffered: a board may lose its power in the middle of a build.
    sayer = _Sayer(say)
    with open(log_path, "wb", 0) as log:
        log.write(("%s\n" % " ".join(command if builder.program else command[-2:])).encode("utf-8", "replace"))
        ended = child.run_logged(child.tied(command), log, _MAX_LOG_BYTES, settings.timeout_s, sayer, sayer.wait)
    if ended.returncode is None:
        raise BackendError("building took more than %g s and was ended; its log: %s" % (settings.timeout_s, log_path))
    result = _read_result(job["result"]) if builder.program is None else _check_program(ended, notes, builder, job)
    if ended.returncode < 0:
        hint = ", as where memory runs out; say a smaller workspace" if ended.returncode == -9 else ""
        raise BackendError(
            "TensorRT ended the build with signal %d%s; its log: %s" % (-ended.returncode, hint, log_path)
        )
    if "error" in result or ended.returncode or not os.path.isfile(job["engine"]):
        reason = result.get("error") or (ended.tail[-1] if ended.tail else ended.how())
        raise BackendError("no engine was built: %s; its log: %s" % (reason, log_path))
    return result, ended.num_seconds


def _read_result(path: str) -> Dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            result = atomic.parse_json(stream.read(_MAX_RESULT_BYTES))
    except (OSError, ValueError):
        return {}  # the child died; its exit code and last line say how
    return result if isinstance(result, dict) else {}


def _check_program(ended: child.Ended, notes: List[str], builder: Builder, job: Dict[str, Any]) -> Dict[str, Any]:
    if ended.returncode or not os.path.isfile(job["engine"]) or not os.path.getsize(job["engine"]):
        return {"error": "trtexec: " + trtexec.explain(ended.tail)}
    assert builder.program is not None
    return {"notes": notes, "version_compatible": trtexec.is_version_compatible(builder.program, job)}


def _describe(
    builder: Builder,
    job: Dict[str, Any],
    result: Dict[str, Any],
    settings: EngineSettings,
    onnx: bytes,
    inputs: List[Dict[str, Any]],
    outputs: List[Dict[str, Any]],
) -> Dict[str, Any]:
    with open(job["engine"], "rb") as stream:
        content = stream.read()
    return {
        "schema": sidecar.SCHEMA,
        "version": sidecar.VERSION,
        "tensorrt_version": result.get("tensorrt_version", builder.tensorrt_version),
        "gpu": {key: builder.device[key] for key in ("name", "compute_capability", "memory_bytes")},
        "cuda_version": builder.cuda_version,
        "platform": sidecar.this_platform(),
        "precision": settings.precision,
        "sha256": hashlib.sha256(content).hexdigest(),
        "num_bytes": len(content),
        "onnx_sha256": hashlib.sha256(onnx).hexdigest(),
        "inputs": result.get("inputs") or [_with_batch(one, settings.batch) for one in inputs],
        "outputs": result.get("outputs") or [_with_batch(one, settings.batch, is_input=False) for one in outputs],
        "version_compatible": bool(result.get("version_compatible")),
        "settings": settings.to_dict(),
        "built_with": {"way": builder.way, "edge_bench": __version__},
        "notes": result.get("notes", []),
    }


def _with_batch(tensor: Dict[str, Any], batch: Optional[Tuple[int, int, int]], is_input: bool = True) -> Dict[str, Any]:
    """trtexec says nothing of tensors, so they are those of the manifest, with the batch that was asked for."""
    described = {key: tensor[key] for key in ("name", "dtype", "shape")}
    if batch is not None:
        rest = tensor["shape"][1:]
        described["shape"] = [-1] + rest
        if is_input:
            described["profile"] = {key: [size] + rest for key, size in zip(("min", "opt", "max"), batch)}
    return described


class _Sayer:
    """Steps of the build at once; of TensorRT's own lines the newest one every few seconds; else that it goes on."""

    def __init__(self, say: Callable[[str], None]):
        self._say, self._start, self._last = say, time.monotonic(), time.monotonic()
        self._step = "starting"

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        if line.startswith(tensorrt_build.PHASE):
            self._step = line[len(tensorrt_build.PHASE) :]
            self._say(self._step)
            self._last = now
        elif now - self._last > _SAY_EVERY_S and line.strip():
            self._say("%.0f s: %s" % (now - self._start, line.strip()[:120]))
            self._last = now

    def wait(self) -> None:
        """TensorRT tries tactics for minutes without a word."""
        now = time.monotonic()
        if now - self._last > _SAY_ANYWAY_S:
            self._say("%.0f s: still %s" % (now - self._start, self._step))
            self._last = now

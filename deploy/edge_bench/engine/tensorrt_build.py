"""Building an engine with TensorRT's Python API, 8.0 to 10.x: the one file that imports tensorrt to build.

It runs in a child process (engine.py), because TensorRT can end the process that it lives in. What differs between
releases is chosen by what is there, never by a version number. Precision comes from the ONNX file; releases without
strong typing need FP16 or INT8 allowed to follow it. `scripts/check-tensorrt` reads this file and checks each
attribute that it uses against the real TensorRT 8.6.0. Never run on a GPU: parsing and building ran against a fake.
"""

import os
import sys
from typing import Any, Dict, List, Optional

from edge_bench import atomic
from edge_bench.engine import onnx_nodes
from edge_bench.engine.tensorrt_types import type_name

_MAX_JOB_BYTES = 1 << 20
_MAX_PROBLEMS = 5
# Lines of this beginning are progress; the others are TensorRT's own.
PHASE = "edge-bench: "


class _RefusedError(Exception):
    """TensorRT cannot build this; the message says why."""


def describe() -> Dict[str, Any]:
    """Version of the installed TensorRT. Touches neither its Builder nor its Runtime."""
    import tensorrt as trt  # type: ignore[import-not-found,import-untyped,unused-ignore]

    if not hasattr(trt, "Builder"):
        raise ImportError("tensorrt is there without its builder: it is the lean runtime, or a folder in the way")
    return {"version": trt.__version__}


def build(job_path: str) -> Dict[str, Any]:
    """Build the engine of a job file; what came of it goes into the job's `result`, an error too.

    Job: onnx, engine, result (paths), timing_cache (path or None), precision, workspace_bytes, batch,
    version_compatible, allow_tf32, inputs and outputs (names that the network must have).
    """
    with open(job_path, "rb") as stream:
        job = atomic.parse_json(stream.read(_MAX_JOB_BYTES))
    import tensorrt as trt

    try:
        result = _build(trt, job)
    except _RefusedError as error:
        result = {"error": str(error)}
    atomic.write_json(job["result"], result)
    return result


def _build(trt: Any, job: Dict[str, Any]) -> Dict[str, Any]:
    logger = trt.Logger(trt.Logger.INFO)
    trt.init_libnvinfer_plugins(logger, "")
    try:
        builder = trt.Builder(logger)
    except (TypeError, RuntimeError) as error:  # TypeError: pybind's word for a null pointer
        raise _RefusedError("TensorRT %s gives no builder, its log says why (%s)" % (trt.__version__, error)) from error
    notes = []  # type: List[str]
    _say("parsing")
    network = builder.create_network(_network_flags(trt))
    _parse(trt, network, logger, job["onnx"])
    inputs = [_describe_tensor(network.get_input(index)) for index in range(network.num_inputs)]
    outputs = [_describe_tensor(network.get_output(index)) for index in range(network.num_outputs)]
    _check_names(job, inputs, outputs)
    config = builder.create_builder_config()
    _set_memory(trt, config, job["workspace_bytes"])
    _set_flags(trt, builder, config, job, notes)
    _set_profile(builder, config, inputs, job["batch"])
    cache = _set_timing_cache(config, job["timing_cache"], notes)
    _say("building")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _RefusedError("TensorRT %s could not build the network; its log says why" % trt.__version__)
    _say("writing")
    atomic.write_bytes(job["engine"], bytes(plan))
    if cache is not None:
        _keep_timing_cache(config, job["timing_cache"], notes)
    compatible = job["version_compatible"] and hasattr(trt.BuilderFlag, "VERSION_COMPATIBLE")
    return {
        "tensorrt_version": trt.__version__,
        "inputs": inputs,
        "outputs": outputs,
        "version_compatible": compatible,
        "notes": notes,
    }


def _say(phase: str) -> None:
    sys.stdout.write(PHASE + phase + "\n")
    sys.stdout.flush()


def _network_flags(trt: Any) -> int:
    """Types as in the file where TensorRT can (10.x); an explicit batch where it still has to be said (8.x)."""
    flags = 0
    if hasattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    if hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        flags |= 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return flags


def _parse(trt: Any, network: Any, logger: Any, path: str) -> None:
    with open(path, "rb") as stream:
        content = stream.read()
    parser = trt.OnnxParser(network, logger)
    if parser.parse(content):
        return
    problems = [parser.get_error(index) for index in range(min(parser.num_errors, _MAX_PROBLEMS))]
    texts = [_problem_text(problem, content) for problem in problems]
    raise _RefusedError(
        "TensorRT %s cannot read the network: %s" % (trt.__version__, "; ".join(texts) or "it does not say why")
    )


def _problem_text(problem: Any, content: bytes) -> str:
    name, operator = onnx_nodes.node_at(content, problem.node())
    if hasattr(problem, "node_name") and hasattr(
        problem, "node_operator"
    ):  # the node's number counts in its own subgraph there
        name, operator = problem.node_name() or name, problem.node_operator() or operator
    place = "node %r (%s): " % (name, operator) if name or operator else ""
    return place + problem.desc()


def _describe_tensor(tensor: Any) -> Dict[str, Any]:
    return {"name": tensor.name, "dtype": type_name(tensor.dtype.name), "shape": [int(n) for n in tensor.shape]}


def _check_names(job: Dict[str, Any], inputs: List[Dict[str, Any]], outputs: List[Dict[str, Any]]) -> None:
    for direction, found in (("inputs", inputs), ("outputs", outputs)):
        names = sorted(one["name"] for one in found)
        if names != sorted(job[direction]):
            raise _RefusedError(
                "the network has the %s %s, its manifest names %s; export it again"
                % (direction, ", ".join(names), ", ".join(sorted(job[direction])))
            )


def _set_memory(trt: Any, config: Any, workspace_bytes: Optional[int]) -> None:
    if workspace_bytes is None:
        return
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    else:
        config.max_workspace_size = workspace_bytes


def _set_flags(trt: Any, builder: Any, config: Any, job: Dict[str, Any], notes: List[str]) -> None:
    if not job["allow_tf32"] and hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        _allow_precision(trt, builder, config, job["precision"], notes)
    if job["version_compatible"] and hasattr(trt.BuilderFlag, "VERSION_COMPATIBLE"):
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    elif job["version_compatible"]:
        notes.append("TensorRT %s makes no version-compatible engines; this one loads only there" % trt.__version__)


def _allow_precision(trt: Any, builder: Any, config: Any, precision: str, notes: List[str]) -> None:
    """Without strong typing TensorRT keeps to float32 unless it may do otherwise, and refuses QDQ without INT8."""
    if precision == "fp16" and hasattr(trt.BuilderFlag, "FP16"):
        config.set_flag(trt.BuilderFlag.FP16)
        if not builder.platform_has_fast_fp16:
            notes.append("this GPU has no fast float16: the engine may be slower than that of float32")
    if precision == "int8" and hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)
        if not builder.platform_has_fast_int8:
            notes.append("this GPU has no fast int8: the engine may be slower than that of float32")


def _set_profile(builder: Any, config: Any, inputs: List[Dict[str, Any]], batch: Optional[List[int]]) -> None:
    dynamic = [one for one in inputs if -1 in one["shape"]]
    if not dynamic:
        if batch is not None:
            raise _RefusedError("the file has a fixed batch, so there is no profile of batches; leave it out")
        return
    profile = builder.create_optimization_profile()
    for one in dynamic:
        name, rest = one["name"], one["shape"][1:]
        if batch is None:
            raise _RefusedError("input %r has a batch of any size; say its smallest, usual and largest" % name)
        if -1 in rest:
            raise _RefusedError("input %r has shape %s; only the batch may be of any size" % (name, one["shape"]))
        one["profile"] = {key: [size] + rest for key, size in zip(("min", "opt", "max"), batch)}
        profile.set_shape(name, one["profile"]["min"], one["profile"]["opt"], one["profile"]["max"])
    config.add_optimization_profile(profile)


def _set_timing_cache(config: Any, path: Optional[str], notes: List[str]) -> Any:
    """The cache that the file holds, or an empty one where there is none, or it is another device's."""
    if path is None:
        return None
    content = b""
    if os.path.exists(path):
        with open(path, "rb") as stream:
            content = stream.read()
    cache = config.create_timing_cache(content)
    if content and (cache is None or not config.set_timing_cache(cache, False)):
        notes.append("the timing cache is another device's or release's; it is made anew")
        content = b""
        cache = config.create_timing_cache(content)
    if not content:
        config.set_timing_cache(cache, False)
    return cache


def _keep_timing_cache(config: Any, path: str, notes: List[str]) -> None:
    cache = config.get_timing_cache()
    try:
        atomic.write_bytes(path, bytes(cache.serialize()))
    except OSError as error:
        notes.append("the timing cache was not kept: %s" % error)

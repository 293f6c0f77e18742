"""Building an engine with trtexec, NVIDIA's own program: the second way, where no Python binding of TensorRT works.

What a release understands is read from its own --help, so 8.x and 10.x need no table of versions: --memPoolSize took
the place of --workspace with 8.4, --skipInference that of --buildOnly with 8.6 (docs.nvidia.com, "Migrating trtexec
Usage from TensorRT 8.x to 10.x"). Run against a program that behaves like it; never against the real one.
"""

import io
import os
import re
import shutil
from typing import Any, Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from edge_bench import child
from edge_bench.logs.trtexec import version_of

# Where JetPack puts it, which is not on the PATH.
_FOLDERS = ("/usr/src/tensorrt/bin", "/usr/local/tensorrt/bin")
_TIMEOUT_S = 60.0
_MAX_HELP_BYTES = 1 << 20
_FLAG = re.compile(r"^\s+--([A-Za-z0-9]+)", re.MULTILINE)
# Names of tensors that its command line can carry.
SAFE_NAME = re.compile(r"[A-Za-z0-9_./-]+\Z")
_MIB = 1 << 20


class Trtexec(NamedTuple):
    """The program, the TensorRT version that it says, and the flags of its --help."""

    path: str
    version: str
    flags: FrozenSet[str]


def find_trtexec() -> Tuple[Optional[Trtexec], str]:
    """(the program, "") or (None, why it cannot be used)."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath),) + _FOLDERS)
    path = shutil.which("trtexec", path=folders)
    if path is None:
        return None, "trtexec is not on the PATH, nor in %s" % " or ".join(_FOLDERS)
    text = io.BytesIO()
    try:
        ended = child.run_logged([path, "--help"], text, _MAX_HELP_BYTES, _TIMEOUT_S, lambda line: None)
    except OSError as error:
        return None, "%s cannot be started: %s" % (path, error.strerror or error)
    words = text.getvalue().decode("utf-8", "replace")
    version, flags = version_of(words), frozenset(_FLAG.findall(words))
    if ended.returncode != 0 or version is None or not {"onnx", "saveEngine"} <= flags:
        last = ended.tail[-1] if ended.tail else "it said nothing"
        return None, "%s --help ended with %s and does not answer as trtexec does: %s" % (path, ended.how(), last)
    return Trtexec(path, version, flags), ""


def build_command(program: Trtexec, job: Dict[str, Any]) -> Tuple[List[str], List[str]]:
    """The command line for a job (as in tensorrt_build.build), and notes on what this release cannot do.

    Raises ValueError for a tensor's name that its command line cannot carry.
    """
    command, notes = [program.path, "--onnx=" + job["onnx"], "--saveEngine=" + job["engine"]], []  # type: Any, List[str]
    for flag in ("skipInference", "buildOnly"):
        if flag in program.flags:
            command.append("--" + flag)
            break
    if job["workspace_bytes"] is not None:
        mib = max(job["workspace_bytes"] // _MIB, 1)
        command.append("--memPoolSize=workspace:%d" % mib if "memPoolSize" in program.flags else "--workspace=%d" % mib)
    if job["timing_cache"] is not None and "timingCacheFile" in program.flags:
        command.append("--timingCacheFile=" + job["timing_cache"])
    if not job["allow_tf32"] and "noTF32" in program.flags:
        command.append("--noTF32")
    command += _precision_flags(program, job["precision"])
    if job["version_compatible"]:
        if is_version_compatible(program, job):
            command.append("--versionCompatible")
        else:
            notes.append("TensorRT %s makes no version-compatible engines; this one loads only there" % program.version)
    return command + _shape_flags(job), notes


def is_version_compatible(program: Trtexec, job: Dict[str, Any]) -> bool:
    """Whether the engine of this job loads in later releases too."""
    return bool(job["version_compatible"]) and "versionCompatible" in program.flags


def _precision_flags(program: Trtexec, precision: str) -> List[str]:
    if "stronglyTyped" in program.flags:
        return ["--stronglyTyped"]
    allowed = {"fp16": "fp16", "int8": "int8"}.get(precision)
    return ["--" + allowed] if allowed in program.flags else []


def _shape_flags(job: Dict[str, Any]) -> List[str]:
    if job["batch"] is None:
        return []
    flags = []
    for key, size in zip(("min", "opt", "max"), job["batch"]):
        shapes = []
        for name, shape in sorted(job["input_shapes"].items()):
            if not SAFE_NAME.match(name):
                raise ValueError("trtexec takes no input of the name %r; export the network with a plain name" % name)
            shapes.append("%s:%s" % (name, "x".join(str(one) for one in [size] + shape[1:])))
        flags.append("--%sShapes=%s" % (key, ",".join(shapes)))
    return flags


def explain(tail: List[str]) -> str:
    """Why it failed: its error lines, the first of which names the node."""
    errors = [line.partition("[E]")[2].strip() for line in tail if "[E]" in line]
    words = " ".join(errors[:4]) if errors else (tail[-1].strip() if tail else "it said nothing")
    return words[:800]

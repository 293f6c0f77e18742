"""What an engine is: `model.engine.json` beside `model.engine`, checked before the engine is loaded anywhere.

An engine loads only on the platform, GPU architecture and TensorRT release that it was built for; some releases can
make it loadable in later ones (docs.nvidia.com, TensorRT, "Engine Compatibility"). TensorRT's own header is not
documented, so all of it stands here, and `why_not_here` answers in words before TensorRT is asked.
"""

import hashlib
import os
import platform
import re
from typing import Any, Dict, List, Optional, Tuple

from edge_bench import atomic
from edge_bench.errors import BundleError

SCHEMA = "edge-dendrite.engine"
VERSION = 1
ENGINE, SIDECAR = "model.engine", "model.engine.json"
_MAX_BYTES = 1 << 20
_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
# A version-compatible engine of the one major release also loads in the other (the same pages).
_LATER_MAJORS = {8: (10,), 10: (11,)}

_KEYS = {
    "tensorrt_version": str,
    "gpu": dict,
    "platform": str,
    "precision": str,
    "sha256": str,
    "num_bytes": int,
    "onnx_sha256": str,
    "inputs": list,
    "outputs": list,
    "version_compatible": bool,
    "settings": dict,
    "built_with": dict,
}


def this_platform() -> str:
    """As engines are bound to it: 'linux-aarch64'."""
    return "%s-%s" % (platform.system().lower(), platform.machine())


def parse_sidecar(data: bytes, place: str = SIDECAR) -> Dict[str, Any]:
    """The sidecar in these bytes. Raises BundleError naming the key that is not what it should be."""
    try:
        sidecar = atomic.parse_json(data)
    except ValueError as error:
        raise BundleError("%s: not JSON: %s" % (place, error)) from error
    problem = _problem(sidecar)
    if problem:
        raise BundleError("%s: %s; build the engine again" % (place, problem))
    return sidecar  # type: ignore[no-any-return,unused-ignore]


def _problem(sidecar: Any) -> str:
    if not isinstance(sidecar, dict) or sidecar.get("schema") != SCHEMA:
        return "schema is not %r" % SCHEMA
    if type(sidecar.get("version")) is not int or sidecar["version"] != VERSION:
        return "version is %r, this edge-bench reads %d" % (sidecar.get("version"), VERSION)
    for key, kind in sorted(_KEYS.items()):
        if type(sidecar.get(key)) is not kind:
            return "%r is missing or not a %s" % (key, kind.__name__)
    for key in ("sha256", "onnx_sha256"):
        if not _SHA256.match(sidecar[key]):
            return "%r is not a sha256" % key
    if not _NUMBERS.match(sidecar["tensorrt_version"]):
        return "tensorrt_version is %r" % sidecar["tensorrt_version"]
    for key in ("name", "compute_capability"):
        if not isinstance(sidecar["gpu"].get(key), str):
            return "gpu.%s is missing or not a str" % key
    for key in ("inputs", "outputs"):
        if not sidecar[key] or not all(_is_tensor(one) for one in sidecar[key]):
            return "%s: each needs a name, a dtype and a shape" % key
    return ""


def _is_tensor(value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in ("name", "dtype")):
        return False
    shape = value.get("shape")
    return isinstance(shape, list) and all(type(size) is int and size >= -1 for size in shape)


def open_engine(folder: str) -> Tuple[Dict[str, Any], str]:
    """(sidecar, path of the engine) of a folder with `model.engine`, after both were checked against each other.

    Raises BundleError when one is missing or the engine's bytes are not those that the sidecar names.
    """
    engine = os.path.join(folder, ENGINE)
    return open_engine_file(engine), engine


def open_engine_file(path: str) -> Dict[str, Any]:
    """The sidecar of the engine at `path`, `NAME.engine.json` beside `NAME.engine`, checked as a pair.

    Raises BundleError as open_engine does.
    """
    place = path + ".json"
    try:
        with open(place, "rb") as stream:
            sidecar = parse_sidecar(stream.read(_MAX_BYTES + 1), place)
        num_bytes, digest = hash_file(path)
    except OSError as error:
        raise BundleError("%s: %s" % (error.filename or path, error.strerror or error)) from error
    if num_bytes != sidecar["num_bytes"] or digest != sidecar["sha256"]:
        raise BundleError("%s: not the engine that %s describes; build it again" % (path, os.path.basename(place)))
    return sidecar


def hash_file(path: str) -> Tuple[int, str]:
    """(size in bytes, sha256) of a file that may be larger than the memory that is free. Raises OSError."""
    digest, num_bytes = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        while True:
            data = stream.read(_CHUNK)
            if not data:
                return num_bytes, digest.hexdigest()
            digest.update(data)
            num_bytes += len(data)


def why_not_here(
    sidecar: Dict[str, Any],
    device: Optional[Dict[str, Any]],
    tensorrt_version: Optional[str],
    board_platform: Optional[str] = None,
) -> str:
    """Why an engine cannot load on this device with this TensorRT, in words; "" when it can.

    `device` is one of cuda.probe_driver's, or None where there is none; a host asks for the platform of a board.
    """
    here = board_platform or this_platform()
    built = "engine built with TensorRT %s for sm_%s" % (sidecar["tensorrt_version"], _sm(sidecar["gpu"]))
    remedy = "edge-bench will build it there"
    if sidecar["platform"] != here:
        return "%s on %s; this board is %s; %s" % (built, sidecar["platform"], here, remedy)
    if device is None or tensorrt_version is None:
        missing = [
            word for word, what in (("no NVIDIA GPU", device), ("no TensorRT", tensorrt_version)) if what is None
        ]
        return "%s; this board has %s" % (built, " and ".join(missing))
    same_gpu = sidecar["gpu"]["compute_capability"] == device["compute_capability"]
    if same_gpu and _release_loads(sidecar, tensorrt_version):
        return ""
    return "%s; this board has %s, sm_%s; %s" % (built, tensorrt_version, _sm(device), remedy)


def _release_loads(sidecar: Dict[str, Any], release: str) -> bool:
    built, here = release_numbers(sidecar["tensorrt_version"]), release_numbers(release)
    if built == here:
        return True
    if not sidecar["version_compatible"] or here < built:
        return False
    return built[0] == here[0] or here[0] in _LATER_MAJORS.get(built[0], ())


def release_numbers(version: str) -> List[int]:
    """Major, minor and patch; wheels and trtexec disagree on the number of the build behind them."""
    found = _NUMBERS.match(version)
    return [int(one or 0) for one in found.groups()] if found else [0, 0, 0]


def _sm(gpu: Dict[str, Any]) -> str:
    return str(gpu["compute_capability"]).replace(".", "")

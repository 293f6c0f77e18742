"""Engines that were built on this board, kept by what decides over them: the ONNX file, TensorRT, device, settings.

    CACHE/KEY/model.engine, model.engine.json      KEY is build.cache_key
    CACHE/logs/KEY-TIME-PID.log                    of every build, also of one that failed; the last twenty
    CACHE/timing-VERSION-DEVICE                    TensorRT's own timing cache

An entry is a folder that appears whole, by one rename. Of two builds of the same the first that is ready stays. An
entry whose engine is not the one that its sidecar describes is as good as none, and is built again.
"""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from edge_bench.engine import sidecar
from edge_bench.engine.build import Builder, EngineSettings, build_engine, cache_key
from edge_bench.engine.workplace import work_folder
from edge_bench.errors import BackendError, BundleError

_KEY = re.compile(r"[0-9a-f]{64}\Z")
_MAX_ENTRIES = 1000
_MAX_SIDECAR_BYTES = 1 << 20
_MAX_LOGS = 20


def find_engines(cache: str, onnx_sha256: str) -> List[Tuple[str, Dict[str, Any]]]:
    """(folder, sidecar) of every entry that was built from this ONNX file, the newest first; engines are not read."""
    found = []
    for name in _entries(cache):
        folder = os.path.join(cache, name)
        try:
            described = read_sidecar(os.path.join(folder, sidecar.SIDECAR))
            when = os.path.getmtime(os.path.join(folder, sidecar.SIDECAR))
        except (BundleError, OSError):
            continue  # damaged, or taken away just now: `edge-bench build` sees to it
        if described["onnx_sha256"] == onnx_sha256:
            found.append((when, folder, described))
    return [(folder, described) for _, folder, described in sorted(found, key=lambda one: one[:2], reverse=True)]


def read_sidecar(place: str) -> Dict[str, Any]:
    """The sidecar in a file, without a look at its engine. Raises BundleError, OSError."""
    with open(place, "rb") as stream:
        return sidecar.parse_sidecar(stream.read(_MAX_SIDECAR_BYTES), place)


def check_entry(folder: str, key: str) -> Tuple[Optional[Dict[str, Any]], str]:
    """(sidecar, "") of an intact engine of this key in a folder; (None, "") where nothing is, (None, what is wrong)."""
    if not os.path.exists(os.path.join(folder, sidecar.SIDECAR)):
        return None, ""
    try:
        described, _ = sidecar.open_engine(folder)
    except BundleError as error:
        return None, str(error)
    return (described, "") if key_of(described) == key else (None, "%s holds an engine of another build" % folder)


def key_of(described: Dict[str, Any]) -> str:
    """The key under which the engine of this sidecar belongs."""
    builder = Builder("", described["tensorrt_version"], described["gpu"], "")
    try:
        values = dict(described["settings"])
        values["batch"] = tuple(values["batch"]) if values.get("batch") else None
        settings = EngineSettings(**values)
    except (TypeError, ValueError):
        return ""
    return cache_key(described["onnx_sha256"], builder, settings)


def build_into(
    cache: str,
    builder: Builder,
    onnx: bytes,
    inputs: List[Dict[str, Any]],
    outputs: List[Dict[str, Any]],
    settings: EngineSettings,
    log_path: str,
    timing_cache: Optional[str],
    say: Callable[[str], None],
) -> Tuple[str, Dict[str, Any]]:
    """Build an engine into its place in the cache: (folder, sidecar). Raises BackendError when that fails."""
    key = cache_key(hashlib.sha256(onnx).hexdigest(), builder, settings)
    folder = os.path.join(cache, key)
    try:
        with work_folder(cache) as work:
            described = build_engine(builder, onnx, inputs, outputs, settings, work, log_path, timing_cache, say)
            os.chmod(work, 0o755)
            _put(work, folder, key)
    except OSError as error:
        raise BackendError("the cache %s cannot be written: %s" % (cache, error.strerror or error)) from error
    return folder, described


def _put(work: str, folder: str, key: str) -> None:
    """Give the finished folder its name. What has that name already goes, even where it is intact: it was asked for."""
    for _ in range(10):
        try:
            os.rename(work, folder)
            return
        except OSError:
            if not os.path.isdir(folder):
                raise
        # Of several builds of the same that end now, each takes away what it finds; the last one stays.
        old = tempfile.mkdtemp(prefix=".old-", dir=os.path.dirname(folder))
        try:
            os.rename(folder, os.path.join(old, key))
        except FileNotFoundError:
            pass
        finally:
            shutil.rmtree(old, ignore_errors=True)
    raise BackendError("others keep writing %s; build again" % folder)


def new_log(cache: str, key: str) -> str:
    """A path for the log of a build, in a folder that is there; the oldest logs go. Raises BackendError."""
    folder = os.path.join(cache, "logs")
    try:
        os.makedirs(folder, exist_ok=True)
        names = sorted((name for name in os.listdir(folder) if name.endswith(".log")), key=lambda one: one[17:])
        for name in names[: max(len(names) + 1 - _MAX_LOGS, 0)]:
            with contextlib.suppress(FileNotFoundError):  # another build took the same one away
                os.unlink(os.path.join(folder, name))
    except OSError as error:
        raise BackendError("the cache %s cannot be written: %s" % (cache, error.strerror or error)) from error
    return os.path.join(folder, "%s-%s-%d.log" % (key[:16], time.strftime("%Y%m%d-%H%M%S"), os.getpid()))


def timing_cache_path(cache: str, builder: Builder) -> str:
    """TensorRT reads it again only with the same release on the same device, so both are in its name."""
    words = "%s-%s" % (builder.tensorrt_version, builder.device["name"])
    return os.path.join(cache, "timing-" + re.sub(r"[^A-Za-z0-9.-]", "_", words))


def _entries(cache: str) -> List[str]:
    try:
        return [name for name in os.listdir(cache) if _KEY.match(name)][:_MAX_ENTRIES]
    except OSError:
        return []

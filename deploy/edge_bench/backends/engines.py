"""Engines of a source, and what of this board runs one: TensorRT's Python module, else trtexec."""

import hashlib
import os
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from edge_bench.backends.base import Backend
from edge_bench.backends.choose import NO_ENGINE, TENSORRT, TRTEXEC
from edge_bench.cuda import driver
from edge_bench.engine import cache, sidecar, trtexec
from edge_bench.errors import BackendError, BundleError


class _Engine(NamedTuple):
    """An engine that may be run: where it was found, its bytes when they are needed, its sidecar if it has one."""

    place: str
    read: Callable[[], bytes]
    described: Optional[Dict[str, Any]]


def try_engines(source: Any, options: Any, folder: str, notes: List[str]) -> Optional[Backend]:
    """The first engine that loads here; of the others, and of TensorRT, it is noted why they do not."""
    engines = _find_engines(source, folder, notes)
    if not engines:
        notes.append(NO_ENGINE % source.path)
        return None
    found = driver.probe_driver()
    if found["reason"]:
        notes.append("TensorRT: " + found["reason"])
        return None
    for way in (_try_python, _try_trtexec):
        backend = way(engines, found["devices"][0], options, notes)
        if backend is not None:
            return backend
    return None


def _find_engines(source: Any, folder: str, notes: List[str]) -> List[_Engine]:
    if source.kind == "engine":
        return [_Engine(source.path, source.read_model, _describe(source.path + ".json", notes))]
    engines = []
    if os.path.isdir(folder):
        digest = hashlib.sha256(source.read_model()).hexdigest()
        found = cache.find_engines(folder, digest)
        engines += [_Engine(entry, _reader(entry), described) for entry, described in found]
    if source.engine_folder is not None:
        own = _describe(os.path.join(source.engine_folder, sidecar.SIDECAR), notes)
        if own is not None:
            engines.append(_Engine(source.engine_folder, _reader(source.engine_folder), own))
    return engines


def _describe(place: str, notes: List[str]) -> Optional[Dict[str, Any]]:
    """Its sidecar; one that is not right is said, and TensorRT is left to find out what the engine is."""
    try:
        return cache.read_sidecar(place) if os.path.exists(place) else None
    except (BundleError, OSError) as error:
        notes.append(str(error))
        return None


def _reader(folder: str) -> Callable[[], bytes]:
    """The bytes of a folder's engine, checked against its sidecar."""

    def read() -> bytes:
        _, path = sidecar.open_engine(folder)
        with open(path, "rb") as stream:
            return stream.read()

    return read


def _try_python(engines: List[_Engine], device: Dict[str, Any], options: Any, notes: List[str]) -> Optional[Backend]:
    if options.backend == TRTEXEC:
        return None
    from edge_bench.backends.tensorrt import Here, TensorRtBackend, probe_runtime

    version, reason = probe_runtime()
    if not version:
        notes.append("TensorRT: Python has no tensorrt that works (%s)" % reason)
        return None
    here = Here(version, device)
    return _first(
        engines,
        (device, version),
        lambda engine, content: TensorRtBackend(content, here, options.batch or 1, options.buffers),
        notes,
    )


def _try_trtexec(engines: List[_Engine], device: Dict[str, Any], options: Any, notes: List[str]) -> Optional[Backend]:
    if options.backend == TENSORRT:
        return None
    program, reason = trtexec.find_trtexec()
    if program is None:
        notes.append("trtexec: %s" % reason)
        return None
    from edge_bench.backends.trtexec import TrtexecBackend

    found = program

    def make(engine: _Engine, content: bytes) -> Backend:
        described = engine.described or {"inputs": [], "outputs": []}
        name = str(device["name"])
        return TrtexecBackend(content, found, name, described["inputs"], described["outputs"], options.batch or 1)

    return _first(engines, (device, program.version), make, notes)


def _first(
    engines: List[_Engine],
    here: Tuple[Dict[str, Any], str],
    make: Callable[[_Engine, bytes], Backend],
    notes: List[str],
) -> Optional[Backend]:
    """The first engine that loads; of the others it is noted why they do not."""
    for engine in engines:
        reason = sidecar.why_not_here(engine.described, *here) if engine.described else ""
        if not reason:
            try:
                return make(engine, engine.read())
            except (BackendError, BundleError, OSError) as error:
                reason = str(error)
        notes.append("%s: %s" % (engine.place, reason))
    return None

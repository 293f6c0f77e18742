"""Which backend runs a source here, and why the others do not.

Of a bundle or an ONNX file an engine is preferred where one is there and loads: one that `edge-bench build` made here,
then the bundle's own. TensorRT's Python module comes before trtexec, which only measures in bulk, and onnxruntime runs
what has no engine. Without an engine neither driver nor TensorRT is asked: that takes a second on a board.
"""

import os
from typing import Any, List, NamedTuple, Optional

from edge_bench.backends.base import Backend
from edge_bench.backends.command import CommandBackend
from edge_bench.backends.onnxrt import OnnxRuntimeBackend
from edge_bench.engine.folder import cache_folder
from edge_bench.errors import BackendError

AUTO, ONNXRUNTIME, TENSORRT, TRTEXEC, COMMAND = "auto", "onnxruntime", "tensorrt", "trtexec", "command"
NO_ENGINE = "TensorRT: no engine of it is here; `edge-bench build %s` makes one"


class Options(NamedTuple):
    """What decides; whatever has these attributes will do."""

    backend: str = AUTO
    num_threads: int = 1
    provider: Optional[str] = None
    batch: Optional[int] = None
    buffers: str = "ctypes"


class Opened(NamedTuple):
    """The backend, bound to the source's tensors, and why it is not one of the others."""

    backend: Backend
    notes: List[str]


def open_backend(source: Any, options: Any) -> Opened:
    """Open a source by the options' backend, or by the best that works here.

    source: kind ('bundle', 'onnx', 'engine' or 'command'), path, inputs and outputs (tensors, empty when unknown),
    read_model() (bytes of the ONNX file, or of the engine), engine_folder (or None), words (of a command).
    Raises BackendError with all reasons when nothing runs it.
    """
    if source.kind == COMMAND:
        if options.backend not in (AUTO, COMMAND):
            raise BackendError("a command is run as it is: leave out --backend %s" % options.backend)
        return Opened(CommandBackend(source.words), [])
    notes: List[str] = []
    backend = _try_engines(source, options, notes)
    if backend is None:
        if source.kind == "engine" or options.backend in (TENSORRT, TRTEXEC):
            raise BackendError("; ".join(notes))
        model = source.read_model()
        try:
            backend = OnnxRuntimeBackend(model, options.num_threads, options.provider, options.batch or 1)
        except BackendError as error:
            raise BackendError("; ".join([str(error)] + notes)) from error
    try:
        if source.inputs:
            backend.bind(source.inputs, source.outputs)
    except BaseException:
        backend.close()
        raise
    return Opened(backend, notes)


def _try_engines(source: Any, options: Any, notes: List[str]) -> Optional[Backend]:
    if source.kind == "engine" and (options.backend == ONNXRUNTIME or options.provider is not None):
        raise BackendError(
            "%s is an engine, which onnxruntime does not run; give the bundle or the ONNX file" % source.path
        )
    if options.backend == ONNXRUNTIME:
        return None
    if options.provider is not None:
        if options.backend in (TENSORRT, TRTEXEC):
            raise BackendError("--provider chooses among onnxruntime's; leave it out for %s" % options.backend)
        notes.append("TensorRT: not asked, since a provider of onnxruntime was")
        return None
    folder = cache_folder()
    asked = source.kind == "engine" or source.engine_folder is not None or options.backend in (TENSORRT, TRTEXEC)
    if not asked and not os.path.isdir(folder):
        notes.append(NO_ENGINE % source.path)
        return None
    # Only now: on a small board compiling these files takes as long as the rest of the start.
    from edge_bench.backends.engines import try_engines

    return try_engines(source, options, folder, notes)

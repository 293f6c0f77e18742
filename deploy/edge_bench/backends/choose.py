"""placeholder: another file takes its place"""

from typing import Any, List, NamedTuple

from edge_bench.backends.base import Backend
from edge_bench.backends.onnxrt import OnnxRuntimeBackend


class Opened(NamedTuple):
    backend: Backend
    notes: List[str]


def open_backend(source: Any, options: Any) -> Opened:
    backend = OnnxRuntimeBackend(source.read_model(), options.num_threads, options.provider)
    if source.inputs:
        backend.bind(source.inputs, source.outputs)
    return Opened(backend, [])

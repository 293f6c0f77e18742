"""What is measured: a bundle, an ONNX file, a TensorRT engine, or any command.

Only a bundle brings reference outputs. The others are measured all the same, and the measurement says that nobody
checked what they compute.
"""

import hashlib
import os
import random
import shlex
import struct
from typing import Any, Dict, List, NamedTuple, Optional

from edge_bench import schema
from edge_bench.bundle import Bundle, open_bundle
from edge_bench.engine import sidecar
from edge_bench.errors import BackendError, EdgeBenchError
from edge_bench.manifest import DTYPES

BUNDLE, ONNX, ENGINE, COMMAND = "bundle", "onnx", "engine", "command"
_MAX_MODEL_BYTES = 4 << 30
_MAX_INPUT_NUMBERS = 1 << 28


class Case(NamedTuple):
    """Names of the files of one reference case, in the order of the tensors."""

    inputs: List[str]
    outputs: List[str]


class Source:
    """kind; path of the bundle, model or engine; summary: the measurement's `bundle`; inputs, outputs: its tensors,
    empty where only the runtime knows them; cases, atol, rtol: the reference; engine_folder: where `model.engine` and
    its sidecar lie, where there are some; recipe: how its engine is built; words: of a command.
    """

    def __init__(self, kind: str, path: str, summary: Dict[str, Any]):
        self.kind = kind
        self.path = path
        self.summary = summary
        self.inputs: List[Dict[str, Any]] = []
        self.outputs: List[Dict[str, Any]] = []
        self.cases: List[Case] = []
        self.atol, self.rtol = 0.0, 0.0
        self.engine_folder: Optional[str] = None
        self.recipe: Optional[Dict[str, Any]] = None
        self.bundle: Optional[Bundle] = None
        self.words: List[str] = []

    def read_model(self) -> bytes:
        """The bytes of the ONNX file. Raises BundleError or BackendError when they cannot be read or have changed."""
        if self.bundle is not None:
            return self.bundle.read(self.bundle.manifest["model"]["path"])
        content = _read_file(self.path)
        if hashlib.sha256(content).hexdigest() != self.summary["id"]:
            raise BackendError("%s changed while it was opened; run again" % self.path)
        return content

    def read(self, name: str) -> bytes:
        """A file of the reference."""
        assert self.bundle is not None
        return self.bundle.read(name)


def open_source(path: str) -> Source:
    """What lies at `path`: a bundle, `*.onnx`, or `*.engine` with `*.engine.json` beside it.

    Raises BundleError when a bundle or a sidecar is not what it says, BackendError when a file cannot be read.
    """
    if os.path.isfile(path) and path.endswith(".onnx"):
        return Source(ONNX, path, _summary(path, _digest(path), "onnx file"))
    if os.path.isfile(path) and path.endswith((".engine", ".plan")):
        return _open_engine(path)
    return _open_bundle(path)


def open_command(text: str) -> Source:
    """A command line, split as a shell splits it but never given to one. Raises EdgeBenchError when it is empty."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise EdgeBenchError("--cmd %s: %s" % (text, error)) from error
    if not words:
        raise EdgeBenchError("--cmd: there is no program in it")
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogateescape")).hexdigest()
    source = Source(COMMAND, words[0], _summary(os.path.basename(words[0]), digest, "command"))
    source.words = words
    return source


def random_inputs(tensors: List[Dict[str, Any]]) -> List[bytes]:
    """Inputs for a file without a reference: the same at every run, uniform in [-1, 1); whole numbers are 0.

    Raises BackendError for a shape that is not known, or a type that bundles do not have.
    """
    chance = random.Random(0)
    return [_random_tensor(tensor, chance) for tensor in tensors]


def _random_tensor(tensor: Dict[str, Any], chance: random.Random) -> bytes:
    shape = list(tensor["shape"])
    if shape and shape[0] < 0:
        shape[0] = 1  # a batch of any size; the backend repeats it
    count = 1
    for size in shape:
        count *= size
    if any(size < 0 for size in shape) or count > _MAX_INPUT_NUMBERS or tensor["dtype"] not in DTYPES:
        raise BackendError(
            "input %r is %s of shape %s, for which no inputs are made up; make a bundle of it, with inputs of yours: "
            "edge-dendrite export FILE.onnx --inputs FILE.npz" % (tensor["name"], tensor["dtype"], tensor["shape"])
        )
    letter, num_bytes = DTYPES[tensor["dtype"]]
    if tensor["dtype"] != "float32":
        return bytes(count * num_bytes)
    return struct.pack("<%d%s" % (count, letter), *[2.0 * chance.random() - 1.0 for _ in range(count)])


def _open_bundle(path: str) -> Source:
    bundle = open_bundle(path)
    manifest = bundle.manifest
    source = Source(BUNDLE, path, schema.bundle_summary(bundle.id, manifest))
    source.bundle = bundle
    source.inputs, source.outputs = manifest["model"]["inputs"], manifest["model"]["outputs"]
    source.cases = [Case(case["inputs"], case["outputs"]) for case in manifest["reference"]["cases"]]
    source.atol, source.rtol = manifest["reference"]["atol"], manifest["reference"]["rtol"]
    source.recipe = manifest.get("engine_recipe")
    if sidecar.ENGINE in manifest["files"] and os.path.isdir(path):
        source.engine_folder = path
    return source


def _open_engine(path: str) -> Source:
    source = Source(ENGINE, path, _summary(path, _digest(path), "engine"))
    if os.path.exists(path + ".json"):  # trtexec writes none
        described = sidecar.open_engine_file(path)
        source.inputs, source.outputs = described["inputs"], described["outputs"]
    return source


def _summary(path: str, digest: str, role: str) -> Dict[str, Any]:
    name = os.path.basename(path)
    return {"id": digest, "name": name, "role": role, "model": {}, "stats": {}, "num_labels": 0}


def _digest(path: str) -> str:
    try:
        return sidecar.hash_file(path)[1]
    except OSError as error:
        raise BackendError("%s cannot be read: %s" % (path, error.strerror or error)) from error


def _read_file(path: str) -> bytes:
    try:
        if os.path.getsize(path) > _MAX_MODEL_BYTES:
            raise BackendError("%s is larger than %d bytes" % (path, _MAX_MODEL_BYTES))
        with open(path, "rb") as stream:
            return stream.read(_MAX_MODEL_BYTES)
    except OSError as error:
        raise BackendError("%s cannot be read: %s" % (path, error.strerror or error)) from error

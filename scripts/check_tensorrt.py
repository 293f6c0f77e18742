"""What edge_bench uses of TensorRT's Python module, read from its source and looked up in the real one.

Run by scripts/check-tensorrt with the Python 3.10 that has TensorRT 8.6.0; standard library only. No GPU is needed:
classes are looked at, nothing is made of them.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parent.parent
AGENT = ROOT / "deploy" / "edge_bench"
# The two files that touch TensorRT: the one builds engines, the other runs them.
USERS = (AGENT / "engine" / "tensorrt_build.py", AGENT / "backends" / "tensorrt_engine.py")
FAKE = ROOT / "tests" / "support" / "fake_tensorrt" / "8.6" / "tensorrt" / "__init__.py"

# The class behind each name that USERS give to an object of TensorRT, also as `self._name`; "" is the module itself.
OBJECTS = {
    "trt": "",
    "logger": "Logger",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "problem": "ParserError",
    "tensor": "ITensor",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "plan": "IHostMemory",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "dtype": "DataType",
}
# What an attribute of an object is, where something of it is used.
RESULTS = {"ITensor.dtype": "DataType"}
# Everything else that has attributes there; a name in neither list is an error, so nothing is passed over.
OTHERS = {
    *("os", "sys", "atomic", "functools", "onnx_nodes", "stream", "notes", "kind", "_DTYPES", "errors", "msg"),
    *("direction", "self.version", "self.inputs", "self.outputs", "self.names", "self.errors", "self.execute"),
    # Of the profiler: what our own class keeps, and what becomes of it.
    *("profiler", "self.profiler", "self.reported", "inferences", "times", "name", "seen", "found"),
    *("self.by_name", "self.why", "self.add", "self.set_shape", "self.batch_limits"),
    *("self.describe_by_name", "self.describe_by_index"),
}
# Libraries that libnvinfer_plugin needs to be loaded, not to be looked at.
STUBBED = ("libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.8")


def used_attributes(source: str) -> tuple[set[str], set[str]]:
    """(all attributes of TensorRT that the source uses, those of them that it asks for by hasattr first).

    As 'Builder.create_network'. Raises ValueError for an attribute of a name that is in neither list above.
    """
    tree = ast.parse(source)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used, optional = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            used |= set(_paths(node))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr":
            owner, name = node.args
            assert isinstance(name, ast.Constant) and isinstance(name.value, str)
            optional |= set(_paths(ast.copy_location(ast.Attribute(owner, name.value), owner)))
    used |= optional
    # Of hasattr(trt.BuilderFlag, "FP16") BuilderFlag itself has to be there.
    return used, optional - {path.rpartition(".")[0] for path in used}


def _paths(node: ast.Attribute) -> Iterator[str]:
    names: list[str] = []
    root: ast.expr = node
    while isinstance(root, ast.Attribute):
        names.insert(0, root.attr)
        root = root.value
    if isinstance(root, (ast.Constant, ast.Subscript)):
        return  # a text, or what a job holds
    if isinstance(root, ast.Call) and isinstance(root.func, ast.Name) and root.func.id in ("str", "bytes"):
        return
    known = root.id if isinstance(root, ast.Name) else ""
    if known == "self":
        first = names.pop(0).lstrip("_")
        known = first if first in OBJECTS else f"self.{first}"
    if known not in OBJECTS:
        if known in OTHERS:
            return
        raise ValueError(f"line {node.lineno}: {ast.unparse(node)}: not said what it belongs to; add it to OBJECTS")
    path = OBJECTS[known]
    for name in names:
        path = RESULTS.get(path, path)
        path = f"{path}.{name}" if path else name
        yield path


def all_used() -> tuple[set[str], set[str]]:
    """As `used_attributes`, of all USERS; one is optional when every file that uses it asks first."""
    found = [used_attributes(path.read_text("utf-8")) for path in USERS]
    used = {path for all_of, _ in found for path in all_of}
    needed = {path for all_of, optional in found for path in all_of - optional}
    return used, used - needed


def missing_of(paths: set[str], module: ModuleType) -> list[str]:
    """Those that the module does not have."""
    return sorted(path for path in paths if not _has(path, module))


def _has(path: str, module: Any) -> bool:
    value = module
    for name in path.split("."):
        if not hasattr(value, name):
            return False
        value = getattr(value, name)
    return True


def fake_attributes(source: str) -> set[str]:
    """Public names of a fake: its classes and functions, their members, and what their methods set on `self`."""
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            found.add(node.name)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found |= {node.name} | {f"{node.name}.{name}" for name in _members(node) if not name.startswith("_")}
    return found


def _members(node: ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            yield part.name
        if isinstance(part, ast.Assign):
            yield from (target.id for target in part.targets if isinstance(target, ast.Name))
    for one in ast.walk(node):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and isinstance(one.value, ast.Name):
            yield one.attr


def other_numbers(fake: ModuleType, real: ModuleType) -> list[str]:
    """Members of the fake's enumerations whose numbers are not those of the real module."""
    names = ("DataType", "BuilderFlag", "NetworkDefinitionCreationFlag", "MemoryPoolType", "TensorIOMode")
    pairs = [(f"{name}.{one.name}", int(one), getattr(getattr(real, name), one.name)) for name in names
             for one in getattr(fake, name)]  # fmt: skip
    pairs += [(f"Logger.{one.name}", int(one), getattr(real.Logger, one.name)) for one in fake.ILogger.Severity]
    return [f"{path}: {number}, really {int(wanted)}" for path, number, wanted in pairs if number != int(wanted)]


def check(out: Path) -> int:
    """Write what was found; 0 when nothing is wrong."""
    import tensorrt  # type: ignore[import-not-found,import-untyped,unused-ignore]

    used, optional = all_used()
    spec = importlib.util.spec_from_file_location("fake_tensorrt", FAKE)
    assert spec and spec.loader
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    in_fake = fake_attributes(FAKE.read_text("utf-8"))
    absent = missing_of(used, tensorrt)
    result = {
        "tensorrt": tensorrt.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "used": sorted(used),
        "asked_for_first": sorted(optional),
        "missing": [path for path in absent if path not in optional],
        "absent_and_asked_for_first": [path for path in absent if path in optional],
        "fake": sorted(in_fake),
        "only_in_fake": missing_of(in_fake, tensorrt),
        "other_numbers_in_fake": other_numbers(fake, tensorrt),
    }
    out.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", "utf-8")
    problems = [key for key in ("missing", "only_in_fake", "other_numbers_in_fake") if result[key]]
    print(f"TensorRT {tensorrt.__version__}: {len(used)} attributes used, {len(in_fake)} in the fake; {out}")
    for key in problems:
        print(f"{key}: {result[key]}")
    return 1 if problems else 0


def make_stubs() -> None:
    """Libraries whose functions do nothing, with the names and versions that libnvinfer_plugin asks for.

    With them the module can be imported where cuBLAS and cuDNN (2 GB) are not; nothing of it calls them there.
    """
    spec = importlib.util.find_spec("tensorrt")
    assert spec and spec.origin
    folder = Path(spec.origin).parent
    command = ["nm", "-D", "--undefined-only", str(folder / "libnvinfer_plugin.so.8")]
    words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    for library in STUBBED:
        names = sorted(word.partition("@")[0] for word in words if word.endswith(f"@{library}"))
        if not names:
            raise SystemExit(f"error: {command[-1]} asks for nothing of {library}; is it TensorRT 8.6.0?")
        with tempfile.TemporaryDirectory() as work:
            source, versions = Path(work, "stub.c"), Path(work, "versions")
            source.write_text("".join(f"int {name}(void) {{ return 1; }}\n" for name in names))
            versions.write_text(f"{library} {{ global: {' '.join(f'{name};' for name in names)} local: *; }};\n")
            options = ["-shared", "-fPIC", f"-Wl,-soname,{library}", f"-Wl,--version-script={versions}"]
            subprocess.run(["gcc", *options, "-o", os.fspath(folder / library), os.fspath(source)], check=True)


if __name__ == "__main__":
    if sys.argv[1] == "stubs":
        make_stubs()
    else:
        sys.exit(check(Path(sys.argv[2])))

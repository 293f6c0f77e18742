"""`edge-bench build`: a TensorRT engine, made on the board that it is to run on."""

import argparse
import hashlib
import os
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from edge_bench import render
from edge_bench.bundle import open_bundle
from edge_bench.commands import arguments, output
from edge_bench.engine import build, cache, onnx_tensors, recipe, sidecar
from edge_bench.engine.folder import cache_folder
from edge_bench.errors import BackendError, EdgeBenchError
from edge_bench.measure.source import open_source


class _Network(NamedTuple):
    """What is built: its ONNX file, its tensors for a batch of 1, and how."""

    onnx: bytes
    inputs: List[Dict[str, Any]]
    outputs: List[Dict[str, Any]]
    settings: build.EngineSettings
    recipe: Optional[Dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.description = (
        "Build a TensorRT engine on this board, following the bundle's recipe, and keep it: an engine "
        "loads only with the TensorRT and on the GPU that it was built for. `edge-bench run` finds it."
    )
    parser.add_argument(
        "source", metavar="BUNDLE|FILE.onnx", help="what `edge-dendrite export` wrote, or any ONNX file"
    )
    parser.add_argument("--out", metavar="DIR", help="put the engine into this folder, instead of the cache")
    parser.add_argument("--cache", metavar="DIR", help="instead of where `edge-bench run` looks; with --out for logs")
    parser.add_argument(
        "--precision", choices=recipe.PRECISIONS, help="that of an ONNX file (default: fp32); a bundle says its own"
    )
    parser.add_argument(
        "--batch", type=batch_sizes, metavar="N|MIN,OPT,MAX", help="batches of a network with a batch of any size"
    )
    parser.add_argument(
        "--workspace-mib", type=arguments.positive_int, metavar="N", help="memory for tactics (default: the recipe's)"
    )
    parser.add_argument(
        "--timeout",
        type=arguments.positive,
        default=build.EngineSettings().timeout_s,
        metavar="S",
        help="give up after so many seconds",
    )
    parser.add_argument("--force", action="store_true", help="build it though it is there")
    arguments.add_json(parser)
    parser.set_defaults(handler=_build, fail=parser.error)


def batch_sizes(text: str) -> Tuple[int, int, int]:
    """'8' is a batch of 8 and no other; '1,4,16' are the smallest, usual and largest."""
    sizes = [arguments.positive_int(word) for word in text.split(",")]
    sizes = sizes * 3 if len(sizes) == 1 else sizes
    if len(sizes) != 3 or not sizes[0] <= sizes[1] <= sizes[2]:
        raise argparse.ArgumentTypeError("%s is not one size, nor smallest,usual,largest" % text)
    return sizes[0], sizes[1], sizes[2]


def _build(given: argparse.Namespace) -> int:
    began = time.monotonic()
    if given.out:
        output.refuse_inside("--out", given.out, given.source)
    network = _open(given)
    say = _sayer(began)
    say("asking the NVIDIA driver and TensorRT")
    builder, reason = build.find_builder()
    if builder is None:
        raise BackendError("no engine can be built here: %s" % reason)
    if network.recipe is not None:
        recipe.check_release(network.recipe, builder.tensorrt_version)
    folder = given.cache or cache_folder()
    key = build.cache_key(hashlib.sha256(network.onnx).hexdigest(), builder, network.settings)
    target = given.out or os.path.join(folder, key)
    described, damage = cache.check_entry(target, key)
    if damage:
        say("built again: " + damage)
    result: Dict[str, Any] = {"built": described is None or given.force, "log": None}
    if described is None or given.force:
        log_path = cache.new_log(folder, key)
        say("log: " + log_path)
        timing = cache.timing_cache_path(folder, builder) if _wants_timing(network) else None
        parts = (builder, network.onnx, network.inputs, network.outputs, network.settings)
        if given.out:
            described = build.build_engine(*parts, target, log_path, timing, say)
        else:
            target, described = cache.build_into(folder, *parts, log_path, timing, say)
        result["log"] = log_path
    result.update(
        engine=os.path.join(os.path.abspath(target), sidecar.ENGINE),
        key=key,
        num_seconds=round(time.monotonic() - began, 3),
        sidecar=described,
    )
    output.print_result(result, _render, given.json)
    return output.EXIT_DONE


def _wants_timing(network: _Network) -> bool:
    return network.recipe is None or bool(network.recipe["timing_cache"])


def _open(given: argparse.Namespace) -> _Network:
    if os.path.isfile(given.source) and given.source.endswith(".onnx"):
        network = _open_file(given.source, given.precision or "fp32")
    elif given.precision is not None:
        given.fail("a bundle says its precision itself; --precision is for an ONNX file")
    else:
        network = _open_bundle(given.source)
    changes: Dict[str, Any] = {"timeout_s": given.timeout}
    if given.workspace_mib is not None:
        changes["workspace_bytes"] = given.workspace_mib << 20
    if given.batch is not None:
        changes["batch"] = given.batch
    return network._replace(settings=network.settings._replace(**changes))


def _open_file(path: str, precision: str) -> _Network:
    content = open_source(path).read_model()
    inputs, outputs = onnx_tensors.read_tensors(content, path)
    for tensor in inputs + outputs:  # as a manifest has them
        tensor["shape"] = [1] + tensor["shape"][1:] if tensor["shape"][:1] == [-1] else tensor["shape"]
    return _Network(content, inputs, outputs, build.EngineSettings(precision=precision), None)


def _open_bundle(path: str) -> _Network:
    bundle = open_bundle(path)
    model = bundle.manifest["model"]
    onnx = bundle.read(model["path"])
    how = bundle.manifest.get("engine_recipe")
    if how is not None:
        settings = recipe.settings_of(how)
    elif model.get("precision", "fp32") in recipe.PRECISIONS:
        settings = build.EngineSettings(precision=model.get("precision", "fp32"))
    else:
        raise EdgeBenchError("bundle %s: precision %r is none of %s" % (path, model["precision"], recipe.PRECISIONS))
    return _Network(onnx, model["inputs"], model["outputs"], settings, how)


def _sayer(began: float) -> Callable[[str], None]:
    return lambda line: output.say("%6.1f s  %s" % (time.monotonic() - began, line))


def _render(result: Dict[str, Any]) -> str:
    described = result["sidecar"]
    gpu = described["gpu"]
    rows = [
        ("engine", result["engine"]),
        ("TensorRT", "%s, by %s" % (described["tensorrt_version"], described["built_with"].get("way", "?"))),
        ("for", "%s, sm_%s" % (gpu["name"], gpu["compute_capability"].replace(".", ""))),
        ("precision", described["precision"]),
        ("size", "%d bytes" % described["num_bytes"]),
        ("built", "now, in %.1f s" % result["num_seconds"] if result["built"] else "before; --force builds it again"),
    ]
    if result["log"]:
        rows.append(("log", result["log"]))
    lines = ["%-12s %s" % row for row in rows]
    lines += ["note         %s" % note for note in described.get("notes", [])]
    return "\n".join(render.to_ascii(line) for line in lines)

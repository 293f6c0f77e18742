"""Every architecture of the zoo to ONNX at three opsets, against PyTorch; and how long ResNet-18 takes."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge_bench.atomic import write_bytes
from edge_dendrite.compress.forward import first_samples
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.errors import ExportError
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.export.onnx import check_parity, export_onnx
from edge_dendrite.models.resnet18 import ResNet18
from scripts.benchmarks.apart import NoAnswer, answer_of
from scripts.benchmarks.environment import source

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "scripts" / "results"
sys.path.insert(0, str(ROOT / "tests" / "support"))

OPSETS = (13, 17, 23)
TOLERANCE = 1e-4
NUM_SAMPLES = 3
SCHEMA, VERSION = "edge-dendrite.exporting", 1
_WALL_LIMIT_S, _NUM_TIMES, _WIDEST_MESSAGE = 240, 5, 160


@dataclass(frozen=True)
class Outcome:
    """error: the largest absolute one against PyTorch over NUM_SAMPLES inputs, None where there is no file.

    batch: "dynamic" where the file takes any batch and was compared at two, else "1".
    """

    architecture: str
    opset: int
    error: float | None
    batch: str = ""
    message: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 2 usage."""
    parser = argparse.ArgumentParser(prog="exporting", description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures; all by default. Given, nothing is written")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    import zoo  # type: ignore[import-not-found]

    networks = {**zoo.NETWORKS, **zoo.DENDRITIC}
    for name in options.names:
        if name not in networks:
            parser.error(f"no architecture {name!r}; there are: {', '.join(networks)}")
    outcomes = []
    for name in options.names or networks:
        for opset in OPSETS:
            outcomes.append(run_apart(name, opset))
            print(f"{name} | {opset} | {words(outcomes[-1])}", flush=True)
    if not options.names:
        results = to_dict(outcomes, time_resnet18())
        write_bytes(str(RESULTS / "exporting.json"), (json.dumps(results, indent=1) + "\n").encode())
        write_bytes(str(RESULTS / "exporting.md"), markdown(results).encode())
    return 0


def run_apart(name: str, opset: int) -> Outcome:
    """A case in a process of its own, with a limit."""
    answer = answer_of(lambda: asdict(run_case(name, opset)), _WALL_LIMIT_S)
    if not isinstance(answer, NoAnswer):
        return Outcome(**answer)
    timed_out = answer.exit_code is None
    message = f"no end after {_WALL_LIMIT_S} s" if timed_out else f"the process ended with code {answer.exit_code}"
    return Outcome(name, opset, None, message=message)


def run_case(name: str, opset: int) -> Outcome:
    """With a dynamic batch where that can be had, else with a batch of 1."""
    import zoo

    network = {**zoo.NETWORKS, **zoo.DENDRITIC}[name]
    module, samples = network.build(), network.sample(NUM_SAMPLES)
    reason = ""
    for dynamic in (True, False):
        try:
            model = export_onnx(module, first_samples(samples, 1), opset, dynamic_batch=dynamic)
            error = check_parity(model, module, samples, TOLERANCE, TOLERANCE).max_abs_error
            return Outcome(name, opset, error, "dynamic" if dynamic else "1")
        except ExportError as raised:
            reason = str(raised)
    return Outcome(name, opset, None, message=reason)


def time_resnet18() -> dict[str, Any]:
    """Seconds to export ResNet-18 for 224 pixels with the TorchScript exporter: the file alone, and a bundle with every
    check. Medians of several, with as many threads as the machine has cores.
    """
    module: Any = ResNet18(1000)
    module.conv = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.MaxPool2d(3, 2, 1))  # the stem for 224 pixels
    model = CompressedModel(module.eval(), "resnet18", "resnet18", "as given", (3, 224, 224))
    times: dict[str, list[float]] = {"file": [], "bundle": []}
    before, num_threads = torch.get_num_threads(), os.cpu_count() or 1
    torch.set_num_threads(num_threads)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(_NUM_TIMES):
            began = time.perf_counter()
            export_onnx(model.module, model.input_shape, 17)
            between = time.perf_counter()
            export_bundle(model, Path(folder) / str(number))
            times["file"].append(round(between - began, 3))
            times["bundle"].append(round(time.perf_counter() - between, 3))
    torch.set_num_threads(before)
    medians = {f"{name}_s": statistics.median(all_of) for name, all_of in times.items()}
    return {"opset": 17, "num_threads": num_threads, "seconds": times, **medians}


def words(outcome: Outcome) -> str:
    """One cell of the table."""
    if outcome.error is None:
        message = outcome.message
        return "no: " + (message if len(message) <= _WIDEST_MESSAGE else message[: _WIDEST_MESSAGE - 3] + "...")
    return f"{outcome.error:.1g}" + ("" if outcome.batch == "dynamic" else " (batch 1)")


def to_dict(outcomes: Sequence[Outcome], resnet: dict[str, Any]) -> dict[str, Any]:
    """JSON-ready, with the versions that the results hold for."""
    packages = ("torch", "transformers", "onnx", "onnxruntime", "onnxscript")
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "tolerance": TOLERANCE,
        "versions": {name: version(name) for name in packages},
        "source": source(),
        "resnet18": resnet,
        "outcomes": [asdict(one) for one in outcomes],
    }


def markdown(results: dict[str, Any]) -> str:
    """The table, with lines on how to read it."""
    cells: dict[str, dict[int, str]] = {}
    for one in results["outcomes"]:
        cells.setdefault(one["architecture"], {})[one["opset"]] = words(Outcome(**one)).replace("|", "\\|")
    written = {opset: sum(one["error"] is not None for one in _at(results, opset)) for opset in OPSETS}
    total = len(cells)
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    resnet = results["resnet18"]
    return "\n".join(
        [
            f"Largest absolute error of ONNX Runtime against PyTorch, random weights, {NUM_SAMPLES} inputs one by "
            f'one and at once; at most {results["tolerance"]:g} (and relative) or there is no file. "batch 1": only '
            f"with a fixed batch. {versions}. Written by "
            f"`scripts/benchmarks/exporting` at {_commit(results)}.",
            "",
            ", ".join(f"{written[opset]} of {total} at opset {opset}" for opset in OPSETS)
            + f". ResNet-18 at 224 pixels takes {resnet['file_s']:.2f} s to export at opset {resnet['opset']}, and "
            f"{resnet['bundle_s']:.2f} s as a bundle with every check (medians of {_NUM_TIMES}, "
            f"{resnet['num_threads']} threads).",
            "",
            f"| architecture | {' | '.join(f'opset {opset}' for opset in OPSETS)} |",
            f"|---|{'---|' * len(OPSETS)}",
            *(f"| {name} | {' | '.join(row.get(one, '') for one in OPSETS)} |" for name, row in cells.items()),
            "",
        ]
    )


def _commit(results: dict[str, Any]) -> str:
    commit = results["source"]["commit"]
    return f"commit {commit[:12]}" if commit else f"sources of sha256 {results['source']['sha256'][:12]}"


def _at(results: dict[str, Any], opset: int) -> list[dict[str, Any]]:
    return [one for one in results["outcomes"] if one["opset"] == opset]


if __name__ == "__main__":
    sys.exit(main())

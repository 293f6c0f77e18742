"""Every architecture of the zoo through both engines, each in a process of its own; the table of what came out."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from edge_bench.atomic import write_bytes

ROOT = Path(__file__).parent.parent.parent
RESULTS = ROOT / "scripts" / "results"
sys.path.insert(0, str(ROOT / "tests" / "support"))

from scripts.benchmarks.apart import NoAnswer, answer_of  # noqa: E402
from scripts.benchmarks.compat_case import CHANNEL_RATIO, OURS, THEIRS, TOLERANCE, Outcome, run_case  # noqa: E402

# Processor seconds that a case may take, and wall seconds on a machine that others use too.
LIMIT_S, WALL_LIMIT_S = 60, 240
SCHEMA, VERSION = "edge-dendrite.compatibility", 1
_WIDEST_MESSAGE = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done, 2 usage."""
    parser = argparse.ArgumentParser(prog="compatibility", description=__doc__)
    parser.add_argument("names", nargs="*", help="architectures; all by default. Given, nothing is written")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    import zoo  # type: ignore[import-not-found]

    for name in options.names:
        if name not in zoo.NETWORKS:
            parser.error(f"no architecture {name!r}; there are: {', '.join(zoo.NETWORKS)}")
    outcomes = []
    for name in options.names or zoo.NETWORKS:
        for engine in (OURS, THEIRS):
            outcomes.append(run_apart(name, engine))
            print(f"{name} | {engine} | {words(outcomes[-1])}", flush=True)
    if not options.names:
        results = to_dict(outcomes)
        write_bytes(str(RESULTS / "compatibility.json"), (json.dumps(results, indent=1) + "\n").encode())
        write_bytes(str(RESULTS / "compatibility.md"), markdown(results).encode())
    return 0


def run_apart(name: str, engine: str) -> Outcome:
    """A case in a process of its own, with limits."""
    answer = answer_of(lambda: _limited(name, engine), WALL_LIMIT_S)
    if not isinstance(answer, NoAnswer):
        return Outcome(**answer)
    words_of = {None: f"no end after {WALL_LIMIT_S} s", -24: f"no end after {LIMIT_S} s of processor time"}  # SIGXCPU
    message = words_of.get(answer.exit_code, f"the process ended with code {answer.exit_code}")
    return Outcome(name, engine, "limit", message=message)


def _limited(name: str, engine: str) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 5))
    return run_case(name, engine).to_dict()


def words(outcome: Outcome) -> str:
    """One cell of the table."""
    message = outcome.message
    if len(message) > _WIDEST_MESSAGE:
        message = message[: _WIDEST_MESSAGE - 3] + "..."
    before_values = {
        "prune": ("refused: " if outcome.refused else "fails in prune: ") + message,
        "limit": message,
        "no-op": "silent no-op",
        "forward": f"fails at the next forward: {message}",
    }
    if outcome.stage in before_values:
        return before_values[outcome.stage]
    assert outcome.parameters_after is not None
    share = f"pruned {1 - outcome.parameters_after / outcome.parameters_before:.0%}".replace("%", " %")
    if outcome.setting:
        share += f" ({outcome.setting})"
    if outcome.stage == "values":
        return f"{share}, values differ" + (f": {message}" if message else f" by {outcome.value_error:.2g}")
    if outcome.onnx_error is None:
        return f"{share}, values equal, " + (f"ONNX fails: {message}" if outcome.stage == "onnx" else message)
    onnx = "equal" if outcome.stage == "done" else f"differs by {outcome.onnx_error:.2g}"
    return f"{share}, values equal, ONNX {onnx}"


def to_dict(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """JSON-ready, with the settings and versions that the results hold for."""
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "tolerance": TOLERANCE,
        "limit_s": LIMIT_S,
        "torch_pruning_channel_ratio": CHANNEL_RATIO,
        "versions": {
            name: version(name)
            for name in ("torch", "torch-pruning", "transformers", "onnx", "onnxruntime", "onnxscript")
        },
        "outcomes": [one.to_dict() for one in outcomes],
    }


def markdown(results: dict[str, Any]) -> str:
    """The table, with one line on how to read it."""
    cells: dict[str, dict[str, str]] = {}
    for one in results["outcomes"]:
        cells.setdefault(one["architecture"], {})[one["engine"]] = words(Outcome(**one)).replace("|", "\\|")
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines = [
        f"Random weights, {versions}. edge-dendrite: half of the parameters that it can reach; Torch-Pruning: "
        f"{results['torch_pruning_channel_ratio']:.0%} of the channels, layers that make the outputs left alone. "
        "Values: against the original without the removed weights; ONNX: ONNX Runtime against PyTorch; both within "
        f"{results['tolerance']:g} of max(1, |value|), for batches of 1 to 5. Written by "
        "`scripts/benchmarks/compatibility`.",
        "",
        f"| architecture | {OURS} | {THEIRS} |",
        "|---|---|---|",
        *(f"| {name} | {row.get(OURS, '')} | {row.get(THEIRS, '')} |" for name, row in cells.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())

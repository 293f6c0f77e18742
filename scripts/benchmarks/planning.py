"""How long planning takes beside `torch.export`, and how much memory: ResNet-50 at 224 pixels, BERT-base at 128 tokens.

    scripts/benchmarks/planning [--repeats 5]

Planning is everything but the passes over data that scores need: tracing, coupling, choosing units under a budget (with
random scores), the plan. Each network runs in two processes of its own, one thread: one that only runs the network,
for the memory of the model with its activations, and one that plans. Memory is the peak of resident memory above that
of the interpreter with its imports. Results: scripts/results/planning.json and planning.md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"
NETWORKS = ("resnet50", "bert-base")
BATCH = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", nargs=2, metavar=("NETWORK", "WHAT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, what = options.child
        print(json.dumps(measure(name, what, options.repeats)))
        return
    from edge_bench.atomic import canonical_json, write_bytes

    rows = [{"network": name, **_in_children(name, options.repeats)} for name in NETWORKS]
    write_bytes(str(RESULTS / "planning.json"), canonical_json({"rows": rows, "load_average": os.getloadavg()[0]}))
    write_bytes(str(RESULTS / "planning.md"), table(rows, os.getloadavg()[0]).encode())
    print((RESULTS / "planning.md").read_text("utf-8"))


def _in_children(name: str, repeats: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for what in ("run", "plan"):
        command = [
            sys.executable,
            "-m",
            "scripts.benchmarks.planning",
            "--repeats",
            str(repeats),
            "--child",
            name,
            what,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found |= {f"{what}_{key}": value for key, value in json.loads(done.stdout.splitlines()[-1]).items()}
    return found


def measure(name: str, what: str, repeats: int) -> dict[str, Any]:
    """In a process of its own: medians of the parts, and the peak of memory in bytes above the imports."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    _warm_up()
    imported = _peak_bytes()
    module, inputs = build(name)
    if what == "run":
        from edge_dendrite.compress.forward import forward

        with torch.no_grad():
            forward(module, inputs)
        return {"peak_bytes": _peak_bytes() - imported}
    times = [_plan(module, inputs) for _ in range(repeats)]
    medians = {key: statistics.median(one[key] for one in times) for key in times[0]}
    return {**medians, "peak_bytes": _peak_bytes() - imported}


def _plan(module: Any, inputs: Any) -> dict[str, float]:
    import numpy as np

    from edge_dendrite.compress.coupling.find import couple, trace
    from edge_dendrite.compress.neurons.choice import give_back, remove_cheapest
    from edge_dendrite.compress.neurons.edits import build_plan
    from edge_dendrite.compress.neurons.selection import Selection
    from edge_dendrite.config import PruneConfig

    seconds: dict[str, float] = {}
    program = _timed(seconds, "export_s", lambda: trace(module, inputs))
    coupling = _timed(seconds, "couple_s", lambda: couple(module, inputs, program))
    scores = [np.random.default_rng(0).random(group.num_units) for group in coupling.groups]

    def choose() -> Selection:
        selection = Selection(coupling, PruneConfig())
        target = selection.num_parameters * 0.6
        remove_cheapest(selection, scores, target, "global")
        give_back(selection, scores, target)
        return selection

    selection = _timed(seconds, "choose_s", choose)
    _timed(seconds, "edits_s", lambda: build_plan(module, selection, scores))
    return {**seconds, "planning_s": sum(seconds.values())}


def _timed(seconds: dict[str, float], key: str, work: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = work()
    seconds[key] = time.perf_counter() - start
    return result


def _warm_up() -> None:
    """torch.export imports half of torch at its first call, which is no part of a plan."""
    import torch

    from edge_dendrite.compress.coupling.find import find_coupling

    find_coupling(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.LayerNorm(8)), (torch.zeros(2, 4),))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def build(name: str) -> tuple[Any, Any]:
    """(network with random weights, two inputs)."""
    import torch

    if name == "bert-base":
        from transformers import BertConfig, BertModel

        return BertModel(BertConfig()).eval(), {"input_ids": torch.randint(0, 30_000, (BATCH, 128))}
    return resnet50().eval(), (torch.randn(BATCH, 3, 224, 224),)


def resnet50() -> Any:
    """ResNet-50 (He et al. 2015, table 1), 25.6 M parameters."""
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            outputs = 4 * width
            self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            projected = stride != 1 or inputs != outputs
            self.shortcut = nn.Sequential(
                *([nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)] if projected else [])
            )

        def forward(self, x: Any) -> Any:
            h = self.bn1(self.conv1(x)).relu()
            h = self.bn2(self.conv2(h)).relu()
            return (self.bn3(self.conv3(h)) + self.shortcut(x)).relu()

    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    layers.append(nn.MaxPool2d(3, 2, 1))
    inputs = 64
    for blocks, width, stride in ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2)):
        for number in range(blocks):
            layers.append(Bottleneck(inputs, width, stride if number == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def table(rows: list[dict[str, Any]], load: float) -> str:
    """The rows as Markdown."""
    lines = [
        "| network | torch.export | planning in all | times export | peak memory | times model and activations |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['network']} | {row['plan_export_s']:.2f} s | {row['plan_planning_s']:.2f} s "
            f"| {row['plan_planning_s'] / row['plan_export_s']:.2f} | {row['plan_peak_bytes'] / 1e6:.0f} MB "
            f"| {row['plan_peak_bytes'] / row['run_peak_bytes']:.2f} |"
        )
    note = f"One thread; medians; load average {load:.1f} at the end (the ratios stand side by side in one process)."
    return "\n".join([*lines, "", note, ""])


if __name__ == "__main__":
    main()

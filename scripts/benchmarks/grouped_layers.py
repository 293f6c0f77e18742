"""Do groups and segments pay? One dense layer beside its grouped and segmented forms, in ONNX Runtime, batch 1.

    .venv/bin/python -m scripts.benchmarks.grouped_layers [--seconds 40] [--out FILE.json]

Every case runs in turn with the dense layer, call by call, so that whatever else the machine does meets all of them
alike; the ratio of the medians is the result, the times are not. The gathers of inputs and of the neurons' order are
in it. What the machine was doing is printed above the table.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

from edge_bench.atomic import canonical_json, write_bytes
from edge_dendrite.compress.layers.build import GROUPS, SEGMENTS, build_layer
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.session import open_session

GROUP_COUNTS = (2, 4, 8)
OPSET = 17


@dataclass(frozen=True)
class Case:
    """A dense layer: as many inputs as neurons. input_shape is without the batch."""

    name: str
    width: int
    kernel: int
    input_shape: tuple[int, ...]

    def layer(self) -> nn.Module:
        """The dense layer, with new weights."""
        if self.kernel == 0:
            return nn.Linear(self.width, self.width)
        return nn.Conv2d(self.width, self.width, self.kernel, padding=self.kernel // 2)


CASES = (
    *(Case("conv 3x3, 14x14", width, 3, (width, 14, 14)) for width in (32, 48, 64, 96, 128)),
    *(Case("conv 1x1, 14x14", width, 1, (width, 14, 14)) for width in (64, 128, 256)),
    *(Case("linear, 1 position", width, 0, (width,)) for width in (256, 512, 1024)),
    *(Case("linear, 64 positions", width, 0, (64, width)) for width in (128, 256, 512)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="of timing, for all cases together; default 40")
    parser.add_argument("--out", type=Path, help="write the result here as JSON too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    machine = _machine()
    rows = [_measure(case, options.seconds / len(CASES)) for case in CASES]
    machine["load_after"] = os.getloadavg()[0]
    _print(machine, rows)
    if options.out:
        write_bytes(str(options.out), canonical_json({"machine": machine, "rows": rows}))


def _measure(case: Case, seconds: float) -> dict[str, Any]:
    layer = case.layer()
    forms = {"dense": layer, "segments: half": build_layer(layer, SEGMENTS, {"inputs": _half(case.width)})}
    forms |= {f"groups: {count}": build_layer(layer, GROUPS, _groups(case.width, count)) for count in GROUP_COUNTS}
    sessions = {
        name: open_session(export_onnx(nn.Sequential(form).eval(), case.input_shape, OPSET).content)
        for name, form in forms.items()
    }
    times_s = _interleaved(sessions, case.input_shape, seconds)
    medians_s = {name: statistics.median(values) for name, values in times_s.items()}
    return {
        "case": case.name,
        "width": case.width,
        "num_rounds": len(times_s["dense"]),
        "dense_median_s": medians_s["dense"],
        "ratios": {name: median / medians_s["dense"] for name, median in medians_s.items() if name != "dense"},
    }


def _half(width: int) -> list[int]:
    """Every second block of 8 inputs, as segments would be kept."""
    return [index for index in range(width) if index // 8 % 2]


def _groups(width: int, count: int) -> dict[str, Any]:
    """Random inputs for each group, together as many as the dense layer has, and neurons in random order."""
    inputs = [torch.randperm(width)[: width // count].sort().values.tolist() for _ in range(count)]
    return {"num_groups": count, "inputs": sum(inputs, []), "neurons": torch.randperm(width).tolist()}


def _interleaved(
    sessions: dict[str, onnxruntime.InferenceSession], input_shape: tuple[int, ...], seconds: float
) -> dict[str, list[float]]:
    x = np.random.default_rng(0).standard_normal((1, *input_shape)).astype(np.float32)
    times_s: dict[str, list[float]] = {name: [] for name in sessions}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times_s["dense"]) < 20:
        for name, session in sessions.items():
            before = time.perf_counter()
            session.run(None, {"input": x})
            times_s[name].append(time.perf_counter() - before)
    return {name: values[len(values) // 10 :] for name, values in times_s.items()}  # the first tenth warms up


def _machine() -> dict[str, Any]:
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": 1,
        "onnxruntime": onnxruntime.__version__,
        "load_before": os.getloadavg()[0],
    }


def _print(machine: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    busy = max(machine["load_before"], machine["load_after"] - 1.0)
    state = "BUSY with other programs: repeat on a quiet machine" if busy > 0.5 else "quiet"
    print(f"{machine['processor']}, {machine['cores']} cores, one thread, ONNX Runtime {machine['onnxruntime']}")
    print(f"load {machine['load_before']:.2f} before, {machine['load_after']:.2f} after (1 is ours): {state}\n")
    names = list(rows[0]["ratios"])
    print("| latency relative to dense | width | dense, us | " + " | ".join(names) + " |")
    print("|---|---:|---:|" + "---:|" * len(names))
    for row in rows:
        ratios = " | ".join(f"{row['ratios'][name]:.2f}" for name in names)
        print(f"| {row['case']} | {row['width']} | {row['dense_median_s'] * 1e6:.0f} | {ratios} |")


if __name__ == "__main__":
    main()

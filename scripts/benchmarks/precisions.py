"""What do fp16 and int8 lose and gain? Trained networks in ONNX Runtime, batch 1, one thread.

    scripts/benchmarks/precisions --runs DIR --data DIR [--seconds 2]

runs: the folder of the studies, of which the dense networks are taken (pruning-mnist, gate-cifar10-jpeg). data: the
folder with mnist and cifar10. Each int8 file is calibrated on 512 training images by one of three ways, and once more
under a bound of 0.1 points on validation data. Accuracy is that on all test images, with the paired 95 % interval over
images; nothing is chosen on them. Files of one network are timed in turn, in rounds. A ResNet-18 with random weights
stands for a large network: its speed only.
Results: scripts/results/precisions.json and precisions.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edge_bench.atomic import canonical_json, write_bytes
from edge_dendrite.compress.model import load
from edge_dendrite.config import CALIBRATIONS, PrecisionConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.data.source import load_data
from edge_dendrite.export.half import to_half
from edge_dendrite.export.onnx import OnnxModel, export_onnx
from edge_dendrite.export.quantize import Quantizer
from edge_dendrite.export.sensitivity import quantize_within
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.export.timing import compare_latency
from edge_dendrite.models.resnet18 import ResNet18
from edge_dendrite.paired import mcnemar, paired_difference
from edge_dendrite.progress import silent
from scripts.benchmarks.environment import environment
from scripts.benchmarks.precision_table import table

RESULTS = Path(__file__).parent.parent / "results"
NETWORKS = (
    ("pruning-mnist", "mnist", "mnist-cnn on MNIST"),
    ("gate-cifar10-jpeg", "cifar10", "ResNet-8 on CIFAR-10-JPEG"),
)
OPSET, MAX_DROP_POINTS, NUM_SAMPLES = 13, 0.1, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmarks"), help="folder of the studies")
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist and cifar10")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing for each file; default 2")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for study, kind, title in NETWORKS:
        data = load_data(f"{kind}:{options.data / kind}", image_size=None, progress=silent)
        for folder in sorted((options.runs / study).glob("seed-*/dense")):
            print(f"{title}, {folder.parent.name}", flush=True)
            rows.append(
                {"network": title, "seed": folder.parent.name, **_measured(load(folder).module, data, options.seconds)}
            )
    print("ResNet-18 with random weights", flush=True)
    rows.append({"network": "ResNet-18 at 224, random weights: speed only", "seed": "", **_large(options.seconds)})
    result = {"rows": rows, "environment": environment(), "load_after": os.getloadavg()[0]}
    write_bytes(str(RESULTS / "precisions.json"), canonical_json(result))
    write_bytes(str(RESULTS / "precisions.md"), table(result).encode())
    print((RESULTS / "precisions.md").read_text("utf-8"))


def _measured(module: nn.Module, data: DataSet, seconds: float) -> dict[str, Any]:
    fp32 = export_onnx(module, data.input_shape, OPSET)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:NUM_SAMPLES]
    samples = data.prepare(data.train.inputs[order]).numpy()
    validation = data.prepare(data.validation.inputs).numpy()
    files: dict[str, OnnxModel] = {"fp32": fp32, "fp16": to_half(fp32)}
    notes: dict[str, Any] = {}
    for calibration in CALIBRATIONS:
        quantizer = Quantizer(fp32, samples, PrecisionConfig(precision="int8", calibration=calibration))
        files[f"int8 {calibration}"] = quantizer.quantize().model
        if calibration == CALIBRATIONS[0]:
            name = f"int8 {calibration}, at most {MAX_DROP_POINTS} points"
            files[name], notes[name] = _bounded(quantizer, fp32, validation, data)
    test = data.read_test()
    inputs, targets = data.prepare(test.inputs).numpy(), test.targets.numpy()
    correct = {name: _outputs(one, inputs).argmax(1) == targets for name, one in files.items()}
    timing = compare_latency({name: one.content for name, one in files.items()}, validation, seconds)
    return {
        "own_share": timing.own_share,
        "files": {
            name: {**_row(correct, name), **_speed(timing.latencies[name], files[name]), **notes.get(name, {})}
            for name in files
        },
    }


def _bounded(
    quantizer: Quantizer, fp32: OnnxModel, validation: np.ndarray, data: DataSet
) -> tuple[OnnxModel, dict[str, Any]]:
    targets = data.validation.targets.numpy()
    sweep = quantize_within(
        quantizer,
        _outputs(fp32, validation),
        lambda model: _outputs(model, validation),
        lambda outputs: float((outputs.argmax(1) == targets).mean()),
        MAX_DROP_POINTS,
    )
    return sweep.result.model if sweep.result else fp32, {"sweep": sweep.to_dict(), "num_layers": len(quantizer.layers)}


def _outputs(model: OnnxModel, inputs: np.ndarray) -> np.ndarray:
    return run_onnx(open_session(model.content), inputs)


def _row(correct: Mapping[str, np.ndarray], name: str) -> dict[str, Any]:
    mine, dense = correct[name], correct["fp32"]
    lost, test = paired_difference(dense.tolist(), mine.tolist()), mcnemar(mine, dense)
    return {
        "accuracy": float(mine.mean()),
        "lost_points": {"value": 100 * lost.value, "low": _points(lost.low), "high": _points(lost.high)},
        "only_this_right": test.only_first,
        "only_fp32_right": test.only_second,
        "p_value": test.p_value,
    }


def _points(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _speed(latency: Any, model: OnnxModel) -> dict[str, Any]:
    ratio = latency.ratio
    return {
        "num_bytes": len(model.content),
        "median_s": latency.median_s,
        "ratio": {"value": ratio.value, "low": ratio.low, "high": ratio.high},
    }


class _Stem(nn.Module):
    """ResNet-18 behind the stem for images of 224 (He et al. 2016, table 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3, 7, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.network = ResNet18()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(self.stem(x))


def _large(seconds: float) -> dict[str, Any]:
    torch.manual_seed(0)
    fp32 = export_onnx(_Stem().eval(), (3, 224, 224), OPSET)
    samples = np.random.default_rng(0).standard_normal((16, 3, 224, 224)).astype(np.float32)
    files = {
        "fp32": fp32,
        "fp16": to_half(fp32),
        "int8 minmax": Quantizer(fp32, samples, PrecisionConfig(precision="int8")).quantize().model,
    }
    timing = compare_latency({name: one.content for name, one in files.items()}, samples, 5 * seconds)
    rows: dict[str, Any] = {name: _speed(timing.latencies[name], one) for name, one in files.items()}
    return {"own_share": timing.own_share, "files": rows}


if __name__ == "__main__":
    main()

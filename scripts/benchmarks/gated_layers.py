"""Do gates and branches pay? Gated networks and layers of branches in ONNX Runtime, batch 1, one thread.

    scripts/benchmarks/gated_layers [--seconds 120]

Gates: ResNet-8 with a gate around each of its three blocks, against ResNet-8 without, at an opset of each exporter: all
gates open, all closed, and all open with the weights of both ways outside of the `If`, as exporters leave them.
Branches: each layer of branches against the dense layer in whose place it stands, and spatial branches with a channel
multiplier in the depthwise convolution in place of a repeated input.

Cases of one row run in turn, call by call, so that whatever else the machine does meets all of them alike; the ratio of
the medians is the result, the times are not. Every file is compared with PyTorch first.
Results: scripts/results/gated-layers.json and gated-layers.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from edge_bench.atomic import canonical_json, write_bytes
from edge_dendrite.compress.layers.branches import block_branches, map_branches, spatial_branches
from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.export.onnx import check_parity, export_onnx
from edge_dendrite.export.session import open_session
from edge_dendrite.models.convnets import ResNet8
from scripts.benchmarks.gated_table import table

RESULTS = Path(__file__).parent.parent / "results"
OPSETS = (17, 18)
WIDTHS = (32, 64, 128)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of timing, for all rows together; default 120")
    options = parser.parse_args()
    torch.set_num_threads(1)
    load_before = os.getloadavg()[0]
    layers = [one for width in WIDTHS for one in _layers(width)]
    share = options.seconds / (len(OPSETS) + len(layers))
    gates = [_gates(opset, share) for opset in OPSETS]
    branches = [_branches(*one, share) for one in layers]
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": 1,
        "onnxruntime": onnxruntime.__version__,
        "torch": torch.__version__,
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }
    result = {"machine": machine, "gates": gates, "branches": branches}
    write_bytes(str(RESULTS / "gated-layers.json"), canonical_json(result))
    write_bytes(str(RESULTS / "gated-layers.md"), table(result).encode())
    print((RESULTS / "gated-layers.md").read_text("utf-8"))


def _gates(opset: int, seconds: float) -> dict[str, Any]:
    dense = _random(ResNet8())
    files = {"dense": _exported(dense, (3, 32, 32), opset)}
    for name, bias in (("open", 100.0), ("closed", -100.0)):
        files[name] = _exported(_gated(dense, bias), (3, 32, 32), opset)
    files["open, weights outside"] = _weights_outside(files["open"])
    files["closed, weights outside"] = _weights_outside(files["closed"])
    return {"opset": opset, **_compared(files, (3, 32, 32), seconds)}


def _gated(dense: ResNet8, bias: float) -> nn.Module:
    """The same network with gates that all go one way, whatever they see."""
    module = ResNet8()
    module.load_state_dict(dense.state_dict())
    for at, (num_in, num_out, stride) in enumerate(((16, 16, 1), (16, 32, 2), (32, 64, 2))):
        block = gated_block(module.blocks[at], num_in, num_out, stride, 2, 0, 16)
        module.blocks[at] = block
        nn.init.constant_(block.gate.bias, bias)
        for one in block.bypass.parameters():
            nn.init.normal_(one, std=0.1)
    return module.eval()


def _weights_outside(content: bytes) -> bytes:
    """The file with all weights of subgraphs in the main graph."""
    model = onnx.load_model_from_string(content)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                model.graph.initializer.extend(attribute.g.initializer)
                del attribute.g.initializer[:]
    onnx.checker.check_model(model)
    moved: bytes = model.SerializeToString()
    return moved


def _layers(width: int) -> list[tuple[str, int, nn.Module, dict[str, nn.Module], tuple[int, ...]]]:
    """(name, width, dense layer, layers of branches by name, shape of the input) for each kind of branches."""
    after_maps, linear = nn.Linear(width * 49, width), nn.Linear(8 * width, 8 * width)
    order = torch.randperm(8 * width).tolist()
    maps = {f"{m} a field": nn.Sequential(nn.Flatten(), map_branches(after_maps, width, m, "relu")) for m in (1, 2)}
    blocks: dict[str, nn.Module] = {
        f"{m} a field": block_branches(linear, order, width // 2, m, "relu") for m in (1, 2)
    }
    return [
        *(_spatial(width, kernel) for kernel in (3, 5)),
        (
            "MapBranches for flatten and linear, 7x7",
            width,
            nn.Sequential(nn.Flatten(), after_maps),
            maps,
            (width, 7, 7),
        ),
        ("BlockBranches for linear, blocks of 16", 8 * width, linear, blocks, (8 * width,)),
    ]


def _spatial(width: int, kernel: int) -> tuple[str, int, nn.Module, dict[str, nn.Module], tuple[int, ...]]:
    dense = nn.Conv2d(width, width, kernel, padding=kernel // 2)
    forms: dict[str, nn.Module] = {f"{m} a field": spatial_branches(dense, m, "relu") for m in (1, 2)}
    multiplied = nn.Conv2d(width, 2 * width, kernel, padding=kernel // 2, groups=width)
    forms["2, by multiplier"] = nn.Sequential(multiplied, nn.ReLU(), nn.Conv2d(2 * width, width, 1))
    return f"SpatialBranches for conv {kernel}x{kernel}, 14x14", width, dense, forms, (width, 14, 14)


def _branches(
    name: str, width: int, dense: nn.Module, forms: Mapping[str, nn.Module], shape: tuple[int, ...], seconds: float
) -> dict[str, Any]:
    files = {"dense": _exported(nn.Sequential(_random(dense)), shape, OPSETS[0])}
    files |= {form: _exported(nn.Sequential(_random(one)), shape, OPSETS[0]) for form, one in forms.items()}
    return {"case": name, "width": width, **_compared(files, shape, seconds)}


def _random(module: Any) -> Any:
    torch.manual_seed(0)
    for one in module.parameters():
        nn.init.normal_(one, std=0.1)
    return module.eval()


def _exported(module: nn.Module, shape: tuple[int, ...], opset: int) -> bytes:
    model = export_onnx(module, shape, opset)
    check_parity(model, module, torch.randn(2, *shape), 1e-3, 1e-3)
    return model.content


def _compared(files: Mapping[str, bytes], shape: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """Median seconds of "dense", and of all others relative to it."""
    sessions = {name: open_session(content) for name, content in files.items()}
    x = np.random.default_rng(0).standard_normal((1, *shape)).astype(np.float32)
    times_s: dict[str, list[float]] = {name: [] for name in sessions}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times_s["dense"]) < 20:
        for name, session in sessions.items():
            before = time.perf_counter()
            session.run(None, {"input": x})
            times_s[name].append(time.perf_counter() - before)
    # The first tenth warms up.
    medians_s = {name: statistics.median(values[len(values) // 10 :]) for name, values in times_s.items()}
    return {
        "num_rounds": len(times_s["dense"]),
        "dense_median_s": medians_s["dense"],
        "ratios": {name: median / medians_s["dense"] for name, median in medians_s.items() if name != "dense"},
    }


if __name__ == "__main__":
    main()

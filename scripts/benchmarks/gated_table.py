"""The table of gated_layers.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(result: Mapping[str, Any]) -> str:
    """Markdown of what gated_layers.py writes as JSON."""
    machine, gates, branches = result["machine"], result["gates"], result["branches"]
    gate_rows = [{"name": f"opset {one['opset']}", **one} for one in gates]
    branch_rows = [{"name": f"{one['case']}, width {one['width']}", **one} for one in branches]
    state = "quiet" if machine["load_before"] < 0.5 and machine["load_after"] < 1.5 else "busy with other programs too"
    return "\n".join(
        [
            "Latency in ONNX Runtime relative to the network or layer without gates or branches; batch 1.",
            "",
            *_rows("ResNet-8, a gate around each block", gate_rows),
            "",
            *_rows("one layer, opset 17", branch_rows),
            "",
            f"{machine['processor']}, one thread, ONNX Runtime {machine['onnxruntime']}, torch {machine['torch']}; "
            f"medians of calls in turn. Load {machine['load_before']:.2f} before and {machine['load_after']:.2f} after "
            f"(1 is this benchmark): {state}.",
            "Written by scripts/benchmarks/gated_layers.",
            "",
        ]
    )


def _rows(title: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row["ratios"]))
    lines = [f"| {title} | dense, us | {' | '.join(names)} |", "|---|---:|" + "---:|" * len(names)]
    for row in rows:
        ratios = [f"{row['ratios'][name]:.2f}" if name in row["ratios"] else "" for name in names]
        lines.append(f"| {row['name']} | {row['dense_median_s'] * 1e6:.0f} | {' | '.join(ratios)} |")
    return lines

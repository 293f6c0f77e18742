"""The table of precisions.py."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any


def table(result: Mapping[str, Any]) -> str:
    """Markdown of what precisions.py writes as JSON."""
    rows, made = result["rows"], result["environment"]
    lines = [
        "fp16 and int8 (s8/s8, symmetric, per channel) beside fp32 in ONNX Runtime on the CPU; batch 1, one thread,",
        "opset 13. Points lost are those of accuracy on all test images against fp32, each seed with its paired 95 %",
        "interval over images; below 0 is a gain. Time is relative to fp32 of the same seed, with the 95 % interval of",
        "the median over rounds.",
        "",
    ]
    for network in dict.fromkeys(row["network"] for row in rows):
        found = [row for row in rows if row["network"] == network]
        lines += [
            f"| {network} | seeds | test accuracy | points lost, mean | points lost by seed | time over fp32 | kB |"
        ]
        lines += ["|---|---:|---:|---:|---|---|---:|"]
        for name in dict.fromkeys(name for row in found for name in row["files"]):
            lines.append(_line(name, [row["files"][name] for row in found if name in row["files"]]))
        share = min(row["own_share"] for row in found)
        lines += ["", f"Own share of a processor while timing: {share:.2f} at least (1: nothing else ran).", ""]
        for row in found:
            for name, one in row["files"].items():
                if "sweep" in one:
                    lines.append(f"- {row['seed']}, {name}: {one['sweep']['words']}")
        lines.append("")
    lines += [
        f"{made['cpu']}, {made['num_cpus']} cores, ONNX Runtime {made['packages']['onnxruntime']}. Another processor "
        "or a GPU decides otherwise: measure on the board.",
        "Written by scripts/benchmarks/precisions.",
        "",
    ]
    return "\n".join(lines)


def _line(name: str, files: list[Mapping[str, Any]]) -> str:
    if "accuracy" in files[0]:
        lost = [one["lost_points"] for one in files]
        accuracy, mean = f"{fmean(one['accuracy'] for one in files):.4f}", f"{fmean(one['value'] for one in lost):.3f}"
        each = "; ".join(_interval(one) for one in lost) if name != "fp32" else ""
    else:
        accuracy = mean = each = "-"
    times = "; ".join(_interval(one["ratio"]) for one in files) if name != "fp32" else f"1 ({_times(files)})"
    kilobytes = fmean(one["num_bytes"] for one in files) / 1e3
    return f"| {name} | {len(files)} | {accuracy} | {mean} | {each} | {times} | {kilobytes:.0f} |"


def _times(files: list[Mapping[str, Any]]) -> str:
    seconds = fmean(one["median_s"] for one in files)
    return f"{seconds * 1e3:.1f} ms" if seconds > 1e-3 else f"{seconds * 1e6:.0f} us"


def _interval(one: Mapping[str, Any]) -> str:
    bounds = "" if one["low"] is None else f" ({one['low']:.2f} to {one['high']:.2f})"
    return f"{one['value']:.2f}{bounds}"

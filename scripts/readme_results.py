"""README's table of results, from scripts/results/demo.json, which is a report of `edge-dendrite demo`."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from edge_bench.atomic import canonical_json, write_bytes
from edge_dendrite.report.format import count, file_size, percent, seconds

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "scripts" / "results" / "demo.json"
README = ROOT / "README.md"
AGENT_README = ROOT / "deploy" / "README.md"
DOCUMENTS = ROOT / "scripts" / "results"


def take(run: Path) -> None:
    """Make the report of a demo the committed result, without the curves that a table does not need."""
    report = json.loads((run / "report.json").read_text("utf-8"))
    if (report["condition"] or {}).get("emulated"):
        raise SystemExit(f"{run}: was measured under emulation ({report['condition']['emulated']}): never published")
    for row in report["rows"]:
        if row["latency"]:
            row["latency"].pop("ecdf")
    kept = {key: report[key] for key in ("title", "rows", "runs", "condition", "warnings", "provenance")}
    RESULT.parent.mkdir(exist_ok=True)
    write_bytes(str(RESULT), canonical_json(kept))


def section(report: dict[str, Any]) -> str:
    """The text between the two markers."""
    lines = [
        f"`{report['title']}`, test data, one seed ({report['provenance']['seed']}): an example, not a claim.",
        "Written by `scripts/readme-results` from `scripts/results/demo.json`.",
        "",
        "| network | accuracy (95 % interval) | parameters | MACs | ONNX | median latency (runs) | p99 |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *(_row(row) for row in report["rows"]),
        "",
        f"Latency: ONNX Runtime, batch 1, {_condition(report)}. {_left_out(report)}",
        "",
    ]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    accuracy, latency = row["accuracy"], row["latency"]
    low, high = accuracy["interval"]
    cells = [
        row["role"],
        f"{percent(accuracy['value'], 2)} ({percent(low, 2)} to {percent(high, 2)})",
        count(row["num_parameters"]),
        count(row["num_macs"]),
        file_size(row["onnx_bytes"]),
        "not measured" if latency is None else f"{seconds(latency['median_s'])} ({_range(latency['run_medians_s'])})",
        "not measured" if latency is None or latency["p99_s"] is None else seconds(latency["p99_s"]),
    ]
    return f"| {' | '.join(cells)} |"


def _range(values: list[float]) -> str:
    return f"{seconds(min(values))} to {seconds(max(values))}, {len(values)} runs"


def _condition(report: dict[str, Any]) -> str:
    condition = report["condition"] or {}
    governors = ", ".join(condition.get("governors") or []) or "not readable"
    return f"{condition.get('cpu')}, {condition.get('num_threads')} thread, governor {governors}, no power sensor"


def _left_out(report: dict[str, Any]) -> str:
    left_out = sum(bool(run["reasons"]) for run in report["runs"])
    return f"{left_out} of {len(report['runs'])} runs were invalid and left out."


def compatibility(markdown: str) -> str:
    """How many architectures each of the two prunes, and some of those at which the peer fails."""
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in markdown.splitlines() if line[:1] == "|"
    ]
    rows = {row[0].strip(): row[1:] for row in cells[2:]}
    ours, theirs = (sum(_is_right(row[at]) for row in rows.values()) for at in (0, 1))
    lines = [
        f"Of {len(rows)} architectures with random weights, compared by value with the masked original and in ONNX",
        f"Runtime, edge-dendrite prunes {ours} and Torch-Pruning {theirs}",
        "([all rows](scripts/results/compatibility.md)). The first cuts half of what it can reach, the second half of",
        "the channels, so the shares do not compare. For instance:",
        "",
        "| architecture | edge-dendrite | Torch-Pruning |",
        "|---|---|---|",
        *(f"| {name} | {' | '.join(rows[name])} |" for name in SHOWN if name in rows),
    ]
    return "\n".join([*lines, ""])


def _is_right(outcome: str) -> bool:
    return outcome.startswith("pruned") and "differ" not in outcome and "fails" not in outcome


# Architectures that users of pruning libraries ask for in vain.
SHOWN = (
    "HF GPT-2",
    "HF Llama GQA",
    "LSTM stacked bidirectional",
    "Conv1d + GRU",
    "C2f chunk",
    "ShuffleNetV2",
    "ESPCN PixelShuffle",
    "cat + group conv",
    "torch.cond gate",
    "SwiGLU and RMSNorm",
    "ViT as in timm",
)


def exporting(results: dict[str, Any]) -> str:
    """At which opsets how many architectures are exported, and which are not."""
    outcomes = results["outcomes"]
    opsets = sorted({one["opset"] for one in outcomes})
    total = len({one["architecture"] for one in outcomes})
    written = {opset: sum(one["error"] is not None for one in outcomes if one["opset"] == opset) for opset in opsets}
    missing = sorted({(one["architecture"], one["opset"]) for one in outcomes if one["error"] is None})
    worst = max(one["error"] for one in outcomes if one["error"] is not None)
    resnet = results["resnet18"]
    counts = ", ".join(f"{written[opset]} at opset {opset}" for opset in opsets)
    lines = [
        f"Of {total} architectures with random weights {counts} are exported and agree with PyTorch, with an error of",
        f"at most {worst:.0e} ([all rows](scripts/results/exporting.md), with the reason where there is no file"
        + (f": {', '.join(f'{name} at {opset}' for name, opset in missing)})." if missing else ")."),
        f"ResNet-18 at 224 pixels takes {resnet['file_s']:.1f} s to export, {resnet['bundle_s']:.1f} s as a bundle",
        f"with every check ({resnet['num_threads']} threads).",
    ]
    return "\n".join([*lines, ""])


def precisions(results: dict[str, Any]) -> str:
    """fp16 and int8 beside fp32: what they lose on test data, and what they gain, by network."""
    lines = [
        "| network | file | seeds | points lost on test data: mean (worst seed) | time over fp32, by seed | file |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for network in dict.fromkeys(row["network"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["network"] == network]
        for name in rows[0]["files"]:
            files = [row["files"][name] for row in rows if name in row["files"]]
            lost = [one["lost_points"]["value"] for one in files if one.get("lost_points")]
            ratios = [one["ratio"]["value"] for one in files]
            cells = [
                network,
                name,
                str(len(files)),
                f"{statistics.mean(lost):.2f} ({max(lost):.2f})" if lost and name != "fp32" else "-",
                "1" if name == "fp32" else f"{min(ratios):.2f} to {max(ratios):.2f}",
                file_size(round(statistics.mean(one["num_bytes"] for one in files))),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    environment = results["environment"]
    return "\n".join(
        [
            *lines,
            "",
            f"ONNX Runtime on this processor ({environment['cpu']}), batch 1, one thread; a board decides otherwise. "
            "Below 0 is a gain. Intervals: [scripts/results/precisions.md](scripts/results/precisions.md).",
            "",
        ]
    )


def document(name: str) -> str:
    """A table that a benchmark wrote."""
    return (DOCUMENTS / f"{name}.md").read_text("utf-8")


def without_heading(name: str) -> str:
    """A table that a benchmark wrote, for a place that has a heading."""
    _, _, rest = document(name).partition("\n")
    return rest.strip() + "\n"


def study(name: str) -> str:
    """What came out of a study of the benchmark runner, with its picture and where to find every row."""
    _, _, rest = document(name).partition("## What came out\n")
    found, _, _ = rest.partition("\n## ")
    return (
        f"![Accuracy against parameters](scripts/results/{name}.svg)\n\n{found.strip()}\n\n"
        f"How it was made, and every row: [scripts/results/{name}.md](scripts/results/{name}.md).\n"
    )


def render(readme: str, sections: dict[str, str]) -> str:
    """README with its sections replaced."""
    for name, text in sections.items():
        begin, end = f"<!-- {name}: begin (written by scripts/readme-results) -->\n", f"<!-- {name}: end -->"
        before, found, rest = readme.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"there is no section {name}")
        readme = before + begin + text + end + after
    return readme


def all_sections() -> dict[str, str]:
    """Every section of README that is made from results."""
    return {
        "results": section(json.loads(RESULT.read_text("utf-8"))),
        "compatibility": compatibility((DOCUMENTS / "compatibility.md").read_text("utf-8")),
        "planning": document("planning"),
        "exporting": exporting(json.loads((DOCUMENTS / "exporting.json").read_text("utf-8"))),
        "precisions": precisions(json.loads((DOCUMENTS / "precisions.json").read_text("utf-8"))),
        "pruning-mnist": study("pruning-mnist"),
        "pruning-cifar10-jpeg": study("pruning-cifar10-jpeg"),
        "recipe-mnist": study("recipe-mnist"),
        "recipe-mnist-gru": study("recipe-mnist-gru"),
        "recipe-cifar10-jpeg": study("recipe-cifar10-jpeg"),
        "recipe-digits": study("recipe-digits"),
        "gate-cifar10-jpeg": study("gate-cifar10-jpeg"),
        "grow-mnist-tenth": study("grow-mnist-tenth"),
        "grow-cifar10-jpeg": study("grow-cifar10-jpeg"),
        "ship": document("deploying") + "\n" + without_heading("fleet"),
        "report": document("report-page"),
    }


def agent() -> str:
    """What edge-bench costs, and how fast it reads logs."""
    parse = json.loads((DOCUMENTS / "agent-parse.json").read_text("utf-8"))
    recorded = [row for row in parse["rows"] if row["lines"] == "recorded"]
    speeds = ", ".join(f"{row['median_lines_per_s']:,.0f} lines/s under {row['python']}" for row in recorded)
    parsing = (
        f"Parsing recorded lines of tegrastats: {speeds} (medians, one core, load "
        f"{parse['machine']['load_before']:.1f} before; `scripts/benchmarks/tegrastats_speed`; to reach: 20,000)."
    )
    return (DOCUMENTS / "agent.md").read_text("utf-8") + f"\n{parsing}\n"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        take(Path(sys.argv[1]))
    write_bytes(str(README), render(README.read_text("utf-8"), all_sections()).encode("utf-8"))
    write_bytes(str(AGENT_README), render(AGENT_README.read_text("utf-8"), {"agent": agent()}).encode("utf-8"))

"""README's table of results, from scripts/results/demo.json, which is a report of `edge-dendrite demo`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from edge_bench.atomic import canonical_json, write_bytes
from edge_dendrite.report.format import count, file_size, percent, seconds

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "scripts" / "results" / "demo.json"
README = ROOT / "README.md"
BEGIN = "<!-- results: begin (written by scripts/readme-results) -->\n"
END = "<!-- results: end -->"


def take(run: Path) -> None:
    """Make the report of a demo the committed result, without the curves that a table does not need."""
    report = json.loads((run / "report.json").read_text("utf-8"))
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


def render(readme: str, report: dict[str, Any]) -> str:
    """README with the section replaced."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + section(report) + END + after


if __name__ == "__main__":
    if len(sys.argv) > 1:
        take(Path(sys.argv[1]))
    made = render(README.read_text("utf-8"), json.loads(RESULT.read_text("utf-8")))
    write_bytes(str(README), made.encode("utf-8"))

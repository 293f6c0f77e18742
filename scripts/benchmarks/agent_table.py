"""The table of what the agent costs, from its results."""

from __future__ import annotations

from typing import Any

from edge_bench.stats import median

LIMITS = {"latency": "2 % or 2 us", "overhead": "1 %", "start": "300 ms", "memory": "25 MB", "size": "300 kB"}


def table(result: dict[str, Any]) -> str:
    """Markdown: a row for each interpreter, then size and limits."""
    lines = [
        "What `edge-bench` costs beside a bare loop of onnxruntime with the same settings: the MNIST network of 41,076 "
        "parameters, one thread, medians over interleaved rounds. The machine is shared: its processor is now and then "
        "1.5 times slower, which the fastest round of each shows. "
        f"{result['environment']['cpu']}, {result['environment']['num_cpus']} shared cores. "
        "Written by `scripts/benchmarks/agent`.",
        "",
        "| Python | onnxruntime | bare loop | edge-bench | difference | fastest round: bare, edge-bench "
        "| overhead of the phase | start to first inference, over the import | memory without a runtime |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_line(row) for row in result["rows"]]
    lines += ["", f"`edge-bench.pyz`: {result['pyz_bytes'] / 1e3:.0f} kB (limit {LIMITS['size']}). Limits: latency "
              f"within {LIMITS['latency']}, overhead below {LIMITS['overhead']}, start below {LIMITS['start']}, memory "
              f"below {LIMITS['memory']}."]  # fmt: skip
    missed = [words for row in result["rows"] for words in _missed(row)]
    lines += ["", "Not reached: " + "; ".join(missed) + "." if missed else "All of it was reached."]
    lines += [text for row in result["rows"] for text in _edgelens(row)]
    return "\n".join(lines) + "\n"


def figures(row: dict[str, Any]) -> dict[str, float]:
    """Medians over the rounds, in seconds, shares and bytes."""
    bare = [one["median_s"] for one in row["rounds"]["bare"]]
    agent = [one["median_s"] for one in row["rounds"]["agent"]]
    started = [one["first_inference_s"] for one in row["rounds"]["agent"]]
    return {
        "bare_s": median(bare),
        "agent_s": median(agent),
        "bare_fastest_s": min(bare),
        "agent_fastest_s": min(agent),
        "difference_s": median([after - before for after, before in zip(agent, bare, strict=True)]),
        "overhead_share": median([one["overhead_share"] for one in row["rounds"]["agent"]]),
        "start_s": median(started) - median(row["import_s"]),
        "memory_bytes": row["memory_without_runtime_bytes"],
    }


def _missed(row: dict[str, Any]) -> list[str]:
    """The limits that an interpreter's row does not keep, in words; by the paired median, not by the fastest rounds."""
    found = figures(row)
    kept = {
        "latency": abs(found["difference_s"]) <= max(2e-6, 0.02 * found["bare_s"]),
        "overhead": found["overhead_share"] < 0.01,
        "start": found["start_s"] < 0.3,
        "memory": found["memory_bytes"] < 25e6,
    }
    return [f"{what} under Python {row['python']}" for what, is_kept in kept.items() if not is_kept]


def _line(row: dict[str, Any]) -> str:
    found = figures(row)
    return (
        f"| {row['python']} | {row['onnxruntime']} "
        f"| {found['bare_s'] * 1e6:.1f} us | {found['agent_s'] * 1e6:.1f} us | "
        f"{found['difference_s'] * 1e6:+.2f} us ({found['difference_s'] / found['bare_s']:+.1%}) | "
        f"{found['bare_fastest_s'] * 1e6:.1f} us, {found['agent_fastest_s'] * 1e6:.1f} us | "
        f"{found['overhead_share']:.2%} | {found['start_s'] * 1e3:.0f} ms | {found['memory_bytes'] / 1e6:.1f} MB |"
    )


def _edgelens(row: dict[str, Any]) -> list[str]:
    rounds = row["rounds"].get("edgelens")
    if not rounds:
        return []
    inference, whole = (median([one[key] for one in rounds]) for key in ("median_s", "end_to_end_median_s"))
    mean = median([one["mean_s"] for one in rounds])
    return [
        "",
        "EdgeLens 0.1.0 in the same rounds, with the threads that it takes by itself: "
        f"inference {inference * 1e6:.0f} us (median; mean {mean * 1e6:.0f} us), {whole * 1e6:.0f} us end to end.",
    ]

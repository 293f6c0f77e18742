"""What a study is to reach, and whether it did: by means over seeds, said either way."""

from __future__ import annotations

from collections.abc import Iterator

from edge_dendrite.report.format import percent
from scripts.benchmarks.latency_table import ratio
from scripts.benchmarks.rows import LATENCY
from scripts.benchmarks.studies import DENSE, REDUCED_LONGER
from scripts.benchmarks.summary import Summary, mean_and_spread


def aim_sentences(summary: Summary, arm: str, budget: float) -> Iterator[str]:
    """One for each aim of the study that `arm` has rows for."""
    yield from _drop(summary, arm, budget)
    yield from _error(summary, arm, budget)
    yield from _latency(summary, arm, budget)
    yield from _file(summary, arm, budget)


def _answer(words: str, is_reached: bool, seen: str) -> str:
    return f"aim, {words}: {'reached' if is_reached else '**missed**'} ({seen})."


def _drop(summary: Summary, arm: str, budget: float) -> Iterator[str]:
    aim, found = summary.study.aims.max_drop, summary.compare(arm, DENSE, budget)
    if aim is not None and found is not None:
        words = f"at most {100 * aim:.2f} points below `{DENSE}`"
        yield _answer(words, found.difference.value >= -aim, f"{100 * found.difference.value:+.2f} points")


def _error(summary: Summary, arm: str, budget: float) -> Iterator[str]:
    aim, mine, others = (
        summary.study.aims.min_error_cut,
        summary.tested(arm, budget),
        summary.tested(REDUCED_LONGER, budget),
    )
    seeds = mine.keys() & others.keys()
    if aim is None or not seeds:
        return
    errors = [mean_and_spread([1.0 - rows[seed]["test_accuracy"] for seed in seeds])[0] for rows in (mine, others)]
    cut = 1.0 - errors[0] / errors[1]
    words = f"at least {percent(aim, 0)} less error than `{REDUCED_LONGER}`"
    yield _answer(words, cut >= aim, f"{percent(cut)} less over {len(seeds)} seeds")


def _latency(summary: Summary, arm: str, budget: float) -> Iterator[str]:
    aim, rows = summary.study.aims.max_latency, summary.of(arm, budget, LATENCY)
    if aim is not None and rows:
        mean = mean_and_spread([row["ratio_to_dense"]["value"] for row in rows])[0]
        yield _answer(f"latency at most {aim:.2f} of the dense network's", mean <= aim, ratio(rows))


def _file(summary: Summary, arm: str, budget: float) -> Iterator[str]:
    aim, mine, dense = summary.study.aims.max_onnx, summary.tested(arm, budget), summary.tested(DENSE, None)
    shares = [mine[seed]["onnx_bytes"] / dense[seed]["onnx_bytes"] for seed in sorted(mine.keys() & dense.keys())]
    if aim is not None and shares:
        mean = mean_and_spread(shares)[0]
        yield _answer(f"ONNX file at most {aim:.2f} of the dense network's", mean <= aim, f"{mean:.3f}")

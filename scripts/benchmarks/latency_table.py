"""Latency in a study's tables: how it was measured, and what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_bench.stats import median
from edge_dendrite.report.format import seconds
from scripts.benchmarks.rows import LATENCY, Row, latency_s
from scripts.benchmarks.studies import DENSE, DENSE_LONGER
from scripts.benchmarks.summary import Summary, mean_and_spread


def latency_method(summary: Summary) -> Iterator[str]:
    """How it was measured; nothing where it was not."""
    if not any(summary.of(arm, None, LATENCY) for arm in (DENSE, DENSE_LONGER)):
        return
    rows = summary.of_kind(LATENCY)
    yield ""
    yield (
        "Latency: ONNX Runtime on the processor below, batch 1, one thread, all networks of a seed in turns, each "
        "turn with a new session; the ratio to the dense network is taken turn by turn (median and 95 % interval). "
        f"{_equal(summary)}{_inputs(rows)}{_floor(rows)}{_gated(rows)}"
    )


def _equal(summary: Summary) -> str:
    if not summary.of(DENSE_LONGER, None, LATENCY):
        return ""
    return (
        f" `{DENSE_LONGER}` has the dense network's shape: how far its ratio is from 1 is what the measurement itself "
        "cannot tell apart."
    )


def _inputs(rows: Sequence[Row]) -> str:
    """Older rows do not say: theirs were random numbers."""
    num_real = sum("inputs" in row for row in rows)
    if not num_real:
        return ""
    others = len(rows) - num_real
    return " Inputs are validation images" + (f"; in {others} older rows, random numbers." if others else ".")


def _floor(rows: Sequence[Row]) -> str:
    """Older rows have none."""
    # The rows of one call share it.
    floors = sorted({median(row["floor_round_medians_s"]) for row in rows if "floor_round_medians_s" in row})
    if not floors:
        return ""
    spread = f" ({seconds(floors[0])} to {seconds(floors[-1])})" if len(floors) > 1 else ""
    return f" The runtime's own floor, an identity network of the same input: {seconds(median(floors))}{spread}."


def _gated(rows: Sequence[Row]) -> str:
    arms = sorted({row["arm"] for row in rows if _is_mean(row)})
    if not arms:
        return ""
    names = ", ".join(f"`{arm}`" for arm in arms)
    return f" The input decides the work of {names}: there it is the mean over the inputs, and a ratio of means."


def _is_mean(row: Row) -> bool:
    return row.get("statistic") == "mean"


def latency_sentence(summary: Summary, arm: str, budget: float) -> str:
    """Whether it is lower than the dense network's: with its whole interval, in every seed."""
    rows = summary.of(arm, budget, LATENCY)
    if not rows:
        return "latency is not measured yet."
    bounds = [row["ratio_to_dense"] for row in rows]
    text = f"batch-1 {'mean' if _is_mean(rows[0]) else 'median'} latency {ratio(rows)} of the dense network's"
    if all(one["high"] is not None and one["high"] < 1 for one in bounds):
        return f"{text}: lower."
    return f"{text}: **not lower** in every seed." if len(rows) > 1 else f"{text}: **not lower**."


def latency(rows: Sequence[Row]) -> str:
    """Its mean over seeds, in a cell."""
    if not rows:
        return "not measured"
    text = seconds(mean_and_spread([latency_s(row) for row in rows])[0])
    return f"{text} (mean)" if _is_mean(rows[0]) else text


def ratio(rows: Sequence[Row]) -> str:
    """Of one seed with its interval, of several with their range."""
    if not rows:
        return "not measured"
    ratios = [row["ratio_to_dense"] for row in rows]
    if len(ratios) == 1:
        return f"{ratios[0]['value']:.2f} ({ratios[0]['low']:.2f} to {ratios[0]['high']:.2f}, seed {rows[0]['seed']})"
    values = [one["value"] for one in ratios]
    return f"{mean_and_spread(values)[0]:.2f} ({min(values):.2f} to {max(values):.2f} over {len(values)} seeds)"

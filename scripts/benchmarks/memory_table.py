"""Peak memory as a section of a study's page, and whether it is what is claimed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_bench.stats import median
from edge_dendrite.report.format import file_size, percent
from scripts.benchmarks.cells import seeds
from scripts.benchmarks.rows import MEMORY, Row
from scripts.benchmarks.studies import DENSE, DENSE_LONGER
from scripts.benchmarks.summary import Summary, mean_and_spread

# Of the dense network's peak memory above the floor.
CLAIMED_RATIO = 0.43
HIDDEN = "hidden by the floor"


def memory_section(summary: Summary) -> Iterator[str]:
    """Nothing where no memory was measured."""
    rows = summary.of_kind(MEMORY)
    if not rows:
        return
    floor, spread = median([row["floor_bytes"] for row in rows]), max(_spread(row) for row in rows)
    num_processes = min(len(row["process_peaks_bytes"]) for row in rows)
    yield from ("## Memory", "")
    yield (
        "Peak resident memory (VmHWM) of a fresh process that opens the ONNX file in ONNX Runtime and runs it "
        f"{rows[0]['num_calls']} times on validation images, batch 1, one thread; medians of {num_processes} processes "
        "for each network, in turns. The floor is the same process with an identity network: "
        f"{file_size(round(floor))}, and its repeats differ by up to {file_size(spread)}. Above the floor lie the "
        "network and what the runtime loads to compute it. A difference to the dense network that is no larger than "
        f"the floor's repeats differ is {HIDDEN}."
    )
    yield ""
    claim_words = f"at most {CLAIMED_RATIO} of it"
    yield f"| network | {summary.study.cut} | seeds | peak | above the floor | of dense | {claim_words} |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for arm, budget in _networks(summary):
        if found := summary.of(arm, budget, MEMORY):
            yield _network(arm, budget, found)
    yield ""


def memory_sentence(summary: Summary, arm: str, budget: float) -> Iterator[str]:
    """The answer to the claim, once it is measured."""
    if rows := summary.of(arm, budget, MEMORY):
        ratio = _ratio([row["ratio_to_dense"] for row in rows])
        yield (
            f"peak memory above the runtime's floor, of the dense network's: {ratio} (seeds {seeds(rows)}); "
            f"at most {CLAIMED_RATIO}: {claim(rows)}."
        )


def _networks(summary: Summary) -> Iterator[tuple[str, float | None]]:
    yield from ((arm, None) for arm in (DENSE, DENSE_LONGER))
    yield from ((arm, budget) for budget in summary.study.budgets for arm in summary.arms(budget))


def _network(arm: str, budget: float | None, rows: Sequence[Row]) -> str:
    cells = [
        f"`{arm}`",
        "-" if budget is None else percent(budget, 0),
        seeds(rows),
        _mean_size([row["peak_bytes"] for row in rows]),
        _mean_size([row["above_floor_bytes"] for row in rows]),
        _ratio([row["ratio_to_dense"] for row in rows]),
        "-" if arm == DENSE else claim(rows),
    ]
    return f"| {' | '.join(cells)} |"


def _mean_size(values: Sequence[int]) -> str:
    return file_size(round(mean_and_spread(values)[0]))


def _ratio(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return HIDDEN
    mean = f"{mean_and_spread(known)[0]:.2f}"
    return mean if len(known) == 1 else f"{mean} ({min(known):.2f} to {max(known):.2f})"


def claim(rows: Sequence[Row]) -> str:
    """Whether the claim holds in every seed, as far as the floor lets it be seen."""
    words = {_claim(row) for row in rows}
    return words.pop() if len(words) == 1 else f"differs between seeds: {', '.join(sorted(words))}"


def _claim(row: Row) -> str:
    above, dense, spread = row["above_floor_bytes"], row["dense_above_floor_bytes"], _spread(row)
    if abs(dense - above) <= spread:
        return HIDDEN
    if abs(above - CLAIMED_RATIO * dense) <= spread:
        return f"not distinguishable from {CLAIMED_RATIO}"
    return "yes" if above < CLAIMED_RATIO * dense else "no"


def _spread(row: Row) -> int:
    """How far the repeats of the floor lie apart."""
    repeats = row["floor_process_peaks_bytes"]
    return max(repeats) - min(repeats)

"""What the gates of a study's networks do: the share of validation images for which each block runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_dendrite.report.format import percent
from scripts.benchmarks.cells import seeds
from scripts.benchmarks.rows import Row
from scripts.benchmarks.summary import Summary, mean_and_spread


def gate_section(summary: Summary) -> Iterator[str]:
    """Nothing where no network has gates."""
    found = [
        (arm, budget, rows)
        for budget in summary.study.budgets
        for arm in summary.arms(budget)
        if (rows := [row for row in summary.of(arm, budget) if "open_rates" in row])
    ]
    if not found:
        return
    blocks = list(dict.fromkeys(name for _, _, rows in found for row in rows for name in row["open_rates"]))
    yield from ("## Gates", "")
    yield (
        "The share of validation images for which each block runs. The target is of the work of all of them together, "
        "and may be missed. Below 1 % and above 99 % a gate decides nothing and is taken away."
    )
    yield ""
    yield f"| network | target | weight of the penalty | seeds | {' | '.join(f'`{name}`' for name in blocks)} |"
    yield f"|---|---:|---:|---:|{'---:|' * len(blocks)}"
    for arm, _, rows in found:
        gates = rows[0]["gates"]
        settings = [percent(gates["target"], 0), f"{gates['weight']:g}"]
        cells = [f"`{arm}`", *settings, seeds(rows), *(_rates(rows, name) for name in blocks)]
        yield f"| {' | '.join(cells)} |"
    yield ""


def gate_sentence(rows: Sequence[Row]) -> Iterator[str]:
    """What became of the target: nothing where there are no gates."""
    gated = [row for row in rows if "open_rates" in row]
    if gated:
        names = list(dict.fromkeys(name for row in gated for name in row["open_rates"]))
        yield "of validation images run " + ", ".join(f"{_rates(gated, name)} through `{name}`" for name in names) + "."


def _rates(rows: Sequence[Row], name: str) -> str:
    """Mean over seeds and, of several, their range."""
    rates = [row["open_rates"][name] for row in rows if name in row["open_rates"]]
    if not rates:
        return "-"
    mean = percent(mean_and_spread(rates)[0], 1)
    return mean if len(rates) == 1 else f"{mean} ({percent(min(rates), 1)} to {percent(max(rates), 1)})"

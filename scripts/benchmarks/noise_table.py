"""Accuracy under noise as a section of a study's page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_dendrite.report.format import percent
from scripts.benchmarks.cells import accuracy, difference, seeds
from scripts.benchmarks.rows import NOISE, Row
from scripts.benchmarks.summary import Comparison, Summary


def noise_section(summary: Summary) -> Iterator[str]:
    """Nothing where no network was tested under noise."""
    if not summary.sigmas:
        return
    yield from ("## Under noise", "")
    yield (
        "Gaussian noise on the test images before preprocessing, sigma where a pixel goes from 0 to 1, clipped to that "
        "range, through ONNX Runtime. For each sigma the noisy images are the same for every network and seed. Nothing "
        "is chosen by these numbers. Intervals as above, each on its own: where nothing differs, about one in twenty "
        "still lies beside 0."
    )
    yield ""
    for budget in summary.study.budgets:
        if any(summary.of(arm, budget, NOISE) for arm in summary.arms(budget)):
            yield from _budget(summary, budget)


def _budget(summary: Summary, budget: float) -> Iterator[str]:
    names = [f"sigma {sigma:g}" for sigma in summary.sigmas]
    yield from (f"### {percent(budget, 0)} {summary.study.cut}, under noise", "")
    yield f"| network | seeds | no noise | {' | '.join(names)} |"
    yield f"|---|---:|---:|{'---:|' * len(names)}"
    for arm, rows in summary.rows_of_table(budget, NOISE):
        yield f"| `{arm}` | {seeds(rows)} | {' | '.join(_accuracies(summary, arm, rows))} |"
    yield from ("", f"| ours | against | pairs | {' | '.join(names)} |", f"|---|---|---|{'---:|' * len(names)}")
    found = {sigma: summary.comparisons(budget, sigma) for sigma in summary.sigmas}
    pairs = dict.fromkeys((one.arm, one.other_name, one.basis) for some in found.values() for one in some)
    for key in pairs:
        arm, other, basis = key
        cells = [_cell(found[sigma], key) for sigma in summary.sigmas]
        yield f"| `{arm}` | {other} | {basis} | {' | '.join(cells)} |"
    yield ""


def _accuracies(summary: Summary, arm: str, rows: Sequence[Row]) -> Iterator[str]:
    """Without noise, of the same seeds, and at each sigma."""
    for sigma in (None, *summary.sigmas):
        tested = summary.tested(arm, rows[0]["budget"], sigma)
        values = [tested[row["seed"]]["test_accuracy"] for row in rows if row["seed"] in tested]
        yield accuracy(values) if values else "not measured"


def _cell(comparisons: Sequence[Comparison], key: tuple[str, str, str]) -> str:
    for one in comparisons:
        if (one.arm, one.other_name, one.basis) == key:
            return f"{difference(one.difference)}: {one.words}"
    return "not measured"

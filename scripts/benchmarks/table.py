"""The results of a study as Markdown: written from its rows alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from edge_dendrite.report.format import file_size, percent
from scripts.benchmarks.aims import aim_sentences
from scripts.benchmarks.cells import accuracy, count_range, difference, seeds
from scripts.benchmarks.gate_table import gate_section, gate_sentence
from scripts.benchmarks.latency_table import latency, latency_method, latency_sentence, ratio
from scripts.benchmarks.memory_table import memory_section, memory_sentence
from scripts.benchmarks.method_table import training_words
from scripts.benchmarks.noise_table import noise_section
from scripts.benchmarks.recipe_table import recipe_sentences
from scripts.benchmarks.rows import LATENCY, TRAINED, Row
from scripts.benchmarks.studies import DENSE, DENSE_LONGER, GROWN, RECIPE, SAME_SHAPE
from scripts.benchmarks.summary import Comparison, Summary, mean_and_spread


def markdown(summary: Summary, picture: str | None = None) -> str:
    """The whole page; `picture` is the file name of the plot beside it."""
    study = summary.study
    lines = [f"# {study.title}: `{study.model}`", "", f"Written by `scripts/benchmarks/run table {study.name}`."]
    lines += [study.note] if study.note else []
    lines += ["", *_method(summary), ""]
    if picture:
        lines += [f"![Accuracy against parameters]({picture})", ""]
    lines += ["## What came out", "", *_findings(summary), ""]
    for budget in study.budgets:
        if summary.arms(budget):
            lines += _budget(summary, budget)
    lines += [*gate_section(summary), *noise_section(summary), *memory_section(summary)]
    lines += ["## Made with", "", *_environments(summary), ""]
    return "\n".join(lines)


def _method(summary: Summary) -> Iterator[str]:
    study = summary.study
    yield training_words(study)
    yield ""
    yield (
        "Test data are read once for each row, through ONNX Runtime. Intervals are 95 %, each on its own, of paired "
        "differences: over seeds (Student's t) from two seeds on. With one seed they are over test images and say "
        "nothing of how another seed would come out. Spreads are standard deviations over seeds. "
        f"{'Of our arms, validation data name the recommended one. ' if len(summary.our_arms) > 1 else ''}"
        "One thread everywhere."
    )
    yield from latency_method(summary)


def _findings(summary: Summary) -> Iterator[str]:
    if not any(summary.recommended(budget) for budget in summary.study.budgets):
        yield "No network of ours is trained yet."
    for budget in summary.study.budgets:
        arm = summary.recommended(budget)
        if arm is None:
            continue
        choice = " (the better one of ours on validation data)" if summary.is_choice(budget) else ""
        yield from _findings_of(summary, arm, budget, choice)
        if arm != RECIPE and summary.of(RECIPE, budget):  # the study is about it, also where another one is better
            yield from _findings_of(summary, RECIPE, budget, "")


def _findings_of(summary: Summary, arm: str, budget: float, choice: str) -> Iterator[str]:
    comparisons, rows = [one for one in summary.comparisons(budget) if one.arm == arm], summary.of(arm, budget)
    settings = summary.study.recipe.to_dict()
    yield f"- **{percent(budget, 0)} {summary.study.cut}**, `{arm}`{choice}:"
    yield from (f"  - {_sentence(one)}" for one in comparisons)
    if arm in SAME_SHAPE and not any(one.same_shape for one in comparisons):
        yield "  - is not compared with its own shape from scratch yet."
    yield from (f"  - {sentence}" for sentence in (*recipe_sentences(rows, settings), *gate_sentence(rows)))
    yield f"  - {latency_sentence(summary, arm, budget)}"
    yield from (f"  - {sentence}" for sentence in memory_sentence(summary, arm, budget))
    yield from (f"  - {sentence}" for sentence in aim_sentences(summary, arm, budget))


def _sentence(one: Comparison) -> str:
    name = one.other_name
    points = difference(one.difference)
    if one.words == "better":
        verb = "beats" if one.num_seeds > 1 else "is above, in one seed,"
        return f"{verb} {name}: {points} ({one.basis})."
    if one.words == "worse":
        verb = "loses to" if one.num_seeds > 1 else "is below, in one seed,"
        return f"**{verb}** {name}: {points} ({one.basis})."
    return f"does not beat {name}, and is not distinguishable from it: {points} ({one.basis})."


def _budget(summary: Summary, budget: float) -> Iterator[str]:
    yield from (f"## {percent(budget, 0)} {summary.study.cut}", "")
    yield "| network | seeds | parameters | MACs | ONNX | validation | test | latency, batch 1 | of dense |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for arm, size in [(DENSE, None), (DENSE_LONGER, None), *((arm, budget) for arm in summary.arms(budget))]:
        if rows := summary.of(arm, size):
            yield _network(arm, rows, summary.of(arm, size, LATENCY), arm == summary.recommended(budget))
    yield from (f"\n{note}" for note in _notes(summary, budget))
    yield from ("", "| ours | against | difference in test accuracy | pairs | |", "|---|---|---:|---|---|")
    for one in summary.comparisons(budget):
        other = one.other_name
        yield f"| `{one.arm}` | {other} | {difference(one.difference)} | {one.basis} | {one.words} |"
    yield ""


def _notes(summary: Summary, budget: float) -> Iterator[str]:
    """What the columns of a budget's table do not show of themselves."""
    tables = [rows for _, rows in summary.rows_of_table(budget, TRAINED)]
    if len({tuple(row["seed"] for row in rows) for rows in tables}) > 1:
        yield "Means are over each network's own seeds, which are not the same: compare by the pairs below."
    if GROWN in summary.arms(budget):
        yield f"Validation data chose the weights and dendrites of `{GROWN}`, so they flatter it: compare by test data."


def _network(arm: str, rows: Sequence[Row], latencies: Sequence[Row], recommended: bool) -> str:
    cells = [
        f"**`{arm}`**" if recommended else f"`{arm}`",
        seeds(rows),
        count_range([row["num_parameters"] for row in rows]),
        count_range([row["num_macs"] for row in rows]),
        file_size(round(mean_and_spread([row["onnx_bytes"] for row in rows])[0])),
        accuracy([row["val_accuracy"] for row in rows]),
        accuracy([row["test_accuracy"] for row in rows]),
        latency(latencies),
        ratio(latencies),
    ]
    return f"| {' | '.join(cells)} |"


def _environments(summary: Summary) -> Iterator[str]:
    """Each environment of the trained networks once, with the number of its rows."""
    texts = [json.dumps(row["environment"], sort_keys=True) for row in summary.trained]
    for text in dict.fromkeys(texts):
        environment = json.loads(text)
        packages = ", ".join(f"{name} {version}" for name, version in sorted(environment["packages"].items()))
        source = environment["source"]
        commit = f"commit {source['commit'][:12]}" if source["commit"] else "sources with changes"
        yield (
            f"- {texts.count(text)} rows: {environment['cpu']}, {environment['num_threads']} thread, Python "
            f"{environment['python']}, {packages}, edge_dendrite at {commit} (sha256 {source['sha256'][:12]})"
        )

"""A comparison on a terminal."""

from __future__ import annotations

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edge_dendrite.report.comparison.judging import INCONCLUSIVE, NOT_MEASURED, PASS, REGRESSION
from edge_dendrite.report.comparison.result import Compared, ComparisonReport
from edge_dendrite.report.comparison.words import COLUMNS, cells, headline, runs_line, why

_WIDE = 122
_STYLES = {PASS: "green", REGRESSION: "bold red", INCONCLUSIVE: "yellow", NOT_MEASURED: "yellow"}


def print_comparisons(report: ComparisonReport) -> None:
    """On stdout: a table for each network on each board with what it needs beside it, and the verdict last."""
    console = Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else 160, highlight=False, emoji=False, markup=False
    )
    for one in report.comparisons:
        _print_one(console, one, len(report.sides) > 1)
    for entry in report.missing:
        mark = "NOT COMPARED" if entry.blocks else "note"
        console.print(Text(f"{mark}: {entry.what}: {entry.reason}", style="yellow" if entry.blocks else ""))
    for text in report.left_out:
        console.print(Text(f"left out: {text}"))
    for note in report.notes():
        console.print(Text(f"{note}."))
    console.print(Text(headline(report), style=_STYLES.get(report.verdict or "", "")))


def _print_one(console: Console, one: Compared, several_sides: bool) -> None:
    console.print(Text(f"{one.board}: {one.network}" + (f", in {one.side}" if several_sides else ""), style="bold"))
    for name, side in (("baseline", one.baseline), ("new", one.new)):
        console.print(Text(f"  {name:<9}{side.name} ({side.role}), id {side.id[:12]}; {side.board_state}"))
        console.print(Text(f"  {'':<9}{runs_line(side.files, side.num_samples)}"))
    for reason in one.reasons:
        console.print(Text(f"  {'REFUSED' if one.refused else 'FORCED, though'}: {reason}", style="yellow"))
    if one.outputs is not None:
        console.print(Text(f"  {one.outputs.verdict}: {one.outputs.reason}", style=_STYLES[one.outputs.verdict]))
    if not one.refused:
        console.print(_wide(one) if console.width >= _WIDE else _narrow(one))
        for figure, judgement in zip(one.figures, one.judgements, strict=True):
            if text := why(figure, judgement):
                console.print(Text(f"  {figure.kind.label}: {text}"))
    for text in one.caveats:
        console.print(Text(f"  note: {text}"))
    console.print()


def _wide(one: Compared) -> Table:
    is_judged = any(judgement is not None for judgement in one.judgements)
    table = Table()
    for number, column in enumerate(COLUMNS):
        is_text = number in (0, len(COLUMNS) - 1)
        if column != "allowed" or is_judged:
            table.add_column(column, justify="left" if is_text else "right", overflow="fold", no_wrap=is_text)
    for figure, judgement in zip(one.figures, one.judgements, strict=True):
        *texts, allowed, verdict = cells(figure, judgement)
        texts = [text.replace(" [", "\n[", 1) for text in texts] + ([allowed] if is_judged else [])
        table.add_row(*map(Text, texts), Text(verdict, style=_STYLES.get(verdict, "")))
    return table


def _narrow(one: Compared) -> Table:
    """All that the wide one says in 80 columns: ratio over difference, verdict over what is allowed."""
    table = Table("figure", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("baseline", "new"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("new / baseline,\ndifference [95 %]", justify="right", overflow="fold", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for figure, judgement in zip(one.figures, one.judgements, strict=True):
        label, baseline, new, difference, ratio, allowed, verdict = cells(figure, judgement)
        changes = ([] if ratio == "-" else [ratio]) + [difference.replace(" [", "\n[", 1)]
        shown = Text(verdict, style=_STYLES.get(verdict, ""))
        shown.append("" if judgement is None else f"\nallowed {allowed}", style="")
        table.add_row(Text(label), Text(baseline), Text(new), Text("\n".join(changes)), shown)
    return table

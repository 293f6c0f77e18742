"""A history on the terminal: runs as cells of a table, lines as rows of characters."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from edge_dendrite.history.metrics import Metric
    from edge_dendrite.history.stored import StoredRun
    from edge_dendrite.history.trends import Line

_WIDTH = 60


def run_cells(run: StoredRun) -> list[str]:
    """A row of `history list`."""
    from edge_dendrite.history.metrics import METRICS

    facts, by_name = run.facts, {metric.name: metric for metric in METRICS}
    figures = [
        by_name[name].show(facts.figures[name].value) if name in facts.figures else "-"
        for name in ("latency", "p99", "energy", "accuracy")
    ]
    started = facts.started_at[:16].replace("T", " ") if facts.started_at else "clock not set"
    role = ", ".join(filter(None, (facts.role, facts.precision)))
    texts = [str(run.id), started, facts.network, role, run.board(), run.state(), facts.status, ", ".join(run.tags)]
    return texts + figures


def print_lines(lines: list[Line], metric: Metric) -> None:
    """Each line as a row of characters, its last figure with state, whether it drifted, what changed."""
    from edge_dendrite.history.drift import judge_drift, say_level
    from edge_dendrite.history.sparkline import sparkline

    typer.echo(f"{metric.title} over time")
    for line in lines:
        typer.echo(f"\n{line.name()} on {line.board}")
        typer.echo(f"  {sparkline(line, width=_WIDTH, encoding=sys.stdout.encoding)}")
        valid = [point for stretch in line.stretches for point in stretch]
        earlier = f", the last {_WIDTH} shown" if len(line.points) > _WIDTH else ""
        typer.echo(f"  {len(valid)} of {len(line.points)} runs are valid and have it{earlier}")
        if valid and valid[-1].figure:
            values = [point.figure.value for point in valid if point.figure]
            last = f"{metric.show(valid[-1].figure.value)} on {valid[-1].time:%Y-%m-%d} ({valid[-1].run.state()})"
            typer.echo(f"  last {last}, lowest {metric.show(min(values))}, highest {metric.show(max(values))}")
        drift = judge_drift(line, metric)
        if drift:
            typer.echo(f"  {drift}")
        for change in line.changes[-10:]:
            typer.echo(f"  {change.time:%Y-%m-%d}: {change.words}")
    if not lines:
        typer.echo("no runs")
    level = say_level(len(lines), metric)
    if level:
        typer.echo(f"\n{level}")

"""Measurements over time: kept in one file, listed, drawn, taken out again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_dendrite.commands.guard import EXIT_FAILED, guarded
from edge_dendrite.commands.history_text import print_lines, run_cells
from edge_dendrite.errors import ConfigError
from edge_dendrite.inputs import refuse_outputs
from edge_dendrite.options import JsonOption
from edge_dendrite.terminal import TerminalProgress, print_table, say

if TYPE_CHECKING:
    from edge_dendrite.history.filters import Filter
    from edge_dendrite.history.store import History

DbOption = Annotated[
    Path | None,
    typer.Option(
        "--db", help="file of the history  [default: $EDGE_DENDRITE_HISTORY, or history.sqlite in your folder of data]"
    ),
]
NetworkOption = Annotated[str | None, typer.Option("--network", help="a part of the network's name")]
BoardOption = Annotated[str | None, typer.Option("--board", help="a part of the board's name, or of its model")]
RoleOption = Annotated[str | None, typer.Option("--role", help="baseline, compressed, control:from-scratch, ...")]
PrecisionOption = Annotated[str | None, typer.Option("--precision", help="fp32, fp16 or int8")]
StatusOption = Annotated[str | None, typer.Option("--status", help="valid, invalid, partial or failed")]
BundleOption = Annotated[str | None, typer.Option("--bundle", metavar="ID", help="how the bundle's id begins")]
TagOption = Annotated[str | None, typer.Option("--tag", help="with this tag")]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="DAY", help="2026-08-21, or a time in UTC")]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="DAY", help="the day as a whole, or a time")]
IdArgument = Annotated[int, typer.Argument(metavar="ID", help="of the run, as `history list` shows it")]

app = typer.Typer(
    help="Keep measurements over time in one file: list them, and see whether a figure drifted.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add(
    files: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="measurements, or folders of them")],
    board: Annotated[
        str | None, typer.Option("--board", help="what the board is called  [default: its folder's name]")
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="a word for all of them; repeatable")] = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep measurements; one that is there already is not kept twice."""
    from edge_dendrite.history.gather import add_files, find_files
    from edge_dendrite.history.store import clean_tag

    tags = [clean_tag(one) for one in tag or []]
    found = find_files(files)
    if not found:
        raise ConfigError(f"{', '.join(map(str, files))}: no measurement (*.json) there")
    with _open(db, create=True) as history:
        with TerminalProgress() as progress:
            gathered = add_files(history, found, board_name=board, tags=tags, progress=progress)
        total = history.count()
    failed = [one for one in gathered if one.added is None]
    for one in failed:
        say(f"error: {one.error}")
    outcomes = [one.added.outcome for one in gathered if one.added]
    if as_json:
        lines = [
            {"file": str(one.path), "error": one.error or None}
            | ({"id": one.added.id, "outcome": one.added.outcome} if one.added else {"id": None, "outcome": "refused"})
            for one in gathered
        ]
        typer.echo(json.dumps({"db": str(history.path), "runs": total, "files": lines}))
    else:
        counts = [f"{outcomes.count('added')} added"]
        counts += [f"{outcomes.count('completed')} completed"] if "completed" in outcomes else []
        counts += [f"{outcomes.count('known')} known already", f"{len(failed)} refused"]
        typer.echo(f"{', '.join(counts)}; {total:,} in {history.path}")
    if failed:
        raise typer.Exit(EXIT_FAILED)


def list_(
    network: NetworkOption = None,
    board: BoardOption = None,
    role: RoleOption = None,
    precision: PrecisionOption = None,
    status: StatusOption = None,
    bundle: BundleOption = None,
    tag: TagOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option("--limit", help="the latest so many; 0: all", min=0)] = 30,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """The runs, the latest first."""
    which = _filter(network, board, role, precision, status, bundle, tag, since, until)
    with _open(db) as history:
        runs, total = history.runs(which, limit=limit or None), history.count(which)
    if as_json:
        typer.echo(json.dumps({"db": str(history.path), "total": total, "runs": [run.to_dict() for run in runs]}))
        return
    columns = ["id", "started (UTC)", "network", "role", "board", "state", "status", "tags"]
    columns += ["latency", "p99", "energy", "accuracy"]
    shown = f"{len(runs):,} of {total:,} runs" if len(runs) < total else f"{total:,} run{'' if total == 1 else 's'}"
    print_table(f"{shown} in {history.path}", columns, map(run_cells, runs), num_text_columns=8)


def show(id_: IdArgument, db: DbOption = None, as_json: JsonOption = False) -> None:
    """One run whole; with --json the measurement as it was added."""
    from edge_bench.render import render_measurement
    from edge_bench.schema import parse_measurement

    with _open(db) as history:
        run, content = history.run(id_), history.measurement(id_)
    if as_json:
        typer.echo(content.decode("ascii"), nl=False)
        return
    named = f", called {run.board_name}" if run.board_name else ""
    tags = f", tags: {', '.join(run.tags)}" if run.tags else ""
    typer.echo(f"run {run.id}{named}, added {run.added_at}{tags}")
    typer.echo(render_measurement(parse_measurement(content, f"run {id_}")))


def plot(
    metric: Annotated[
        str,
        typer.Argument(help="latency, p90, p99, throughput, energy, net-energy, memory, accuracy, size or parameters"),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="picture: .html, .svg or .png  [default: lines on the terminal]")
    ] = None,
    network: NetworkOption = None,
    board: BoardOption = None,
    role: RoleOption = None,
    precision: PrecisionOption = None,
    status: StatusOption = None,
    bundle: BundleOption = None,
    tag: TagOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """A figure over time, a line for each network on each board, and whether it drifted."""
    from edge_dendrite.history.drift import judge_drift
    from edge_dendrite.history.metrics import find_metric
    from edge_dendrite.history.trends import build_lines

    chosen, which = find_metric(metric), _filter(network, board, role, precision, status, bundle, tag, since, until)
    with _open(db) as history:
        refuse_outputs({"--out": out}, [history.path])
        runs = history.runs(which)
    lines = build_lines(runs, chosen)
    unplaced = [run.id for run in runs if run.facts.started_at is None]
    if out is not None:
        from edge_dendrite.history.page import write_picture

        write_picture(lines, chosen, out, len(unplaced))
    if as_json:
        found = [line.to_dict() | {"drift": judge_drift(line, chosen)} for line in lines]
        typer.echo(json.dumps({"metric": chosen.name, "lines": found, "ids_without_time": unplaced}))
    elif out is not None:
        typer.echo(str(out.absolute()))
    else:
        print_lines(lines, chosen)
    if unplaced and not as_json:
        say(f"runs without a place in time, since the board's clock was not set: {', '.join(map(str, unplaced[:20]))}")


def export(
    out: Annotated[Path, typer.Argument(metavar="DIR|FILE", help="folder of measurements, or table: .csv or .json")],
    network: NetworkOption = None,
    board: BoardOption = None,
    role: RoleOption = None,
    precision: PrecisionOption = None,
    status: StatusOption = None,
    bundle: BundleOption = None,
    tag: TagOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measurements as files, for `report` and `compare`, or a table of figures for a spreadsheet."""
    from edge_dendrite.history.export import export_runs

    which = _filter(network, board, role, precision, status, bundle, tag, since, until)
    with _open(db) as history, TerminalProgress() as progress:
        refuse_outputs({"DIR|FILE": out}, [history.path])
        runs = history.runs(which)
        files = export_runs(history, runs, out, progress=progress)
    if as_json:
        typer.echo(json.dumps({"runs": len(runs), "files": [str(file) for file in files]}))
    else:
        typer.echo(f"{len(runs):,} run{'' if len(runs) == 1 else 's'} in {out}")


def remove(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="of the runs, as `history list` shows them")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget runs, with their measurements."""
    wanted = list(dict.fromkeys(ids))
    with _open(db) as history:
        runs = [history.run(id_) for id_ in wanted]
        if not yes:
            if not sys.stdin.isatty():
                raise ConfigError("nobody can be asked here; give --yes to forget these runs for good")
            for run in runs:
                say(f"run {run.id}: {run.facts.network} on {run.board()}, {run.facts.started_at or 'time not known'}")
            if not typer.confirm(f"forget {'it' if len(runs) == 1 else 'them'} for good?", err=True):
                raise typer.Exit(EXIT_FAILED)
        history.remove(wanted)
    typer.echo(json.dumps({"removed": wanted}) if as_json else f"{len(wanted)} removed")


def tag_(
    id_: IdArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="for instance 'after the new kernel'")],
    remove: Annotated[bool, typer.Option("--remove", help="take it away")] = False,
    db: DbOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a run a word by which it can be found."""
    with _open(db) as history:
        (history.untag if remove else history.tag)(id_, text)
        tags = history.run(id_).tags
    typer.echo(json.dumps({"id": id_, "tags": tags}) if as_json else f"run {id_}: {', '.join(tags) or 'no tags'}")


_COMMANDS: tuple[tuple[str, Callable[..., None]], ...] = (
    ("add", add),
    ("list", list_),
    ("show", show),
    ("plot", plot),
    ("export", export),
    ("remove", remove),
    ("tag", tag_),
)
for _name, _command in _COMMANDS:
    app.command(_name)(guarded(_command))


def _open(db: Path | None, *, create: bool = False) -> History:
    from edge_dendrite.history.place import default_path
    from edge_dendrite.history.store import History

    return History.open(db or default_path(), create=create, notice=say)


def _filter(
    network: str | None,
    board: str | None,
    role: str | None,
    precision: str | None,
    status: str | None,
    bundle: str | None,
    tag: str | None,
    since: str | None,
    until: str | None,
) -> Filter:
    from edge_dendrite.history.filters import Filter, read_day

    return Filter(
        network=network,
        board=board,
        role=role,
        precision=precision,
        status=status,
        bundle=bundle,
        tag=tag,
        since=None if since is None else read_day("--since", since),
        until=None if until is None else read_day("--until", until, is_end=True),
    )

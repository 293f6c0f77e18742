"""Measure bundles on a board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_dendrite.commands.fleet import deploy_to_boards
from edge_dendrite.commands.guard import EXIT_INVALID, EXIT_WARNINGS
from edge_dendrite.errors import ConfigError
from edge_dendrite.inputs import refuse_idle_flags
from edge_dendrite.options import (
    BoardsOption,
    DurationOption,
    FleetReportOption,
    JobsOption,
    JsonOption,
    LayersOption,
    OnlyOption,
    OtherLoadOption,
    PythonOption,
    RemoteDirOption,
    SshConfigOption,
    ThreadsOption,
)
from edge_dendrite.terminal import TerminalProgress

if TYPE_CHECKING:
    from edge_dendrite.ship.plan import DeployPlan


def deploy(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder or .tar that `export` wrote")],
    target: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="local, ssh://user@host:port or user@host; or --boards")
    ] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option("--beside", help="another bundle, measured in turns with the first; repeatable"),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="replace valid measurements that are there")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="times that every bundle is measured")] = 1,
    out: Annotated[Path, typer.Option("--out", help="folder of the measurements")] = Path("measurements"),
    duration: DurationOption = 3.0,
    runs: Annotated[
        int | None, typer.Option("--runs", min=1, help="exactly so many timed runs, instead of by duration")
    ] = None,
    threads: ThreadsOption = 1,
    provider: Annotated[
        str | None, typer.Option("--provider", help="onnxruntime provider  [default: the board's]")
    ] = None,
    max_other_load: OtherLoadOption = 0.5,
    layers: LayersOption = False,
    ssh_config: SshConfigOption = None,
    python: PythonOption = "python3",
    remote_dir: RemoteDirOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="ask the board and print what would be done; only the agent is copied")
    ] = False,
    clean: Annotated[
        bool, typer.Option("--clean", help="leave nothing of this deploy on the board, unless others use it")
    ] = False,
    boards: BoardsOption = None,
    only: OnlyOption = None,
    jobs: JobsOption = None,
    report: FleetReportOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit with 3 when there are warnings")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a bundle to a board, measure it there in the agent's own process, and fetch the measurement."""
    from edge_bench.render import render_measurement
    from edge_bench.schema import read_measurement
    from edge_dendrite.ship.deploy import deploy_rounds, plan_rounds
    from edge_dendrite.ship.options import RunOptions, SshOptions

    options = RunOptions(duration, runs, threads, provider, max_other_load, layers)
    if boards is not None:
        if target is not None:
            raise ConfigError(f"TARGET {target} and --boards {boards}: give one of them")
        refuse_idle_flags({"--dry-run asks one board and goes with TARGET": dry_run})
        deploy_to_boards(
            context,
            [bundle, *(beside or [])],
            boards,
            out,
            only=only or [],
            jobs=jobs,
            rounds=rounds,
            again=again,
            clean=clean,
            options=options,
            reports=report or [],
            strict=strict,
            as_json=as_json,
        )
        return
    if target is None:
        raise ConfigError("where to? give a TARGET (local, ssh://user@host:port or user@host), or --boards FILE")
    idle = {"--only": only, "--jobs": jobs, "--report": report}
    refuse_idle_flags({f"{flag} goes with --boards": value is not None for flag, value in idle.items()})
    _refuse_idle(context, target, dry_run)
    paths, ssh = [bundle, *(beside or [])], SshOptions(ssh_config, python, remote_dir)
    if dry_run:
        with TerminalProgress() as progress:
            plans, to_measure = plan_rounds(
                paths, target, out, num_rounds=rounds, again=again, options=options, ssh=ssh, log=progress.agent_line
            )
        _print_plans(plans, to_measure, as_json)
        return
    with TerminalProgress() as progress:
        files = deploy_rounds(
            paths,
            target,
            out,
            num_rounds=rounds,
            again=again,
            options=options,
            ssh=ssh,
            log=progress.agent_line,
            progress=progress,
            clean=clean,
        )
    measurements = [read_measurement(str(path)) for path in files]
    if as_json:
        typer.echo(json.dumps([{"file": str(p), "measurement": m} for p, m in zip(files, measurements, strict=True)]))
    else:
        for path, measurement in zip(files, measurements, strict=True):
            typer.echo(f"{render_measurement(measurement)}\n{path}\n")
    if any(measurement["invalid"] for measurement in measurements):
        raise typer.Exit(EXIT_INVALID)
    if strict and any(measurement["warnings"] for measurement in measurements):
        raise typer.Exit(EXIT_WARNINGS)


def _refuse_idle(context: typer.Context, target: str, dry_run: bool) -> None:
    """Refuse flags that were given and do nothing: of measuring in a dry run, of a board behind ssh on this machine."""
    from edge_dendrite.ship.target import parse_target

    def is_given(name: str) -> bool:
        source = context.get_parameter_source(name)
        return source is not None and source.name != "DEFAULT"

    if dry_run:
        refuse_idle_flags({f"--{name} does nothing with --dry-run": is_given(name) for name in ("clean", "strict")})
    if parse_target(target) is None:
        names = ("python", "remote_dir", "ssh_config", "clean")
        refuse_idle_flags(
            {f"--{name.replace('_', '-')} goes with a board behind ssh": is_given(name) for name in names}
        )


def _print_plans(plans: list[DeployPlan], to_measure: dict[Path, bool], as_json: bool) -> None:
    """What a deploy would do, bundle by bundle, then measurement by measurement."""
    if as_json:
        runs = [{"file": str(path), "measure": is_new} for path, is_new in to_measure.items()]
        typer.echo(json.dumps({"plans": [plan.to_dict() for plan in plans], "runs": runs}))
        return
    for plan in plans:
        typer.echo(f"{plan.bundle} (id {plan.bundle_id[:16]}) to {plan.board}, {plan.folder}")
        for notice in plan.notices:
            typer.echo(f"  note   {notice}")
        for copy in plan.copies:
            typer.echo(f"  copy   {copy.name}, {copy.num_bytes - copy.num_there:,} bytes: {copy.why}")
        if len(plan.copies) < plan.num_files:
            typer.echo(f"  keep   {plan.num_files - len(plan.copies)} of {plan.num_files} files: there, hashes checked")
        if plan.builds_engine:
            typer.echo("  build  the engine, unless it was built there before")
        typer.echo(f"  run    with {plan.runs_with}")
    for path, is_new in to_measure.items():
        typer.echo(f"{'write' if is_new else 'keep '}  {path}")

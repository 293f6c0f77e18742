"""edge-dendrite: compress a network, export it, ship it to a board, measure it there, report what was gained.

Results go to stdout, progress and messages to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings
under --strict, 4 an invalid run, 130 interrupted (what was finished is kept).
"""

from __future__ import annotations

import errno
import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from edge_dendrite import __version__
from edge_dendrite.errors import ConfigError, EdgeDendriteError
from edge_dendrite.inputs import (
    check_new,
    check_writable,
    compress_config,
    data_kind,
    default_bundle,
    default_model,
    engine_config,
    exportable_model,
    file_size_of,
    find_metric,
    layer_rules,
    open_data,
    precision_config,
    provenance,
    read_history,
    refuse_idle_flags,
    tar_beside,
    trainable_model,
)
from edge_dendrite.options import (
    BoardOption,
    BytesOption,
    CalibrationOption,
    CalibrationSamplesOption,
    ChannelsLastOption,
    CompatibleOption,
    DataOption,
    DeviceOption,
    DropOption,
    DurationOption,
    EmaOption,
    EngineBatchOption,
    EngineOption,
    EpochsOption,
    FactoryOption,
    FilePrecisionOption,
    FinetuneOption,
    ImageSizeOption,
    InputsOption,
    JsonOption,
    KeepFloatOption,
    LayerOption,
    LevelOption,
    MacsOption,
    MacsRatioOption,
    MaxEpochsOption,
    MetricOption,
    ModelArgument,
    NormalisedOption,
    NormsOption,
    OtherLoadOption,
    ParametersOption,
    PatienceOption,
    PercentileOption,
    PointsOption,
    PrecisionOption,
    PythonOption,
    RatioOption,
    RemoteDirOption,
    RoundToOption,
    ScopeOption,
    ScoreOption,
    SeedOption,
    SeedsOption,
    SignersOption,
    SignOption,
    SshConfigOption,
    Tf32Option,
    ThreadsOption,
    TimingCacheOption,
    WeightPairsOption,
    WorkspaceOption,
)
from edge_dendrite.terminal import (
    TerminalProgress,
    print_comparison,
    print_plan,
    print_precisions,
    print_report,
    print_steps,
    print_table,
    say,
)

if TYPE_CHECKING:
    from edge_dendrite.compress.comparison import Comparison
    from edge_dendrite.compress.pipeline import Outcome
    from edge_dendrite.compress.pruned import Planned
    from edge_dendrite.export.bundle_files import Bundle

# Imports of torch stay inside the commands that need it, so that help and `boards` answer at once.

EXIT_FAILED, EXIT_USAGE, EXIT_WARNINGS, EXIT_INVALID, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

app = typer.Typer(
    help=__doc__.partition("\n\n")[0],
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Command = TypeVar("Command", bound=Callable[..., Any])


def run() -> None:
    """Run one command line in a process of its own, as the console script does."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # started with `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123 - stays open
    # SIGTERM, and the end of the terminal, are interrupts: a run on a board is ended, what it has is kept.
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        Path.cwd()
    except OSError:
        say("error: the working folder was deleted; change into another one")
        sys.exit(EXIT_FAILED)
    try:
        app(prog_name="edge-dendrite")
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def guarded(command: Command) -> Command:
    """One clear line and the right exit code for everything that a user can cause."""

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            say("interrupted: what was finished is kept; the same command goes on from there")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output went away; nothing more may be written to it, at exit neither.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(EXIT_FAILED) from None
        except SystemExit as error:  # of a user's network or function; its code would pass for one of ours
            say(f"error: code that was called ended the program (sys.exit({error.code!r})); mend it")
            raise typer.Exit(EXIT_FAILED) from None
        except ConfigError as error:
            say(f"error: {error}")
            raise typer.Exit(EXIT_USAGE) from None
        except EdgeDendriteError as error:
            say(f"error: {error}")
            raise typer.Exit(EXIT_FAILED) from None
        except OSError as error:
            say(f"error: {_explain(error)}")
            raise typer.Exit(EXIT_FAILED) from None

    return call  # type: ignore[return-value]


def _explain(error: OSError) -> str:
    """A failed system call as file, reason and remedy."""
    remedies = {
        errno.ENOSPC: "make room and run the same command again; what was finished is kept",
        errno.EEXIST: "give another place, or move what is there away",
        errno.EACCES: "give a place that you may write to, or change its permissions",
        errno.EROFS: "give a place that can be written to",
    }
    place = f"{error.filename}: " if error.filename else ""
    remedy = remedies.get(error.errno or 0, "look at that place and run the same command again")
    return f"{place}{error.strerror or error}; {remedy}"


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="print the version and end")] = False,
) -> None:
    if version:
        typer.echo(f"edge-dendrite {__version__}")
        raise typer.Exit()


@app.command()
@guarded
def demo(
    data: DataOption = "digits",
    model: Annotated[str | None, typer.Option("--model", help="built-in name or factory  [default: by --data]")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="folder of the results  [default: runs/demo-DATA]")] = None,
    target: Annotated[str, typer.Option("--target", help="board: local, ssh://user@host:port or user@host")] = "local",
    pruning_ratio: RatioOption = None,
    max_parameters: ParametersOption = None,
    round_to: RoundToOption = None,
    epochs: EpochsOption = None,
    finetune_epochs: FinetuneOption = None,
    seed: SeedOption = None,
    metric: MetricOption = "accuracy",
    image_size: ImageSizeOption = None,
    duration: DurationOption = 1.0,
    threads: ThreadsOption = 1,
    max_other_load: OtherLoadOption = 0.5,
    ssh_config: SshConfigOption = None,
    python: PythonOption = "python3",
    remote_dir: RemoteDirOption = "",
    as_json: JsonOption = False,
) -> None:
    """The whole job: train, compress, export, measure on the board, report. Reuses what is there."""
    from edge_dendrite.demo import run_demo
    from edge_dendrite.models.source import find_factory
    from edge_dendrite.ship.options import RunOptions, SshOptions
    from edge_dendrite.ship.target import parse_target

    parse_target(target)  # a mistyped board shows now, not after the training
    budget = {"pruning_ratio": pruning_ratio, "max_parameters": max_parameters}
    training = {"epochs": epochs, "seed": seed}
    config = compress_config(None, data, budget, {"round_to": round_to}, training, finetune_epochs)
    source = model or default_model(data)
    out = out or Path("runs") / f"demo-{data_kind(data).replace(':', '-')}"
    check_writable(out)
    with TerminalProgress() as progress:
        samples = open_data(data, image_size, progress)
        result = run_demo(
            find_factory(source, len(samples.labels) or 10),
            samples,
            config,
            out,
            source=source,
            target=target,
            options=RunOptions(duration_s=duration, num_threads=threads, max_other_load=max_other_load),
            ssh=SshOptions(ssh_config, python, remote_dir),
            metric=find_metric(metric),
            provenance=provenance(data, config),
            progress=progress,
            log=progress.agent_line,
        )
    if as_json:
        typer.echo(json.dumps(result.report.to_dict(), sort_keys=True))
    else:
        print_report(result.report)
        say(f"bundle for a JetPack 4.6 board: {out / 'compressed-opset13.tar'}, agent: {out / 'edge-bench.pyz'}")
        typer.echo(str(result.files[0].absolute()))
    if any(row.latency is None for row in result.report.rows):
        raise typer.Exit(EXIT_INVALID)


@app.command()
@guarded
def compress(
    model: ModelArgument,
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", help="folder of the compressed model")] = Path("compressed"),
    pruning_ratio: RatioOption = None,
    max_parameters: ParametersOption = None,
    macs_ratio: MacsRatioOption = None,
    max_macs: MacsOption = None,
    max_onnx_bytes: BytesOption = None,
    max_drop: DropOption = None,
    level: LevelOption = None,
    target: BoardOption = None,
    score: ScoreOption = None,
    scope: ScopeOption = None,
    layer: LayerOption = None,
    round_to: RoundToOption = None,
    normalised_units: NormalisedOption = False,
    epochs: EpochsOption = None,
    finetune_epochs: FinetuneOption = None,
    max_epochs: MaxEpochsOption = None,
    seed: SeedOption = None,
    seeds: SeedsOption = None,
    precision: PrecisionOption = None,
    channels_last: ChannelsLastOption = False,
    transient_norms: NormsOption = False,
    patience: PatienceOption = None,
    ema_decay: EmaOption = None,
    device: DeviceOption = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="show what would be cut; nothing is trained or written")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help=".safetensors of the trained network; without, it is trained here"),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="JSON with any key of CompressConfig")] = None,
    controls: Annotated[bool, typer.Option(help="train the networks that the result is compared with")] = True,
    metric: MetricOption = "accuracy",
    image_size: ImageSizeOption = None,
    factory: FactoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compress a network to a budget and distil it from the original; controls get the same epochs."""
    from edge_dendrite.compress.comparison import controls as compare_with_controls
    from edge_dendrite.compress.pipeline import compress_with_controls, plan_compression

    budget = {
        "pruning_ratio": pruning_ratio,
        "max_parameters": max_parameters,
        "macs_ratio": macs_ratio,
        "max_macs": max_macs,
        "max_onnx_bytes": max_onnx_bytes,
        "max_drop": None if max_drop is None else max_drop / 100.0,  # points on the command line, everywhere
    }
    if target is not None and level != "2:4":
        raise ConfigError("--target goes with --level 2:4 here: it says for which board; others give it to `export`")
    if level == "2:4" and any(value is not None for value in budget.values()):
        raise ConfigError("--level 2:4 takes no budget: half of the weights become zero in the layers that can")
    pruning = {
        "level": level,
        "board": target,
        "score": score,
        "scope": scope,
        "layers": layer_rules(layer or []),
        "round_to": round_to,
        "normalised_units": normalised_units or None,
    }
    training = {
        "epochs": epochs,
        "seed": seed,
        "precision": precision,
        "channels_last": channels_last or None,
        "transient_norms": transient_norms or None,
        "patience": patience,
        "ema_decay": ema_decay,
    }
    if seeds is not None and (dry_run or not controls):
        raise ConfigError("--seeds compares with the controls; it goes neither with --no-controls nor with --dry-run")
    settings = compress_config(config, data, budget, pruning, training, finetune_epochs, max_epochs, controls)
    if not dry_run:
        check_writable(out)
    with TerminalProgress() as progress:
        samples = open_data(data, image_size, progress)
        make, source, trained = trainable_model(model, samples, weights, factory)
        shared: dict[str, Any] = {
            "source": source,
            "baseline": trained,
            "num_bytes": file_size_of(samples),
            "progress": progress,
        }
        if dry_run:
            planned = plan_compression(make, samples, settings, **shared)
        elif seeds is not None:
            first = settings.fit.seed
            comparison = compare_with_controls(
                make,
                samples,
                settings,
                out,
                seeds=range(first, first + seeds),
                metric=find_metric(metric),
                device=device,
                **shared,
            )
        else:
            outcome = compress_with_controls(
                make, samples, settings, out, metric=find_metric(metric), device=device, **shared
            )
    if dry_run:
        _show_plan(planned, trained is not None, as_json)
    elif seeds is not None:
        _show_comparison(comparison, out, as_json)
    else:
        _show_outcome(outcome, metric, out, as_json)


def _show_plan(planned: Planned, is_trained: bool, as_json: bool) -> None:
    if as_json:
        totals = {"num_parameters": planned.num_parameters, "num_macs": planned.num_macs}
        typer.echo(json.dumps({"plan": planned.plan.to_dict(), "kept": planned.kept, **totals}))
        return
    if not is_trained:
        say("the scores are of an untrained network; give --weights, or a saved model, for those of a trained one")
    print_plan(planned.plan)
    for what, (before, after) in (("parameters", planned.num_parameters), ("MACs", planned.num_macs)):
        typer.echo(f"{what}: {before:,} -> {after:,} ({1 - after / max(before, 1):.1%} fewer)")
    if planned.kept:
        print_table("layers that stay whole", ["layer", "reason"], list(planned.kept.items()), num_text_columns=2)


def _show_outcome(outcome: Outcome, metric: str, out: Path, as_json: bool) -> None:
    models = [{"role": one.role, "val_metric": one.val_metric, **one.stats.to_dict()} for one in outcome.models]
    steps = outcome.compressed.steps
    if as_json:
        result = {"models": models, "plan": outcome.compressed.plan.to_dict(), "steps": steps, "out": str(out)}
        typer.echo(json.dumps({**result, "missing": dict(outcome.missing)}))
        return
    print_plan(outcome.compressed.plan)
    if steps:
        print_steps(steps, metric)
    print_table(
        "validation data",
        ["network", metric, "parameters", "non-zero", "MACs"],
        [
            [
                one["role"],
                f"{one['val_metric']:.4f}",
                *(f"{one[key]:,}" for key in ("num_parameters", "num_nonzero", "num_macs")),
            ]
            for one in models
        ],
    )
    for role, reason in outcome.missing.items():
        say(f"no {role}: {reason}")
    typer.echo(str(out))


def _show_comparison(comparison: Comparison, out: Path, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**comparison.to_dict(), "out": str(out)}))
        return
    print_comparison(comparison)
    for role, reason in comparison.missing.items():
        say(f"no {role}: {reason}")
    typer.echo(str(out))


@app.command()
@guarded
def export(
    model: ModelArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="folder of the bundle, or a .tar  [default: bundles/NAME-TARGET]")
    ] = None,
    opset: Annotated[
        int | None, typer.Option("--opset", help="ONNX opset, 13 to 23  [default: the board's, else 17]")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", help="BOARD or BOARD@SYSTEM whose limits hold; see `boards`")
    ] = None,
    dynamic_batch: Annotated[
        bool, typer.Option("--dynamic-batch", help="the file takes any number of inputs at once")
    ] = False,
    simplify: Annotated[
        bool, typer.Option("--simplify/--no-simplify", help="fold constants, leave out what does nothing")
    ] = True,
    tar: Annotated[bool, typer.Option("--tar", help="write the bundle as one .tar beside the folder too")] = False,
    data: Annotated[
        str | None,
        typer.Option("--data", help="measure the exported file on its test data (forms as in `compress`)"),
    ] = None,
    precision: FilePrecisionOption = None,
    calibration: CalibrationOption = None,
    percentile: PercentileOption = None,
    calibration_samples: CalibrationSamplesOption = None,
    max_drop: PointsOption = None,
    keep_float: KeepFloatOption = None,
    weight_pairs: WeightPairsOption = False,
    metric: MetricOption = "accuracy",
    image_size: ImageSizeOption = None,
    input_shape: Annotated[
        str | None,
        typer.Option("--input-shape", metavar="C,H,W", help="of one input, for a network that is not saved"),
    ] = None,
    inputs: InputsOption = None,
    factory: FactoryOption = None,
    sign: SignOption = None,
    engine: EngineOption = False,
    engine_batch: EngineBatchOption = None,
    workspace_mib: WorkspaceOption = None,
    version_compatible: CompatibleOption = False,
    tf32: Tf32Option = False,
    timing_cache: TimingCacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export to ONNX, compare with PyTorch in ONNX Runtime, and write a bundle."""
    from edge_dendrite.boards import load_board
    from edge_dendrite.config import ExportConfig
    from edge_dendrite.export.bundle import export_bundle
    from edge_dendrite.export.from_file import export_file, read_inputs
    from edge_dendrite.export.in_precision import check_precision
    from edge_dendrite.export.signing import check_signing, finish_bundle
    from edge_dendrite.export.targets import opsets_for
    from edge_dendrite.export.tensorrt import find_build

    board = load_board(target) if target is not None else None
    is_file, is_saved = model.endswith(".onnx"), Path(model).is_dir()
    refuse_idle_flags(
        {
            "--inputs goes with an .onnx file; of a PyTorch network --data gives the samples": inputs and not is_file,
            "--opset goes with PyTorch networks; an .onnx file keeps its own": is_file and opset is not None,
            "--input-shape is for a network that is not saved": input_shape and (is_saved or is_file),
            "--input-shape is for want of --data, which have a shape": input_shape and data,
            "--image-size goes with --data": image_size and data is None,
            "--factory is for the folder of a saved model": factory and not is_saved,
            "--timing-cache goes with --engine": timing_cache and not engine,
        }
    )
    settings = ExportConfig(
        opset,
        target,
        dynamic_batch,
        simplify,
        engine=engine_config(engine_batch, workspace_mib, version_compatible, tf32),
        precision=precision_config(
            precision, calibration, percentile, calibration_samples, max_drop, keep_float, weight_pairs
        ),
    )
    check_precision(settings, data is not None, board)
    opsets = opsets_for(board, opset)  # what the board cannot read is refused before any work
    out = out or default_bundle(model, board.name if board else f"opset{opsets[0]}", precision)
    tar_path = tar_beside(out) if tar else None
    for place in filter(None, (out, tar_path)):
        check_new(place)
    if sign is not None:
        check_signing(out, sign)
    build, no_engine = None, ""
    with TerminalProgress() as progress:
        if engine:
            log = out.with_name(out.name + ".engine.log")
            build, no_engine = find_build(log, timing_cache, lambda line: progress.agent_line(f"engine: {line}"), board)
        samples = open_data(data, image_size, progress) if data else None
        shared: dict[str, Any] = {"data": samples, "metric": find_metric(metric), "progress": progress, "engine": build}
        if is_file:
            bundle = export_file(model, out, settings, inputs=read_inputs(inputs) if inputs else None, **shared)
        else:
            saved = exportable_model(model, factory, samples, input_shape)
            progress("exporting", 0, 1)
            bundle = export_bundle(saved, out, settings, **shared)
            progress("exporting", 1, 1)
    if no_engine:
        say(f"no engine is built here: {no_engine}; the bundle has the recipe by which the board builds it")
    signature = finish_bundle(bundle, tar_path, sign)  # a passphrase may be asked for: no progress is shown by now
    if as_json:
        result = {"path": str(bundle.path), "id": bundle.id, "manifest": bundle.manifest}
        made = {"engine": {"built": build is not None, "reason": no_engine}} if engine else {}
        typer.echo(json.dumps({**result, "signature": str(signature) if signature else None, **made}))
    else:
        _show_bundle(bundle, metric)


def _show_bundle(bundle: Bundle, metric: str) -> None:
    for notice in bundle.manifest.get("notices", ()):
        say(f"{notice}; the board will tell")
    if "precisions" in bundle.manifest:
        print_precisions(bundle.manifest["precisions"], metric)
    typer.echo(f"{bundle.path}  {bundle.id}")


@app.command()
@guarded
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder or .tar that `export` wrote")],
    allowed_signers: SignersOption = None,
    signer: Annotated[str | None, typer.Option("--signer", help="who must have signed, a name in that file")] = None,
    signature: Annotated[
        Path | None, typer.Option("--signature", help="detached signature  [default: NAME.sig beside]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check that a bundle is whole, and with --allowed-signers and --signer also who made it."""
    from edge_bench.render import render_verified
    from edge_dendrite.export.bundle_files import Bundle

    found = Bundle.verify(bundle, signature=signature, allowed_signers=allowed_signers, signer=signer)
    result = {"path": str(bundle), "id": found.id, "signer": signer}
    typer.echo(json.dumps(result) if as_json else render_verified(result))


@app.command()
@guarded
def deploy(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="folder or .tar that `export` wrote")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="local, ssh://user@host:port or user@host")],
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
    ssh_config: SshConfigOption = None,
    python: PythonOption = "python3",
    remote_dir: RemoteDirOption = "",
    strict: Annotated[bool, typer.Option("--strict", help="exit with 3 when there are warnings")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring a bundle to a board, measure it there in the agent's own process, and fetch the measurement."""
    from edge_bench.render import render_measurement
    from edge_bench.schema import read_measurement
    from edge_dendrite.ship.deploy import deploy_rounds
    from edge_dendrite.ship.options import RunOptions, SshOptions

    options = RunOptions(duration, runs, threads, provider, max_other_load)
    with TerminalProgress() as progress:
        files = deploy_rounds(
            [bundle, *(beside or [])],
            target,
            out,
            num_rounds=rounds,
            again=again,
            options=options,
            ssh=SshOptions(ssh_config, python, remote_dir),
            log=progress.agent_line,
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


@app.command()
@guarded
def report(
    measurements: Annotated[list[Path], typer.Argument(metavar="FILE|DIR...", help="measurements, or folders of them")],
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", help="report file: .html, .md or .json; repeatable  [default: report.html]"),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="headline")] = "edge-dendrite report",
    model: Annotated[
        Path | None, typer.Option("--model", help="folder of the compressed model, for training curves")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make one self-contained HTML page (or Markdown, JSON) from measurements."""
    from edge_dendrite.report.files import read_measurements, write_reports
    from edge_dendrite.report.rows import build_report

    history = read_history(model) if model else []
    made = build_report(read_measurements(measurements), title=title, history=history)
    files = write_reports(made, out or [Path("report.html")])
    if as_json:
        typer.echo(json.dumps(made.to_dict(), sort_keys=True))
    else:
        print_report(made)
        for path in files:
            typer.echo(str(path.absolute()))


@app.command()
@guarded
def boards(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="a board; without, all of them")] = None,
    as_json: JsonOption = False,
) -> None:
    """The boards that are known, and every figure with its source."""
    from edge_dendrite.boards import list_boards, load_board

    found = [load_board(name)] if name else list_boards()
    if as_json:
        typer.echo(json.dumps([board.to_dict() for board in found], sort_keys=True))
    elif name:
        rows = [[key, _text(one["value"]), one["source"] or "-"] for key, one in found[0].figures.items()]
        print_table(found[0].title, ["figure", "value", "source"], rows, num_text_columns=3)
    else:
        keys = ("soc", "jetpack", "python", "tensorrt", "max_opset")
        rows = [[one.name, one.title, *(_text(one.figures[key]["value"]) for key in keys)] for one in found]
        print_table("boards", ["name", "title", *keys], rows, num_text_columns=7)


@app.command()
@guarded
def doctor(as_json: JsonOption = False) -> None:
    """What this workstation has, and the command that fixes what is missing."""
    from edge_dendrite.ship.doctor import diagnose_host

    rows = diagnose_host()
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        cells = [[row["name"], row["state"], row["purpose"], row["fix"]] for row in rows]
        print_table("this workstation", ["part", "state", "needed for", "how to get it"], cells, num_text_columns=4)
    if not all(row["works"] for row in rows if row["required"]):
        raise typer.Exit(EXIT_FAILED)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(str(one) for one in value) if isinstance(value, list) else str(value)

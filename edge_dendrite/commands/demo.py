"""The whole job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from edge_dendrite.commands.guard import EXIT_INVALID
from edge_dendrite.inputs import (
    check_writable,
    compress_config,
    data_kind,
    default_model,
    find_metric,
    open_data,
    provenance,
)
from edge_dendrite.options import (
    DataOption,
    DurationOption,
    EpochsOption,
    FinetuneOption,
    ImageSizeOption,
    JsonOption,
    LayersOption,
    MetricOption,
    OtherLoadOption,
    ParametersOption,
    PythonOption,
    RatioOption,
    RemoteDirOption,
    RoundToOption,
    SeedOption,
    SshConfigOption,
    ThreadsOption,
)
from edge_dendrite.terminal import TerminalProgress, print_report, say


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
    layers: LayersOption = False,
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
            options=RunOptions(duration, num_threads=threads, max_other_load=max_other_load, layers=layers),
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

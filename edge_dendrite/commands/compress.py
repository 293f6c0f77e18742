"""Compress a network; its controls get the same epochs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_dendrite.errors import ConfigError
from edge_dendrite.inputs import (
    check_writable,
    compress_config,
    file_size_of,
    find_metric,
    layer_rules,
    open_data,
    trainable_model,
)
from edge_dendrite.options import (
    BoardOption,
    BytesOption,
    ChannelsLastOption,
    DataOption,
    DeviceOption,
    DropOption,
    EmaOption,
    EpochsOption,
    FactoryOption,
    FinetuneOption,
    ImageSizeOption,
    JsonOption,
    LayerOption,
    LevelOption,
    MacsOption,
    MacsRatioOption,
    MaxEpochsOption,
    MetricOption,
    ModelArgument,
    NormalisedOption,
    NormsOption,
    ParametersOption,
    PatienceOption,
    PrecisionOption,
    RatioOption,
    RoundToOption,
    ScopeOption,
    ScoreOption,
    SeedOption,
    SeedsOption,
)
from edge_dendrite.terminal import (
    TerminalProgress,
    print_comparison,
    print_kept,
    print_plan,
    print_steps,
    print_table,
    say,
)

if TYPE_CHECKING:
    from edge_dendrite.compress.comparison import Comparison
    from edge_dendrite.compress.pipeline import Outcome
    from edge_dendrite.compress.pruned import Planned


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
    print_kept(planned.kept)


def _show_outcome(outcome: Outcome, metric: str, out: Path, as_json: bool) -> None:
    models = [{"role": one.role, "val_metric": one.val_metric, **one.stats.to_dict()} for one in outcome.models]
    steps = outcome.compressed.steps
    if as_json:
        result = {"models": models, "plan": outcome.compressed.plan.to_dict(), "steps": steps, "out": str(out)}
        typer.echo(json.dumps({**result, "kept": dict(outcome.kept), "missing": dict(outcome.missing)}))
        return
    print_plan(outcome.compressed.plan)
    print_kept(outcome.kept)
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

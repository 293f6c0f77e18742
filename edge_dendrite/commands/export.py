"""From a network or an ONNX file to a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_dendrite.inputs import (
    check_new,
    default_bundle,
    engine_config,
    exportable_model,
    find_metric,
    open_data,
    precision_config,
    refuse_idle_flags,
    tar_beside,
)
from edge_dendrite.options import (
    CalibrationOption,
    CalibrationSamplesOption,
    CompatibleOption,
    EngineBatchOption,
    EngineOption,
    FactoryOption,
    FilePrecisionOption,
    ImageSizeOption,
    InputsOption,
    JsonOption,
    KeepFloatOption,
    MetricOption,
    ModelArgument,
    PercentileOption,
    PointsOption,
    RoleOption,
    SignOption,
    Tf32Option,
    TimingCacheOption,
    WeightPairsOption,
    WorkspaceOption,
)
from edge_dendrite.terminal import TerminalProgress, print_precisions, say

if TYPE_CHECKING:
    from edge_dendrite.export.bundle_files import Bundle


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
    role: RoleOption = None,
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
    from edge_dendrite.roles import check_role

    if role is not None:
        check_role(role)
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
        shared: dict[str, Any] = {
            "role": role,
            "data": samples,
            "metric": find_metric(metric),
            "progress": progress,
            "engine": build,
        }
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

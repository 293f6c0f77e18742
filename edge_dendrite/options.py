"""The words and flags that several commands share, and those of `compress`: their names, help and bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_dendrite.config import AUTO, CALIBRATIONS, FILE_PRECISIONS, LEARNED, LEVELS, SCOPES, SCORES

ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="built-in name, package.module:factory, folder of a saved model, .onnx file"),
]
DataOption = Annotated[
    str,
    typer.Option("--data", help="digits, mnist:DIR, cifar10:DIR, images:DIR or package.module:function (a DataSet)"),
]
MetricOption = Annotated[str, typer.Option("--metric", help="accuracy, or package.module:function(outputs, targets)")]
ImageSizeOption = Annotated[
    str | None,
    typer.Option("--image-size", metavar="HxW", help="resize images of a folder; default: size of the first"),
]
FactoryOption = Annotated[
    str | None, typer.Option("--factory", help="package.module:factory of a saved model's own class")
]
JsonOption = Annotated[bool, typer.Option("--json", help="print JSON on stdout instead of text")]
RatioOption = Annotated[
    float | None, typer.Option("--pruning-ratio", help="fraction of parameters to remove  [default: 0.6]")
]
ParametersOption = Annotated[int | None, typer.Option("--max-parameters", help="instead: parameters that may stay")]
RoundToOption = Annotated[
    int | None, typer.Option("--round-to", help="layer widths become multiples of this  [default: 8]", min=1)
]
MacsRatioOption = Annotated[
    float | None, typer.Option("--macs-ratio", help="instead: fraction of multiply-accumulates to remove")
]
MacsOption = Annotated[int | None, typer.Option("--max-macs", help="instead: multiply-accumulates that may stay")]
BytesOption = Annotated[int | None, typer.Option("--max-onnx-bytes", help="instead: size of the exported file")]
DropOption = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        metavar="POINTS",
        help="instead: the smallest network that loses at most so many points (0.12 is 0.0012 of accuracy) on "
        "validation data",
    ),
]
LevelOption = Annotated[
    str | None,
    typer.Option(
        "--level", help=f"what is removed: {', '.join(LEVELS)}  [default: neurons, or recipe with --max-drop alone]"
    ),
]
SeedsOption = Annotated[
    int | None,
    typer.Option("--seeds", help="do all of it with so many seeds, and compare with the controls on test data", min=1),
]
MaxEpochsOption = Annotated[
    int | None, typer.Option("--max-epochs", help="that the search for --max-drop may take in all")
]
BoardOption = Annotated[str | None, typer.Option("--target", help="board for --level 2:4; see `boards`")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps: where it is trained")]
ChannelsLastOption = Annotated[
    bool, typer.Option("--channels-last", help="train images with channels last in memory: mostly faster")
]
NormsOption = Annotated[
    bool,
    typer.Option("--transient-norms", help="a batch norm for layers without one while they train, folded afterwards"),
]
PrecisionOption = Annotated[str | None, typer.Option("--precision", help="float32, bfloat16, float16 (CUDA)")]
PatienceOption = Annotated[
    int | None, typer.Option("--patience", help="stop after so many epochs without gain on validation data")
]
EmaOption = Annotated[float | None, typer.Option("--ema-decay", help="average the weights, for instance 0.999")]
ScoreOption = Annotated[str | None, typer.Option("--score", help=f"{', '.join((*SCORES, LEARNED))}  [default: taylor]")]
ScopeOption = Annotated[str | None, typer.Option("--scope", help=f"{', '.join(SCOPES)}  [default: global]")]
LayerOption = Annotated[
    list[str] | None,
    typer.Option("--layer", metavar="NAME=keep|RATIO", help="a rule for the layers of this name or expression; repeat"),
]
NormalisedOption = Annotated[
    bool, typer.Option("--normalised-units", help="also cut units under a LayerNorm or RMSNorm (residual width)")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", help="training of the baseline  [default: by --data]")]
FinetuneOption = Annotated[
    int | None, typer.Option("--finetune-epochs", help="distillation after pruning  [default: by --data]")
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="of weights and order of the data  [default: 0]")]
SshConfigOption = Annotated[Path | None, typer.Option("--ssh-config", help="ssh_config file instead of your own")]
PythonOption = Annotated[str, typer.Option("--python", help="Python 3.6 or newer on the board")]
RemoteDirOption = Annotated[
    str,
    typer.Option(
        "--remote-dir", help="folder on the board  [default: ~/.cache/edge-dendrite, or the first that has room]"
    ),
]
BoardsOption = Annotated[
    Path | None, typer.Option("--boards", metavar="FILE", help="TOML file of boards: all of them, side by side")
]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--only", metavar="NAME", help="of the boards file only this one; repeatable")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", help="boards at once  [default: the file's, or 8]", min=1, max=256)
]
FleetReportOption = Annotated[
    list[Path] | None,
    typer.Option("--report", metavar="FILE", help="report of all boards: .html, .md or .json; repeatable"),
]
DurationOption = Annotated[float, typer.Option("--duration", help="latency phase in seconds", min=0.01)]
OtherLoadOption = Annotated[
    float, typer.Option("--max-other-load", help="share of processor time that others may use", min=0.001)
]
LayersOption = Annotated[
    bool, typer.Option("--layers", help="in the end profile how long each layer takes; changes no other figure")
]
ThreadsOption = Annotated[int, typer.Option("--threads", help="intra-op threads", min=1)]
RoleOption = Annotated[
    str | None,
    typer.Option(
        "--role",
        metavar="ROLE",
        help="what the network is in a report: baseline, compressed, control:NAME, or peer:NAME for one that others "
        "made  [default: as it was saved]",
    ),
]
InputsOption = Annotated[
    Path | None,
    typer.Option("--inputs", metavar="NPZ", help="reference inputs of an .onnx file by name, each (n, ...)"),
]
SignOption = Annotated[
    Path | None,
    typer.Option("--sign", metavar="KEY", help="sign with this SSH key (ssh-keygen -Y): writes NAME.sig beside"),
]
SignersOption = Annotated[
    Path | None,
    typer.Option("--allowed-signers", help="file of names and public keys that may sign; see ssh-keygen(1)"),
]
EngineOption = Annotated[
    bool, typer.Option("--engine", help="build a TensorRT engine too; where that cannot be, the board builds it")
]
EngineBatchOption = Annotated[
    str | None,
    typer.Option("--engine-batch", metavar="MIN,OPT,MAX", help="batches that the engine takes  [default: 1 only]"),
]
WorkspaceOption = Annotated[
    int | None, typer.Option("--workspace-mib", help="memory that the engine may use  [default: TensorRT's]", min=1)
]
CompatibleOption = Annotated[
    bool, typer.Option("--version-compatible", help="an engine for later TensorRT releases too (from 8.6 on)")
]
Tf32Option = Annotated[
    bool, typer.Option("--tf32", help="the engine may multiply float32 with ten bits of precision: faster, less exact")
]
TimingCacheOption = Annotated[
    Path | None, typer.Option("--timing-cache", help="file of timings that later builds of engines reuse")
]
FilePrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision", help=f"{', '.join((*FILE_PRECISIONS, AUTO))} (what measuring recommends)  [default: fp32]"
    ),
]
CalibrationOption = Annotated[
    str | None, typer.Option("--calibration", help=f"of int8: {', '.join(CALIBRATIONS)}  [default: minmax]")
]
PercentileOption = Annotated[
    float | None, typer.Option("--percentile", help="for --calibration percentile  [default: 99.99]")
]
CalibrationSamplesOption = Annotated[
    int | None, typer.Option("--calibration-samples", help="of the training data  [default: 512]")
]
PointsOption = Annotated[
    float | None,
    typer.Option(
        "--max-drop",
        metavar="POINTS",
        help="that int8 may lose on validation data (0.12 is 0.0012 of accuracy): sensitive layers stay in float",
    ),
]
KeepFloatOption = Annotated[
    list[str] | None, typer.Option("--keep-float", metavar="NAME", help="a layer for float, or an expression; repeat")
]
WeightPairsOption = Annotated[
    bool,
    typer.Option("--weight-pairs", help="int8 weights as floats with a pair of nodes, as TensorRT 8 may ask for"),
]

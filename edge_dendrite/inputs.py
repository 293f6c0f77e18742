"""From the words of a command line to the things that they name. Imports of torch stay inside the functions."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_dendrite.config import RECIPE, CompressConfig, EngineConfig, PrecisionConfig
from edge_dendrite.errors import ConfigError, ModelError
from edge_dendrite.progress import Progress

if TYPE_CHECKING:
    from torch import nn

    from edge_dendrite.data.dataset import DataSet
    from edge_dendrite.train.evaluate import Metric


# Who writes is the effective user; not every system can be asked about it.
_EFFECTIVE = os.access in os.supports_effective_ids


def data_kind(data: str) -> str:
    """digits, mnist, cifar10, images, or the user's function."""
    kind = data.partition(":")[0]
    return kind if kind in ("digits", "mnist", "cifar10", "images") else data


def default_model(data: str) -> str:
    """The built-in network for a kind of data. Raises ConfigError where the user has to name one."""
    models = {"digits": "digits-cnn", "mnist": "mnist-cnn", "cifar10": "resnet8", "images": "resnet8"}
    if data_kind(data) not in models:
        raise ConfigError(f"--data {data}: name the network for it with --model package.module:factory")
    return models[data_kind(data)]


def compress_config(
    file: Path | None,
    data: str,
    budget: Mapping[str, Any],
    prune: Mapping[str, Any],
    training: Mapping[str, Any],
    finetune_epochs: int | None,
    max_epochs: int | None = None,
    controls: bool = True,
) -> CompressConfig:
    """Defaults by data set, then the file, then the flags.

    budget, prune, training: flags by their key of Budget, PruneConfig (with `level`) and FitConfig; None where a flag
    was not given. A budget of max_drop alone is one for the recipe.
    """
    values = _read_json(file) if file else {}
    by_data = {"digits": (40, 30, 32), "mnist": (8, 6, 64)}
    fit_epochs, more_epochs, batch_size = by_data.get(data_kind(data), (10, 8, 128))
    fit = {"epochs": fit_epochs, "batch_size": batch_size, **values.get("fit", {}), **_given(training)}
    values = {"finetune_epochs": more_epochs, "budget": {"pruning_ratio": 0.6}, **values, "fit": fit}
    values |= _given({"finetune_epochs": finetune_epochs, "max_epochs": max_epochs})
    if given := _given(budget):
        values["budget"] = given
    if values["budget"].get("max_drop") is not None and not _given(prune) and "prune" not in values:
        prune = {"level": RECIPE}
    level = prune.get("level") or values.get("prune", {}).get("level", "neurons")
    if prune.get("layers") and level != "neurons":
        raise ConfigError(f"--layer gives rules for neurons, and level {level} has none; its own keys go into --config")
    if given := _given(prune):
        values["prune"] = {**values.get("prune", {}), **given}
    if not controls:
        values["controls"] = False
    return CompressConfig.from_dict(values)


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if value is not None}


def layer_rules(texts: Sequence[str]) -> list[dict[str, Any]] | None:
    """The rules behind --layer: NAME=keep or NAME=RATIO. Raises ConfigError."""
    rules = []
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            ratio = 0.0 if value == "keep" else float(value)
        except ValueError:
            ratio = math.nan
        if not equals or not name or not 0.0 <= ratio < 1.0:
            raise ConfigError(f"--layer {text!r}: write NAME=keep, or NAME=0.5 for the fraction of its units to remove")
        rules.append({"layer": name, "pruning_ratio": ratio})
    return rules or None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not JSON ({error})") from error
    parts = ("budget", "fit", "prune", "distil")
    if not isinstance(values, dict) or not all(isinstance(values.get(part, {}), dict) for part in parts):
        raise ConfigError(f"{file}: expected an object with keys of CompressConfig; {', '.join(parts)} are objects too")
    return values


def open_data(source: str, image_size: str | None, progress: Progress) -> DataSet:
    """The data set behind --data and --image-size. Raises ConfigError or DataError."""
    from edge_dendrite.data.source import load_data

    size = None
    if image_size is not None:
        parts = image_size.lower().split("x")
        if len(parts) != 2 or not all(part.isdecimal() and 0 < int(part) < 65536 for part in parts):
            raise ConfigError(f"--image-size {image_size!r}: write it as HEIGHTxWIDTH, for instance 32x32")
        size = (int(parts[0]), int(parts[1]))
    return load_data(source, image_size=size, progress=progress)


def find_metric(name: str) -> Metric:
    """The function behind --metric. Raises ConfigError or ModelError."""
    from edge_dendrite.importing import import_object
    from edge_dendrite.train.evaluate import accuracy

    if name == "accuracy":
        return accuracy
    if ":" not in name:
        raise ConfigError(f"--metric {name!r} is not known; give accuracy or package.module:function")
    return import_object(name, "metric")


def file_size_of(samples: DataSet) -> Callable[[nn.Module], int]:
    """A function that gives the size of a network's exported file in bytes."""

    def num_bytes(module: nn.Module) -> int:
        from edge_dendrite.export.onnx import export_onnx

        return len(export_onnx(module, samples.input_shape, 17).content)

    return num_bytes


def trainable_model(
    model: str, samples: DataSet, weights: Path | None, factory: str | None
) -> tuple[Callable[[], Any], str, Any]:
    """(factory, source, the trained network or None) behind MODEL."""
    from edge_dendrite.compress.model import load
    from edge_dendrite.models.source import build, find_factory, load_weights_

    if model.endswith(".onnx"):
        raise ModelError(f"{model}: an ONNX file cannot be trained; give the PyTorch network, or `export` it as it is")
    if Path(model).is_dir():
        saved = load(model, find_factory(factory) if factory else None)
        if saved.plan.edits:
            raise ModelError(f"{model}: is compressed already; give the dense network ({model}/baseline)")
        return find_factory(factory or saved.source, len(samples.labels) or 10), saved.source, saved.module
    make = find_factory(model, len(samples.labels) or 10)
    return make, model, load_weights_(build(make, model), weights) if weights else None


def exportable_model(model: str, factory: str | None, samples: DataSet | None, input_shape: str | None) -> Any:
    """The model behind MODEL of `export`: a saved one, or a network as its factory makes it."""
    from edge_dendrite.compress.model import CompressedModel, load
    from edge_dendrite.models.source import build, find_factory

    if Path(model).is_dir():
        return load(model, find_factory(factory) if factory else None)
    module = build(find_factory(model, len(samples.labels) if samples else 10), model)
    if samples is not None:
        return CompressedModel.describe(module, samples, name=model, source=model, role="as given")
    if input_shape is None:
        raise ConfigError(
            f"{model}: say the shape of one input with --input-shape, for instance 1,28,28, or give --data"
        )
    parts = input_shape.split(",")
    if not all(part.strip().isdecimal() and 0 < int(part) < 2**31 for part in parts):
        raise ConfigError(f"--input-shape {input_shape!r}: write positive numbers with commas, for instance 1,28,28")
    shape = tuple(int(part) for part in parts)
    if math.prod(shape) > 10**8:
        raise ConfigError(f"--input-shape {input_shape!r}: {math.prod(shape):,} values for one input are too many")
    return CompressedModel(module, model, model, "as given", shape)


def engine_config(
    batch: str | None, workspace_mib: int | None, version_compatible: bool, allow_tf32: bool
) -> EngineConfig:
    """What the engine of `export` is to be. Raises ConfigError for a batch that is not three numbers."""
    sizes = batch.split(",") if batch is not None else ["1", "1", "1"]
    if len(sizes) != 3 or not all(size.strip().isdecimal() for size in sizes):
        raise ConfigError(f"--engine-batch {batch!r}: write smallest, usual and largest, for instance 1,4,16")
    smallest, usual, largest = (int(size) for size in sizes)
    workspace = workspace_mib * (1 << 20) if workspace_mib is not None else None
    return EngineConfig((smallest, usual, largest), workspace, version_compatible, allow_tf32)


def precision_config(
    precision: str | None,
    calibration: str | None,
    percentile: float | None,
    num_samples: int | None,
    max_drop: float | None,
    keep_float: Sequence[str] | None,
    weight_pairs: bool,
) -> PrecisionConfig:
    """The settings behind --precision and what goes with it. Raises ConfigError."""
    given = _given(
        {
            "precision": precision,
            "calibration": calibration or ("percentile" if percentile is not None else None),
            "percentile": percentile,
            "num_calibration_samples": num_samples,
            "max_drop_points": max_drop,
            "keep_float": tuple(keep_float) if keep_float else None,
            "weight_pairs": weight_pairs or None,
        }
    )
    config = PrecisionConfig.from_dict(given)
    if not config.needs_data and given.keys() - {"precision"}:
        raise ConfigError(
            f"--calibration and what goes with it are for --precision int8 or auto, not {config.precision}"
        )
    if percentile is not None and config.calibration != "percentile":
        raise ConfigError(f"--percentile goes with --calibration percentile, not with {config.calibration}")
    return config


def default_bundle(model: str, made_for: str, precision: str | None) -> Path:
    """bundles/NAME-TARGET, or bundles/NAME of a user's file; with the precision where one is asked for."""
    name = Path(model).stem if model.endswith(".onnx") else f"{Path(model).name.replace(':', '-')}-{made_for}"
    return Path("bundles") / (f"{name}-{precision}" if precision else name)


def tar_beside(out: Path) -> Path | None:
    """NAME.tar beside the folder NAME; None where the bundle is a .tar itself."""
    return None if out.suffix == ".tar" else out.with_name(out.name + ".tar")


def check_writable(out: Path) -> None:
    """A wrong output folder shows before the training, not after it."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; give another --out")
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK, effective_ids=_EFFECTIVE):
        raise ConfigError(f"{out}: cannot be written; give another --out")


def check_new(out: Path) -> None:
    """What is in the way of a result shows before the work, not after it. Raises ConfigError."""
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out}: exists already; give another --out or move it away")
    above = next(one for one in out.absolute().parents if one.exists())
    if not above.is_dir() or not os.access(above, os.W_OK, effective_ids=_EFFECTIVE):
        raise ConfigError(f"{out}: {above} is no folder that can be written to; give another --out")


def refuse_idle_flags(flags: Mapping[str, object]) -> None:
    """flags: a sentence on a flag, and whether it was given where it does nothing. Raises ConfigError for the first."""
    for sentence, is_idle in flags.items():
        if is_idle:
            raise ConfigError(f"{sentence}; leave it out here")


def refuse_outputs(outputs: Mapping[str, Path | None], inputs: Sequence[Path]) -> None:
    """Refuse to write over what was given, over each other, and into a folder where it would be read next time.

    outputs: by the flag that names them. Raises ConfigError.
    """
    places = {flag: path.resolve() for flag, path in outputs.items() if path is not None}
    for flag, place in places.items():
        if str(outputs[flag]) == "-":
            raise ConfigError(f"{flag} - is no file; for JSON on stdout give --json, for a file of that name ./-")
        for given in inputs:
            inside = place.suffix == ".json" and given.resolve() in place.parents
            if place == given.resolve() or inside:
                raise ConfigError(f"{flag} {outputs[flag]}: lies in {given}, which is read here; give another path")
    if len(set(places.values())) < len(places):
        raise ConfigError(f"{' and '.join(places)} name one file; give each its own")


def read_history(model: Path) -> list[dict[str, Any]]:
    """The epochs of a compressed model, of its baseline and of its controls, as far as they are there."""
    from edge_dendrite.compress.record import RECORD, read_record

    folders = [model / "baseline", model, model / "controls" / "dense-longer", model / "controls" / "from-scratch"]
    present = [folder for folder in folders if folder == model or (folder / RECORD).exists()]
    return [entry for folder in present for entry in read_record(folder)["history"]]


def read_records(model: Path) -> list[Mapping[str, Any]]:
    """The records of a compressed model and, where it is there, of its baseline."""
    from edge_dendrite.compress.record import RECORD, read_record

    folders = [model, *([model / "baseline"] if (model / "baseline" / RECORD).exists() else [])]
    return [read_record(folder) for folder in folders]


def provenance(data: str, config: CompressConfig) -> dict[str, str]:
    """What a report says of how its networks were made."""
    from importlib.metadata import version

    packages = ("edge-dendrite", "torch", "onnx", "onnxruntime")
    return {
        "data": data_kind(data),
        "settings": json.dumps(config.to_dict(), sort_keys=True),
        "seed": str(config.fit.seed),
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
    }

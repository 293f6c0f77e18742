"""A compressed model as a folder: JSON and safetensors, never pickle.

model.json        what it is: source, plan, history, stats, labels, preprocessing, and the sha256 of the weights
model.safetensors the weights

A trained, uncompressed network has the same form with an empty plan, so baseline and controls are stored alike.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from edge_bench.atomic import canonical_json, write_bytes
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.compress.record import RECORD, SCHEMA, VERSION, WEIGHTS, read_record
from edge_dendrite.compress.stats import ModelStats, measure_stats
from edge_dendrite.data.dataset import DataSet, Preprocessing
from edge_dendrite.errors import EdgeDendriteError, ModelError
from edge_dendrite.models.source import build, builtin_models
from edge_dendrite.notebook import table_html


@dataclass(frozen=True)
class CompressedModel:
    """A network with the plan that rebuilds its shapes and the record of how it came about.

    source: built-in name or `package.module:factory`; only told to the user, never imported when loading.
    role: baseline, compressed, or control:... ; recipe: all settings that it was made with; history: one entry per
    epoch; steps: what the recipe did, one entry each; kept: layers that stayed whole, with the reason; val_metric: on
    validation data, None when it was not measured. input_shape is without the batch. data: what the data that it was
    trained on are called, as far as it is known.
    """

    module: nn.Module
    name: str
    source: str
    role: str
    input_shape: tuple[int, ...]
    plan: Plan = field(default_factory=Plan)
    labels: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    recipe: dict[str, Any] = field(default_factory=dict)
    val_metric: float | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)
    data: str = ""
    kept: dict[str, str] = field(default_factory=dict)

    @property
    def stats(self) -> ModelStats:
        """Parameters, non-zeros, multiply-accumulates; total and by layer."""
        try:
            return measure_stats(self.module, (torch.zeros(1, *self.input_shape),))
        except Exception as error:  # whatever the user's forward raises
            raise ModelError(
                f"{self.name}: does not run on one float32 input of shape {self.input_shape} ({error}); so far saved "
                "models take one such tensor"
            ) from error

    def _repr_html_(self) -> str:
        """For notebooks: its sizes, its metric and its steps; nothing is run for it."""
        tensors = list(self.module.parameters())
        metric = "-" if self.val_metric is None else f"{self.val_metric:.4f}"
        rows = [
            ["parameters", f"{sum(one.numel() for one in tensors):,}"],
            ["non-zero", f"{sum(int(torch.count_nonzero(one)) for one in tensors):,}"],
            ["validation metric", metric],
            *([step["method"], f"{step['num_parameters']:,} parameters, {step['metric']:.4f}"] for step in self.steps),
        ]
        return table_html(f"{self.name} ({self.role})", ["", ""], rows)

    def save(self, folder: str | Path) -> Path:
        """Write the folder; it appears whole or not at all. Raises ModelError when it exists already."""
        folder = Path(folder)
        if (folder / RECORD).exists() or (folder / WEIGHTS).exists():
            raise ModelError(f"{folder}: holds a model already; give another folder")
        tensors = {key: value.detach().clone().contiguous() for key, value in self.module.state_dict().items()}
        weights = save_tensors(tensors)
        record = {**self._record(), "weights_sha256": hashlib.sha256(weights).hexdigest()}
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder.parent))
        try:
            write_bytes(str(temporary / WEIGHTS), weights)
            write_bytes(str(temporary / RECORD), canonical_json(record))
            temporary.chmod(0o755)
            if folder.exists():  # a folder of ours that has other models inside (baseline/, controls/)
                (temporary / WEIGHTS).replace(folder / WEIGHTS)
                (temporary / RECORD).replace(folder / RECORD)
            else:
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def _record(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "name": self.name,
            "source": self.source,
            "role": self.role,
            "input_shape": list(self.input_shape),
            "plan": self.plan.to_dict(),
            "labels": list(self.labels),
            "preprocessing": self.preprocessing.to_dict() if self.preprocessing else None,
            "history": self.history,
            "recipe": self.recipe,
            "val_metric": self.val_metric,
            "stats": self.stats.to_dict(),
            **({"steps": self.steps} if self.steps else {}),
            **({"kept": self.kept} if self.kept else {}),
            **({"data": self.data} if self.data else {}),
        }

    @classmethod
    def describe(cls, module: nn.Module, data: DataSet, **rest: Any) -> CompressedModel:
        """A model trained on `data`: takes their name, input shape, labels and preprocessing from there."""
        return cls(
            module,
            input_shape=data.input_shape,
            labels=data.labels,
            preprocessing=data.preprocessing,
            data=data.name,
            **rest,
        )


def load(folder: str | Path, model: Callable[[], nn.Module] | None = None) -> CompressedModel:
    """Load a saved model. Built-in networks need no factory; for a user's own class give `model`, a factory.

    The weights' sha256 is checked before they are read; nothing named in the file is imported.
    Raises ModelError when the folder is not a model, is damaged, or does not fit the factory's network.
    """
    folder = Path(folder)
    record = read_record(folder)
    source = record["source"]
    factory = model or builtin_models(len(record["labels"]) or 10).get(source)
    if factory is None:
        raise ModelError(
            f"{folder}: was made from {source}, a network of your own: give its factory "
            "(ed.load(path, model=factory); on the command line --factory package.module:factory)"
        )
    try:
        weights = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise ModelError(f"{folder}: its weights cannot be read ({error}); copy the whole folder again") from error
    if hashlib.sha256(weights).hexdigest() != record["weights_sha256"]:
        raise ModelError(
            f"{folder}: model.safetensors was changed or damaged (its sha256 does not match); copy it again"
        )
    module = build(factory, source)
    preprocessing = record["preprocessing"]
    try:
        plan = Plan.from_dict(record["plan"])
        apply_plan_(module, plan)
        module.load_state_dict(load_tensors(weights))
        rules = Preprocessing.from_dict(preprocessing) if preprocessing else None
    except (EdgeDendriteError, SafetensorError, RuntimeError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder}: does not fit the network of its factory ({error})") from error
    return CompressedModel(
        module.eval(),
        name=record["name"],
        source=source,
        role=record["role"],
        input_shape=tuple(record["input_shape"]),
        plan=plan,
        labels=tuple(record["labels"]),
        preprocessing=rules,
        history=record["history"],
        recipe=record["recipe"],
        val_metric=record["val_metric"],
        steps=record.get("steps", []),
        kept=dict(record.get("kept", {})),
        data=str(record.get("data", "")),
    )


def weights_digest(module: nn.Module) -> str:
    """sha256 over names, shapes and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(repr((name, tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

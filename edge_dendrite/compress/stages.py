"""Stages of one job that are kept: networks that are trained, checked against their recipe, and found again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.connections.nm_sparsity import bake_
from edge_dendrite.compress.dendrites.gate import ComputePenalty, penalty_of_gates
from edge_dendrite.compress.identity import digest_of, source_digest
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.model import CompressedModel, load
from edge_dendrite.compress.record import RECORD, WEIGHTS, read_record
from edge_dendrite.config import FitConfig, GateConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ModelError
from edge_dendrite.models.source import build
from edge_dendrite.progress import Progress
from edge_dendrite.roles import BASELINE, COMPRESSED, FROM_SCRATCH
from edge_dendrite.train.device import device_of
from edge_dendrite.train.evaluate import Metric, evaluate, metric_name
from edge_dendrite.train.fit import Teacher, fit
from edge_dendrite.train.history import kept_entry


@dataclass(frozen=True)
class Stages:
    """What all stages of a job share, and the folder in which they are kept.

    factory and source: the user's network and what it is called. device: where networks are trained.
    """

    factory: Callable[[], nn.Module]
    source: str
    data: DataSet
    metric: Metric
    folder: Path
    device: str
    progress: Progress

    def new_network(self, seed: int) -> nn.Module:
        """The network as its factory makes it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(self.factory, self.source)

    def stage(self, folder: Path, recipe: dict[str, Any], make: Callable[[str], CompressedModel]) -> CompressedModel:
        """Reuse the model in `folder` when it has this recipe, else make it from a digest of the recipe and save it.

        Raises ModelError when the folder holds something else.
        """
        recipe = {**self._identity(), **recipe}
        if (folder / RECORD).exists():
            return self._reuse(folder, recipe)
        if (folder / WEIGHTS).exists():
            raise ModelError(f"{folder / WEIGHTS}: is not of this command and would be overwritten; give another --out")
        model = replace(make(digest_of(recipe)), recipe=recipe)
        model.save(folder)
        self._checkpoint(model.role).unlink(missing_ok=True)
        return model

    def trained(
        self, module: nn.Module, role: str, config: FitConfig, teacher: Teacher | None, key: str
    ) -> CompressedModel:
        """`module` trained in place, resumable under `key`."""
        history = fit(
            module,
            self.data,
            config,
            stage="distil" if role == COMPRESSED else role,
            teacher=teacher,
            penalty=self._penalty(module),
            metric=self.metric,
            is_new=role in (BASELINE, FROM_SCRATCH),
            checkpoint=self._checkpoint(role),
            key=key,
            device=self.device,
            progress=self.progress,
        )
        return self.finished(bake_(module), role, history)

    def finished(self, module: nn.Module, role: str, history: list[dict[str, Any]]) -> CompressedModel:
        """`module` with its record; without a history it is validated."""
        val_metric = kept_entry(history)["val_metric"] if history else self.validate(module)
        return CompressedModel.describe(
            module,
            self.data,
            name=f"{self.source} {role.removeprefix('control:')}",
            source=self.source,
            role=role,
            history=history,
            val_metric=val_metric,
        )

    def validate(self, module: nn.Module) -> float:
        """The metric on validation data."""
        return evaluate(module, self.data, self.data.validation, self.metric)

    def _identity(self) -> dict[str, Any]:
        network = build(self.factory, self.source)
        return {
            "data": self.data.fingerprint(),
            "source": self.source,
            "network": source_digest(network),
            "metric": metric_name(self.metric),
            **({"gates": GateConfig().to_dict()} if has_gates(network) else {}),
        }

    def _reuse(self, folder: Path, recipe: dict[str, Any]) -> CompressedModel:
        try:
            if read_record(folder)["recipe"] == recipe:
                return load(folder, model=self.factory)
        except ModelError as error:
            raise ModelError(f"{error} (here: delete {folder} and run the same command again)") from error
        raise ModelError(
            f"{folder}: holds a model of other settings or data; give another --out, or delete {self.folder}"
        )

    def _checkpoint(self, role: str) -> Path:
        return self.folder / "checkpoints" / f"{role.replace(':', '-')}.safetensors"

    def _penalty(self, module: nn.Module) -> ComputePenalty | None:
        """For a network that comes with gates: without it they would stay open."""
        if not has_gates(module):
            return None
        return penalty_of_gates(module, torch.zeros(2, *self.data.input_shape, device=device_of(module)))

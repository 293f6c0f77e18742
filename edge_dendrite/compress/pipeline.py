"""The whole of `edge-dendrite compress`: baseline, pruning, distillation and controls, in stages that are kept.

OUT/                        the compressed model
OUT/baseline/               the dense network that it came from
OUT/controls/dense-longer/  the dense network with the same extra epochs and the same teacher
OUT/controls/from-scratch/  the compressed shape with new weights, the same total epochs and the same teacher
OUT/search/RATIO/           the networks tried for a budget of max_drop
OUT/checkpoints/            of the stage that is being trained; removed when it is finished
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.check import check_fits
from edge_dendrite.compress.connections.nm_sparsity import bake_
from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.dendrites.gate import ComputePenalty, penalty_of_gates
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.levels import hold_same_zeros_, plan_at_level, prune_at_level
from edge_dendrite.compress.model import CompressedModel, load, weights_digest
from edge_dendrite.compress.pruned import Planned
from edge_dendrite.compress.record import RECORD, WEIGHTS, read_record
from edge_dendrite.compress.search import smallest_that_keeps
from edge_dendrite.config import Budget, CompressConfig, FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ModelError, TrainError
from edge_dendrite.lock import locked
from edge_dendrite.models.source import build
from edge_dendrite.progress import Progress, silent
from edge_dendrite.roles import BASELINE, COMPRESSED, DENSE_LONGER, FROM_SCRATCH
from edge_dendrite.train.device import device_of
from edge_dendrite.train.distributed import num_launched
from edge_dendrite.train.evaluate import Metric, accuracy, evaluate, metric_name
from edge_dendrite.train.fit import Teacher, fit
from edge_dendrite.train.history import kept_entry


@dataclass(frozen=True)
class Outcome:
    """What `compress_with_controls` made: the compressed model beside what it has to be compared with."""

    baseline: CompressedModel
    compressed: CompressedModel
    controls: tuple[CompressedModel, ...]

    @property
    def models(self) -> tuple[CompressedModel, ...]:
        """All of them, baseline first."""
        return (self.baseline, self.compressed, *self.controls)


def compress_with_controls(
    factory: Callable[[], nn.Module],
    data: DataSet,
    config: CompressConfig,
    out: str | Path,
    *,
    source: str = "",
    baseline: nn.Module | None = None,
    metric: Metric = accuracy,
    num_bytes: Callable[[nn.Module], int] | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Outcome:
    """Train a baseline (or take the trained `baseline`), prune it to the budget, distil, and train the controls.

    Everything is kept in the folder `out`; a stage that is there with the same settings and data is reused, an
    interrupted one goes on after its last finished epoch. num_bytes: size of a network's exported file, for a budget of
    max_onnx_bytes. device: where it is trained ("auto": where the network is, or an accelerator if there is one).
    Raises ModelError when `out` holds the result of other
    settings, PruneError and TrainError as `prune` and `fit` do.
    """
    source = source or getattr(factory, "__name__", "model")
    if num_launched() > 1:
        raise TrainError(
            f"compressing is the work of one process, and {num_launched()} were launched; start it without a launcher. "
            "Training on several devices is `fit` under `accelerate launch`"
        )
    with locked(Path(out)):
        check_fits(factory, data, source)
        return _Run(factory, data, config, Path(out), source, metric, num_bytes, device, progress).outcome(baseline)


def plan_compression(
    factory: Callable[[], nn.Module],
    data: DataSet,
    config: CompressConfig,
    *,
    source: str = "",
    baseline: nn.Module | None = None,
    num_bytes: Callable[[nn.Module], int] | None = None,
    progress: Progress = silent,
) -> Planned:
    """What `compress_with_controls` would cut of `baseline` (without: of the network as its factory makes it).

    Nothing is trained, changed or written. Raises as `compress_with_controls`.
    """
    source = source or getattr(factory, "__name__", "model")
    check_fits(factory, data, source)
    module = baseline if baseline is not None else _newborn(factory, source, config.fit.seed)
    return plan_at_level(
        module,
        scoring_batches(data, config),
        config.budget,
        config.prune,
        data.input_shape,
        num_bytes=num_bytes,
        progress=progress,
    )


def _newborn(factory: Callable[[], nn.Module], source: str, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(factory, source)


def scoring_batches(data: DataSet, config: CompressConfig) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """As many training batches as the rounds of scoring will look at."""
    generator = torch.Generator().manual_seed(config.fit.seed)
    shuffled = data.batches(data.train, config.fit.batch_size, generator)
    num_rounds = getattr(config.prune, "num_rounds", 1)  # groups and 2:4 are chosen at once
    return list(itertools.islice(shuffled, num_rounds * config.prune.num_batches))


class _Run:
    """The stages of one call of `compress_with_controls`."""

    def __init__(
        self,
        factory: Callable[[], nn.Module],
        data: DataSet,
        config: CompressConfig,
        out: Path,
        source: str,
        metric: Metric,
        num_bytes: Callable[[nn.Module], int] | None,
        device: str,
        progress: Progress,
    ) -> None:
        self._device = device
        self._factory, self._data, self._config, self._out = factory, data, config, out
        self._source, self._metric, self._num_bytes, self._progress = source, metric, num_bytes, progress
        self._identity = {
            "data": data.fingerprint(),
            "source": source,
            "network": source_digest(build(factory, source)),
            "metric": metric_name(metric),
        }

    def outcome(self, given: nn.Module | None) -> Outcome:
        if given is None and not (self._out / "baseline" / RECORD).exists():
            self._rehearse()
        baseline = self._baseline(given)
        teacher = Teacher(baseline.module, self._config.distil)
        compressed = self._compressed(baseline, teacher)
        controls = (
            (self._longer(baseline, teacher), self._scratch(compressed, teacher)) if self._config.controls else ()
        )
        return Outcome(baseline, compressed, controls)

    def _rehearse(self) -> None:
        """Plan once on the untrained network: settings that cannot work show now, not after the training."""
        config = self._config
        budget = config.budget if config.budget.max_drop is None else Budget(pruning_ratio=0.01)
        quick: dict[str, Any] = {"num_batches": 1}
        if hasattr(config.prune, "num_rounds"):
            quick["num_rounds"] = 1
        if hasattr(config.prune, "masks"):
            quick["masks"] = replace(config.prune.masks, num_steps=1)
        level = replace(config.prune, **quick)
        plan_at_level(
            _newborn(self._factory, self._source, config.fit.seed),
            scoring_batches(self._data, replace(config, prune=level)),
            budget,
            level,
            self._data.input_shape,
            num_bytes=self._num_bytes,
        )

    def _baseline(self, given: nn.Module | None) -> CompressedModel:
        def make(key: str) -> CompressedModel:
            if given is not None:
                return self._finished(copy.deepcopy(given).eval(), BASELINE, [])
            module = _newborn(self._factory, self._source, self._config.fit.seed)
            return self._trained(module, BASELINE, self._config.fit, None, key)

        recipe = {"fit": self._config.fit.to_dict()} if given is None else {"weights": weights_digest(given)}
        return self._stage(self._out / "baseline", recipe, make)

    def _compressed(self, baseline: CompressedModel, teacher: Teacher) -> CompressedModel:
        def make(key: str) -> CompressedModel:
            if self._config.budget.max_drop is not None:
                return self._searched(baseline, teacher, self._config.budget.max_drop)
            return self._pruned_to(self._config.budget, baseline, teacher, key)

        return self._stage(self._out, self._full_recipe(baseline), make)

    def _pruned_to(self, budget: Budget, baseline: CompressedModel, teacher: Teacher, key: str) -> CompressedModel:
        pruned = prune_at_level(
            baseline.module,
            scoring_batches(self._data, self._config),
            budget,
            self._config.prune,
            num_bytes=self._num_bytes,
            progress=self._progress,
        )
        key = digest_of([key, pruned.plan.to_dict()])
        model = self._trained(pruned.module, COMPRESSED, self._finetune_config(), teacher, key)
        return replace(model, plan=pruned.plan)

    def _searched(self, baseline: CompressedModel, teacher: Teacher, max_drop: float) -> CompressedModel:
        """The smallest network found whose metric on validation data is at most `max_drop` below the baseline's."""
        assert baseline.val_metric is not None
        least = baseline.val_metric - max_drop

        def tried(ratio: float) -> CompressedModel:
            budget = Budget(pruning_ratio=ratio)
            # Without max_drop: what was tried for one serves another.
            full = self._full_recipe(baseline)
            recipe = {**full, "config": {**full["config"], "budget": budget.to_dict()}}
            folder = self._out / "search" / f"{ratio:.6f}"
            return self._stage(folder, recipe, lambda key: self._pruned_to(budget, baseline, teacher, key))

        return smallest_that_keeps(least, tried)

    def _longer(self, baseline: CompressedModel, teacher: Teacher) -> CompressedModel:
        def make(key: str) -> CompressedModel:
            module = copy.deepcopy(baseline.module)
            return self._trained(module, DENSE_LONGER, self._finetune_config(), teacher, key)

        return self._stage(self._out / "controls" / "dense-longer", self._full_recipe(baseline), make)

    def _scratch(self, compressed: CompressedModel, teacher: Teacher) -> CompressedModel:
        total = replace(self._config.fit, epochs=self._config.fit.epochs + self._config.finetune_epochs)

        def make(key: str) -> CompressedModel:
            module = same_shape_from_scratch(
                lambda: build(self._factory, self._source), compressed.plan, self._config.fit.seed
            )
            hold_same_zeros_(module, compressed.plan, compressed.module)
            model = self._trained(module, FROM_SCRATCH, total, teacher, key)
            return replace(model, plan=compressed.plan)

        recipe = {**compressed.recipe, "plan": compressed.plan.to_dict()}
        return self._stage(self._out / "controls" / "from-scratch", recipe, make)

    def _stage(self, folder: Path, recipe: dict[str, Any], make: Callable[[str], CompressedModel]) -> CompressedModel:
        """Reuse the model in `folder` when it has this recipe, else make it from a digest of the recipe and save it."""
        recipe = {**self._identity, **recipe}
        if (folder / RECORD).exists():
            return self._reuse(folder, recipe)
        if (folder / WEIGHTS).exists():
            raise ModelError(f"{folder / WEIGHTS}: is not of this command and would be overwritten; give another --out")
        model = replace(make(digest_of(recipe)), recipe=recipe)
        model.save(folder)
        self._checkpoint(model.role).unlink(missing_ok=True)
        return model

    def _reuse(self, folder: Path, recipe: dict[str, Any]) -> CompressedModel:
        try:
            if read_record(folder)["recipe"] == recipe:
                return load(folder, model=self._factory)
        except ModelError as error:
            raise ModelError(f"{error} (here: delete {folder} and run the same command again)") from error
        raise ModelError(
            f"{folder}: holds a model of other settings or data; give another --out, or delete {self._out}"
        )

    def _checkpoint(self, role: str) -> Path:
        return self._out / "checkpoints" / f"{role.replace(':', '-')}.safetensors"

    def _trained(
        self, module: nn.Module, role: str, config: FitConfig, teacher: Teacher | None, key: str
    ) -> CompressedModel:
        history = fit(
            module,
            self._data,
            config,
            stage="distil" if role == COMPRESSED else role,
            teacher=teacher,
            penalty=self._penalty(module),
            metric=self._metric,
            is_new=role in (BASELINE, FROM_SCRATCH),
            checkpoint=self._checkpoint(role),
            key=key,
            device=self._device,
            progress=self._progress,
        )
        return self._finished(bake_(module), role, history)

    def _penalty(self, module: nn.Module) -> ComputePenalty | None:
        """For a network that comes with gates: without it they would stay open."""
        if not has_gates(module):
            return None
        return penalty_of_gates(module, torch.zeros(2, *self._data.input_shape, device=device_of(module)))

    def _finished(self, module: nn.Module, role: str, history: list[dict[str, Any]]) -> CompressedModel:
        val_metric = kept_entry(history)["val_metric"] if history else self._validate(module)
        name = f"{self._source} {role.removeprefix('control:')}"
        return CompressedModel.describe(
            module,
            self._data,
            name=name,
            source=self._source,
            role=role,
            history=history,
            val_metric=val_metric,
        )

    def _validate(self, module: nn.Module) -> float:
        return evaluate(module, self._data, self._data.validation, self._metric)

    def _finetune_config(self) -> FitConfig:
        return replace(self._config.fit, epochs=self._config.finetune_epochs)

    def _full_recipe(self, baseline: CompressedModel) -> dict[str, Any]:
        settings = {key: value for key, value in self._config.to_dict().items() if key != "controls"}
        return {"config": settings, "baseline": baseline.recipe}


def digest_of(value: Any) -> str:
    """sha256 of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def source_digest(module: nn.Module) -> str:
    """sha256 over the source of the network's own classes: a changed `forward` must not pass for the old one."""
    sources = set()
    for kind in {type(part) for part in module.modules()}:
        if kind.__module__.partition(".")[0] != "torch":
            try:
                sources.add(inspect.getsource(kind))
            except (OSError, TypeError):  # typed at a prompt, or built at run time
                sources.add(f"{kind.__module__}.{kind.__qualname__}")
    return digest_of([repr(module), sorted(sources)])

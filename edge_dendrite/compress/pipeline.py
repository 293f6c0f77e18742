"""The whole of `edge-dendrite compress`: baseline, compression, distillation and controls, in stages that are kept.

OUT/                             the compressed model
OUT/baseline/                    the dense network that it came from
OUT/controls/dense-longer/       the dense network with the same extra epochs and the same teacher
OUT/controls/from-scratch/       the compressed shape with new weights, the same total epochs and the same teacher
OUT/controls/equal-capacity/     pruned to as many parameters by neurons alone, where that is another network
OUT/controls/dendrites-zeroed/   the compressed model without what its dendrites add; where it has some
OUT/search/RATIO/                the networks tried for a budget of max_drop
OUT/checkpoints/                 of the stage that is being trained; removed when it is finished
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.check import check_fits
from edge_dendrite.compress.controls import dendrites_zeroed, same_shape_from_scratch
from edge_dendrite.compress.dendrites.samples import MIN_SAMPLES
from edge_dendrite.compress.identity import digest_of
from edge_dendrite.compress.layers.build import ATTENTION
from edge_dendrite.compress.layers.dendrites import has_dendrites
from edge_dendrite.compress.levels import hold_same_zeros_, plan_at_level, prune_at_level
from edge_dendrite.compress.model import CompressedModel, weights_digest
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Replace
from edge_dendrite.compress.pruned import Planned
from edge_dendrite.compress.recipe import reduce, rehearse
from edge_dendrite.compress.record import RECORD
from edge_dendrite.compress.search import NUM_TRIALS, smallest_that_keeps
from edge_dendrite.compress.stages import Stages
from edge_dendrite.config import Budget, CompressConfig, LevelConfig, PruneConfig, RecipeConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ConfigError, PruneError, TrainError
from edge_dendrite.lock import locked
from edge_dendrite.notebook import table_html
from edge_dendrite.progress import Progress, silent
from edge_dendrite.roles import BASELINE, COMPRESSED, DENSE_LONGER, EQUAL_CAPACITY, FROM_SCRATCH, ZEROED
from edge_dendrite.train.distributed import num_launched
from edge_dendrite.train.evaluate import Metric, accuracy
from edge_dendrite.train.fit import Teacher


@dataclass(frozen=True)
class Outcome:
    """What `compress_with_controls` made: the compressed model beside what it has to be compared with.

    missing: role of a control that cannot be made -> the reason.
    """

    baseline: CompressedModel
    compressed: CompressedModel
    controls: tuple[CompressedModel, ...]
    missing: Mapping[str, str] = field(default_factory=dict)

    @property
    def models(self) -> tuple[CompressedModel, ...]:
        """All of them, baseline first."""
        return (self.baseline, self.compressed, *self.controls)

    @property
    def kept(self) -> Mapping[str, str]:
        """Layers of the compressed model that stayed whole, with the reason."""
        return self.compressed.kept

    def _repr_html_(self) -> str:
        rows = [
            [
                model.role,
                f"{sum(one.numel() for one in model.module.parameters()):,}",
                "-" if model.val_metric is None else f"{model.val_metric:.4f}",
            ]
            for model in self.models
        ]
        return table_html(self.compressed.name, ["network", "parameters", "validation metric"], rows)


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
    """Train a baseline (or take the trained `baseline`), compress it to the budget, distil, and train the controls.

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
        stages = Stages(factory, source, data, metric, Path(out), device, progress)
        return _Run(stages, config, num_bytes).outcome(baseline)


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

    Nothing is trained, changed or written. Raises as `compress_with_controls`, and ConfigError for the recipe, which
    decides by training.
    """
    source = source or getattr(factory, "__name__", "model")
    check_fits(factory, data, source)
    if isinstance(config.prune, RecipeConfig):
        raise ConfigError(
            "the recipe decides by training, so there is nothing to show before; give a size and another level"
        )
    stages = Stages(factory, source, data, accuracy, Path(), "auto", progress)
    module = baseline if baseline is not None else stages.new_network(config.fit.seed)
    return plan_at_level(
        module,
        scoring_batches(data, config, config.prune),
        config.budget,
        config.prune,
        data.input_shape,
        num_bytes=num_bytes,
        progress=progress,
    )


def scoring_batches(
    data: DataSet, config: CompressConfig, level: LevelConfig
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """As many training batches as the rounds of scoring will look at."""
    generator = torch.Generator().manual_seed(config.fit.seed)
    shuffled = data.batches(data.train, config.fit.batch_size, generator)
    num_rounds = getattr(level, "num_rounds", 1)  # groups and 2:4 are chosen at once
    return list(itertools.islice(shuffled, num_rounds * level.num_batches))


class _Run:
    """The stages of one call of `compress_with_controls`."""

    def __init__(self, stages: Stages, config: CompressConfig, num_bytes: Callable[[nn.Module], int] | None) -> None:
        self._stages, self._config, self._num_bytes = stages, config, num_bytes
        # Settings by which whatever has no recipe is scored and pruned.
        self._level = config.prune.prune if isinstance(config.prune, RecipeConfig) else config.prune
        self._more = replace(config.fit, epochs=config.finetune_epochs)
        self._missing: dict[str, str] = {}

    def outcome(self, given: nn.Module | None) -> Outcome:
        if given is None and not (self._stages.folder / "baseline" / RECORD).exists():
            self._rehearse()
        baseline = self._baseline(given)
        teacher = Teacher(baseline.module, self._config.distil)
        compressed = self._compressed(baseline, teacher)
        controls = self._controls(baseline, compressed, teacher) if self._config.controls else ()
        return Outcome(baseline, compressed, controls, self._missing)

    def _rehearse(self) -> None:
        """Plan once on the untrained network: settings that cannot work show now, not after the training."""
        config, data, level = self._config, self._stages.data, self._level
        budget = config.budget if config.budget.max_drop is None else Budget(pruning_ratio=0.01)
        newborn = self._stages.new_network(config.fit.seed)
        num_batches = math.ceil(MIN_SAMPLES / config.fit.batch_size)  # fewer samples would be refused by themselves
        if isinstance(config.prune, RecipeConfig):
            batches = list(itertools.islice(data.batches(data.train, config.fit.batch_size), max(4, num_batches)))
            rehearse(newborn, batches, budget, config.prune, config.finetune_epochs)
            return
        quick: dict[str, Any] = {"num_batches": num_batches}
        if hasattr(level, "num_rounds"):
            quick["num_rounds"] = 1
        if isinstance(level, PruneConfig):
            quick["masks"] = replace(level.masks, num_steps=1)
        level = replace(level, **quick)
        batches = scoring_batches(data, config, level)
        plan_at_level(newborn, batches, budget, level, data.input_shape, num_bytes=self._num_bytes)

    def _baseline(self, given: nn.Module | None) -> CompressedModel:
        fit = self._config.fit

        def make(key: str) -> CompressedModel:
            if given is not None:
                return self._stages.finished(copy.deepcopy(given).eval(), BASELINE, [])
            return self._stages.trained(self._stages.new_network(fit.seed), BASELINE, fit, None, key)

        recipe = {"fit": fit.to_dict()} if given is None else {"weights": weights_digest(given)}
        return self._stages.stage(self._stages.folder / "baseline", recipe, make)

    def _compressed(self, baseline: CompressedModel, teacher: Teacher) -> CompressedModel:
        def make(key: str) -> CompressedModel:
            if self._config.budget.max_drop is not None:
                return self._searched(baseline, teacher, self._config.budget.max_drop)
            return self._compressed_to(self._config.budget, baseline, teacher, key)

        # How long the search may be says what it finds; for one size, and for controls, it says nothing.
        searched = {} if self._config.budget.max_drop is None else {"max_epochs": self._config.max_epochs}
        return self._stages.stage(self._stages.folder, {**self._full_recipe(baseline), **searched}, make)

    def _compressed_to(self, budget: Budget, baseline: CompressedModel, teacher: Teacher, key: str) -> CompressedModel:
        if isinstance(self._config.prune, RecipeConfig):
            return self._reduced_to(budget, baseline, teacher, self._config.prune, key)
        pruned = prune_at_level(
            baseline.module,
            scoring_batches(self._stages.data, self._config, self._level),
            budget,
            self._level,
            num_bytes=self._num_bytes,
            progress=self._stages.progress,
        )
        key = digest_of([key, pruned.plan.to_dict()])
        model = self._stages.trained(pruned.module, COMPRESSED, self._more, teacher, key)
        return replace(model, plan=pruned.plan, kept=pruned.kept)

    def _reduced_to(
        self, budget: Budget, baseline: CompressedModel, teacher: Teacher, recipe: RecipeConfig, key: str
    ) -> CompressedModel:
        history: list[dict[str, Any]] = []
        seed = self._config.fit.seed
        recipe = replace(
            recipe,
            seed=recipe.seed + seed,
            branch=replace(recipe.branch, seed=recipe.branch.seed + seed),
            grow=replace(recipe.grow, seed=recipe.grow.seed + seed),
        )

        def train(module: nn.Module, epochs: int) -> None:
            # Not by weights: trials that are made again on another device differ in their last bits.
            shapes = [[name, list(value.shape)] for name, value in module.named_parameters()]
            own_key = digest_of([key, "fine-tune", shapes])
            config = replace(self._config.fit, epochs=epochs)
            history.extend(self._stages.trained(module, COMPRESSED, config, teacher, own_key).history)

        reduced = reduce(
            baseline.module,
            self._stages.data,
            scoring_batches(self._stages.data, self._config, recipe.prune),
            budget,
            self._config.finetune_epochs,
            teacher,
            train,
            recipe,
            metric=self._stages.metric,
            device=self._stages.device,
            progress=self._stages.progress,
        )
        model = self._stages.finished(reduced.module, COMPRESSED, history)
        steps = [asdict(step) for step in reduced.steps]
        rest: dict[str, Any] = {"steps": steps, "kept": reduced.kept, "val_metric": reduced.steps[-1].metric}
        return replace(model, plan=reduced.plan, **rest)

    def _searched(self, baseline: CompressedModel, teacher: Teacher, max_drop: float) -> CompressedModel:
        """The smallest network found whose metric on validation data is at most `max_drop` below the baseline's."""
        assert baseline.val_metric is not None
        least = baseline.val_metric - max_drop

        def tried(ratio: float) -> CompressedModel:
            budget = Budget(pruning_ratio=ratio)
            # Without max_drop: what was tried for one serves another.
            full = self._full_recipe(baseline)
            recipe = {**full, "config": {**full["config"], "budget": budget.to_dict()}}
            folder = self._stages.folder / "search" / f"{ratio:.6f}"
            return self._stages.stage(folder, recipe, lambda key: self._compressed_to(budget, baseline, teacher, key))

        num_trials = NUM_TRIALS
        if self._config.max_epochs is not None:
            num_trials = min(NUM_TRIALS, self._config.max_epochs // self._config.finetune_epochs)
        return smallest_that_keeps(least, tried, num_trials)

    def _controls(
        self, baseline: CompressedModel, compressed: CompressedModel, teacher: Teacher
    ) -> tuple[CompressedModel, ...]:
        found = [self._longer(baseline, teacher), self._scratch(compressed, teacher)]
        # Attention is replaced by its equal to be pruned: that is a plain network still.
        if any(isinstance(edit, Replace) and edit.kind != ATTENTION for edit in compressed.plan.edits):
            try:
                found.append(self._equal_capacity(baseline, compressed, teacher))
            except PruneError as error:
                self._missing[EQUAL_CAPACITY] = str(error)
        if has_dendrites(compressed.module):
            found.append(self._zeroed(compressed))
        return tuple(found)

    def _longer(self, baseline: CompressedModel, teacher: Teacher) -> CompressedModel:
        def make(key: str) -> CompressedModel:
            return self._stages.trained(copy.deepcopy(baseline.module), DENSE_LONGER, self._more, teacher, key)

        return self._stages.stage(self._folder_of(DENSE_LONGER), self._full_recipe(baseline), make)

    def _scratch(self, compressed: CompressedModel, teacher: Teacher) -> CompressedModel:
        fit = self._config.fit
        total = replace(fit, epochs=fit.epochs + self._config.finetune_epochs)

        def make(key: str) -> CompressedModel:
            module = same_shape_from_scratch(lambda: self._stages.new_network(fit.seed), compressed.plan, fit.seed)
            hold_same_zeros_(module, compressed.plan, compressed.module)
            model = self._stages.trained(module, FROM_SCRATCH, total, teacher, key)
            return replace(model, plan=compressed.plan)

        recipe = {**compressed.recipe, "plan": compressed.plan.to_dict()}
        return self._stages.stage(self._folder_of(FROM_SCRATCH), recipe, make)

    def _equal_capacity(
        self, baseline: CompressedModel, compressed: CompressedModel, teacher: Teacher
    ) -> CompressedModel:
        """By neurons, to as many parameters as the compressed network has, in widths of any number."""
        number = sum(one.numel() for one in compressed.module.parameters())
        config = self._level if isinstance(self._level, PruneConfig) else PruneConfig()

        def make(key: str) -> CompressedModel:
            pruned = prune(
                baseline.module,
                scoring_batches(self._stages.data, self._config, config),
                Budget(max_parameters=number),
                replace(config, round_to=1),
                progress=self._stages.progress,
            )
            model = self._stages.trained(pruned.module, EQUAL_CAPACITY, self._more, teacher, key)
            return replace(model, plan=pruned.plan)

        recipe = {**self._full_recipe(baseline), "num_parameters": number}
        return self._stages.stage(self._folder_of(EQUAL_CAPACITY), recipe, make)

    def _zeroed(self, compressed: CompressedModel) -> CompressedModel:
        """Nothing is trained."""

        def make(key: str) -> CompressedModel:
            model = self._stages.finished(dendrites_zeroed(compressed.module), ZEROED, [])
            return replace(model, plan=compressed.plan)

        recipe = {**compressed.recipe, "weights": weights_digest(compressed.module)}
        return self._stages.stage(self._folder_of(ZEROED), recipe, make)

    def _folder_of(self, role: str) -> Path:
        return self._stages.folder / "controls" / role.removeprefix("control:")

    def _full_recipe(self, baseline: CompressedModel) -> dict[str, Any]:
        left_out = ("controls", "max_epochs")
        settings = {key: value for key, value in self._config.to_dict().items() if key not in left_out}
        return {"config": settings, "baseline": baseline.recipe}

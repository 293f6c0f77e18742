"""The recipe: a network is brought to a budget by whatever methods do best there, after short trials.

Candidates are pruned, or branched and then pruned, in several proportions. All learn from the teacher for a few steps.
The better third goes on, and beside it the best one made anew with room for dendrites, which are grown on the errors
that it makes after as many steps. The best of these is trained to the end; dendrites whose zeroing costs nothing on
validation data are removed then. Source of the halving (here: thirds): Jamieson and Talwalkar 2016, "Non-stochastic
Best Arm Identification and Hyperparameter Optimization", section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.connections.dense_layers import resolve_parameters
from edge_dendrite.compress.dendrites.grow import Grower
from edge_dendrite.compress.layers.dendrites import DendriticLayer
from edge_dendrite.compress.plan import Plan
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.compress.trials import Candidate, Diverged, Trial, candidates, first_of_each_shape
from edge_dendrite.config import Budget, RecipeConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.evaluate import Metric, accuracy, evaluate
from edge_dendrite.train.fit import Teacher


@dataclass(frozen=True)
class Step:
    """One step of the recipe and the network that it left.

    num_steps: of training since the cut. metric: on validation data. trials: for the choice, every candidate's loss on
    validation data after its last step, or the reason why there is none.
    """

    method: str
    num_parameters: int
    num_steps: int
    metric: float
    trials: dict[str, float | str]


@dataclass(frozen=True)
class Reduced:
    """The network, the plan that leads to its shape, layers that stayed whole with the reason, and the steps."""

    module: nn.Module
    plan: Plan
    kept: dict[str, str]
    steps: tuple[Step, ...]


def reduce(
    module: nn.Module,
    data: DataSet,
    batches: Sequence[Batch],
    budget: Budget,
    epochs: int,
    teacher: Teacher,
    train: Callable[[nn.Module, int], object],
    config: RecipeConfig | None = None,
    *,
    metric: Metric = accuracy,
    progress: Progress = silent,
) -> Reduced:
    """Bring a copy of `module` to the budget of parameters and train it for `epochs` epochs, those of its trial too.

    batches: (inputs, targets) for scores and fits, as in `prune`. train: trains a network in place for so many epochs,
    with the schedule and the teacher that the caller wants. The trials of candidates that lose come on top.
    Raises PruneError when no candidate reaches the budget or all diverge, for a budget that is not of parameters, and
    for so few epochs that the trials leave none.
    """
    config = config or RecipeConfig()
    _, target = resolve_parameters(module, budget)
    per_epoch = data.num_train_batches(config.trial_batch_size)
    last = epochs - math.ceil(num_trial_steps(config) / per_epoch)
    if last < 1:
        raise PruneError(
            f"{epochs} epochs are too few: the trials of a candidate take {epochs - last}; give more epochs, or fewer "
            "trial_steps"
        )

    def validate(network: nn.Module) -> float:
        return evaluate(network, data, data.validation, metric)

    steps = [Step("as it came", _num_parameters(module), 0, validate(module), {})]
    best, trials = _Search(module, data, batches, target, teacher, config, progress).best()
    steps.append(_step(best.method, best.module, best.num_steps, validate, trials))
    train(best.module, last)
    steps.append(_step("fine-tune", best.module, best.num_steps + last * per_epoch, validate))
    grown = Plan()
    if any(isinstance(part, DendriticLayer) for part in best.module.modules()):
        grown = Grower(best.module).finish(lambda: validate(best.module))
        steps.append(_step("remove idle dendrites", best.module, steps[-1].num_steps, validate))
    plan = Plan((*best.plan.edits, *grown.edits), (*best.plan.layers, *grown.layers))
    return Reduced(best.module.eval(), plan, best.kept, tuple(steps))


def num_trial_steps(config: RecipeConfig) -> int:
    """How many steps the candidate that is taken has been trained for."""
    return 3 * config.trial_steps


class _Search:
    """The trials of one call of `reduce`."""

    def __init__(
        self,
        module: nn.Module,
        data: DataSet,
        batches: Sequence[Batch],
        target: int,
        teacher: Teacher,
        config: RecipeConfig,
        progress: Progress,
    ) -> None:
        self._module, self._data, self._batches, self._target = module, data, batches, target
        self._teacher, self._config, self._progress = teacher, config, progress
        self._seen: dict[str, float | str] = {}

    def best(self) -> tuple[Trial, dict[str, float | str]]:
        """The candidate with the smallest loss after both rounds, and what became of each."""
        ways = candidates(self._config)
        made, reasons = first_of_each_shape(self._module, ways, self._batches, self._target, self._config)
        self._seen |= reasons
        first = self._trained([self._trial(words, one) for words, one in made.items()], self._config.trial_steps)
        if not first:
            words = "; ".join(f"{method}: {reason}" for method, reason in self._seen.items())
            raise PruneError(f"no way leads to {self._target:,} parameters. {words}")
        better = first[: math.ceil(len(first) / 3)]
        way = next(one for one in ways if one.words == better[0].method)
        final = self._trained([*better, *self._with_dendrites(way)], 2 * self._config.trial_steps)
        if not final:
            raise PruneError(
                "the candidates diverged in the second round of trials; give a smaller trial_learning_rate"
            )
        return final[0], self._seen

    def _trial(self, method: str, pruned: Pruned) -> Trial:
        return Trial(method, pruned, self._data, self._teacher, self._config)

    def _trained(self, trials: Sequence[Trial], num_steps: int) -> list[Trial]:
        """Those that did not diverge after so many steps more, best first."""
        finished = []
        for number, one in enumerate(trials):
            self._progress("trying methods", number, len(trials))
            try:
                one.train(num_steps)
            except Diverged as error:
                self._seen[one.method] = str(error)
                continue
            self._seen[one.method] = one.loss
            finished.append(one)
        self._progress("trying methods", len(trials), len(trials))
        return sorted(finished, key=lambda one: one.loss)

    def _with_dendrites(self, way: Candidate) -> list[Trial]:
        """The candidate with a part of its budget left for dendrites, trained as far as the others, and grown."""
        config, method = self._config, f"{way.words}, grow"
        if config.dendrite_share == 0.0:
            return []
        try:
            smaller = round(self._target * (1.0 - config.dendrite_share))
            trial = self._trial(method, way.make(self._module, self._batches, smaller, config))
            trial.train(config.trial_steps)
            grower = Grower(trial.module, replace(config.grow, max_parameters=self._target))
            grower.grow(self._batches)
        except (PruneError, Diverged) as error:
            self._seen[method] = str(error)
            return []
        if not grower.growths[-1].num_dendrites:
            self._seen[method] = grower.growths[-1].words
            return []
        return [trial]


def _step(
    method: str,
    module: nn.Module,
    num_steps: int,
    validate: Callable[[nn.Module], float],
    trials: dict[str, float | str] | None = None,
) -> Step:
    return Step(method, _num_parameters(module), num_steps, validate(module), trials or {})


def _num_parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())

"""The recipe: a network is brought to a budget by whatever methods do best there, after short trials.

Candidates are pruned, or branched and then pruned, in several proportions. All learn from the teacher for a few steps.
The better third goes on, and beside it the best one made anew with room for dendrites, which are grown on the errors
that it makes after as many steps. The best of these is trained to the end; dendrites whose zeroing costs nothing on
validation data are removed then. Source of the halving (here: thirds): Jamieson and Talwalkar 2016, "Non-stochastic
Best Arm Identification and Hyperparameter Optimization", section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.connections.dense_layers import resolve_parameters
from edge_dendrite.compress.dendrites.grow import Grower
from edge_dendrite.compress.layers.dendrites import has_dendrites
from edge_dendrite.compress.plan import Plan
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.compress.trials import Candidate, Diverged, Lessons, Trial, candidates, first_of_each_shape
from edge_dendrite.config import Budget, RecipeConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.evaluate import Metric, accuracy, evaluate, predict
from edge_dendrite.train.fit import Teacher

# The second round of trials has twice the steps of the first.
_ROUNDS = 3


@dataclass(frozen=True)
class Step:
    """One step of the recipe and the network that it left.

    epochs: of training since the step before. metric: on validation data. trials: for the choice, each candidate's loss
    on validation data after its last step, or the reason why there is none.
    """

    method: str
    num_parameters: int
    epochs: float
    metric: float
    trials: dict[str, float | str]


@dataclass(frozen=True)
class Reduced:
    """The network, the plan that leads to its shape, layers that stayed whole with the reason, and the steps.

    kept: "LAYER (dendrites)" for a layer that can have no dendrites.
    """

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
    device: str = "auto",
    progress: Progress = silent,
) -> Reduced:
    """Bring a copy of `module` to the budget of parameters and train it for `epochs` epochs, those of its trial too.

    batches: (inputs, targets) for scores and fits, as in `prune`. train: trains a network in place for so many epochs,
    with the schedule and the teacher that the caller wants. The trials of candidates that lose come on top; they run on
    `device`, as in `fit`. Where the trials are more than `config.trial_share` of all epochs, they only choose: the
    winner is trained from where it stood before, for all epochs, and no dendrites are tried.
    Raises PruneError when no candidate reaches the budget or all diverge, for a budget that is not of parameters, and
    for so few epochs that the trials leave none.
    """
    config = config or RecipeConfig()
    _check_epochs(epochs)
    _, target = _resolved(module, budget)
    per_epoch = data.num_train_batches(config.trial_batch_size)
    # Shorter ones would choose what is good before training, which is not what is good after it.
    num_steps = max(1, min(config.trial_steps, epochs * per_epoch // _ROUNDS))
    goes_on = _ROUNDS * num_steps <= config.trial_share * epochs * per_epoch
    last = epochs - math.ceil(_ROUNDS * num_steps / per_epoch) if goes_on else epochs
    if last < 1:
        raise PruneError(
            f"the trials of the candidate that is taken need {epochs - last} of {epochs} epochs; give more, or a "
            "smaller trial_share"
        )

    def validate(network: nn.Module) -> float:
        return evaluate(network, data, data.validation, metric)

    steps = [Step("as it came", _num_parameters(module), 0, validate(module), {})]
    _check_teacher(teacher, data)
    config = replace(config, trial_steps=num_steps)
    # The first round at most; the second is about as much again.
    num_samples = len(candidates(config)) * num_steps * config.trial_batch_size
    lessons = Lessons(data, teacher, device, num_samples, progress)
    best, trials = _Search(module, lessons, batches, target, config, device, progress, grows=goes_on).best()
    if not goes_on:
        best.restart()
    steps.append(_step(best.method, best.module, best.num_steps / per_epoch, validate, trials))
    train(best.module, last)
    steps.append(_step("fine-tune", best.module, last, validate))
    grown = Plan()
    if has_dendrites(best.module):
        grown = Grower(best.module).finish(lambda: validate(best.module))
        steps.append(_step("remove idle dendrites", best.module, 0, validate))
    plan = Plan((*best.plan.edits, *grown.edits), (*best.plan.layers, *grown.layers))
    return Reduced(best.module.eval(), plan, best.kept, tuple(steps))


def rehearse(module: nn.Module, batches: Sequence[Batch], budget: Budget, config: RecipeConfig, epochs: int) -> None:
    """Raise PruneError where no way of the recipe leads from `module`, trained or not, to the budget of parameters, and
    where the epochs are too few."""
    _check_epochs(epochs)
    _, target = _resolved(module, budget)
    quick = replace(
        config,
        prune=replace(config.prune, num_batches=1, num_rounds=1, masks=replace(config.prune.masks, num_steps=1)),
        branch=replace(config.branch, num_batches=len(batches), num_samples=64),
    )
    found, reasons = first_of_each_shape(module, candidates(quick), batches, target, quick)
    if not found:
        raise _no_way(target, reasons)


def _resolved(module: nn.Module, budget: Budget) -> tuple[int, int]:
    if budget.cost != "parameters":
        raise PruneError("the recipe looks for a number of parameters; give pruning_ratio, max_parameters or max_drop")
    return resolve_parameters(module, budget)


@torch.no_grad()
def _check_teacher(teacher: Teacher, data: DataSet) -> None:
    """Raise PruneError where no trial could have a finite loss, whatever is tried."""
    outputs = predict(teacher.module, data, data.validation)
    if not bool(outputs.isfinite().all()):
        raise PruneError("the dense network's outputs on validation data are not finite; look for NaN in the data")


def _check_epochs(epochs: int) -> None:
    if epochs < 2:
        raise PruneError("the recipe needs 2 epochs or more after the cut: its trials take a part of them")


def _no_way(target: int, seen: Mapping[str, float | str]) -> PruneError:
    reasons = "; ".join(f"{method}: {reason}" for method, reason in seen.items())
    return PruneError(f"no way leads to {target:,} parameters. {reasons}")


class _Search:
    """The trials of one call of `reduce`."""

    def __init__(
        self,
        module: nn.Module,
        lessons: Lessons,
        batches: Sequence[Batch],
        target: int,
        config: RecipeConfig,
        device: str,
        progress: Progress,
        *,
        grows: bool,
    ) -> None:
        self._grows = grows
        self._module, self._lessons, self._batches, self._target = module, lessons, batches, target
        self._config, self._device, self._progress = config, device, progress
        self._seen: dict[str, float | str] = {}

    def best(self) -> tuple[Trial, dict[str, float | str]]:
        """The candidate with the smallest loss after both rounds, and what became of each."""
        ways = candidates(self._config)
        made, reasons = first_of_each_shape(self._module, ways, self._batches, self._target, self._config)
        self._seen |= reasons
        first = self._trained([self._trial(words, one) for words, one in made.items()], self._config.trial_steps)
        if not first:
            raise _no_way(self._target, self._seen)
        better = first[: math.ceil(len(first) / 3)]
        way = next(one for one in ways if one.words == better[0].method)
        final = self._trained([*better, *self._with_dendrites(way)], 2 * self._config.trial_steps)
        if not final:
            raise PruneError(
                "the candidates diverged in the second round of trials; give a smaller trial_learning_rate"
            )
        return final[0], self._seen

    def _trial(self, method: str, pruned: Pruned) -> Trial:
        return Trial(method, pruned, self._lessons, self._config, self._device)

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
        if not self._grows:
            self._seen[method] = "too few epochs: dendrites grow on what was learned in a trial that goes on"
            return []
        try:
            smaller = round(self._target * (1.0 - config.dendrite_share))
            trial = self._trial(method, way.make(self._module, self._batches, smaller, config))
            trial.train(config.trial_steps)
            grower = Grower(trial.module, replace(config.grow, max_parameters=self._target))
            grown = grower.grow(self._batches)
        except (PruneError, Diverged) as error:
            self._seen[method] = str(error)
            return []
        if not grown:
            self._seen[method] = grower.growths[-1].words
            return []
        trial.kept = {**trial.kept, **{f"{name} (dendrites)": reason for name, reason in grower.kept.items()}}
        return [trial]


def _step(
    method: str,
    module: nn.Module,
    epochs: float,
    validate: Callable[[nn.Module], float],
    trials: dict[str, float | str] | None = None,
) -> Step:
    return Step(method, _num_parameters(module), epochs, validate(module), trials or {})


def _num_parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())

"""The recipe: a network is brought to a budget in several cuts, each by the method that a short trial prefers.

Every cut is tried by pruning neurons, by branching, and by branching followed by pruning; each result learns from the
teacher for a few steps, and the one with the smallest loss on validation data goes on to be trained.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.dendrites.branch import branch
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.config import Budget, RecipeConfig
from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.device import seeded
from edge_dendrite.train.distil import Distiller
from edge_dendrite.train.evaluate import evaluating
from edge_dendrite.train.fit import Teacher
from edge_dendrite.train.losses import distillation_loss

_TRIAL_BATCH = 500


@dataclass(frozen=True)
class Step:
    """One cut: the method that was taken, the parameters it left, and what every method's trial came to.

    trials: method to the loss on validation data after the trial, or to the reason why it could not be tried.
    epochs: that were trained afterwards.
    """

    method: str
    num_parameters: int
    trials: dict[str, float | str]
    epochs: int


@dataclass(frozen=True)
class Reduced:
    """The network, the plan that leads to its shape, and the steps."""

    module: nn.Module
    plan: Plan
    steps: tuple[Step, ...]


def reduce(
    module: nn.Module,
    data: DataSet,
    batches: Sequence[Batch],
    max_parameters: int,
    epochs: int,
    teacher: Teacher,
    train: Callable[[nn.Module, int], object],
    config: RecipeConfig | None = None,
    *,
    progress: Progress = silent,
) -> Reduced:
    """Bring a copy of `module` to at most `max_parameters` parameters in `config.num_cuts` cuts.

    batches: (inputs, targets) for scores and fits, as in `prune`. train: trains a network in place for so many epochs,
    `epochs` in all, with the schedule and the teacher that the caller wants. The trials' own steps come on top; their
    number is config.trial_steps for each method and cut, and what they learn is not kept.
    Raises PruneError when no method reaches a cut's budget, and for too few epochs.
    """
    config = config or RecipeConfig()
    if max_parameters < 1:
        raise PruneError(f"max_parameters must be at least 1, not {max_parameters}")
    start = _num_parameters(module)
    steps: list[Step] = []
    plan = Plan()
    for number, share in enumerate(split_epochs(epochs, config.num_cuts), 1):
        target = round(start * (max_parameters / start) ** (number / config.num_cuts))
        found, trials = _try_all(module, data, batches, target, teacher, config, progress)
        method = min(found, key=lambda one: trials[one])
        plan = Plan((*plan.edits, *found[method].plan.edits), (*plan.layers, *found[method].plan.layers))
        module = found[method].module
        train(module, share)
        steps.append(Step(method, _num_parameters(module), trials, share))
    return Reduced(module, plan, tuple(steps))


def split_epochs(total: int, num_parts: int) -> list[int]:
    """A quarter of the epochs for every part but the last, which gets the rest, at least half; less with many parts.

    Raises PruneError when there are not two for each part.
    """
    early = [max(1, min(total // 4, total // (2 * max(1, num_parts - 1))))] * (num_parts - 1)
    if sum(early) >= total:
        raise PruneError(f"{total} epochs are too few for {num_parts} cuts; give more epochs or fewer cuts")
    return [*early, total - sum(early)]


def _try_all(
    module: nn.Module,
    data: DataSet,
    batches: Sequence[Batch],
    target: int,
    teacher: Teacher,
    config: RecipeConfig,
    progress: Progress,
) -> tuple[dict[str, Pruned], dict[str, float | str]]:
    found: dict[str, Pruned] = {}
    trials: dict[str, float | str] = {}
    for number, (method, make) in enumerate(_methods(batches, target, config).items()):
        progress("trying methods", number, 3)
        try:
            found[method] = make(module)
        except PruneError as error:
            trials[method] = str(error)
            continue
        loss = _trial(found[method].module, data, teacher, config)
        trials[method] = loss
        if not math.isfinite(loss):
            trials[method] = f"the loss became {loss} in the trial; a smaller trial_learning_rate may help"
            del found[method]
    progress("trying methods", 3, 3)
    if not found:
        reasons = "; ".join(f"{method}: {reason}" for method, reason in trials.items())
        raise PruneError(f"no method reaches {target:,} parameters. {reasons}")
    return found, trials


def _methods(batches: Sequence[Batch], target: int, config: RecipeConfig) -> dict[str, Callable[[nn.Module], Pruned]]:
    def pruned(module: nn.Module) -> Pruned:
        return prune(module, batches, Budget(max_parameters=target), config.prune)

    def branched(module: nn.Module, parameters: int = target) -> Pruned:
        return branch(module, batches, Budget(max_parameters=parameters), config.branch)

    def both(module: nn.Module) -> Pruned:
        first = branched(module, round((_num_parameters(module) * target) ** 0.5))
        second = pruned(first.module)
        lines = (*first.plan.layers, *second.plan.layers)
        return replace(second, plan=Plan((*first.plan.edits, *second.plan.edits), lines))

    return {"prune": pruned, "branch": branched, "branch, then prune": both}


def _trial(module: nn.Module, data: DataSet, teacher: Teacher, config: RecipeConfig) -> float:
    """The loss of distillation on validation data after a few steps of a copy."""
    module = copy.deepcopy(module).train()
    device = next(module.parameters()).device
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.trial_learning_rate)
    generator = torch.Generator().manual_seed(config.seed)
    done = 0
    with seeded(device, config.seed), Distiller(module, teacher.module, replace(teacher.config, features=())) as loss:
        while done < config.trial_steps:
            for inputs, targets in data.batches(data.train, config.trial_batch_size, generator, device):
                optimizer.zero_grad()
                loss(inputs, module(inputs), targets).backward()
                optimizer.step()
                done += 1
                if done == config.trial_steps:
                    break
    return _validation_loss(module, data, data.validation, teacher)


@torch.no_grad()
def _validation_loss(module: nn.Module, data: DataSet, split: Split, teacher: Teacher) -> float:
    total = 0.0
    with evaluating(module), evaluating(teacher.module):
        for inputs, targets in data.batches(split, _TRIAL_BATCH, device=next(module.parameters()).device):
            value = distillation_loss(module(inputs), teacher.module(inputs), targets, teacher.config)
            total += float(value) * len(targets)
    return total / len(split)


def _num_parameters(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())

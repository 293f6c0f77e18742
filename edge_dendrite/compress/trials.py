"""Candidates of the recipe, and the short training by which they are compared."""

from __future__ import annotations

import copy
import functools
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.dendrites.branch import branch
from edge_dendrite.compress.dendrites.fields import layers_with_fields
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.config import Budget, RecipeConfig
from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.device import Precision, choose_device, placed, seeded
from edge_dendrite.train.distil import Distiller
from edge_dendrite.train.evaluate import evaluating
from edge_dendrite.train.fit import Teacher
from edge_dendrite.train.teacher import known_outputs

_EVALUATION_BATCH = 500


class Diverged(Exception):
    """The loss of a trial stopped being finite."""


class Lessons:
    """What all trials learn from: the data, and what the teacher says of them, asked once.

    num_samples: of the training data that all trials together take; more data than that are not worth asking about.
    train, validation: its outputs (n, ...); None where each trial asks anew, also for want of memory.
    """

    def __init__(
        self, data: DataSet, teacher: Teacher, device: str, num_samples: int, progress: Progress = silent
    ) -> None:
        self.data, self.teacher = data, Teacher(teacher.module, replace(teacher.config, features=()))
        place = choose_device(device, teacher.module)
        precision = Precision("float32", place)

        def ask(split: Split) -> torch.Tensor | None:
            return known_outputs(teacher.module, data, split, _EVALUATION_BATCH, place, precision, False, progress)

        with placed(place, teacher.module):
            self.train = ask(data.train) if len(data.train) <= num_samples else None
            self.validation = ask(data.validation)


class Trial:
    """A network on trial, trained in place by distillation at a constant learning rate.

    Plainer than `fit`, for comparing: in float32, without norms that are there only in training, without features of
    the teacher, and without the penalty of gates.
    num_steps: so many it has been trained for. loss: on validation data after them.
    """

    def __init__(self, method: str, pruned: Pruned, lessons: Lessons, config: RecipeConfig, device: str) -> None:
        self.method, self.module, self.plan, self.kept = method, pruned.module, pruned.plan, pruned.kept
        self._lessons, self._config, self._device = lessons, config, device
        self._untrained = copy.deepcopy(self.module.state_dict())
        self.num_steps, self.loss = 0, math.inf

    def restart(self) -> None:
        """Forget what was learned: the network as it came."""
        self.module.load_state_dict(self._untrained)
        self.num_steps = 0

    def train(self, num_steps: int) -> None:
        """So many steps more. Raises Diverged."""
        device = choose_device(self._device, self.module)
        with placed(device, self.module, self._lessons.teacher.module):
            self._take_steps(num_steps, device)
            self.num_steps += num_steps
            self.loss = self._validation_loss()
        if not math.isfinite(self.loss):
            raise Diverged(f"the loss became {self.loss} in the trial; a smaller trial_learning_rate may help")

    def _take_steps(self, num_steps: int, device: torch.device) -> None:
        module, seed = self.module.train(), self._config.seed + self.num_steps
        optimizer = torch.optim.AdamW(module.parameters(), lr=self._config.trial_learning_rate)
        lessons = self._lessons
        with seeded(device, seed), self._distiller() as loss:
            for indices in itertools.islice(self._batches(seed), num_steps):
                inputs, targets = lessons.data.read(lessons.data.train, indices, device)
                wanted = None if lessons.train is None else lessons.train[indices].to(device)
                optimizer.zero_grad()
                loss(inputs, module(inputs), targets, wanted).backward()
                optimizer.step()
        module.zero_grad()
        module.eval()

    def _distiller(self) -> Distiller:
        return Distiller(self.module, self._lessons.teacher.module, self._lessons.teacher.config)

    def _batches(self, seed: int) -> Iterator[torch.Tensor]:
        generator, data = torch.Generator().manual_seed(seed), self._lessons.data
        while True:
            yield from data.index_batches(data.train, self._config.trial_batch_size, generator)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        total, lessons, device = 0.0, self._lessons, next(self.module.parameters()).device
        split = lessons.data.validation
        with evaluating(self.module), self._distiller() as loss:
            for indices in lessons.data.index_batches(split, _EVALUATION_BATCH):
                inputs, targets = lessons.data.read(split, indices, device)
                wanted = None if lessons.validation is None else lessons.validation[indices].to(device)
                total += float(loss(inputs, self.module(inputs), targets, wanted)) * len(targets)
        return total / len(split)


@dataclass(frozen=True)
class Candidate:
    """A way to the budget: at first branches, unless first is None, down to `first` times the budget, then pruning to
    widths that are multiples of `round_to`."""

    first: float | None
    round_to: int

    @property
    def words(self) -> str:
        widths = f"prune to multiples of {self.round_to}"
        return widths if self.first is None else f"branch to {self.first:g} times the budget, {widths}"

    def make(
        self,
        module: nn.Module,
        batches: Sequence[Batch],
        num_parameters: int,
        config: RecipeConfig,
        branched: Callable[[float], Pruned] | None = None,
    ) -> Pruned:
        """A copy of `module` with at most `num_parameters`. branched: gives what `branch_first` does for these, where
        it is known already. Raises PruneError where this way does not lead there."""
        settings = replace(config.prune, round_to=self.round_to)
        budget = Budget(max_parameters=num_parameters)
        if self.first is None:
            return prune(module, batches, budget, settings)
        made = branched(self.first) if branched else branch_first(module, batches, self.first, num_parameters, config)
        if sum(one.numel() for one in made.module.parameters()) <= num_parameters:
            return made
        pruned = prune(made.module, batches, budget, settings)
        lines = (*(one for one in made.plan.layers if one.before != one.after), *pruned.plan.layers)
        return replace(pruned, plan=Plan((*made.plan.edits, *pruned.plan.edits), lines))


def branch_first(
    module: nn.Module, batches: Sequence[Batch], first: float, num_parameters: int, config: RecipeConfig
) -> Pruned:
    """A copy of `module` with branches, as near as they lead to `first` times the budget. Raises PruneError."""
    layers = config.branch.layers or tuple(re.escape(one) for one in layers_with_fields(module, batches[0][0]))
    if not layers:
        # Branches of blocks gather inputs by number: such layers, and those that feed them, cannot be pruned then.
        return branch(module, batches, Budget(max_parameters=num_parameters), config.branch)
    branching = replace(config.branch, layers=layers)
    between = max(num_parameters, round(first * num_parameters))
    try:
        return branch(module, batches, Budget(max_parameters=between), branching)
    except PruneError:  # it does not reach so far: as far as it does
        return branch(module, batches, None, branching)


def candidates(config: RecipeConfig) -> list[Candidate]:
    """All that are tried."""
    return [Candidate(first, width) for first in (None, *config.branch_first) for width in config.widths]


def first_of_each_shape(
    module: nn.Module, ways: Sequence[Candidate], batches: Sequence[Batch], num_parameters: int, config: RecipeConfig
) -> tuple[dict[str, Pruned], dict[str, str]]:
    """(networks by the words of their candidate, reasons of the candidates that gave none).

    Ways that lead to the same shapes are one."""
    found: dict[str, Pruned] = {}
    reasons: dict[str, str] = {}
    known: dict[tuple[Any, ...], str] = {}

    @functools.cache
    def branched(first: float) -> Pruned:
        return branch_first(module, batches, first, num_parameters, config)

    for way in ways:
        try:
            pruned = way.make(module, batches, num_parameters, config, branched)
        except PruneError as error:
            reasons[way.words] = str(error)
            continue
        shapes = tuple((name, tuple(value.shape)) for name, value in pruned.module.named_parameters())
        if shapes in known:
            reasons[way.words] = f"leads to the same shapes as: {known[shapes]}"
            continue
        known[shapes] = way.words
        found[way.words] = pruned
    return found, reasons

"""Neuron-level pruning to a budget: score, choose, cut, and compare values before believing it."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.batches import Batch, endless
from edge_dendrite.compress.coupling.find import Coupling, find_coupling
from edge_dendrite.compress.forward import Inputs, batch_size, check_weights, first_samples
from edge_dendrite.compress.layers.attention import replace_attention_, replaceable_attention
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.neurons.choice import give_back, remove_cheapest, remove_exactly
from edge_dendrite.compress.neurons.edits import build_plan, remaining
from edge_dendrite.compress.neurons.proof import check_repeatable, problem_of, told
from edge_dendrite.compress.neurons.selection import Selection
from edge_dendrite.compress.plan import Plan, Replace, apply_plan_, cut_copy
from edge_dendrite.compress.pruned import Planned, Pruned
from edge_dendrite.compress.scores.importance import reasons_against, unit_scores
from edge_dendrite.compress.scores.learned_masks import learn_masks
from edge_dendrite.config import LEARNED, Budget, PruneConfig
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.fit import Loss

# Samples in the traced example: two, so that a size of one is never taken for a batch.
EXAMPLE_SAMPLES = 2


def prune(
    module: nn.Module,
    batches: Iterable[Batch],
    budget: Budget,
    config: PruneConfig | None = None,
    *,
    loss: Loss = functional.cross_entropy,
    num_bytes: Callable[[nn.Module], int] | None = None,
    progress: Progress = silent,
) -> Pruned:
    """Remove the units that contribute least to the loss for what they cost; `module` is unchanged.

    batches: (inputs, targets) of training data, on the device of `module`; inputs are a tensor (b, ...), a tuple of
    tensors or a dict of keyword tensors. Read again from the start when they run out, so a list or a DataLoader.
    num_bytes: size of a network's exported file, for a budget of max_onnx_bytes. The result has the modes (train, eval)
    of `module` and is not trained: distil it from `module` afterwards.
    Raises PruneError when the network cannot be traced, the budget cannot be reached, or no cut is possible that
    computes what the masked network computes.
    """
    planned = plan_pruning(module, batches, budget, config, loss=loss, num_bytes=num_bytes, progress=progress)
    if any(isinstance(edit, Replace) for edit in planned.plan.edits):
        return Pruned(apply_plan_(copy.deepcopy(module), planned.plan), planned.plan, planned.kept)
    return Pruned(cut_copy(module, planned.plan), planned.plan, planned.kept)


def plan_pruning(
    module: nn.Module,
    batches: Iterable[Batch],
    budget: Budget,
    config: PruneConfig | None = None,
    *,
    loss: Loss = functional.cross_entropy,
    num_bytes: Callable[[nn.Module], int] | None = None,
    progress: Progress = silent,
) -> Planned:
    """As `prune`, up to the plan: checked by value, but nothing is kept of the cut network."""
    config = config or PruneConfig()
    _check_arguments(module, budget)
    check_weights(module)
    stream = endless(batches)
    first = next(stream)
    stream = itertools.chain([first], stream)
    source, replacements = _with_attention_replaced(module)
    example, coupling = _traced(source, first[0])
    check_repeatable(module, source, coupling, example)
    work = _Pruning(source, coupling, config, example, replacements, loss, progress)
    if budget.max_onnx_bytes is not None:
        return _to_bytes(work, budget.max_onnx_bytes, num_bytes, stream)
    return work.plan_for(budget, stream)


def _traced(module: nn.Module, inputs: Inputs) -> tuple[Inputs, Coupling]:
    """An example and the coupling for it: a few samples, or the whole batch where the forward takes nothing else."""
    example = first_samples(inputs, EXAMPLE_SAMPLES)
    try:
        return example, find_coupling(module, example)
    except PruneError as error:
        try:
            return inputs, find_coupling(module, inputs)
        except PruneError:
            raise error from None


def _check_arguments(module: nn.Module, budget: Budget) -> None:
    if not isinstance(budget, Budget):
        raise ConfigError(f"budget must be a Budget, for instance Budget(pruning_ratio=0.5), not {budget!r}")
    if budget.max_drop is not None:
        raise ConfigError("max_drop is searched with training in between, by compress_with_controls; here give a size")
    if gated := [name for name, part in module.named_modules() if isinstance(part, GatedBlock)]:
        raise PruneError(f"block {gated[0]!r} has a gate, which decides by values; prune first, then give gates")
    for wrapper, inner in (("torch.compile", "_orig_mod"), ("a data-parallel wrapper", "module")):
        if set(dict(module.named_children())) == {inner} and not list(module.parameters(recurse=False)):
            known = type(module).__module__.startswith("torch.")
            if known:
                raise PruneError(f"the network is wrapped by {wrapper}: give the network inside (its .{inner})")


def _with_attention_replaced(module: nn.Module) -> tuple[nn.Module, tuple[Replace, ...]]:
    """`module` itself and no edits, or a copy with every nn.MultiheadAttention replaced, and the edits for it."""
    names = replaceable_attention(module)
    if not names:
        return module, ()
    return replace_attention_(copy.deepcopy(module)), tuple(Replace(name, "attention", {}) for name in names)


def _to_bytes(
    work: _Pruning, limit: int, num_bytes: Callable[[nn.Module], int] | None, stream: Iterator[Batch]
) -> Planned:
    """A file is its weights and a remainder that depends on the layers; what is left over is corrected by exporting."""
    if num_bytes is None:
        raise PruneError("a budget of max_onnx_bytes needs num_bytes, a function that gives the size of an export")
    num_parameters = Selection(work.coupling, work.config).num_parameters
    allowed = num_parameters - math.ceil((num_bytes(work.module) - limit) / 4)
    for _ in range(4):
        if allowed < 1:
            break
        planned = work.plan_for(Budget(max_parameters=allowed), stream)
        excess = num_bytes(work.cut(planned.plan)) - limit
        if excess <= 0:
            return planned
        allowed -= math.ceil(excess / 4)
    raise PruneError(f"no network was found whose file has at most {limit:,} bytes; give a larger budget")


class _Pruning:
    """One network that is being pruned: everything that does not change while budgets and selections do."""

    def __init__(
        self,
        module: nn.Module,
        coupling: Coupling,
        config: PruneConfig,
        example: Inputs,
        replacements: tuple[Replace, ...],
        loss: Loss,
        progress: Progress,
    ) -> None:
        self.module, self.coupling, self.config = module, coupling, config
        self._example, self._replacements, self._loss, self._progress = example, replacements, loss, progress
        # Groups that turned out not to be what their rules say: a cut of them changed values.
        self._locked: dict[int, str] = {}

    def plan_for(self, budget: Budget, stream: Iterator[Batch]) -> Planned:
        """Choose units and prove the cut; groups that fail the proof stay, and the choice is made again."""
        for _ in range(len(self.coupling.groups) + 1):
            selection = Selection(self.coupling, self.config, budget.cost, batch_size(self._example))
            for number, reason in {**reasons_against(self.coupling, self.config.score), **self._locked}.items():
                selection.lock(number, reason)
            try:
                scores = self._choose(selection, budget, stream)
                problem = self._problem(selection)
            except _BrokenCut as error:
                problem = str(error)
            if problem is None:
                plan = build_plan(self.module, selection, scores, self._replacements)
                whole = Selection(self.coupling, self.config, batch=batch_size(self._example))
                return Planned(
                    plan,
                    selection.kept,
                    (whole.num_parameters, selection.num_parameters),
                    (round(whole.num_macs), round(selection.num_macs)),
                )
            self._lock_culprits(selection, problem)
        raise PruneError(f"{problem}; it was discarded, the original is unchanged")

    def cut(self, plan: Plan) -> nn.Module:
        """A copy of the network with the cuts of a plan (attention is replaced in it already)."""
        return cut_copy(self.module, replace(plan, edits=plan.edits[len(self._replacements) :]))

    def _choose(self, selection: Selection, budget: Budget, stream: Iterator[Batch]) -> list[np.ndarray]:
        """Rounds of scoring and removing; scores of later rounds are those of the network as cut so far. Returns the
        scores of the first round, in which every unit was still there."""
        target = budget.resolve(selection.amount)
        if self.config.score == LEARNED and budget.cost != "parameters":
            raise PruneError("learned masks have budgets of parameters only; give pruning_ratio or max_parameters")
        _check_reachable(selection, target, budget.cost)
        if self.config.score == LEARNED:
            return self._choose_by_masks(selection, target, stream)
        start, rounds = selection.amount, self.config.num_rounds
        first_scores: list[np.ndarray] = []
        for number in range(1, rounds + 1):
            self._progress("scoring units", number - 1, rounds)
            scores = self._scores(selection, stream)
            first_scores = first_scores or scores
            if number == 1:
                remove_exactly(selection, scores)
            round_target = start - (start - target) * number / rounds
            # LAMP scores are made to be compared as they are (Lee et al. 2021).
            per_saving = self.config.score != "lamp"
            remove_cheapest(selection, scores, round_target, self.config.scope, per_saving=per_saving)
        give_back(selection, first_scores, target)
        self._progress("scoring units", rounds, rounds)
        return first_scores

    def _choose_by_masks(self, selection: Selection, target: float, stream: Iterator[Batch]) -> list[np.ndarray]:
        """One round, by masks that were trained for this budget. What a unit costs went into its mask already."""
        learned = learn_masks(
            self.module,
            self.coupling,
            stream,
            self._loss,
            self.config.masks,
            max_parameters=target,
            locked=selection.locked,
            progress=self._progress,
        )
        scores = [keep.cpu().numpy() for keep in learned.keep]
        remove_exactly(selection, scores)
        remove_cheapest(selection, scores, target, self.config.scope, per_saving=False)
        give_back(selection, scores, target)
        return scores

    def _scores(self, selection: Selection, stream: Iterator[Batch]) -> list[np.ndarray]:
        """(num_units,) for each group; units that are gone have no score (zero)."""
        groups = remaining(self.coupling, selection.alive)
        working = cut_copy(self.module, build_plan(self.module, selection, self._no_scores()))
        batches = itertools.islice(stream, self.config.num_batches)
        rest = replace(self.coupling, groups=groups)
        settings: dict[str, Any] = {"seed": self.config.seed, "locked": selection.locked}
        try:
            found = unit_scores(working, rest, self.config.score, batches, self._loss, **settings)
        except PruneError:
            raise
        except Exception as error:  # the user's forward or loss raises anything
            if all(alive.all() for alive in selection.alive):
                raise PruneError(f"the network fails on the training batches ({told(error)})") from error
            raise _BrokenCut(f"the network cut so far fails on the training batches ({told(error)})") from error
        result = self._no_scores()
        for score, alive, values in zip(result, selection.alive, found, strict=True):
            score[alive] = values.cpu().numpy()
        return result

    def _no_scores(self) -> list[np.ndarray]:
        return [np.zeros(group.num_units) for group in self.coupling.groups]

    def _problem(self, selection: Selection) -> str | None:
        return problem_of(self.module, selection, self._example)

    def _lock_culprits(self, selection: Selection, problem: str) -> None:
        """Find the groups whose cut alone changes values; else the one whose cut does, added to others.

        Raises PruneError when the problem does not come back.
        """
        cut = [tie for tie in self.coupling.ties if not all(selection.alive[number].all() for number in tie)]
        found = {
            tie: reason
            for tie in cut
            if (reason := problem_of(self.module, self._only(selection, [tie]), self._example))
        }
        for count in range(2, len(cut) + 1):
            if found:
                break
            if reason := self._problem(self._only(selection, cut[:count])):
                found[cut[count - 1]] = reason
        if not found:
            raise PruneError(f"{problem}; it was discarded, the original is unchanged")
        for tie, reason in found.items():
            self._locked.update(dict.fromkeys(tie, f"a trial cut was wrong: {reason}"))

    def _only(self, selection: Selection, ties: Iterable[tuple[int, ...]]) -> Selection:
        """A selection in which only these groups lose the units that they lose in `selection`."""
        alone = Selection(self.coupling, self.config)
        for tie in ties:
            for number in tie:
                alone.remove(number, np.flatnonzero(~selection.alive[number]).tolist())
        return alone


class _BrokenCut(Exception):
    """A network that was cut as the coupling said does not run."""


def _check_reachable(selection: Selection, target: float, cost: str) -> None:
    kept = "; ".join(f"{layer} ({reason})" for layer, reason in selection.kept.items())
    if not selection.coupling.groups:
        raise PruneError(f"no layer of this network can be pruned. Kept: {kept or 'it has no layer with units'}")
    smallest = selection.smallest()
    if target < smallest:
        what = "parameters" if cost == "parameters" else "multiply-accumulates"
        raise PruneError(
            f"the budget of {target:,.0f} {what} cannot be reached: with the smallest widths {smallest:,.0f} of "
            f"{selection.amount:,.0f} stay. Give a larger budget, or a smaller round_to or min_units. "
            f"Layers that must stay: {kept or 'none'}"
        )

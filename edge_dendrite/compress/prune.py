"""Neuron-level pruning to a parameter budget: score, choose, cut, and compare values before believing it."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.coupling import (
    CARRIED,
    CONTRACTED,
    DEPTHWISE,
    PRODUCED,
    Coupling,
    Slices,
    find_coupling,
)
from edge_dendrite.compress.importance import Batch, taylor_scores
from edge_dendrite.compress.plan import Cut, LayerChange, Plan, SetAttribute, apply_plan_, find_tensor
from edge_dendrite.config import Budget, PruneConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.evaluate import evaluating
from edge_dendrite.train.fit import Loss

# Largest difference between a cut network and the same network with its units masked, relative to the outputs.
VALUE_TOLERANCE = 1e-4

# Attributes in which layers keep the size of a dimension, by the role of that dimension.
_SIZE_ATTRIBUTES = {
    PRODUCED: ("out_channels", "out_features"),
    CONTRACTED: ("in_channels", "in_features"),
    DEPTHWISE: ("in_channels", "out_channels", "groups"),
    CARRIED: ("num_features",),
}


@dataclass(frozen=True)
class Pruned:
    """A smaller network of the same class, and the plan that leads from the original to it."""

    module: nn.Module
    plan: Plan


def prune(
    module: nn.Module,
    batches: Iterable[Batch],
    budget: Budget,
    config: PruneConfig | None = None,
    *,
    loss: Loss = functional.cross_entropy,
    progress: Progress = silent,
) -> Pruned:
    """Remove the units that contribute least to the loss for the parameters that they cost; `module` is unchanged.

    batches: (inputs (b, ...), targets (b, ...)) of training data, on the device of `module`; read again from the start
    when they run out, so a list or a DataLoader. The result has the modes (train, eval) of `module` and is not trained:
    distil it from `module` afterwards.
    Raises PruneError when the network cannot be traced, the budget cannot be reached, or the cut network does not
    compute what the masked one computes.
    """
    config = config or PruneConfig()
    stream = _endless(batches)
    inputs, targets = next(stream)
    example = (inputs[:2] if len(inputs) > 1 else inputs.repeat(2, *[1] * (inputs.dim() - 1)),)
    coupling = find_coupling(module, example)
    selection = Selection(coupling, config)
    target = budget.resolve(selection.num_parameters)
    _check_reachable(selection, target)
    stream = itertools.chain([(inputs, targets)], stream)
    plan = _choose(module, selection, target, stream, config, loss, progress)
    pruned = apply_plan_(copy.deepcopy(module), plan)
    _check_values(module, selection, pruned, inputs)
    return Pruned(pruned, plan)


class Selection:
    """Which units stay. Knows at every moment how many parameters the network has left, exactly.

    Units leave a group in blocks that take its width to the next lower multiple of `round_to`.
    """

    def __init__(self, coupling: Coupling, config: PruneConfig) -> None:
        self.coupling = coupling
        self.alive: list[np.ndarray] = [np.ones(group.num_units, dtype=bool) for group in coupling.groups]
        self._config = config
        self._sizes = {name: list(shape) for name, shape in coupling.shapes.items()}
        self.num_parameters = sum(math.prod(self._sizes[name]) for name in coupling.trainable)

    def block(self, number: int) -> int:
        """How many units the next cut takes from a group; 0 when nothing may go."""
        width = int(self.alive[number].sum())
        block = width % self._config.round_to or self._config.round_to
        if width - block < self._config.min_units:
            return 0
        return block if self.saving(number, block) > 0 else 0

    def saving(self, number: int, block: int) -> int:
        """Parameters that go with a block of units of a group."""
        touched = {one.tensor for one in self._slices(number)} & self.coupling.trainable
        before = sum(math.prod(self._sizes[name]) for name in touched)
        self._resize(number, -block)
        after = sum(math.prod(self._sizes[name]) for name in touched)
        self._resize(number, block)
        return before - after

    def remove(self, number: int, units: list[int]) -> None:
        """Take units of a group away."""
        self.num_parameters -= self.saving(number, len(units))
        self._resize(number, -len(units))
        self.alive[number][units] = False

    def return_block(self, number: int) -> int:
        """How many units a group has to get back for the next higher width that `block` allows."""
        return min(self._config.round_to, int((~self.alive[number]).sum()))

    def restore(self, number: int, units: list[int]) -> None:
        """Put units of a group back."""
        self.num_parameters -= self.saving(number, -len(units))
        self._resize(number, len(units))
        self.alive[number][units] = True

    def smallest(self) -> int:
        """Parameters left if every group went down to its smallest width."""
        trial = copy.deepcopy(self)
        for number in range(len(trial.alive)):
            while block := trial.block(number):
                trial.remove(number, np.flatnonzero(trial.alive[number])[:block].tolist())
        return trial.num_parameters

    def _slices(self, number: int) -> tuple[Slices, ...]:
        return self.coupling.groups[number].slices

    def _resize(self, number: int, num_units: int) -> None:
        for one in self._slices(number):
            self._sizes[one.tensor][one.dim] += num_units * one.indices.shape[1]


def _check_reachable(selection: Selection, target: int) -> None:
    kept = "; ".join(f"{layer} ({reason})" for layer, reason in selection.coupling.kept.items())
    if not selection.coupling.groups:
        raise PruneError(f"no layer of this network can be pruned. Kept: {kept or 'it has no layer with units'}")
    smallest = selection.smallest()
    if target < smallest:
        raise PruneError(
            f"the budget of {target:,} parameters cannot be reached: with the smallest widths {smallest:,} of "
            f"{selection.num_parameters:,} stay. Give a larger budget, or a smaller round_to or min_units. "
            f"Layers that must stay: {kept or 'none'}"
        )


def _choose(
    module: nn.Module,
    selection: Selection,
    target: int,
    stream: Iterator[Batch],
    config: PruneConfig,
    loss: Loss,
    progress: Progress,
) -> Plan:
    """Rounds of scoring and removing; the work is done on a copy in which removed units are masked."""
    masked = copy.deepcopy(module).requires_grad_(True)  # a frozen weight has a contribution too
    start = selection.num_parameters
    first_scores: list[np.ndarray] = []
    for number in range(1, config.num_rounds + 1):
        progress("scoring units", number - 1, config.num_rounds)
        scores = taylor_scores(masked, selection.coupling, itertools.islice(stream, config.num_batches), loss)
        if not all(bool(torch.isfinite(score).all()) for score in scores):
            raise PruneError("scores are not finite: the network's loss or its gradients are NaN or infinite")
        first_scores = first_scores or [score.numpy() for score in scores]
        round_target = round(start - (start - target) * number / config.num_rounds)
        _remove_cheapest(selection, [score.numpy() for score in scores], round_target)
        mask_(masked, selection)
    _give_back(selection, first_scores, target)
    progress("scoring units", config.num_rounds, config.num_rounds)
    return build_plan(module, selection, first_scores)


def _remove_cheapest(selection: Selection, scores: list[np.ndarray], target: int) -> None:
    """Greedily remove blocks of units with the least score per parameter saved, until at most `target` are left."""
    order = [
        [unit for unit in np.argsort(score, kind="stable").tolist() if alive[unit]]
        for score, alive in zip(scores, selection.alive, strict=True)
    ]
    while selection.num_parameters > target:
        prices = {}
        for number, units in enumerate(order):
            if block := selection.block(number):
                prices[number] = scores[number][units[:block]].sum() / selection.saving(number, block)
        best = min(prices, key=prices.__getitem__)
        block = selection.block(best)
        units, order[best] = order[best][:block], order[best][block:]
        selection.remove(best, units)


def _give_back(selection: Selection, scores: list[np.ndarray], target: int) -> None:
    """Put back the most valuable blocks for which the budget has room: the last block may have gone far below it.

    By the scores of the first round, the only one in which every unit was still there.
    """
    while True:
        offers: dict[int, tuple[float, list[int]]] = {}
        for number, (score, alive) in enumerate(zip(scores, selection.alive, strict=True)):
            gone = np.flatnonzero(~alive)
            units = gone[np.argsort(-score[gone], kind="stable")][: selection.return_block(number)].tolist()
            cost = -selection.saving(number, -len(units))
            if units and selection.num_parameters + cost <= target:
                offers[number] = (score[units].sum() / max(cost, 1), units)
        if not offers:
            return
        best = max(offers, key=lambda number: offers[number][0])
        selection.restore(best, offers[best][1])


@torch.no_grad()
def mask_(module: nn.Module, selection: Selection) -> None:
    """Zero the weights through which removed units reach other layers; what they compute is then without effect."""
    for group, alive in zip(selection.coupling.groups, selection.alive, strict=True):
        for one in group.slices:
            weight = find_tensor(module, one.tensor)
            if one.role == CONTRACTED and weight is not None:
                gone = torch.from_numpy(one.indices[~alive].ravel()).to(weight.device)
                weight.index_fill_(one.dim, gone, 0.0)


def build_plan(module: nn.Module, selection: Selection, scores: list[np.ndarray]) -> Plan:
    """The edits that cut everything that is not alive, in a fixed order; `scores` (num_units,) explain them."""
    gone: dict[tuple[str, int, str], list[np.ndarray]] = {}
    layers = []
    for number, (group, alive) in enumerate(zip(selection.coupling.groups, selection.alive, strict=True)):
        score = scores[number]
        layers.append(
            LayerChange(group.name, group.num_units, int(alive.sum()), float(score[~alive].sum()), float(score.sum()))
        )
        if not alive.all():
            for one in group.slices:
                gone.setdefault((one.tensor, one.dim, one.role), []).append(one.indices[~alive].ravel())
    edits: list[Cut | SetAttribute] = []
    for (tensor, dim, role), indices in sorted(gone.items()):
        size = selection.coupling.shapes[tensor][dim]
        keep = np.setdiff1d(np.arange(size), np.concatenate(indices))
        edits.append(Cut(tensor, dim, tuple(keep.tolist())))
        edits.extend(_size_edits(module, tensor, role, size, len(keep)))
    return Plan(tuple(edits), tuple(layers))


def _size_edits(module: nn.Module, tensor: str, role: str, old: int, new: int) -> Iterator[SetAttribute]:
    """Edits of attributes that hold the size of a cut dimension, in every module that registers the tensor."""
    found = find_tensor(module, tensor)
    for owner_name, owner in module.named_modules():
        registered = [*owner._parameters.values(), *owner._buffers.values()]
        if any(one is found for one in registered):
            for attribute in _SIZE_ATTRIBUTES[role]:
                if type(getattr(owner, attribute, None)) is int and getattr(owner, attribute) == old:
                    yield SetAttribute(owner_name, attribute, new)


@torch.no_grad()
def _check_values(module: nn.Module, selection: Selection, pruned: nn.Module, inputs: torch.Tensor) -> None:
    """Compare the cut network with the masked original on real inputs; that it runs would prove nothing."""
    masked = copy.deepcopy(module)
    mask_(masked, selection)
    with evaluating(masked), evaluating(pruned):
        wanted = masked(inputs)
        try:
            seen = pruned(inputs)
        except Exception as error:  # any failure of the user's forward means that the cut was wrong
            raise PruneError(
                f"the pruned network fails at its forward ({type(error).__name__}: {error}); the original is "
                "unchanged. A size that is kept outside of the layers (in a view, an attribute) is the usual reason"
            ) from error
    allowed = VALUE_TOLERANCE * max(1.0, float(wanted.abs().max()))
    largest = float((seen - wanted).abs().max()) if seen.shape == wanted.shape else math.inf
    if not largest <= allowed:
        raise PruneError(
            f"the pruned network differs by {largest:.3g} (allowed {allowed:.3g}) from the same network with masked "
            "units; it was discarded, the original is unchanged"
        )


def _endless(batches: Iterable[Batch]) -> Iterator[Batch]:
    while True:
        empty = True
        for batch in batches:
            empty = False
            yield batch
        if empty:
            raise PruneError(
                "no training batches were given (an iterator that is used up? give a list or a DataLoader)"
            )

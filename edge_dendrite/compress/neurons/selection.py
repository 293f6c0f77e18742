"""Which units stay, and what the network then costs, exactly."""

from __future__ import annotations

import copy
import difflib
import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.compress.coupling.grouping import PRODUCED, Group
from edge_dendrite.config import LayerRule, PruneConfig
from edge_dendrite.errors import PruneError


@dataclass(frozen=True)
class Limits:
    """How far the groups of a tie may go: smallest width, widths in multiples, and how many units may be removed."""

    min_units: int
    step: int
    max_removed: int


class Selection:
    """Which units stay. Knows at every moment what the network costs: exactly for parameters, by the operators that
    have a rule for multiply-accumulates.

    Units leave in blocks that take the size of their dimension to the next lower multiple of `round_to`; groups that
    are tied lose equally many. cost: "parameters" or "macs", what `saving` and `amount` count.
    kept: layers that must stay as they are, and why.
    """

    def __init__(self, coupling: Coupling, config: PruneConfig, cost: str = "parameters", batch: int = 2) -> None:
        self.coupling = coupling
        self.alive: list[np.ndarray] = [np.ones(group.num_units, dtype=bool) for group in coupling.groups]
        self.kept = dict(coupling.kept)
        self._tie_of = {number: tie for tie in coupling.ties for number in tie}
        self._sizes = {name: list(shape) for name, shape in coupling.shapes.items()}
        self._counts = [group.num_units for group in coupling.groups]
        self._touched = [_touched(coupling.groups, tie, coupling.trainable) for tie in coupling.ties]
        self._tie_number = {tie: number for number, tie in enumerate(coupling.ties)}
        self._macs = WorkCount(coupling, batch)
        self._cost = cost
        self.num_parameters = sum(math.prod(self._sizes[name]) for name in coupling.trainable)
        rules = _rules_of_groups(coupling.groups, config.layers)
        self.exact = [rule.pruning_ratio if rule else None for rule in rules]
        limits = [_limits(group, config, rule) for group, rule in zip(coupling.groups, rules, strict=True)]
        self._limits = {tie: _joint([limits[number] for number in tie]) for tie in coupling.ties}
        for number, group in enumerate(coupling.groups):
            if group.normalised and not config.normalised_units:
                reason = "a mean, norm or extreme is taken over these units (as by LayerNorm); see normalised_units"
                self.lock(number, reason)

    def lock(self, number: int, reason: str) -> None:
        """The units of a group, and of all that are tied to it, stay."""
        tie = self._tie_of[number]
        self._limits[tie] = replace(self._limits[tie], max_removed=0)
        for tied in tie:
            for layer in self.coupling.groups[tied].name.split(" + "):
                self.kept.setdefault(layer, reason)

    @property
    def amount(self) -> float:
        """What the network costs now, in what `cost` counts."""
        return self.num_parameters if self._cost == "parameters" else self.num_macs

    @property
    def num_macs(self) -> float:
        """Multiply-accumulates of one input."""
        return self._macs.total(self._counts)

    def width(self, number: int) -> int:
        """Units of a group that stay."""
        return self._counts[number]

    def block(self, number: int) -> int:
        """How many units the next cut takes from a group, and from each that is tied to it; 0 when nothing may go."""
        limits, width = self._limits[self._tie_of[number]], self._counts[number]
        block = width % limits.step or limits.step
        removed = self.coupling.groups[number].num_units - width
        if width - block < limits.min_units or removed + block > limits.max_removed:
            return 0
        return block if self.saving(number, block) > 0 else 0

    def saving(self, number: int, block: int) -> float:
        """What goes with a block of units of a group and of those tied to it, in what `cost` counts."""
        tie = self._tie_of[number]
        if self._cost != "parameters":
            return self._macs.saving(self._counts, tie, block)
        touched = self._touched[self._tie_number[tie]]
        before = sum(math.prod(self._sizes[name]) for name in touched)
        for tied in tie:
            self._resize(tied, -block)
        after = sum(math.prod(self._sizes[name]) for name in touched)
        for tied in tie:
            self._resize(tied, block)
        return before - after

    def remove(self, number: int, units: list[int]) -> None:
        """Take units of one group away."""
        self._change(number, units, stays=False)

    def restore(self, number: int, units: list[int]) -> None:
        """Put units of one group back."""
        self._change(number, units, stays=True)

    def _change(self, number: int, units: list[int], *, stays: bool) -> None:
        change = len(units) if stays else -len(units)
        touched = self._touched[self._tie_number[self._tie_of[number]]]
        before = sum(math.prod(self._sizes[name]) for name in touched)
        self._resize(number, change)
        self.num_parameters += sum(math.prod(self._sizes[name]) for name in touched) - before
        self._counts[number] += change
        self.alive[number][units] = stays

    def return_block(self, number: int) -> int:
        """How many units a group has to get back for the next higher width that `block` allows."""
        gone = self.coupling.groups[number].num_units - self._counts[number]
        return min(self._limits[self._tie_of[number]].step, gone)

    def smallest(self) -> float:
        """What stays, in what `cost` counts, if every group went down to its smallest width."""
        trial = copy.copy(self)
        trial.alive = [alive.copy() for alive in self.alive]
        trial._sizes = {name: list(shape) for name, shape in self._sizes.items()}
        trial._counts = list(self._counts)
        for tie in self.coupling.ties:
            while block := trial.block(tie[0]):
                for number in tie:
                    trial.remove(number, np.flatnonzero(trial.alive[number])[:block].tolist())
        return trial.amount

    def saved_alone(self, number: int) -> tuple[int, int]:
        """(parameters, multiply-accumulates) that the removed units of one group would save with all others whole."""
        gone = self.coupling.groups[number].num_units - self._counts[number]
        touched = {one.tensor for one in self.coupling.groups[number].slices} & self.coupling.trainable
        shapes = self.coupling.shapes
        smaller = {name: list(shapes[name]) for name in touched}
        for one in self.coupling.groups[number].slices:
            if one.tensor in smaller:
                smaller[one.tensor][one.dim] -= gone * one.indices.shape[1]
        parameters = sum(math.prod(shapes[name]) - math.prod(smaller[name]) for name in touched)
        whole = [group.num_units for group in self.coupling.groups]
        return parameters, round(self._macs.saving(whole, (number,), gone))

    @property
    def locked(self) -> frozenset[int]:
        """Numbers of the groups that cannot lose a unit."""
        return frozenset(number for tie, limits in self._limits.items() if limits.max_removed == 0 for number in tie)

    def _resize(self, number: int, num_units: int) -> None:
        for one in self.coupling.groups[number].slices:
            self._sizes[one.tensor][one.dim] += num_units * one.indices.shape[1]


class WorkCount:
    """Multiply-accumulates of one input as a sum of products of widths."""

    def __init__(self, coupling: Coupling, batch: int) -> None:
        self._batch = batch
        self._terms = [(work.constant, [_widths_in(coupling, dim) for dim in work.dims]) for work in coupling.work]
        self._of_group: dict[int, set[int]] = defaultdict(set)
        for at, (_, dims) in enumerate(self._terms):
            for _, per_unit in dims:
                for number in per_unit:
                    self._of_group[number].add(at)

    def total(self, counts: list[int]) -> float:
        """With so many units in each group."""
        return sum(self._term(at, counts) for at in range(len(self._terms))) / self._batch

    def saving(self, counts: list[int], tie: tuple[int, ...], block: int) -> float:
        """What goes with a block of each group of a tie."""
        affected = set().union(*(self._of_group[number] for number in tie))
        fewer = list(counts)
        for number in tie:
            fewer[number] -= block
        return sum(self._term(at, counts) - self._term(at, fewer) for at in affected) / self._batch

    def _term(self, at: int, counts: list[int]) -> float:
        constant, dims = self._terms[at]
        return constant * math.prod(
            fixed + sum(counts[number] * each for number, each in per_unit.items()) for fixed, per_unit in dims
        )


def _widths_in(coupling: Coupling, dim: np.ndarray) -> tuple[int, dict[int, float]]:
    """(indices that stay, indices for one unit of each group) in a dimension."""
    groups = coupling.group_of[dim]
    numbers, counts = np.unique(groups[groups >= 0], return_counts=True)
    per_unit = {
        number: count / coupling.groups[number].num_units
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
    }
    return int((groups < 0).sum()), per_unit


def _joint(limits: list[Limits]) -> Limits:
    return Limits(
        max(one.min_units for one in limits),
        math.lcm(*(one.step for one in limits)),
        min(one.max_removed for one in limits),
    )


def _touched(groups: tuple[Group, ...], tie: tuple[int, ...], trainable: frozenset[str]) -> set[str]:
    return {one.tensor for number in tie for one in groups[number].slices} & trainable


def _limits(group: Group, config: PruneConfig, rule: LayerRule | None) -> Limits:
    round_to = rule.round_to if rule and rule.round_to is not None else config.round_to
    min_units = rule.min_units if rule and rule.min_units is not None else config.min_units
    # A unit that occupies four indices of its dimension keeps multiples of eight with every second one.
    produced = max((one.indices.shape[1] for one in group.slices if one.role == PRODUCED), default=1)
    step = round_to // math.gcd(round_to, produced)
    most = group.num_units
    if rule and rule.pruning_ratio is not None:
        most = math.floor(rule.pruning_ratio * group.num_units)
    return Limits(min_units, step, most)


def _rules_of_groups(groups: tuple[Group, ...], rules: tuple[LayerRule, ...]) -> list[LayerRule | None]:
    """The first rule that names a layer of each group. Raises PruneError for a rule that names no layer."""
    layers = {number: group.name.split(" + ") for number, group in enumerate(groups)}
    names = sorted({layer for one in layers.values() for layer in one})
    for rule in rules:
        if not any(_matches(rule, name) for name in names):
            close = difflib.get_close_matches(rule.layer, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"layers with units that can go: {', '.join(names)}"
            raise PruneError(f"the rule for {rule.layer!r} names no layer that can be pruned; {hint}")
    return [
        next((rule for rule in rules if any(_matches(rule, layer) for layer in layers[number])), None)
        for number in range(len(groups))
    ]


def _matches(rule: LayerRule, name: str) -> bool:
    return rule.layer == name or re.fullmatch(rule.layer, name) is not None


def kinds_of_groups(coupling: Coupling) -> list[int]:
    """The type of each group: how many dimensions its producing weights have (2 linear, 4 convolution in the plane)."""
    return [
        max((len(coupling.shapes[one.tensor]) for one in group.slices if one.role == PRODUCED), default=0)
        for group in coupling.groups
    ]

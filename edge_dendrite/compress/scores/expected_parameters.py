"""How many parameters a network has on average when every unit stays with a probability of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.errors import PruneError


@dataclass(frozen=True)
class _Dim:
    """A dimension of a tensor: `fixed` indices, and for each group how many belong to one unit."""

    fixed: int
    per_unit: Mapping[int, int]

    def shares(self, other: _Dim) -> bool:
        return not self.per_unit.keys().isdisjoint(other.per_unit)


class ExpectedParameters:
    """The expected number of trainable parameters, exactly and with gradients, for units that stay independently.

    A tensor has as many values as the product of its dimensions. Dimensions of different groups are independent; where
    units of one group stand in two of them (recurrent weights, shared layers), their covariance is added. Raises
    PruneError for a tensor in which one group has three dimensions.
    """

    def __init__(self, coupling: Coupling) -> None:
        per_unit: dict[tuple[str, int], dict[int, int]] = {}
        for number, group in enumerate(coupling.groups):
            for one in group.slices:
                if one.tensor in coupling.trainable:
                    per_unit.setdefault((one.tensor, one.dim), {})[number] = one.indices.shape[1]
        self._constant = 0
        self._products: list[tuple[int, list[_Dim]]] = []
        for name in coupling.trainable:
            dims = []
            constant = 1
            for at, size in enumerate(coupling.shapes[name]):
                if own := per_unit.get((name, at)):
                    tracked = sum(coupling.groups[number].num_units * count for number, count in own.items())
                    dims.append(_Dim(size - tracked, own))
                else:
                    constant *= size
            if dims:
                self._products.append((constant, dims))
                _check_pairs(name, dims)
            else:
                self._constant += constant
        self.total = sum(math.prod(coupling.shapes[name]) for name in coupling.trainable)

    def __call__(self, keep: Sequence[torch.Tensor]) -> torch.Tensor:
        """The expectation, a float64 number, for the probabilities `keep` (num_units,) of each group."""
        means = [one.double().sum() for one in keep]
        variances = [(one.double() * (1.0 - one.double())).sum() for one in keep]
        terms = [constant * _product(dims, means, variances) for constant, dims in self._products]
        return torch.stack(terms).sum() + self._constant if terms else torch.tensor(float(self._constant))


def _product(dims: Sequence[_Dim], means: Sequence[torch.Tensor], variances: Sequence[torch.Tensor]) -> torch.Tensor:
    """Expectation of a product of dimensions, each of which shares groups with one other at most."""
    result: torch.Tensor | float = 1.0
    rest = list(dims)
    while rest:
        first = rest.pop(0)
        factor = _mean(first, means)
        for partner in [dim for dim in rest if dim.shares(first)]:
            rest.remove(partner)
            factor = factor * _mean(partner, means) + sum(
                count * partner.per_unit[number] * variances[number]
                for number, count in first.per_unit.items()
                if number in partner.per_unit
            )
        result = result * factor
    assert isinstance(result, torch.Tensor)
    return result


def _mean(dim: _Dim, means: Sequence[torch.Tensor]) -> torch.Tensor:
    return (
        sum((count * means[number] for number, count in dim.per_unit.items()), torch.zeros_like(means[0])) + dim.fixed
    )


def _check_pairs(name: str, dims: Sequence[_Dim]) -> None:
    for dim in dims:
        if sum(dim.shares(other) for other in dims) > 2:
            raise PruneError(
                f"{name}: three of its dimensions belong to the same units, so its expected size is not known; choose "
                "a score that needs no learned masks"
            )

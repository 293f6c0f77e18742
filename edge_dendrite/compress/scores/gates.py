"""Random gates on units: how they are drawn, with which probability they stay open, and what they multiply."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.compress.scores.importance import gate_slices

# The interval to which a concrete variable is stretched (Louizos et al. 2018, section 4.1).
STRETCH_LOW, STRETCH_HIGH = -0.1, 1.1


@dataclass(frozen=True)
class HardConcrete:
    """Gates of Louizos, Welling and Kingma 2018, "Learning Sparse Neural Networks through L0 Regularization".

    A gate is 0 or 1 with a probability of its own, or between; it has a gradient wherever it is between.
    """

    temperature: float

    def draw(self, logits: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Gates for uniform noise from 0 to 1, as logits; equations 10 and 11."""
        concrete = torch.sigmoid((torch.logit(noise) + logits) / self.temperature)
        return (concrete * (STRETCH_HIGH - STRETCH_LOW) + STRETCH_LOW).clamp(0.0, 1.0)

    def open_probability(self, logits: torch.Tensor) -> torch.Tensor:
        """Probability of a gate that is not zero; equation 12."""
        return torch.sigmoid(logits - self.shift)

    def logit_of(self, probability: float) -> float:
        """The logit for which a gate is not zero with this probability."""
        return math.log(probability / (1.0 - probability)) + self.shift

    @property
    def shift(self) -> float:
        return self.temperature * math.log(-STRETCH_LOW / STRETCH_HIGH)


@dataclass(frozen=True)
class StraightThrough:
    """Gates of Bengio, Leonard and Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons".

    A gate is 0 or 1, drawn with its probability; the gradient passes to the probability as if the gate were it.
    """

    def draw(self, logits: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Gates for uniform noise from 0 to 1, as logits."""
        probability = torch.sigmoid(logits)
        return (noise < probability).to(logits) + (probability - probability.detach())

    def open_probability(self, logits: torch.Tensor) -> torch.Tensor:
        """Probability of a gate that is one."""
        return torch.sigmoid(logits)

    def logit_of(self, probability: float) -> float:
        """The logit for which a gate is one with this probability."""
        return math.log(probability / (1.0 - probability))


class GatedWeights:
    """Where the gates of all units stand: on the weights that read what the units send."""

    def __init__(self, coupling: Coupling, locked: Collection[int]) -> None:
        self._sizes = [group.num_units for group in coupling.groups]
        self._locked = frozenset(locked)
        places: dict[tuple[str, int], list[tuple[np.ndarray, np.ndarray]]] = {}
        start = 0
        for number, group in enumerate(coupling.groups):
            units = np.arange(start, start + group.num_units)
            start += group.num_units
            for one in () if number in self._locked else gate_slices(group):
                repeated: np.ndarray = np.repeat(units, one.indices.shape[1])
                places.setdefault((one.tensor, one.dim), []).append((one.indices.ravel(), repeated))
        self._places = {
            place: (
                coupling.shapes[place[0]][place[1]],
                torch.from_numpy(np.concatenate([indices for indices, _ in parts])),
                torch.from_numpy(np.concatenate([units for _, units in parts])),
            )
            for place, parts in places.items()
        }
        self.names = frozenset(name for name, _ in self._places)

    @property
    def num_units(self) -> int:
        """Units of all groups."""
        return sum(self._sizes)

    def per_group(self, values: torch.Tensor) -> list[torch.Tensor]:
        """Values of all units (num_units,), group by group; ones where units are locked."""
        return [
            torch.ones_like(part) if number in self._locked else part
            for number, part in enumerate(values.split(self._sizes))
        ]

    def apply(self, weights: Mapping[str, torch.Tensor], gates: torch.Tensor) -> dict[str, torch.Tensor]:
        """The weights by name, those that read units multiplied with the units' gates (num_units,)."""
        gated = dict(weights)
        for (name, dim), (size, indices, units) in self._places.items():
            device = gates.device
            factors = torch.ones(size, device=device).index_copy(0, indices.to(device), gates[units.to(device)])
            shape = [1] * gated[name].dim()
            shape[dim] = size
            gated[name] = gated[name] * factors.to(gated[name].dtype).view(shape)
        return gated

"""Neurons in equal groups, each with the inputs that are worth most to it. Takes any scores of connections.

Shape suffixes: n neurons, c inputs, g groups, m neurons per group, k inputs per group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from edge_dendrite.compress.connections.dense_layers import DenseLayer

_MAX_STEPS = 20  # of the partition; scores without any structure settle later, with little left to gain


@dataclass(frozen=True)
class Grouping:
    """A partition: neurons (groups, neurons per group), inputs (groups, inputs per group), and the score it keeps."""

    neurons: np.ndarray
    inputs: np.ndarray
    kept_score: float

    def num_weights(self, layer: DenseLayer) -> int:
        """Weights that a layer has in this form."""
        return layer.num_neurons * self.inputs.shape[1] * layer.kernel


def partition(scores_nc: np.ndarray, num_groups: int, inputs_per_group: int) -> Grouping:
    """Divide neurons into equal groups and give each its best inputs, so that much of the score is kept.

    As k-means with equal sizes: the groups' inputs, then the best assignment of neurons to places in groups (Hungarian
    method), in turn; neither step can lower the kept score. Deterministic. `num_groups` must divide the neurons.
    """
    num_neurons = len(scores_nc)
    inputs_gk = _first_inputs(scores_nc, num_groups, inputs_per_group)
    places: np.ndarray = np.repeat(np.arange(num_groups), num_neurons // num_groups)
    best: Grouping | None = None
    for _ in range(_MAX_STEPS):
        worth_ng = scores_nc[:, inputs_gk].sum(2)
        rows, columns = linear_sum_assignment(worth_ng[:, places], maximize=True)
        group_n: np.ndarray = np.empty(num_neurons, np.int64)
        group_n[rows] = places[columns]
        found = _with_inputs(scores_nc, np.argsort(group_n, kind="stable").reshape(num_groups, -1), inputs_per_group)
        if best is not None and found.kept_score <= best.kept_score * (1 + 1e-12):
            break
        best, inputs_gk = found, found.inputs
    assert best is not None
    return best


def partitions(scores_nc: np.ndarray, forms: Sequence[tuple[int, int]]) -> list[Grouping]:
    """A partition for each form; fewer inputs for as many groups leave the neurons where they are."""
    found: list[Grouping] = []
    for count, size in forms:
        if found and len(found[-1].neurons) == count:
            found.append(_with_inputs(scores_nc, found[-1].neurons, size))
        else:
            found.append(partition(scores_nc, count, size))
    return found


def _with_inputs(scores_nc: np.ndarray, neurons_gm: np.ndarray, inputs_per_group: int) -> Grouping:
    """Each group with the inputs that are worth most to all its neurons together."""
    sums_gc = scores_nc[neurons_gm].sum(1)
    inputs_gk = _largest(sums_gc, inputs_per_group)
    return Grouping(neurons_gm, inputs_gk, float(np.take_along_axis(sums_gc, inputs_gk, 1).sum()))


def _first_inputs(scores_nc: np.ndarray, num_groups: int, inputs_per_group: int) -> np.ndarray:
    """The best inputs of one neuron per group: the strongest neuron, then each time the one least served so far."""
    totals = scores_nc.sum(1)
    chosen = [int(totals.argmax())]
    served = np.zeros(len(scores_nc))
    while len(chosen) < num_groups:
        inputs = _largest(scores_nc[chosen[-1:]], inputs_per_group)[0]
        served = np.maximum(served, scores_nc[:, inputs].sum(1))
        missing = totals - served
        missing[chosen] = -np.inf
        chosen.append(int(missing.argmax()))
    return _largest(scores_nc[chosen], inputs_per_group)


def _largest(scores_gc: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` largest of each row, ascending; of equals the first."""
    return np.sort(np.argsort(-scores_gc, axis=1, kind="stable")[:, :count], axis=1)

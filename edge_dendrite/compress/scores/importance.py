"""What a unit is worth: one entry for all scores, and the contribution to the loss to first order.

Scores by weights alone are in magnitude.py, by activations in activation.py, trained masks in learned_masks.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.compress.coupling.grouping import CONTRACTED, PRODUCED, Group, Slices
from edge_dendrite.compress.forward import forward
from edge_dendrite.compress.plan import find_tensor
from edge_dendrite.compress.scores.activation import activation_scores, separate_steps
from edge_dendrite.compress.scores.magnitude import (
    batch_norm_scales,
    bn_scale_scores,
    fpgm_scores,
    has_scale,
    l1_scores,
    l2_scores,
    lamp_scores,
)
from edge_dendrite.config import SCORES
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating

# (outputs of the network, targets) to a number.
Loss = Callable[[Any, Any], torch.Tensor]

_OF_WEIGHTS: dict[str, Callable[[nn.Module, Group], torch.Tensor]] = {
    "l1": l1_scores,
    "l2": l2_scores,
    "lamp": lamp_scores,
    "fpgm": fpgm_scores,
}


def unit_scores(
    module: nn.Module,
    coupling: Coupling,
    method: str,
    batches: Iterable[Batch],
    loss: Loss,
    *,
    seed: int = 0,
    locked: Collection[int] = (),
) -> list[torch.Tensor]:
    """One score per unit for each group, (num_units,) in float64; a larger one is worth more. `module` is unchanged.

    method: one of config.SCORES. batches are read by taylor and activation only, loss by taylor only, seed by random
    only.
    locked: numbers of groups that stay whatever their score; it is zero.
    Raises PruneError for a group that the method cannot score (see `reasons_against`) and that is not locked, for
    scores that are not finite, and when a method that reads batches gets none.
    """
    if method not in SCORES:
        raise PruneError(f"unknown score {method!r}; known: {', '.join(SCORES)}")
    for number, reason in reasons_against(coupling, method).items():
        if number not in locked:
            raise PruneError(
                f"score {method!r} does not know the units of {coupling.groups[number].name!r}: {reason}; "
                "choose another score, or let this layer stay"
            )
    if method == "taylor":
        scores = taylor_scores(module, coupling, _not_empty(batches, method), loss, locked)
    elif method == "activation":
        scores = activation_scores(module, coupling, _not_empty(batches, method), locked)
    elif method == "random":
        scores = _random_scores(coupling, seed)
    else:
        scores = _weight_scores(module, coupling, method, locked)
    for number in locked:
        scores[number].zero_()
    _check_finite(coupling, method, scores)
    return scores


def reasons_against(coupling: Coupling, method: str) -> dict[int, str]:
    """Numbers of the groups that a method says nothing about, with the reason; they should stay.

    Network slimming prunes only what a batch norm scales (Liu et al. 2017); any other number in its place would not be
    comparable with a scale.
    """
    if method != "bn_scale":
        return {}
    scales = batch_norm_scales(coupling)
    return {
        number: "no batch norm with a scale stands on them"
        for number, group in enumerate(coupling.groups)
        if not has_scale(group, scales)
    }


def taylor_scores(
    module: nn.Module,
    coupling: Coupling,
    batches: Iterable[Batch],
    loss: Loss,
    locked: Collection[int] = (),
) -> list[torch.Tensor]:
    """One score per unit for each group, (num_units,) in float64; a larger one means a larger loss without the unit.

    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", method with gates: a gate of value 1
    multiplies what a unit sends to its consumers; the score is the squared derivative of the loss with respect to
    it, averaged over batches. The derivative is taken on the consumers' weights (sum of weight * gradient over the
    inputs that belong to the unit), where it is exact whatever lies between: batch norm, pooling, additions.
    Frozen weights count as the others do. Raises PruneError for a loss that no weight has a gradient of.
    """
    gates = [[] if number in locked else gate_slices(group) for number, group in enumerate(coupling.groups)]
    weights = _weights(module, [one for parts in gates for one in parts])
    totals = [torch.zeros(group.num_units, dtype=torch.float64) for group in coupling.groups]
    num_batches = 0
    with evaluating(module), with_gradients(weights.values()), separate_steps(coupling):
        for inputs, targets in batches:
            gradients = loss_gradients(loss(forward(module, inputs), targets), weights)
            derivatives = _derivatives(weights, gradients, gates)
            for total, parts in zip(totals, gates, strict=True):
                total += sum(
                    (
                        derivatives[one.tensor, one.dim][torch.from_numpy(one.indices)].sum(1)
                        for one in parts
                        if (one.tensor, one.dim) in derivatives
                    ),
                    torch.zeros_like(total),
                ).square()
            num_batches += 1
    return [total / max(num_batches, 1) for total in totals]


def gate_slices(group: Group) -> list[Slices]:
    """Where gates on what units send stand: on the weights that read them or, if none do, on those that make them."""
    reading = [one for one in group.slices if one.role == CONTRACTED]
    return reading or [one for one in group.slices if one.role == PRODUCED]


@contextlib.contextmanager
def with_gradients(weights: Iterable[torch.Tensor]) -> Iterator[None]:
    """For a while gradients are made for these weights, frozen or not."""
    before = [(weight, weight.requires_grad) for weight in weights]
    try:
        for weight, _ in before:
            weight.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for weight, required in before:
            weight.requires_grad_(required)


def loss_gradients(value: torch.Tensor, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gradients of a loss by the weights that it depends on. The weights' own `grad` is not touched.

    Raises PruneError for a loss without gradients.
    """
    if not weights:
        return {}
    if not value.requires_grad or value.numel() != 1:
        raise PruneError(
            f"the loss must be one number with a gradient, not a tensor of shape {tuple(value.shape)}"
            f"{'' if value.requires_grad else ' without one'}; does the forward or the loss use no_grad or detach?"
        )
    found = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
    return {name: one for name, one in zip(weights, found, strict=True) if one is not None}


def _weights(module: nn.Module, slices: Iterable[Slices]) -> dict[str, torch.Tensor]:
    found = {one.tensor: find_tensor(module, one.tensor) for one in slices}
    return {name: weight for name, weight in found.items() if weight is not None}


def _derivatives(
    weights: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor], gates: Iterable[Iterable[Slices]]
) -> dict[tuple[str, int], torch.Tensor]:
    """For every dimension with gates the sum of weight * gradient over the others, (size,); each only once."""
    dims: dict[str, set[int]] = {}
    for parts in gates:
        for one in parts:
            dims.setdefault(one.tensor, set()).add(one.dim)
    found = {}
    for name, gradient in gradients.items():
        product = (weights[name].detach() * gradient).double()
        for dim in dims[name]:
            others = [other for other in range(product.dim()) if other != dim]
            found[name, dim] = (product.sum(others) if others else product).cpu()
    return found


def _weight_scores(module: nn.Module, coupling: Coupling, method: str, locked: Collection[int]) -> list[torch.Tensor]:
    scales = batch_norm_scales(coupling) if method == "bn_scale" else frozenset()
    scores = []
    for number, group in enumerate(coupling.groups):
        if number in locked:
            scores.append(torch.zeros(group.num_units, dtype=torch.float64))
        elif method == "bn_scale":
            scores.append(bn_scale_scores(module, group, scales))
        else:
            scores.append(_OF_WEIGHTS[method](module, group))
    return scores


def _random_scores(coupling: Coupling, seed: int) -> list[torch.Tensor]:
    """Uniform from 0 to 1."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(group.num_units, generator=generator, dtype=torch.float64) for group in coupling.groups]


def _not_empty(batches: Iterable[Batch], method: str) -> Iterator[Batch]:
    empty = True
    for batch in batches:
        empty = False
        yield batch
    if empty:
        raise PruneError(f"score {method!r} needs training batches, and none were given")


def _check_finite(coupling: Coupling, method: str, scores: Iterable[torch.Tensor]) -> None:
    broken = [
        group.name
        for group, score in zip(coupling.groups, scores, strict=True)
        if not bool(torch.isfinite(score).all())
    ]
    if broken:
        cause = {
            "taylor": "the loss or its gradients are NaN or infinite",
            "activation": "what these layers send is NaN or infinite",
        }.get(method, "their weights are NaN or infinite")
        named = ", ".join(broken[:3]) + (f" and {len(broken) - 3} more" if len(broken) > 3 else "")
        raise PruneError(f"scores by {method} are not finite for {named}: {cause}")

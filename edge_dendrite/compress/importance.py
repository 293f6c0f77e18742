"""What a unit is worth: its contribution to the loss, to first order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from edge_dendrite.compress.coupling import CONTRACTED, PRODUCED, Coupling, Group
from edge_dendrite.compress.plan import find_tensor
from edge_dendrite.train.evaluate import evaluating

Batch = tuple[torch.Tensor, torch.Tensor]


def taylor_scores(
    module: nn.Module,
    coupling: Coupling,
    batches: Iterable[Batch],
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> list[torch.Tensor]:
    """One score per unit for each group, (num_units,) in float64; a larger one means a larger loss without the unit.

    Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", method with gates: a gate of value 1
    multiplies what a unit sends to its consumers; the score is the squared derivative of the loss with respect to
    it, averaged over batches. The derivative is taken on the consumers' weights (sum of weight * gradient over the
    inputs that belong to the unit), where it is exact whatever lies between: batch norm, pooling, additions.
    """
    totals = [torch.zeros(group.num_units, dtype=torch.float64) for group in coupling.groups]
    num_batches = 0
    with evaluating(module):
        for inputs, targets in batches:
            module.zero_grad(set_to_none=True)
            loss(module(inputs), targets).backward()
            for total, group in zip(totals, coupling.groups, strict=True):
                total += _gate_gradients(module, group) ** 2
            num_batches += 1
    module.zero_grad(set_to_none=True)
    return [total / max(num_batches, 1) for total in totals]


def _gate_gradients(module: nn.Module, group: Group) -> torch.Tensor:
    """Derivative of the loss by each unit's gate, (num_units,)."""
    consumers = [one for one in group.slices if one.role == CONTRACTED]
    gates = torch.zeros(group.num_units, dtype=torch.float64)
    for part in consumers or [one for one in group.slices if one.role == PRODUCED]:
        weight = find_tensor(module, part.tensor)
        if weight is None or weight.grad is None:
            continue
        product = (weight.detach() * weight.grad).double().cpu()
        others = [dim for dim in range(product.dim()) if dim != part.dim]
        per_index = product.sum(others) if others else product
        gates += per_index[torch.from_numpy(part.indices)].sum(1)
    return gates

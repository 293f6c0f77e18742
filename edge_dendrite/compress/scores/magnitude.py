"""What units are worth by weights alone: magnitudes, batch-norm scales, distances between filters.

The filter of a unit is everything that makes it: its part of every producing weight and of every depthwise one,
without biases. A channel that several layers write into (a residual stream) has one filter, which joins theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.export.graph_signature import InputKind

from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.compress.coupling.grouping import CARRIED, DEPTHWISE, PRODUCED, Group, Slices
from edge_dendrite.compress.plan import find_tensor

# Columns of filters that are held in double precision at a time.
_CHUNK = 8192


def l1_scores(module: nn.Module, group: Group) -> torch.Tensor:
    """Sum of the absolute weights of each unit's filter, (num_units,).

    Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1. They compare filters of one layer: between
    layers the sum grows with the size of the filter.
    """
    return _sum_of_powers(module, group, 1)


def l2_scores(module: nn.Module, group: Group) -> torch.Tensor:
    """Euclidean norm of each unit's filter, (num_units,). As l1_scores; Li et al. 2017, section 4.4."""
    return _sum_of_powers(module, group, 2).sqrt()


def lamp_scores(module: nn.Module, group: Group) -> torch.Tensor:
    """Layer-adaptive magnitude of each unit, (num_units,): from 0 to 1, and 1 for the largest.

    Lee et al. 2021, "Layer-adaptive Sparsity for the Magnitude-based Pruning", equation 3: the square of a weight,
    divided by the sum of the squares of all weights of its layer that are not smaller. They score single weights; here
    the squared Euclidean norm of a unit's filter takes the place of the squared weight, and the group that of the
    layer. The scores stay what they are when all filters of a group are scaled, so groups can be compared. Of equal
    filters the earlier one counts as smaller.
    """
    squares = _sum_of_powers(module, group, 2)
    order = squares.argsort(stable=True)
    not_smaller = squares[order].flip(0).cumsum(0).flip(0)
    scores = torch.empty_like(squares)
    scores[order] = squares[order] / torch.where(not_smaller == 0, 1.0, not_smaller)
    return scores


def fpgm_scores(module: nn.Module, group: Group) -> torch.Tensor:
    """Sum of the Euclidean distances of each unit's filter to all others of its group, (num_units,).

    He et al. 2019, "Filter Pruning via Geometric Median", equation 8: the filters with the smallest sum are nearest to
    the geometric median, so the others can stand in for them. As with l1, filters of one layer are compared.
    """
    squares = torch.zeros(group.num_units, group.num_units, dtype=torch.float64)
    for columns in _filter_columns(module, group):
        # Distances do not change when all filters move; near zero their squares lose fewer digits.
        columns = columns - columns.mean(0)
        squares = squares.to(columns.device)
        norms = columns.square().sum(1)
        squares += norms[:, None] + norms[None, :] - 2.0 * (columns @ columns.T)
    squares.fill_diagonal_(0.0)
    return squares.clamp(min=0.0).sqrt().sum(1).cpu()


def bn_scale_scores(module: nn.Module, group: Group, scales: frozenset[str]) -> torch.Tensor:
    """Absolute batch-norm scale of each unit, (num_units,); the mean where a unit passes several batch norms.

    Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", section 3. They train with an
    L1 penalty on the scales before. scales: names of the tensors that are batch-norm scales, see `batch_norm_scales`;
    the group must carry one.
    """
    found = [
        _per_unit(_weight(module, one).detach().abs().double().cpu(), one) / one.indices.shape[1]
        for one in _scale_slices(group, scales)
    ]
    return torch.stack(found).mean(0)


def has_scale(group: Group, scales: frozenset[str]) -> bool:
    """Whether the units of a group carry one of these scales."""
    return bool(_scale_slices(group, scales))


def batch_norm_scales(coupling: Coupling) -> frozenset[str]:
    """Names of the tensors that the network uses as scale of a batch norm (or instance norm).

    Read from the traced graph: what a tensor is used for counts, not the class or the name of the module that holds it.
    """
    signature = coupling.program.graph_signature
    names = {spec.arg.name: str(spec.target) for spec in signature.input_specs if spec.kind == InputKind.PARAMETER}
    found = set()
    for node in coupling.program.graph.nodes:
        if node.op == "call_function" and any(
            one in str(node.target) for one in ("aten.batch_norm", "_native_batch_norm_legit", "aten.instance_norm")
        ):
            scale = node.args[1] if len(node.args) > 1 else node.kwargs.get("weight")
            if isinstance(scale, torch.fx.Node) and scale.name in names:
                found.add(names[scale.name])
    return frozenset(found)


def _scale_slices(group: Group, scales: frozenset[str]) -> list[Slices]:
    return [one for one in group.slices if one.role == CARRIED and one.tensor in scales]


def _filters(group: Group) -> list[Slices]:
    return [one for one in group.slices if one.role in (PRODUCED, DEPTHWISE)]


def _sum_of_powers(module: nn.Module, group: Group, power: int) -> torch.Tensor:
    """Sum of |weight| ** power over each unit's filter, (num_units,)."""
    total = torch.zeros(group.num_units, dtype=torch.float64)
    for one in _filters(group):
        weight = _weight(module, one).detach()
        others = [dim for dim in range(weight.dim()) if dim != one.dim]
        if others:
            norms = torch.linalg.vector_norm(weight, power, dim=others, dtype=torch.float64)
        else:
            norms = weight.abs().double()
        total += _per_unit(norms.cpu() ** power, one)
    return total


def _filter_columns(module: nn.Module, group: Group) -> Iterator[torch.Tensor]:
    """The filters (num_units, weights) in float64, some columns at a time."""
    for one in _filters(group):
        weight = _weight(module, one).detach()
        indices = torch.from_numpy(one.indices.ravel()).to(weight.device)
        rows = weight.movedim(one.dim, 0).flatten(1) if weight.dim() > 1 else weight[:, None]
        for columns in rows.split(max(_CHUNK // one.indices.shape[1], 1), 1):
            yield columns[indices].reshape(group.num_units, -1).double()


def _per_unit(per_index: torch.Tensor, one: Slices) -> torch.Tensor:
    return per_index[torch.from_numpy(one.indices)].sum(1)


def _weight(module: nn.Module, one: Slices) -> torch.Tensor:
    weight = find_tensor(module, one.tensor)
    assert weight is not None, f"{one.tensor}: the coupling is of another network"
    return weight

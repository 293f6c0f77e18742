"""The dense layers of a network that can be replaced, why the others stay, and what their connections are worth.

Nothing is traced: one forward is watched. A layer counts only if it is called as a module and nothing else reads its
weight, so functional calls, tied weights and fast paths of torch's own blocks leave a layer alone.
"""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from edge_dendrite.compress.agreement import difference
from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.connections.layer_watch import Watch, watch_layers
from edge_dendrite.compress.forward import Inputs, arguments, check_weights, first_samples, forward, tensors_of
from edge_dendrite.compress.layers.sparse import kept_connections, reason_against
from edge_dendrite.compress.plan import Plan, Replace, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import Budget
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating
from edge_dendrite.train.fit import Loss

# Blocks of torch that read their layers' weights by themselves in evaluation mode.
_FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer)


@dataclass(frozen=True)
class DenseLayer:
    """A layer whose connections can be chosen.

    kernel: positions of its kernel, 1 for a linear layer. map_size: features that come from one channel where a linear
    layer stands behind a flatten, else 1. num_positions: places of one sample at which a linear layer is applied.
    """

    name: str
    num_neurons: int
    num_inputs: int
    kernel: int
    is_linear: bool
    map_size: int = 1
    num_positions: int = 1

    @property
    def num_weights(self) -> int:
        """Without the bias, which stays."""
        return self.num_neurons * self.num_inputs * self.kernel


def find_dense_layers(module: nn.Module, inputs: Inputs) -> tuple[tuple[DenseLayer, ...], dict[str, str]]:
    """(layers that can be replaced, in the order of their first call; name of every other layer -> the reason).

    Raises PruneError when the forward of `module` fails on `inputs`.
    """
    check_weights(module)
    candidates: dict[str, Any] = {}
    kept: dict[str, str] = {}
    for name, part in module.named_modules():
        if reason := reason_against(part):
            if parametrize.is_parametrized(part) or _has_matrix(part):
                kept[name or "the network itself"] = reason
        elif part is module:
            kept["the network itself"] = "it is a single layer; put it into a container"
        else:
            candidates[name] = part
    watch = watch_layers(module, candidates, inputs)
    layers = []
    for name, part in candidates.items():
        if reason := _reason_against(module, name, watch):
            kept[name] = reason
        else:
            layers.append(_describe(name, part, watch.calls[name]))
    order = list(watch.calls)
    return tuple(sorted(layers, key=lambda one: order.index(one.name))), kept


def resolve_parameters(module: nn.Module, budget: Budget) -> tuple[int, int]:
    """(parameters of `module`, parameters that may stay). Raises PruneError for a budget in anything else."""
    if budget.cost != "parameters":
        raise PruneError(
            "segments, groups and branches are chosen for a number of parameters; give pruning_ratio or max_parameters"
        )
    start = sum(parameter.numel() for parameter in module.parameters())
    return start, int(budget.resolve(start))


def _has_matrix(part: nn.Module) -> bool:
    is_inner = isinstance(part, parametrize.ParametrizationList)  # the layer around it is named instead
    return not is_inner and any(one.dim() > 1 for one in part._parameters.values() if one is not None)


def connection_gradients(module: nn.Module, layer: DenseLayer) -> np.ndarray:
    """Derivative of the loss by a gate on each connection, (neurons, inputs): weight * gradient over the kernel."""
    weight = module.get_submodule(layer.name).weight
    if weight.grad is None:
        return np.zeros((layer.num_neurons, layer.num_inputs))
    product = (weight.detach() * weight.grad).double()
    return product.flatten(2).sum(2).cpu().numpy() if product.dim() > 2 else product.cpu().numpy()


def gradients_of_batches(module: nn.Module, batches: Iterable[Batch], loss: Loss) -> Iterator[None]:
    """After each step the weights of `module` hold the gradient of one more batch; evaluation mode meanwhile."""
    with evaluating(module):
        for inputs, targets in batches:
            module.zero_grad(set_to_none=True)
            loss(forward(module, inputs), targets).backward()
            yield
    module.zero_grad(set_to_none=True)


def mean_over_batches(
    module: nn.Module,
    layers: Sequence[DenseLayer],
    batches: Iterable[Batch],
    loss: Loss,
    squared: Callable[[int, np.ndarray], np.ndarray],
) -> list[np.ndarray]:
    """For each layer the mean of `squared(number of the layer, connection gradients)`. Raises PruneError for NaN."""
    totals: list[Any] = [0.0] * len(layers)
    count = 0
    for _ in gradients_of_batches(module, batches, loss):
        for number, layer in enumerate(layers):
            totals[number] = totals[number] + squared(number, connection_gradients(module, layer))
        count += 1
    scores = [np.asarray(total) / max(count, 1) for total in totals]
    if not all(bool(np.isfinite(score).all()) for score in scores):
        raise PruneError("scores are not finite: the network's loss or its gradients are NaN or infinite")
    return scores


@torch.no_grad()
def mask_connections_(module: nn.Module, name: str, kept_nc: torch.Tensor) -> None:
    """Zero the weights of all (neuron, input) pairs that are not kept."""
    weight = module.get_submodule(name).weight
    weight.mul_(kept_nc.to(weight).view(*kept_nc.shape, *[1] * (weight.dim() - 2)))


def replaced_network(module: nn.Module, plan: Plan, inputs: Inputs) -> nn.Module:
    """A copy of `module` with the plan's replacements, whose values were compared with the masked dense network.

    Raises PruneError when they differ on `inputs` (see proof.py), or the new forward fails.
    """
    masked, small = copy.deepcopy(module), apply_plan_(copy.deepcopy(module), plan)
    for edit in plan.edits:
        if isinstance(edit, Replace):
            shape = masked.get_submodule(edit.module).weight.shape
            mask_connections_(masked, edit.module, kept_connections(edit.settings, shape))
    with evaluating(masked), evaluating(small), torch.no_grad():
        wanted = tensors_of(forward(masked, inputs))
        try:
            seen = tensors_of(forward(small, inputs))
        except Exception as error:  # any failure of the user's forward means that a layer cannot be replaced
            raise PruneError(
                f"the network with replaced layers fails at its forward ({type(error).__name__}: {error}); the "
                "original is unchanged. A forward that reads attributes of its layers is the usual reason"
            ) from error
    if problem := difference(wanted, seen):
        raise PruneError(f"{problem}; it was discarded, the original is unchanged")
    return small


@torch.no_grad()
def with_savings(plan: Plan, module: nn.Module, small: nn.Module, inputs: Inputs) -> Plan:
    """The plan whose lines say what each replaced layer saves in the network `small`."""
    positional, keywords = arguments(first_samples(inputs, 1))
    if keywords:
        return plan
    before, after = (measure_stats(one, positional).layers for one in (module, small))
    lines = []
    for line in plan.layers:
        name = line.layer.rpartition(" (")[0]
        old, new = (
            [layer for layer in layers if f"{layer.name}.".startswith(f"{name}.")] for layers in (before, after)
        )
        if old and new:
            line = replace(
                line,
                parameters_saved=sum(one.num_parameters for one in old) - sum(one.num_parameters for one in new),
                macs_saved=sum(one.num_macs for one in old) - sum(one.num_macs for one in new),
            )
        lines.append(line)
    return replace(plan, layers=tuple(lines))


def first_and_all(stream: Iterator[Batch]) -> tuple[Inputs, Iterator[Batch]]:
    """(the inputs of the first batch, the whole stream)."""
    first = next(stream)
    return first[0], itertools.chain([first], stream)


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Whether a layer is among those of a config: names or regular expressions, none for all."""
    return not patterns or any(one == name or re.fullmatch(one, name) for one in patterns)


def names_of(kept: dict[str, str]) -> str:
    """For messages: the layers that stay, each with its reason."""
    return "; ".join(f"{name} ({reason})" for name, reason in kept.items()) or "none"


def reason_of_use(module: nn.Module, name: str, watch: Watch, *, may_be_read: bool = False) -> str | None:
    """Why a layer or block must stay as it is, from how it was used; None when something may take its place.

    may_be_read: its weight stays, so that whoever reads it reads the same.
    """
    layer = module.get_submodule(name)
    own = {id(one) for one in layer.parameters()}
    inside = set(layer.modules())
    if any(id(one) in own for other in module.modules() if other not in inside for one in other._parameters.values()):
        return "another layer shares its weight"
    if name in watch.read_elsewhere and not may_be_read:
        return "its weight is read outside of it"
    return "it is not called as a layer" if name not in watch.calls else None


def _reason_against(module: nn.Module, name: str, watch: Watch) -> str | None:
    layer = module.get_submodule(name)
    if any(isinstance(owner, _FUSED) and layer in list(owner.modules()) for owner in module.modules()):
        return "torch's attention blocks read its weight by themselves"
    if reason := reason_of_use(module, name, watch):
        return reason
    if name in watch.called_by_keyword:
        return "it is called with a keyword, which its replacement does not know"
    return None


def _describe(name: str, layer: Any, calls: list[tuple[int, int]]) -> DenseLayer:
    num_neurons, num_inputs, *kernel = layer.weight.shape
    is_linear = isinstance(layer, nn.Linear)
    map_sizes = {map_size for map_size, _ in calls}
    return DenseLayer(
        name,
        num_neurons,
        num_inputs,
        math.prod(kernel),
        is_linear,
        map_size=map_sizes.pop() if is_linear and len(map_sizes) == 1 else 1,
        num_positions=max(positions for _, positions in calls) if is_linear else 1,
    )

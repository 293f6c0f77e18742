"""Branching: dense layers become dendritic branches and a soma, fitted to what the layers compute on real data.

Source of the form: Chavlis and Poirazi 2025, Nature Communications 16:943 (restricted receptive fields, a nonlinearity
for each branch, a soma that sums). Which layers, and how many branches, is chosen under a budget by what each
replacement costs: the squared error of the layer's outputs weighted by the mean square of the loss's derivative.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.batches import Batch, once
from edge_dendrite.compress.connections.dense_layers import (
    DenseLayer,
    find_dense_layers,
    is_named,
    names_of,
    resolve_parameters,
    with_savings,
)
from edge_dendrite.compress.dendrites.fields import Fields, blocks_of_inputs, natural_fields
from edge_dendrite.compress.dendrites.least_squares import fit_branches
from edge_dendrite.compress.dendrites.samples import LayerSamples, collect, field_inputs_in, flat_inputs_in
from edge_dendrite.compress.forward import forward, tensors_of
from edge_dendrite.compress.plan import LayerChange, Plan, Replace, apply_plan_
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.config import BranchConfig, Budget
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.evaluate import evaluating
from edge_dendrite.train.fit import Loss

_NUM_UNITS = 4_000


@dataclass(frozen=True)
class Option:
    """One way to compute a layer: with num_branches for each field, or dense (0)."""

    num_branches: int
    num_parameters: int
    error: float
    relative_error: float = 0.0


def branch(
    module: nn.Module,
    batches: Iterable[Batch],
    budget: Budget | None,
    config: BranchConfig | None = None,
    *,
    loss: Loss = functional.cross_entropy,
    progress: Progress = silent,
) -> Pruned:
    """Replace dense layers by branches until the budget of parameters is met; without a budget, all that get smaller.

    `module` is unchanged. batches: as in `prune`. The layers are fitted one after the other to the outputs of the dense
    network, each on what the branched network sends it. The result computes nearly the same and is not trained: distil
    it from `module`.
    Raises PruneError when no layer can be replaced or the budget cannot be reached.
    """
    config = config or BranchConfig()
    taken = once(batches, config.num_batches)
    inputs = taken[0][0]
    layers, kept = find_dense_layers(module, inputs)
    start = sum(one.numel() for one in module.parameters())
    fields = _fields(module, layers, taken, config, kept)
    progress("fitting branches", 0, len(fields) + 1)
    samples = collect(module, fields, taken, config.num_samples, config.seed, loss)
    _keep_unreached(fields, samples, kept)
    options = {name: _options(module, one, samples[name], config) for name, one in fields.items()}
    least = start - sum(one[0].num_parameters - one[-1].num_parameters for one in options.values())
    target = least if budget is None else resolve_parameters(module, budget)[1]
    chosen = choose_branches(options, start, target)
    if chosen is None:
        raise PruneError(
            f"the budget of {target:,} parameters cannot be reached by branching: {least:,} of {start:,} stay. Give a "
            f"larger budget, or prune neurons first. Layers that must stay: {names_of(kept)}"
        )
    plan = _plan(fields, options, chosen, config)
    small = apply_plan_(copy.deepcopy(module), plan)
    _check_outputs(module, small, plan, inputs)
    for number, (name, option) in enumerate(chosen.items(), 1):
        if option.num_branches:
            # First on what the dense network sends: a layer that is called again sends to itself.
            _fit_(small, fields[name], samples[name], module, option, config)
            seen = field_inputs_in(
                small, name, fields[name], module.get_submodule(name), taken, config.num_samples, config.seed
            )
            _fit_(small, fields[name], replace(samples[name], inputs_ngs=seen), module, option, config)
        progress("fitting branches", number, len(fields) + 1)
    progress("fitting branches", len(fields) + 1, len(fields) + 1)
    return Pruned(small, with_savings(plan, module, small, inputs), kept)


def _fit_(
    small: nn.Module, fields: Fields, samples: LayerSamples, module: nn.Module, option: Option, config: BranchConfig
) -> None:
    """Give one layer of `small` its weights; those before it have theirs."""
    dense: Any = module.get_submodule(fields.layer.name)
    weights = fit_branches(samples, fields.divide(dense.weight), option.num_branches, config.activation)
    layer: Any = small.get_submodule(fields.layer.name)
    layer.set_weights_(weights.filters_mgs, weights.biases_mg, weights.soma_kmg, weights.soma_bias_k)


def _keep_unreached(fields: dict[str, Fields], samples: Mapping[str, LayerSamples], kept: dict[str, str]) -> None:
    """Take out layers of which nothing is known of what an error there costs. Raises PruneError when none is left."""
    for name in [name for name in fields if not bool(samples[name].weight_k.any())]:
        del fields[name]
        kept[name] = "no gradient of the loss reaches it"
    if not fields:
        raise PruneError(f"no layer of this network can be replaced by branches: {names_of(kept)}")


def choose_branches(options: Mapping[str, Sequence[Option]], start: int, target: int) -> dict[str, Option] | None:
    """One option for each layer with the least sum of errors, so that at most `target` of `start` parameters stay.

    options: per layer. None when the budget cannot be reached. By dynamic programming over parameters in units of a
    4,000th of what the layers may have (exact below that many), then back to larger options where there is room.
    """
    room = target - (start - sum(one[0].num_parameters for one in options.values()))
    unit = max(1, room // _NUM_UNITS)
    size = max(room, 0) // unit + 1
    least: np.ndarray = np.zeros(size)
    picks: list[np.ndarray] = []
    for one in options.values():
        table: np.ndarray = np.full((len(one), size), np.inf)
        for number, option in enumerate(one):
            units = -(-option.num_parameters // unit)
            if units < size:
                table[number, units:] = least[: size - units] + option.error
        picks.append(table.argmin(0))
        least = table.min(0)
    smallest = {name: min(one, key=lambda option: option.num_parameters) for name, one in options.items()}
    if room < sum(one.num_parameters for one in smallest.values()):
        return None
    if not np.isfinite(least[-1]):  # only by the rounding to units
        return _given_back(options, smallest, room - sum(one.num_parameters for one in smallest.values()))
    chosen: dict[str, Option] = {}
    at = size - 1
    for name, pick in zip(reversed(list(options)), reversed(picks), strict=True):
        chosen[name] = options[name][int(pick[at])]
        at -= -(-chosen[name].num_parameters // unit)
    chosen = {name: chosen[name] for name in options}
    return _given_back(options, chosen, room - sum(one.num_parameters for one in chosen.values()))


def _given_back(options: Mapping[str, Sequence[Option]], chosen: dict[str, Option], room: int) -> dict[str, Option]:
    while True:
        steps = [
            (now.error - other.error, name, other)
            for name, now in chosen.items()
            for other in options[name]
            if 0 < other.num_parameters - now.num_parameters <= room and other.error < now.error
        ]
        if not steps:
            return chosen
        _, name, other = max(steps, key=lambda step: step[:2])
        room -= other.num_parameters - chosen[name].num_parameters
        chosen[name] = other


def _fields(
    module: nn.Module,
    layers: Sequence[DenseLayer],
    batches: Sequence[Batch],
    config: BranchConfig,
    kept: dict[str, str],
) -> dict[str, Fields]:
    """Of the layers that branches would make smaller; the others go to `kept` with the reason."""
    found: dict[str, Fields] = {}
    for layer in layers:
        if not is_named(layer.name, config.layers):
            kept[layer.name] = "it is not among the layers that may be replaced"
            continue
        dense: Any = module.get_submodule(layer.name)
        fields = natural_fields(layer)
        if fields is None and not _has_padding(dense):
            seen = flat_inputs_in(module, layer.name, batches, config.num_samples, config.seed)
            fields = blocks_of_inputs(layer, seen, config.block_size)
        if fields is None:
            kept[layer.name] = "its inputs do not divide into fields"
            continue
        fewest = fields.num_parameters(min(config.num_branches))
        before = sum(one.numel() for one in dense.parameters())
        if fewest > before * (1.0 - config.min_saving):
            kept[layer.name] = f"branches would have {fewest:,} parameters instead of {before:,}"
            continue
        found[layer.name] = fields
    if not found:
        raise PruneError(f"no layer of this network becomes smaller by branches: {names_of(kept)}")
    return found


def _options(module: nn.Module, fields: Fields, samples: LayerSamples, config: BranchConfig) -> list[Option]:
    dense: Any = module.get_submodule(fields.layer.name)
    before = sum(one.numel() for one in dense.parameters())
    options = [Option(0, before, 0.0)]
    for number in sorted(set(config.num_branches), reverse=True):
        amount = fields.num_parameters(number)
        if number <= fields.field_size and amount <= before * (1.0 - config.min_saving):
            weights = fit_branches(samples, fields.divide(dense.weight), number, config.activation)
            options.append(Option(number, amount, weights.error, weights.relative_error))
    return options


def _plan(
    fields: Mapping[str, Fields],
    options: Mapping[str, Sequence[Option]],
    chosen: Mapping[str, Option],
    config: BranchConfig,
) -> Plan:
    """A replacement for each layer that gets branches; lines for people count parameters."""
    edits: list[Replace] = []
    lines = []
    for name, option in chosen.items():
        before = options[name][0].num_parameters
        label = f"{name} (parameters)"
        lines.append(LayerChange(label, before, option.num_parameters, option.error, option.error))
        if option.num_branches:
            settings = fields[name].settings(option.num_branches, config.activation)
            edits.append(Replace(name, fields[name].kind, settings))
    return Plan(tuple(edits), tuple(lines))


def _has_padding(layer: Any) -> bool:
    """Whether a convolution with a kernel of 1 reads beyond its input; "same" and "valid" add nothing there."""
    padding = getattr(layer, "padding", ())
    return not isinstance(padding, str) and any(one != 0 for one in padding)


def _check_outputs(module: nn.Module, small: nn.Module, plan: Plan, inputs: Any) -> None:
    """Raise PruneError when the branched network fails, gives other shapes, or does not call its new layers: its
    forward looks at its layers, or reaches them by another way than their names."""
    called: set[str] = set()
    names = [edit.module for edit in plan.edits if isinstance(edit, Replace)]
    handles = [
        small.get_submodule(name).register_forward_hook(lambda part, args, y, name=name: called.add(name))
        for name in names
    ]
    with evaluating(module), evaluating(small), torch.no_grad():
        wanted = [tuple(one.shape) for one in tensors_of(forward(module, inputs))]
        try:
            seen = [tuple(one.shape) for one in tensors_of(forward(small, inputs))]
        except Exception as error:  # whatever the user's forward raises
            raise PruneError(
                f"the branched network fails at its forward ({type(error).__name__}: {error}); the original is "
                "unchanged. A forward that reads attributes of its layers is the usual reason"
            ) from error
        finally:
            for handle in handles:
                handle.remove()
    if wanted != seen:
        raise PruneError(f"the branched network returns shapes {seen} instead of {wanted}; the original is unchanged")
    if missing := [name for name in names if name not in called]:
        raise PruneError(
            f"{', '.join(missing)}: the forward does not reach the layer by this name (a list beside the modules?), so "
            "it cannot be replaced; leave it out with `layers`"
        )

"""Gating: blocks of a network run only for inputs that need them.

    gated = gate(network, batches, GateConfig(target=0.5))
    history = fit(gated.module, data, config, teacher=teacher, penalty=gated.penalty)

Each block gets a gate on pooled features and a cheap bypass, fitted to the block by least squares: one linear map, or
the block with dendritic branches in the place of its layers. Training with the penalty moves the share of inputs for
which blocks run to the target (Veit and Belongie 2018, section 3).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.agreement import difference
from edge_dendrite.compress.batches import Batch, once
from edge_dendrite.compress.connections.mask_folding import plan_folding
from edge_dendrite.compress.dendrites.blocks import Block, count_macs, find_blocks
from edge_dendrite.compress.dendrites.branch import branch
from edge_dendrite.compress.dendrites.fields import layers_with_fields
from edge_dendrite.compress.dendrites.least_squares import ridge
from edge_dendrite.compress.forward import Inputs, check_weights, first_samples, forward, tensors_of
from edge_dendrite.compress.layers.build import GATED
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.plan import LayerChange, Plan, Replace, apply_plan_, put_in_place_
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.compress.stats import gates_open
from edge_dendrite.config import BRANCHES, BranchConfig, GateConfig
from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.errors import PruneError
from edge_dendrite.train.device import device_of
from edge_dendrite.train.evaluate import evaluating

_BATCH = 256


class ComputePenalty:
    """Keeps the work of all gated blocks together near a target: weight * (work - target)**2, where work is the mean
    over blocks of the share of inputs for which each runs, each block as much as it costs.

    Which blocks give way is left to the loss: one that is worth little may close for all.
    costs: multiply-accumulates of each block of `module`, by name. The target falls from 1 in `warm_up` steps: bypasses
    must have learned something before gates can tell which inputs they are enough for. Call it once after each forward
    in training; a block that did not run then counts as closed.
    """

    def __init__(
        self, module: nn.Module, costs: Mapping[str, float], target: float, weight: float, warm_up: int = 0
    ) -> None:
        self._module, self._target, self._weight, self._warm_up = module, target, weight, warm_up
        total = sum(costs.values())
        self._shares = {name: cost / total for name, cost in costs.items()}

    @property
    def identity(self) -> dict[str, Any]:
        """For a checkpoint: what this penalty is."""
        return {"shares": self._shares, "target": self._target, "weight": self._weight, "warm_up": self._warm_up}

    def __call__(self) -> torch.Tensor:
        blocks: dict[str, Any] = {name: self._module.get_submodule(name) for name in self._shares}
        rates = {name: rate for name, block in blocks.items() if (rate := block.take_open_rate()) is not None}
        if not rates:
            return torch.zeros(())
        work = sum((self._shares[name] * rate for name, rate in rates.items()), torch.zeros(()))
        num_steps = max(int(block.num_steps) for block in blocks.values())
        done = min(1.0, num_steps / self._warm_up) if self._warm_up else 1.0
        return self._weight * (work - (1.0 - (1.0 - self._target) * done)) ** 2


@dataclass(frozen=True)
class Gated:
    """The gated network (not trained), the plan, the penalty for its training, and why other blocks have no gate."""

    module: nn.Module
    plan: Plan
    penalty: ComputePenalty
    kept: dict[str, str] = field(default_factory=dict)


def gate(module: nn.Module, batches: Iterable[Batch], config: GateConfig | None = None) -> Gated:
    """Give blocks of a copy of `module` gates that start open.

    batches: as in `prune`; their targets are looked at only for branches, whose fit they weigh. A block is any part
    with one tensor in and one out that is called once, whose positions are those of its input, or every n-th of them.
    Raises PruneError when there is none, or when a block that was asked for cannot have a gate.
    """
    config = config or GateConfig()
    check_weights(module)
    pairs = once(batches, config.num_batches)
    taken = [inputs for inputs, _ in pairs]
    blocks, kept = find_blocks(module, taken[0], config)
    copies = config.bypass == BRANCHES
    edits = [Replace(one.name, GATED, one.settings(config.hidden, copies)) for one in blocks]
    branched = _branched(module, blocks, pairs, config) if copies else None
    if branched is not None:
        edits += _edits_of_bypasses(branched.plan, blocks)
    plan = Plan(tuple(edits), tuple(LayerChange(f"{one.name} (gate)", 1, 1, 0.0, 0.0) for one in blocks))
    gated = apply_plan_(copy.deepcopy(module), plan)
    _check_open(module, gated, taken[0])
    for one in blocks:
        part: Any = gated.get_submodule(one.name)
        if branched is not None:
            part.bypass.load_state_dict(branched.module.get_submodule(one.name).state_dict())
        elif not isinstance(part.bypass, nn.Identity):
            _fit_bypass_(module, one, part.bypass, taken, config.num_samples)
    costs = {one.name: one.num_macs for one in blocks}
    return Gated(gated, plan, ComputePenalty(gated, costs, config.target, config.weight, config.warm_up), kept)


def penalty_of_gates(module: nn.Module, inputs: Inputs, config: GateConfig | None = None) -> ComputePenalty:
    """The penalty of a network that was made with gates, as `gate` gives it for those that it adds.

    inputs: any that the network takes. A block costs what it does once its masks are folded. Raises PruneError when
    there is no gate.
    """
    config = config or GateConfig()
    names = [name for name, part in module.named_modules() if isinstance(part, GatedBlock)]
    if not names:
        raise PruneError("no block of this network has a gate")
    folded = apply_plan_(copy.deepcopy(module), plan_folding(module))
    with gates_open(folded):
        macs, _ = count_macs(folded, inputs)
    costs = {name: macs[f"{name}.block"] for name in names}
    return ComputePenalty(module, costs, config.target, config.weight, config.warm_up)


def _branched(module: nn.Module, blocks: Sequence[Block], batches: Sequence[Batch], config: GateConfig) -> Pruned:
    """The network with branches in place of the layers of its blocks, fitted to them."""
    inside = layers_with_fields(module, batches[0][0])
    wanted = tuple(re.escape(name) for name in inside if any(name.startswith(f"{one.name}.") for one in blocks))
    if not wanted:
        raise PruneError("no layer inside of the gated blocks can have branches; give bypass='linear'")
    settings = BranchConfig(
        num_branches=(config.num_branches,),
        layers=wanted,
        num_batches=config.num_batches,
        num_samples=config.num_samples,
    )
    return branch(module, batches, None, settings)


def _edits_of_bypasses(plan: Plan, blocks: Sequence[Block]) -> list[Replace]:
    """What the plan replaces inside of blocks, in the copies of them."""
    return [
        replace(edit, module=f"{one.name}.bypass{edit.module.removeprefix(one.name)}")
        for edit in plan.edits
        for one in blocks
        if isinstance(edit, Replace) and edit.module.startswith(f"{one.name}.")
    ]


@torch.no_grad()
def _check_open(module: nn.Module, gated: nn.Module, inputs: Inputs) -> None:
    """Gates start open: the network must compute what it did, through its gates. Raises PruneError otherwise."""
    blocks = {name: part for name, part in gated.named_modules() if isinstance(part, GatedBlock)}
    called: set[str] = set()
    handles = [
        part.register_forward_hook(lambda block, args, y, name=name: called.add(name)) for name, part in blocks.items()
    ]
    example = first_samples(inputs, 2)
    try:
        with evaluating(module), evaluating(gated):
            wanted, seen = tensors_of(forward(module, example)), tensors_of(forward(gated, example))
    except Exception as error:  # whatever the user's forward raises
        raise PruneError(f"the gated network fails at its forward ({type(error).__name__}: {error})") from error
    finally:
        for handle in handles:
            handle.remove()
    if missing := sorted(blocks.keys() - called):
        raise PruneError(f"{', '.join(missing)}: the forward does not reach the block by this name")
    if problem := difference(wanted, seen):
        raise PruneError(f"{problem}: with open gates the network is another one; does its forward look at its parts?")


@torch.no_grad()
def open_rates(module: nn.Module, data: DataSet, split: Split) -> dict[str, float]:
    """The share of inputs for which each gated block runs, by name; 0 for one that is never called."""
    counts = {name: 0 for name, part in module.named_modules() if isinstance(part, GatedBlock)}

    def hook(name: str) -> Any:
        def count(part: nn.Module, args: Any, logits_b: torch.Tensor) -> None:
            counts[name] += int((logits_b > 0).sum())

        return count

    blocks: dict[str, Any] = {name: module.get_submodule(name) for name in counts}
    handles = [part.gate.register_forward_hook(hook(name)) for name, part in blocks.items()]
    try:
        with evaluating(module):
            for inputs, _ in data.batches(split, _BATCH, device=device_of(module)):
                module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: count / len(split) for name, count in counts.items()}


def without_idle_gates(module: nn.Module, rates: Mapping[str, float], least: float = 0.01) -> nn.Module:
    """A copy without the gates that decide for less than a share `least` of inputs: there the usual way is left alone.

    rates: of `open_rates`. Export refuses such gates where none of the inputs at hand takes the other way.
    """
    copied = copy.deepcopy(module)
    for name, rate in rates.items():
        block: Any = copied.get_submodule(name)
        if not least <= rate <= 1.0 - least:
            put_in_place_(copied, block, block.block if rate > 0.5 else block.bypass)
    return copied


@torch.no_grad()
def _fit_bypass_(module: nn.Module, block: Block, bypass: Any, batches: Sequence[Any], num_samples: int) -> None:
    """Least squares from the block's input to its output, position by position."""
    rows_x, rows_y = [], []
    share = -(-num_samples // len(batches))
    generator = torch.Generator().manual_seed(0)
    for inputs in batches:
        seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        handle = module.get_submodule(block.name).register_forward_hook(
            lambda part, args, y, seen=seen: seen.append((args[0], y))
        )
        try:
            with evaluating(module):
                forward(module, inputs)
        finally:
            handle.remove()
        x, y = seen[0]
        if not block.channels_last:
            for dim in range(2, x.dim()):
                x = x[(slice(None),) * dim + (slice(None, None, block.stride),)]
            x, y = x.movedim(1, -1), y.movedim(1, -1)
        x, y = x.reshape(-1, block.num_inputs), y.reshape(-1, block.num_outputs)
        chosen = torch.randperm(len(x), generator=generator)[:share].to(x.device)
        rows_x.append(x[chosen].double().cpu())
        rows_y.append(y[chosen].double().cpu())
    weight_ck, bias_k = ridge(torch.cat(rows_x), torch.cat(rows_y))
    bypass.weight.copy_(weight_ck.T.reshape(bypass.weight.shape))
    bypass.bias.copy_(bias_k)

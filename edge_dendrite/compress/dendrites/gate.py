"""Gating: blocks of a network run only for inputs that need them.

    gated = gate(network, batches, GateConfig(target=0.5))
    history = fit(gated.module, data, config, teacher=teacher, penalty=gated.penalty)

Each block gets a gate on pooled features and a cheap bypass, fitted to the block by least squares; training with the
penalty moves the share of inputs for which blocks run to the target (Veit and Belongie 2018, section 3).
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_dendrite.compress.batches import Batch, endless
from edge_dendrite.compress.dendrites.least_squares import ridge
from edge_dendrite.compress.forward import arguments, check_weights, first_samples, forward
from edge_dendrite.compress.layers.build import GATED
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.plan import LayerChange, Plan, Replace, apply_plan_
from edge_dendrite.config import GateConfig
from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating

_BATCH = 256


class ComputePenalty:
    """Keeps the share of the gated blocks' work that runs near a target: weight * max(0, share - target)**2.

    costs: multiply-accumulates of each block, by name. The target falls from 1 in `warm_up` steps: bypasses must have
    learned something before gates can tell which inputs they are enough for. Call it after a forward in training; it
    is 0 before the first.
    """

    def __init__(
        self, module: nn.Module, costs: Mapping[str, float], target: float, weight: float, warm_up: int = 0
    ) -> None:
        self._module, self._target, self._weight, self._warm_up = module, target, weight, warm_up
        total = sum(costs.values())
        self._shares = {name: cost / total for name, cost in costs.items()}

    def __call__(self) -> torch.Tensor:
        parts = []
        target = self._target
        for name, share in self._shares.items():
            block: Any = self._module.get_submodule(name)
            if block.open_rate is not None:
                parts.append(share * block.open_rate)
                if int(block.num_steps) < self._warm_up:
                    target = 1.0 - (1.0 - self._target) * int(block.num_steps) / self._warm_up
        if not parts:
            return torch.zeros(())
        return self._weight * (torch.stack(parts).sum() - target).clamp_min(0.0) ** 2


@dataclass(frozen=True)
class Gated:
    """The gated network (not trained), the plan, the penalty for its training, and why other blocks have no gate."""

    module: nn.Module
    plan: Plan
    penalty: ComputePenalty
    kept: dict[str, str] = field(default_factory=dict)


def gate(module: nn.Module, batches: Iterable[Batch], config: GateConfig | None = None) -> Gated:
    """Give blocks of a copy of `module` gates that start open.

    batches: as in `prune`; their inputs are looked at, their targets are not. A block is any part with one tensor in
    and one out that is called once, whose positions are those of its input, or every n-th of them.
    Raises PruneError when there is none, or when a block that was asked for cannot have a gate.
    """
    config = config or GateConfig()
    check_weights(module)
    taken = [inputs for inputs, _ in itertools.islice(endless(batches), config.num_batches)]
    blocks, kept = _find_blocks(module, taken[0], config)
    edits = tuple(Replace(one.name, GATED, one.settings(config.hidden)) for one in blocks)
    plan = Plan(edits, tuple(LayerChange(f"{one.name} (gate)", 1, 1, 0.0, 0.0) for one in blocks))
    gated = apply_plan_(copy.deepcopy(module), plan)
    for one in blocks:
        part: Any = gated.get_submodule(one.name)
        if not isinstance(part.bypass, nn.Identity):
            _fit_bypass_(module, one, part.bypass, taken, config.num_samples)
    costs = {one.name: one.num_macs for one in blocks}
    return Gated(gated, plan, ComputePenalty(gated, costs, config.target, config.weight, config.warm_up), kept)


@torch.no_grad()
def open_rates(module: nn.Module, data: DataSet, split: Split) -> dict[str, float]:
    """The share of inputs for which each gated block runs."""
    counts = {name: 0 for name, part in module.named_modules() if isinstance(part, GatedBlock)}

    def hook(name: str) -> Any:
        def count(part: nn.Module, args: Any, logits_b: torch.Tensor) -> None:
            counts[name] += int((logits_b > 0).sum())

        return count

    blocks: dict[str, Any] = {name: module.get_submodule(name) for name in counts}
    handles = [part.gate.register_forward_hook(hook(name)) for name, part in blocks.items()]
    try:
        with evaluating(module):
            for inputs, _ in data.batches(split, _BATCH):
                module(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return {name: count / len(split) for name, count in counts.items()}


@dataclass(frozen=True)
class _Block:
    name: str
    num_inputs: int
    num_outputs: int
    stride: int
    num_dims: int
    channels_last: bool
    num_macs: float

    def settings(self, hidden: int) -> dict[str, int]:
        return {
            "num_inputs": self.num_inputs,
            "num_outputs": self.num_outputs,
            "stride": self.stride,
            "num_dims": self.num_dims,
            "channels_last": int(self.channels_last),
            "hidden": hidden,
        }


def _find_blocks(module: nn.Module, inputs: Any, config: GateConfig) -> tuple[list[_Block], dict[str, str]]:
    calls = _calls(module, inputs)
    macs, total = _macs(module, inputs)
    found: list[_Block] = []
    kept: dict[str, str] = {}
    for name, part in module.named_modules():
        wanted = any(one == name or re.fullmatch(one, name) for one in config.blocks)
        inside = any(name.startswith(f"{one.name}.") for one in found)
        if not name or inside or (config.blocks and not wanted):
            continue
        share = macs.get(name, 0.0) / max(total, 1.0)
        reason = None
        if not wanted and (not list(part.children()) or not config.min_share <= share <= config.max_share):
            continue
        made = _describe(name, part, calls.get(name, []), macs.get(name, 0.0))
        if isinstance(made, str):
            reason = made
            if wanted:
                raise PruneError(f"block {name!r} cannot have a gate: {reason}")
            kept[name] = reason
        else:
            found.append(made)
    if not found:
        reasons = (
            "; ".join(f"{name} ({reason})" for name, reason in kept.items()) or "no block has its share of the work"
        )
        raise PruneError(f"no block of this network can have a gate: {reasons}")
    return found, kept


def _describe(name: str, part: nn.Module, calls: Sequence[tuple[Any, Any]], num_macs: float) -> _Block | str:
    """The block, or why it cannot have a gate."""
    if len(calls) != 1:
        return f"it is called {len(calls)} times in a forward"
    x, y = calls[0]
    if not isinstance(x, torch.Tensor) or not isinstance(y, torch.Tensor) or not x.is_floating_point():
        return "it takes or gives something else than one tensor of floating-point numbers"
    if x.dim() != y.dim() or not 2 <= x.dim() <= 5 or x.shape[0] != y.shape[0]:
        return f"it makes {tuple(y.shape)} of {tuple(x.shape)}"
    channels_last = x.dim() == 3 and not any(isinstance(one, nn.Conv1d) for one in part.modules())
    at = x.dim() - 1 if channels_last else 1
    positions = [(x.shape[dim], y.shape[dim]) for dim in range(1, x.dim()) if dim != at]
    strides = {-(-before // after) for before, after in positions} or {1}
    stride = strides.pop()
    if strides or any(-(-before // stride) != after for before, after in positions) or (channels_last and stride > 1):
        return f"its positions are not every n-th of its input's: {tuple(x.shape)} to {tuple(y.shape)}"
    return _Block(name, x.shape[at], y.shape[at], stride, x.dim() - 2, channels_last, num_macs)


@torch.no_grad()
def _calls(module: nn.Module, inputs: Any) -> dict[str, list[tuple[Any, Any]]]:
    """(input, output) of each call of each part with a single positional argument; None for other calls."""
    calls: dict[str, list[tuple[Any, Any]]] = {}

    def hook(name: str) -> Any:
        def record(part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            single = len(args) == 1 and not kwargs
            calls.setdefault(name, []).append((args[0] if single else None, output))

        return record

    handles = [part.register_forward_hook(hook(name), with_kwargs=True) for name, part in module.named_modules()]
    try:
        with evaluating(module):
            forward(module, first_samples(inputs, 2))
    except Exception as error:  # whatever the user's forward raises
        raise PruneError(f"the network fails at its forward ({type(error).__name__}: {error})") from error
    finally:
        for handle in handles:
            handle.remove()
    return calls


@torch.no_grad()
def _macs(module: nn.Module, inputs: Any) -> tuple[dict[str, float], float]:
    """(multiply-accumulates of each part with what is below it, of all) for one input."""
    counter = FlopCounterMode(display=False)
    positional, keywords = arguments(first_samples(inputs, 1))
    with evaluating(module), counter:
        module(*positional, **keywords)
    counts = {
        name.partition(".")[2]: sum(each.values()) / 2
        for name, each in counter.get_flop_counts().items()
        if "." in name
    }
    return counts, counter.get_total_flops() / 2


@torch.no_grad()
def _fit_bypass_(module: nn.Module, block: _Block, bypass: Any, batches: Sequence[Any], num_samples: int) -> None:
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

"""Blocks of a network that can have a gate, and why others cannot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_dendrite.compress.forward import Inputs, arguments, first_samples, forward
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.stats import as_plain_products, products_of_maps
from edge_dendrite.config import GateConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating


@dataclass(frozen=True)
class Block:
    """A part with one tensor in and one out, whose positions are every stride-th of its input's.

    num_dims: dimensions of positions. num_macs: multiply-accumulates for one input.
    """

    name: str
    num_inputs: int
    num_outputs: int
    stride: int
    num_dims: int
    channels_last: bool
    num_macs: float

    def settings(self, hidden: int, copies_block: bool) -> dict[str, int]:
        """For the plan."""
        return {
            "num_inputs": self.num_inputs,
            "num_outputs": self.num_outputs,
            "stride": self.stride,
            "num_dims": self.num_dims,
            "channels_last": int(self.channels_last),
            "hidden": hidden,
            "copies_block": int(copies_block),
        }


@dataclass(frozen=True)
class _Call:
    """One call: the shapes, whether a single tensor went in and one came out, and whether the input was changed."""

    takes: tuple[int, ...] | None
    gives: tuple[int, ...] | None
    is_changed: bool


def find_blocks(module: nn.Module, inputs: Inputs, config: GateConfig) -> tuple[list[Block], dict[str, str]]:
    """(the outermost blocks that can have a gate and are wanted; name of others that were looked at -> why not).

    Raises PruneError when there is none, and for a name in the config that is of no block or of one that cannot.
    """
    if gated := [name for name, part in module.named_modules() if isinstance(part, GatedBlock)]:
        raise PruneError(f"{gated[0]!r} has a gate already; gates are given once")
    calls = _calls(module, inputs)
    macs, total = count_macs(module, inputs)
    found: list[Block] = []
    kept: dict[str, str] = {}
    for name, part in module.named_modules():
        wanted = any(one == name or re.fullmatch(one, name) for one in config.blocks)
        share = macs.get(name, 0.0) / max(total, 1.0)
        looked_at = bool(list(part.children())) and config.min_share <= share <= config.max_share
        if not name or not (wanted if config.blocks else looked_at):
            continue
        outer = next((one.name for one in found if name.startswith(f"{one.name}.")), None)
        made = (
            f"it is inside of {outer}" if outer else _describe(module, name, calls.get(name, []), macs.get(name, 0.0))
        )
        if isinstance(made, Block):
            found.append(made)
        elif wanted:
            raise PruneError(f"block {name!r} cannot have a gate: {made}")
        elif not outer:
            kept[name] = made
    names = [name for name, _ in module.named_modules()]
    if unknown := [one for one in config.blocks if not any(one == name or re.fullmatch(one, name) for name in names)]:
        raise PruneError(f"{unknown[0]!r} is no block of this network")
    if not found:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in kept.items()) or "none has its share of the work"
        raise PruneError(f"no block of this network can have a gate: {reasons}")
    return found, kept


def _describe(module: nn.Module, name: str, calls: Sequence[tuple[_Call, _Call]], num_macs: float) -> Block | str:
    """The block, or why it cannot have a gate. calls: with two inputs and with three."""
    part = module.get_submodule(name)
    if len(calls) != 1:
        return f"it is called {len(calls)} times in a forward"
    two, three = calls[0]
    if two.takes is None or two.gives is None or three.takes is None:
        return "it takes or gives something else than one tensor of floating-point numbers"
    if (two.takes[0], two.gives[0], three.takes[0]) != (2, 2, 3):
        return "its first dimension is not that of the network's inputs, which the gate decides about one by one"
    if two.is_changed:
        return "it changes its input in place"
    if len(two.takes) != len(two.gives) or not 2 <= len(two.takes) <= 5 or 0 in (*two.takes, *two.gives):
        return f"it makes {two.gives} of {two.takes}"
    if num_macs <= 0:
        return "it has no work that is counted"
    own = {id(one) for one in part.parameters()}
    inside = set(part.modules())
    if any(id(one) in own for other in module.modules() if other not in inside for one in other._parameters.values()):
        return "it shares a weight with the rest of the network"
    return _placed(name, part, two.takes, two.gives, num_macs)


def _placed(name: str, part: nn.Module, takes: tuple[int, ...], gives: tuple[int, ...], num_macs: float) -> Block | str:
    """Where the channels are, and which positions stay."""
    first = next((one for one in part.modules() if one._parameters.get("weight") is not None), part)
    is_convolution = isinstance(first, nn.modules.conv._ConvNd | nn.modules.batchnorm._BatchNorm | nn.GroupNorm)
    channels_last = len(takes) == 3 and not is_convolution
    if len(takes) > 3 and not is_convolution:
        return "its channels do not come before its positions"
    at = len(takes) - 1 if channels_last else 1
    positions = [(takes[dim], gives[dim]) for dim in range(1, len(takes)) if dim != at]
    strides = {-(-before // after) for before, after in positions} or {1}
    stride = strides.pop()
    if strides or any(-(-before // stride) != after for before, after in positions) or (channels_last and stride > 1):
        return f"its positions are not every n-th of its input's: {takes} to {gives}"
    return Block(name, takes[at], gives[at], stride, len(takes) - 2, channels_last, num_macs)


def _calls(module: nn.Module, inputs: Inputs) -> dict[str, list[tuple[_Call, _Call]]]:
    """For each part its calls, with two samples and with three."""
    two, three = (_calls_with(module, first_samples(inputs, count)) for count in (2, 3))
    return {
        name: list(zip(calls, three.get(name, []), strict=False)) if len(calls) == len(three.get(name, [])) else []
        for name, calls in two.items()
    }


@torch.no_grad()
def _calls_with(module: nn.Module, inputs: Inputs) -> dict[str, list[_Call]]:
    calls: dict[str, list[_Call]] = {}
    versions: dict[str, int] = {}

    def enter(name: str) -> Any:
        def note(part: nn.Module, args: Any) -> None:
            versions[name] = args[0]._version if args and isinstance(args[0], torch.Tensor) else 0

        return note

    def leave(name: str) -> Any:
        def record(part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            single = len(args) == 1 and not kwargs
            takes = _shape(args[0]) if single else None
            is_changed = takes is not None and args[0]._version != versions[name]
            calls.setdefault(name, []).append(_Call(takes, _shape(output), is_changed))

        return record

    parts = list(module.named_modules())
    handles = [part.register_forward_pre_hook(enter(name)) for name, part in parts]
    handles += [part.register_forward_hook(leave(name), with_kwargs=True) for name, part in parts]
    try:
        with evaluating(module):
            forward(module, inputs)
    except Exception as error:  # whatever the user's forward raises
        raise PruneError(f"the network fails at its forward ({type(error).__name__}: {error})") from error
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _shape(value: Any) -> tuple[int, ...] | None:
    is_tensor = isinstance(value, torch.Tensor) and value.is_floating_point() and value.dim() > 0
    return tuple(value.shape) if is_tensor else None


@torch.no_grad()
def count_macs(module: nn.Module, inputs: Inputs) -> tuple[dict[str, float], float]:
    """(multiply-accumulates of each part with what is below it, of all) for one input."""
    counter = FlopCounterMode(display=False)
    positional, keywords = arguments(first_samples(inputs, 2))
    with evaluating(module), as_plain_products(), products_of_maps(module) as of_maps, counter:
        module(*positional, **keywords)
    macs = {name.partition(".")[2]: sum(each.values()) / 4 for name, each in counter.get_flop_counts().items()}
    for name, count in of_maps.items():
        for outer in [one for one in macs if name == one or name.startswith(f"{one}.")]:
            macs[outer] += count / 2
    return macs, counter.get_total_flops() / 4 + sum(of_maps.values()) / 2

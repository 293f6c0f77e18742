"""From a block of torch to one with slots for dendrites, and why some blocks cannot have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.utils import parametrize

from edge_dendrite.compress.layers.attention import can_replace
from edge_dendrite.compress.layers.dendrites import check_number, new_dendrites
from edge_dendrite.compress.layers.dendritic_attention import DendriticAttention
from edge_dendrite.compress.layers.recurrent import DendriticRecurrent
from edge_dendrite.compress.layers.slots import OpenBlock
from edge_dendrite.errors import PruneError

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_block(part: nn.Module) -> bool:
    """Whether it is a kind of block that slots exist for."""
    return isinstance(part, (nn.LSTM, nn.GRU, nn.RNN, nn.MultiheadAttention))


def reason_against_opening(part: Any) -> str | None:
    """Why a block cannot have slots, or None when it can."""
    if not is_block(part):
        return f"{type(part).__name__} is neither recurrent nor attention"
    if parametrize.is_parametrized(part):
        return "its weight is parametrised"
    if any(getattr(part, hooks) for hooks in _HOOKS):
        return "it has hooks, which would be lost"
    if isinstance(part, nn.MultiheadAttention):
        return None if can_replace(part) else "its keys have a bias or zeros of their own, or its class is not torch's"
    return None if type(part) in (nn.LSTM, nn.GRU, nn.RNN) else "its class is not torch's"


def open_block(part: nn.Module) -> OpenBlock:
    """The block with slots that are not used yet, around `part` itself. Raises PruneError when it can have none."""
    if reason := reason_against_opening(part):
        raise PruneError(f"no dendrites for this block: {reason}")
    return DendriticAttention(part) if isinstance(part, nn.MultiheadAttention) else DendriticRecurrent(part)


def dendritic_block(old: nn.Module, sizes: Sequence[int], activation: str) -> OpenBlock:
    """`old` with so many dendrites in each slot, in one set that adds nothing yet. Raises PruneError for sizes that do
    not fit its slots, for none at all, and for more than a plan can mean."""
    block = open_block(old)
    slots = list(block.slots.values())
    if len(sizes) != len(slots) or not any(sizes):
        raise PruneError(f"the plan has dendrites for {len(sizes)} projections of a block with {len(slots)}, or none")
    for slot, size in zip(slots, sizes, strict=True):
        if size:
            check_number([size], slot.num_neurons)
            slot.sets.append(new_dendrites(slot, size, activation))
    return block

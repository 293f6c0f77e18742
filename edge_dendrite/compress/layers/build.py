"""From a line of a plan to a layer: what each kind of replacement is called and what its settings may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from edge_dendrite.compress.layers.attention import can_replace, equal_attention
from edge_dendrite.compress.layers.branches import (
    ACTIVATIONS,
    block_branches,
    map_branches,
    spatial_branches,
)
from edge_dendrite.compress.layers.dendrites import dendritic_layer, is_transposed
from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.compress.layers.group_masks import without_masks
from edge_dendrite.compress.layers.open_blocks import dendritic_block, is_block
from edge_dendrite.compress.layers.sparse import grouped_layer, reason_against, segmented_layer
from edge_dendrite.errors import PruneError

SEGMENTS, GROUPS, ATTENTION = "segments", "groups", "attention"
SPATIAL_BRANCHES, MAP_BRANCHES, BLOCK_BRANCHES = "spatial_branches", "map_branches", "block_branches"
BRANCH_KINDS = (SPATIAL_BRANCHES, MAP_BRANCHES, BLOCK_BRANCHES)
DENDRITES, GATED = "dendrites", "gated"
# What a plan of each kind says: lists hold indices, a text is an activation, the rest are numbers. The sizes of
# dendrites are those of a layer's sets, or for a block of torch one for each of its slots (layers/slots.py).
_SETTINGS: dict[str, dict[str, type]] = {
    SEGMENTS: {"inputs": list},
    GROUPS: {"num_groups": int, "inputs": list, "neurons": list},
    ATTENTION: {},
    SPATIAL_BRANCHES: {"num_branches": int, "activation": str},
    MAP_BRANCHES: {"num_maps": int, "num_branches": int, "activation": str},
    BLOCK_BRANCHES: {"inputs": list, "num_blocks": int, "num_branches": int, "activation": str},
    DENDRITES: {"sizes": list, "activation": str},
    GATED: {
        **dict.fromkeys(("num_inputs", "num_outputs", "stride", "num_dims", "channels_last", "hidden"), int),
        "copies_block": int,
    },
}
_MAX_INDICES = 1 << 22  # in one list: a plan from elsewhere must not fill the memory


def check_settings(kind: str, settings: Any) -> None:
    """Raise ValueError unless `settings` are exactly those of `kind`, in whole numbers and of a bounded size."""
    if not isinstance(kind, str) or kind not in _SETTINGS:
        raise ValueError(f"unknown kind of layer {str(kind)[:40]!r}")
    if not isinstance(settings, Mapping) or set(settings) != set(_SETTINGS[kind]):
        raise ValueError(f"settings of {kind}: expected {', '.join(_SETTINGS[kind])}")
    for key, expected in _SETTINGS[kind].items():
        value = settings[key]
        if expected is str:
            if not isinstance(value, str) or value not in ACTIVATIONS:
                raise ValueError(f"{key} of {kind}: not one of {', '.join(ACTIVATIONS)}")
            continue
        values = value if isinstance(value, list) else [value]
        in_range = len(values) <= _MAX_INDICES and all(type(one) is int and 0 <= one < 2**31 for one in values)
        if type(value) is not expected or not in_range:
            raise ValueError(f"{key} of {kind}: not whole numbers from 0, or too many")


def build_layer(old: nn.Module, kind: str, settings: Mapping[str, Any]) -> nn.Module:
    """The layer that takes the place of `old`, with its device, type, training mode and requires_grad.

    A mask that `old` learned is taken off: what it chose is in the settings. Where the layer can hold them it has the
    weights of `old`; branches, and what is added, are zeros: they are fitted to data, or loaded. Raises PruneError
    when `old` cannot be replaced or the settings do not fit its size.
    """
    check_settings(kind, settings)
    if kind == ATTENTION:
        if not can_replace(old):
            raise PruneError(f"the plan replaces attention, but finds {type(old).__name__}")
        return equal_attention(old)
    if kind == GATED:
        return gated_block(old, **settings)
    if kind == DENDRITES and is_block(old):
        return dendritic_block(old, **settings)
    if kind == DENDRITES and is_transposed(old):
        return dendritic_layer(old, **settings).train(old.training)
    old = without_masks(old)
    if reason := reason_against(old):
        raise PruneError(f"the plan replaces a layer that cannot be: {reason}")
    builders: dict[str, Callable[..., nn.Module]] = {
        SEGMENTS: segmented_layer,
        GROUPS: grouped_layer,
        SPATIAL_BRANCHES: spatial_branches,
        MAP_BRANCHES: map_branches,
        BLOCK_BRANCHES: block_branches,
        DENDRITES: dendritic_layer,
    }
    return builders[kind](old, **settings).train(old.training)

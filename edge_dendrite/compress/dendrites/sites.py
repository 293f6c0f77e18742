"""Where in a network dendrites can be: dense layers, and projections inside of torch's recurrent layers and attention.

Blocks of torch are opened for as long as dendrites are tried on them (layers/slots.py) and closed again where they got
none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from edge_dendrite.compress.agreement import difference
from edge_dendrite.compress.connections.dense_layers import (
    DenseLayer,
    find_dense_layers,
    is_named,
    reason_of_use,
)
from edge_dendrite.compress.connections.layer_watch import watch_layers
from edge_dendrite.compress.dendrites.fields import Fields, natural_fields
from edge_dendrite.compress.forward import Inputs, forward, tensors_of
from edge_dendrite.compress.layers.attention import PlainAttention, forbid_nested_tensors_
from edge_dendrite.compress.layers.build import BLOCK_BRANCHES, SPATIAL_BRANCHES
from edge_dendrite.compress.layers.dendrites import Dendrites, DendriticLayer, is_transposed, sizes_of
from edge_dendrite.compress.layers.open_blocks import is_block, open_block, reason_against_opening
from edge_dendrite.compress.layers.slots import OpenBlock, Slot
from edge_dendrite.compress.plan import put_in_place_
from edge_dendrite.train.evaluate import evaluating


@dataclass
class Sites:
    """What may have dendrites, by name: layers, and slots of the blocks that `opened` opens. kept: name of every other
    layer -> the reason."""

    fields: dict[str, Fields] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    blocks: list[str] = field(default_factory=list)


def find_sites(module: nn.Module, inputs: Inputs, patterns: Sequence[str]) -> Sites:
    """All sites that `patterns` name, by their own name or their block's; none for all.

    Raises PruneError when the forward of `module` fails on `inputs`.
    """
    layers, kept = find_dense_layers(module, inputs)
    grown = [name for name, part in module.named_modules() if isinstance(part, (DendriticLayer, OpenBlock))]

    def owner_of(name: str) -> str | None:
        return next((one for one in grown if name.startswith(f"{one}.")), None)

    # Dendrites have no dendrites; the layer that they were added to can have more.
    found = [(one, owner_of(one.name)) for one in layers]
    dense = [
        replace(one, name=owner or one.name) for one, owner in found if owner is None or one.name == f"{owner}.layer"
    ]
    sites = Sites(kept={name: reason for name, reason in kept.items() if owner_of(name) is None})
    inside = [name for name in grown if isinstance(module.get_submodule(name), DendriticLayer)]
    _add_others(module, inputs, sites, dense, [f"{name}.layer" for name in inside], owner_of)
    sites.blocks += [name for name in grown if name not in inside]
    with opened(module, sites.blocks):
        for name in sites.blocks:
            slots: dict[str, Slot] = module.get_submodule(name).slots
            dense += [_described(f"{name}.{slot}", part) for slot, part in slots.items()]
    for one in dense:
        if is_named(one.name, patterns) or is_named(_block_of(one.name, sites), patterns):
            sites.fields[one.name] = _whole(one)
        else:
            sites.kept[one.name] = "it is not among the layers that may grow"
    sites.blocks = [name for name in sites.blocks if any(_block_of(one, sites) == name for one in sites.fields)]
    return sites


def _block_of(name: str, sites: Sites) -> str:
    """The block of a slot, or the layer itself."""
    block = name.rpartition(".")[0]
    return block if block in sites.blocks else name


def _add_others(
    module: nn.Module,
    inputs: Inputs,
    sites: Sites,
    dense: list[DenseLayer],
    inside: Sequence[str],
    owner_of: Callable[[str], str | None],
) -> None:
    """Blocks of torch, and transposed linear layers (into `dense`); what cannot be one is kept with the reason.

    inside: names of layers that have dendrites already.
    """
    candidates: dict[str, Any] = {}
    for name, part in module.named_modules():
        if not (is_block(part) or is_transposed(part)) or (owner_of(name) is not None and name not in inside):
            continue
        reason = reason_against_opening(part) if is_block(part) else _reason_against_transposed(part)
        if part is module:
            reason = "it is a single layer; put it into a container"
        if reason:
            sites.kept[name or "the network itself"] = reason
        else:
            candidates[name] = part
    with as_modules():
        watch = watch_layers(module, candidates, inputs)
    for name, part in candidates.items():
        reason = reason_of_use(module, name, watch, may_be_read=is_block(part))
        if reason is None and is_block(part):
            reason = _reason_against_a_look(module, name, inputs)
        if reason is None and is_transposed(part) and name in watch.called_by_keyword:
            reason = "it is called with a keyword, which its replacement does not know"
        if reason is not None:
            sites.kept[name] = reason
            continue
        for one in [one for one in sites.kept if one == name or one.startswith(f"{name}.")]:
            del sites.kept[one]
        if is_block(part):
            sites.blocks.append(name)
        else:
            dense.append(_described(owner_of(name) or name, part))


def _reason_against_transposed(part: nn.Module) -> str | None:
    if parametrize.is_parametrized(part):
        return "its weight is parametrised"
    return "it has hooks, which would be lost" if part._forward_hooks or part._forward_pre_hooks else None


@contextlib.contextmanager
def as_modules() -> Iterator[None]:
    """Encoder layers of torch call their attention as a module for a while, and not their fused kernel."""
    before = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@torch.no_grad()
def _reason_against_a_look(module: nn.Module, name: str, inputs: Inputs) -> str | None:
    """Open the block, watch its slots, and compare what the network computes."""
    with evaluating(module), as_modules():
        wanted = tensors_of(forward(module, inputs))
        try:
            with opened(module, [name]):
                for slot in module.get_submodule(name).slots.values():
                    slot.is_watched = True
                seen = tensors_of(forward(module, inputs))
        except Exception as error:  # whatever the user's forward raises
            return f"the network fails with it opened ({type(error).__name__}: {error})"
    return difference(wanted, seen)


@contextlib.contextmanager
def opened(module: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """The blocks `names` have slots for a while; those that get dendrites in it keep them."""
    encoders: list[Any] = [part for part in module.modules() if isinstance(part, nn.TransformerEncoder)]
    packing = [encoder.use_nested_tensor for encoder in encoders]
    for name in names:
        part = module.get_submodule(name)
        if not isinstance(part, OpenBlock):
            put_in_place_(module, part, open_block(part))
    try:
        if any(isinstance(module.get_submodule(name), PlainAttention) for name in names):
            forbid_nested_tensors_(module)
        yield
    finally:
        close_unused_(module)
        for encoder, before in zip(encoders, packing, strict=True):
            if not any(isinstance(part, PlainAttention) for part in encoder.modules()):
                encoder.use_nested_tensor = before


def close_unused_(module: nn.Module) -> None:
    """Blocks and layers without dendrites are again what they were."""
    for part in list(module.modules()):
        is_empty = isinstance(part, DendriticLayer) and not len(part.sets)
        if is_empty or (isinstance(part, OpenBlock) and not any(len(slot.sets) for slot in part.slots.values())):
            put_in_place_(module, part, part.layer)


def insert(module: nn.Module, name: str, made: Dendrites) -> Callable[[], None]:
    """Add dendrites to the layer or slot of that name, as its last set; the function takes them away again."""
    part: Any = module.get_submodule(name)
    if not isinstance(part, (DendriticLayer, Slot)):
        grown = DendriticLayer(part, [made]).train(part.training)
        put_in_place_(module, part, grown)
        return lambda: put_in_place_(module, grown, part)
    part.sets.append(made)

    def take_away() -> None:
        part.sets = nn.ModuleList(list(part.sets)[:-1])

    return take_away


def _described(name: str, part: nn.Module) -> DenseLayer:
    num_inputs, num_neurons = sizes_of(part)
    return DenseLayer(name, num_neurons, num_inputs, 1, is_linear=True)


def _whole(layer: DenseLayer) -> Fields:
    """All inputs of a neuron, as `field_inputs` gives them: positions of a kernel, maps, or one block."""
    if not layer.is_linear:
        return Fields(layer, SPATIAL_BRANCHES, layer.num_inputs, layer.kernel)
    return natural_fields(layer) or Fields(layer, BLOCK_BRANCHES, 1, layer.num_inputs)

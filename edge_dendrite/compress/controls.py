"""The networks that a compressed one must be compared with, given the same epochs and the same teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from edge_dendrite.compress.layers.build import BRANCH_KINDS, DENDRITES
from edge_dendrite.compress.layers.dendrites import Dendrites
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.plan import Cut, Plan, Replace, apply_plan_


def same_shape_from_scratch(factory: Callable[[], nn.Module], plan: Plan, seed: int) -> nn.Module:
    """A network of the compressed shape with new random weights.

    Cutting a randomly initialised wide network would leave weights that are scaled for the wide one. So each module
    that the plan cuts is initialised anew at its own size by its `reset_parameters`, where it has one; tensors that the
    factory sets to a constant (zeros of a residual's last layer, for instance) keep that constant. Modules that the
    plan does not cut stay as the factory made them; branches and dendrites are new altogether.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = apply_plan_(factory(), plan)
        made = {name for edit in plan.edits if isinstance(edit, Replace) for name in _made_parts(module, edit)}
        cut = {edit.tensor.rpartition(".")[0] for edit in plan.edits if isinstance(edit, Cut)}
        replaced = {edit.module for edit in plan.edits if isinstance(edit, Replace)}
        inside = {
            f"{name}.{below}" if below else name
            for name in replaced
            for below, _ in module.get_submodule(name).named_modules()
            if not _is_users(module.get_submodule(name), below)
        }
        for name in sorted(cut | inside):
            _initialise_(module.get_submodule(name), keep_constants=name not in made)
    return module


def _is_users(part: nn.Module, below: str) -> bool:
    """Whether that is inside the user's own block, which a gate is only put around."""
    return isinstance(part, GatedBlock) and below.partition(".")[0] == "block"


def _made_parts(module: nn.Module, edit: Replace) -> list[str]:
    """The parts of branches and dendrites: that they are zeros was nobody's wish."""
    if edit.kind not in (DENDRITES, *BRANCH_KINDS):
        return []
    below = [name for name, _ in module.get_submodule(edit.module).named_modules()]
    if edit.kind == DENDRITES:  # the user's own layer is inside
        below = [name for name in below if name.partition(".")[0] != "layer"]
    return [f"{edit.module}.{name}" if name else edit.module for name in below]


@torch.no_grad()
def dendrites_zeroed(module: nn.Module) -> nn.Module:
    """A copy in which the dendrites of all layers add nothing."""
    module = copy.deepcopy(module)
    for part in module.modules():
        if isinstance(part, Dendrites):
            part.get_parameter("soma.weight").zero_()
    return module


@torch.no_grad()
def _initialise_(part: nn.Module, *, keep_constants: bool) -> None:
    reset = getattr(part, "reset_parameters", None)
    if not callable(reset):
        return
    constants = {
        name: value.clone()
        for name, value in part.named_parameters(recurse=False)
        if keep_constants and bool((value == value.flatten()[0]).all())
    }
    reset()
    for name, value in constants.items():
        getattr(part, name).copy_(value)

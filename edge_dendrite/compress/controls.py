"""The networks that a compressed one must be compared with, given the same epochs and the same teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from edge_dendrite.compress.plan import Plan, apply_plan_


def same_shape_from_scratch(factory: Callable[[], nn.Module], plan: Plan, seed: int) -> nn.Module:
    """A network of the compressed shape with new random weights, as if it had been designed that small.

    Cutting a randomly initialised wide network would leave weights scaled for the wide one, so every module that
    has `reset_parameters` is initialised anew at its own size.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = factory()
        apply_plan_(module, plan)
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
    return module

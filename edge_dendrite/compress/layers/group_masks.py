"""Learnable masks: while a layer is trained, each group of its neurons learns which inputs it reads.

MaskedLayer     a dense layer under a mask, for training
without_masks   the same network with ordinary dense weights, zero where nothing is read

`MaskedLayer.settings` are those of the GroupedLayer that computes the same with fewer weights.

Sources of the learning rule: Ramanujan et al. 2020, "What's Hidden in a Randomly Weighted Neural Network?", section 3
(scores beside the weights, the largest are used, gradients pass the choice straight through); Zhou et al. 2021,
"Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", section 3 (weights that are left out get
their gradient too). Here a score belongs to an input of a group, not to a single weight.

Shape suffixes: b batch, g groups, c inputs, k inputs per group, n neurons.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.layers.sparse import reason_against
from edge_dendrite.errors import PruneError


class MaskedLayer(nn.Module):
    """A convolution or linear layer in equal consecutive groups of neurons, each with its inputs of largest score.

    layer: the dense one. All groups together read as many inputs as there are, some perhaps twice and others not at
    all. The start is that of a channel shuffle: group j of g has the inputs j, j + g, j + 2g and so on, with scores so
    close to those of the others that some change places early in the training. Raises PruneError for a layer that could
    not be a GroupedLayer afterwards, or does not divide into the groups.
    """

    def __init__(self, layer: Any, num_groups: int) -> None:
        super().__init__()
        if reason := reason_against(layer):
            raise PruneError(f"this layer cannot learn groups: {reason}")
        num_neurons, num_inputs = layer.weight.shape[:2]
        if num_groups < 1 or num_neurons % num_groups or num_inputs % num_groups:
            raise PruneError(f"{num_neurons} neurons of {num_inputs} inputs do not divide into {num_groups} groups")
        self.layer = layer
        self.num_groups, self.inputs_per_group = num_groups, num_inputs // num_groups
        own_gc = torch.arange(num_inputs) % num_groups == torch.arange(num_groups).unsqueeze(1)
        scores_gc = 0.1 * torch.rand(num_groups, num_inputs) + 0.1 * own_gc
        self.scores = nn.Parameter(scores_gc.to(layer.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c, ...) or (..., c) to what the dense layer makes of it under the mask."""
        return torch.func.functional_call(self.layer, {"weight": self._masked_weight()}, (x,))

    def inputs(self) -> torch.Tensor:
        """The inputs of each group, (g, k), ascending."""
        return self.scores.detach().topk(self.inputs_per_group, dim=1).indices.sort(dim=1).values

    @property
    def settings(self) -> dict[str, Any]:
        """For a plan that folds this layer (kind "groups" in build.py)."""
        neurons = list(range(len(self.layer.weight)))
        return {"num_groups": self.num_groups, "inputs": self.inputs().flatten().tolist(), "neurons": neurons}

    def dense(self) -> nn.Module:
        """A copy of the dense layer with zeros where a neuron's group does not read an input."""
        copied: Any = copy.deepcopy(self.layer)
        with torch.no_grad():
            copied.weight.copy_(self._masked_weight())
        return copied

    def _masked_weight(self) -> torch.Tensor:
        weight = self.layer.weight
        chosen_gc = torch.zeros_like(self.scores).scatter_(1, self.inputs(), 1.0)
        # Forward the choice; backward the scores see what each input would be worth, the sum of weight * gradient over
        # its kernels, and weights that are left out learn as if they were read: else they would stay random, and an
        # input could only come in by luck.
        mask = self._per_weight(chosen_gc + (self.scores - self.scores.detach()))
        return weight * mask + (weight - weight.detach()) * (1.0 - self._per_weight(chosen_gc))

    def _per_weight(self, values_gc: torch.Tensor) -> torch.Tensor:
        """(n, c, 1, ...), for products with the weight."""
        weight = self.layer.weight
        values_nc = values_gc.repeat_interleave(len(weight) // self.num_groups, dim=0)
        return values_nc.view(*values_nc.shape, *[1] * (weight.dim() - 2))


def without_masks(module: nn.Module) -> nn.Module:
    """`module` itself where it learns no groups, else a copy with a dense layer in the place of each masked one."""
    if isinstance(module, MaskedLayer):
        return module.dense()
    if not any(isinstance(part, MaskedLayer) for part in module.modules()):
        return module
    copied = copy.deepcopy(module)
    for owner in list(copied.modules()):
        for name, part in owner.named_children():
            if isinstance(part, MaskedLayer):
                setattr(owner, name, part.dense())
    return copied

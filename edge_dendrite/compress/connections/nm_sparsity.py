"""2:4 sparsity: of every four consecutive inputs of a neuron two weights are zero.

It makes no tensor smaller: `num_nonzero` falls, `num_parameters` does not, and only runtimes and boards that skip such
zeros can gain anything; hence the profile of the board is asked first.

    sparse = prune_two_of_four(module, batches, load_board("jetson-orin-nano"))
    fit(sparse.module, ...)       # the zeros hold: the mask is part of the network while it trains
    bake_(sparse.module)          # a plain network with zeros in its weights
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from edge_dendrite.boards import BoardProfile, require_structured_sparsity
from edge_dendrite.compress.batches import Batch, endless
from edge_dendrite.compress.connections.dense_layers import (
    DenseLayer,
    find_dense_layers,
    first_and_all,
    gradients_of_batches,
    names_of,
)
from edge_dendrite.compress.plan import LayerChange, Plan
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.config import TwoOfFourConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.train.fit import Loss

PATTERN = "2:4"
# Marks a line of a plan that counts weights and not neurons.
_ZEROS = " (non-zero weights)"


class HeldZeros(nn.Module):
    """A parametrisation under which the weights outside of `mask` are zero, and stay so in training."""

    mask: torch.Tensor

    def __init__(self, mask: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight with zeros where `mask` is False; both of one shape."""
        return weight * self.mask


def prune_two_of_four(
    module: nn.Module,
    batches: Iterable[Batch],
    board: BoardProfile,
    config: TwoOfFourConfig | None = None,
    *,
    loss: Loss = functional.cross_entropy,
) -> Pruned:
    """A copy of `module` whose convolutions and linear layers hold 2:4 zeros; `module` is unchanged.

    batches: as in `prune`; with magnitudes only the first one is looked at. Layers whose inputs are no multiple of
    four stay dense. The plan has no edits, since no shape changes: the zeros are in the weights. Call `bake_` after
    training. Raises ConfigError, naming the board, when its profile does not have 2:4, PruneError when no layer can.
    """
    require_structured_sparsity(board, PATTERN)
    config = config or TwoOfFourConfig()
    inputs, stream = first_and_all(endless(batches))
    layers, kept = find_dense_layers(module, inputs)
    kept |= {one.name: f"its {one.num_inputs} inputs are no multiple of 4" for one in layers if one.num_inputs % 4}
    layers = tuple(one for one in layers if one.num_inputs % 4 == 0)
    if not layers:
        raise PruneError(f"no layer of this network can have {PATTERN} sparsity. Kept: {names_of(kept)}")
    sparse = copy.deepcopy(module)
    scores = weight_scores(sparse, layers, itertools.islice(stream, config.num_batches), loss, config.score)
    masks = {name: two_of_four(score) for name, score in scores.items()}
    lines = [_line(name, mask, scores[name]) for name, mask in masks.items()]
    return Pruned(hold_zeros_(sparse, masks), Plan(layers=tuple(lines)), kept)


def weight_scores(
    module: nn.Module, layers: Iterable[DenseLayer], batches: Iterable[Batch], loss: Loss, score: str
) -> dict[str, torch.Tensor]:
    """What each weight is worth, by layer, of the weight's shape: its magnitude, or |weight * gradient| (Taylor)."""
    weights = {layer.name: module.get_submodule(layer.name).weight for layer in layers}
    if score == "magnitude":
        return {name: weight.detach().abs() for name, weight in weights.items()}
    frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
    module.requires_grad_(True)
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for _ in gradients_of_batches(module, batches, loss):
        for name, weight in weights.items():
            if weight.grad is not None:
                totals[name] += (weight.detach() * weight.grad).abs()
    for parameter in frozen:
        parameter.requires_grad_(False)
    if not all(bool(total.isfinite().all()) for total in totals.values()):
        raise PruneError("scores are not finite: the network's loss or its gradients are NaN or infinite")
    return totals


def two_of_four(scores: torch.Tensor) -> torch.Tensor:
    """A mask of the same shape: of every four consecutive entries along dimension 1 the two of largest score.

    Dimension 1 is the one that a neuron sums over, at each position of the kernel: (neurons, inputs, ...), with a
    multiple of four inputs. Of equal scores the first ones stay.
    """
    fours = scores.detach().movedim(1, -1).unflatten(-1, (-1, 4))
    best = fours.argsort(dim=-1, descending=True, stable=True)[..., :2]
    mask = torch.zeros_like(fours, dtype=torch.bool).scatter_(-1, best, True)
    return mask.flatten(-2).movedim(-1, 1).contiguous()


def hold_zeros_(module: nn.Module, masks: Mapping[str, torch.Tensor]) -> nn.Module:
    """Hold the weights of the named layers at zero outside of their masks, through any training; returns `module`.

    Also for a control: the same masks on new weights are the same shape from scratch.
    """
    for name, mask in masks.items():
        layer = module.get_submodule(name)
        parametrize.register_parametrization(layer, "weight", HeldZeros(mask.to(layer.weight.device)))
    return module


def bake_(module: nn.Module) -> nn.Module:
    """Make the held zeros ordinary weights: plain layers again, in the order of before; returns `module`."""
    for layer in list(module.modules()):
        if not _holds_zeros(layer):
            continue
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        # A removed parametrisation puts the weight last; digests and optimizers go by the order.
        bias = layer._parameters.pop("bias", None)
        layer._parameters["bias"] = bias
    return module


def masks_of(module: nn.Module) -> dict[str, torch.Tensor]:
    """The masks that a network holds at the moment, by layer."""
    return {
        name: one.mask
        for name, layer in module.named_modules()
        if _holds_zeros(layer)
        for one in layer.parametrizations["weight"]
    }


def _holds_zeros(layer: nn.Module) -> bool:
    return parametrize.is_parametrized(layer, "weight") and isinstance(layer.parametrizations["weight"][0], HeldZeros)


def _line(name: str, mask: torch.Tensor, scores: torch.Tensor) -> LayerChange:
    removed = float(scores[~mask].double().sum())
    return LayerChange(name + _ZEROS, mask.numel(), int(mask.sum()), removed, float(scores.double().sum()))


def layer_with_zeros(line: LayerChange) -> str | None:
    """The layer of a line of a plan that tells of zeros; None for other lines."""
    return line.layer.removesuffix(_ZEROS) if line.layer.endswith(_ZEROS) else None

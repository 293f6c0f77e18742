"""What can be said about a network and data before hours of training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.errors import DataError, ModelError
from edge_dendrite.models.source import build
from edge_dendrite.train.evaluate import evaluating


def check_fits(factory: Callable[[], nn.Module], data: DataSet, source: str) -> None:
    """Try one small batch: outputs (b, k) for k classes at least, a loss, and its gradient in training mode.

    Raises ModelError when the network cannot take the data or cannot be trained, DataError for targets that are no
    class numbers.
    """
    module = build(factory, source)
    inputs = data.prepare(data.train.inputs[:4])
    try:
        with evaluating(module), torch.no_grad():
            outputs = module(inputs)
    except Exception as error:  # whatever the user's forward raises
        raise ModelError(
            f"{source}: cannot take inputs of shape {data.input_shape} of {data.name} ({error}); "
            "choose a network for this data, or other data"
        ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.dim() != 2 or len(outputs) != len(inputs):
        seen = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise ModelError(f"{source}: gives {seen} for {len(inputs)} inputs; expected one tensor (inputs, classes)")
    for name, split in (("training", data.train), ("validation", data.validation)):
        _check_targets(name, split, data.name, outputs.shape[1])
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ModelError(f"{source}: has no parameter that can be trained")
    try:
        functional.cross_entropy(module.train()(inputs), data.train.targets[:4]).backward()
    except Exception as error:  # as above
        raise ModelError(f"{source}: cannot be trained on {data.name} ({error})") from error


def _check_targets(name: str, split: Split, data_name: str, num_outputs: int) -> None:
    targets = split.targets
    if targets.is_floating_point() or targets.dim() != 1:
        raise DataError(
            f"{data_name}: {name} targets are {targets.dtype} of shape {tuple(targets.shape)}; "
            "expected one whole class number each"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= num_outputs:
        raise DataError(
            f"{data_name}: {name} targets go from {low} to {high}, but the network has {num_outputs} outputs (0 to "
            f"{num_outputs - 1}); correct the targets or choose another network"
        )

"""The metric of a network on a split."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from edge_dendrite.data.dataset import DataSet, Split

Metric = Callable[[torch.Tensor, torch.Tensor], float]


def accuracy(outputs_bk: torch.Tensor, targets_b: torch.Tensor) -> float:
    """Share of samples whose largest output is that of the target, 0 to 1."""
    return float((outputs_bk.argmax(1) == targets_b).double().mean())


@torch.no_grad()
def predict(module: nn.Module, data: DataSet, split: Split, batch_size: int = 512) -> torch.Tensor:
    """Outputs (n, ...) of a network in evaluation mode; its mode is put back afterwards."""
    was_training = module.training
    module.eval()
    try:
        return torch.cat([module(inputs) for inputs, _ in data.batches(split, batch_size)])
    finally:
        module.train(was_training)


def evaluate(module: nn.Module, data: DataSet, split: Split, metric: Metric = accuracy) -> float:
    """The metric over a whole split; a larger value is better."""
    return float(metric(predict(module, data, split), split.targets))

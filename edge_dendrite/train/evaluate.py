"""The metric of a network on a split."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

import torch
from torch import nn

from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.errors import TrainError
from edge_dendrite.train.device import device_of

# (outputs (n, ...), targets (n, ...)) to a number; a larger one is better.
Metric = Callable[[torch.Tensor, torch.Tensor], float]


def accuracy(outputs_bk: torch.Tensor, targets_b: torch.Tensor) -> float:
    """Share of samples whose largest output is that of the target, 0 to 1."""
    return float((outputs_bk.argmax(1) == targets_b).double().mean())


def metric_name(metric: Metric) -> str:
    """What tells one metric from another in a record: `accuracy`, or module and name of the user's own."""
    if metric is accuracy:
        return "accuracy"
    named = metric if hasattr(metric, "__qualname__") else type(metric)
    return f"{named.__module__}.{named.__qualname__}"


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; afterwards every part has the mode that it had, a frozen batch norm too."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextlib.contextmanager
def modes_restored_on_error(module: nn.Module) -> Iterator[None]:
    """After an error every part has the mode that it had."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    except BaseException:
        for part, mode in modes:
            part.training = mode
        raise


@torch.no_grad()
def predict(module: nn.Module, data: DataSet, split: Split, batch_size: int = 512) -> torch.Tensor:
    """Outputs (n, ...) of a network in evaluation mode, computed where the network is, returned on the CPU."""
    with evaluating(module):
        batches = data.batches(split, batch_size, device=device_of(module))
        return torch.cat([module(inputs).cpu() for inputs, _ in batches])


def evaluate(module: nn.Module, data: DataSet, split: Split, metric: Metric = accuracy) -> float:
    """The metric over a whole split; a larger value is better. Raises TrainError as `apply_metric`."""
    return apply_metric(metric, predict(module, data, split), split.targets.cpu())


def apply_metric(metric: Metric, outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """What a metric says, as a finite number. Raises TrainError, naming the metric, when it says anything else."""
    try:
        value = float(metric(outputs, targets))
    except Exception as error:  # the user's function may raise anything, or return what is no number
        raise TrainError(f"metric {metric_name(metric)}: failed ({type(error).__name__}: {error})") from error
    if not math.isfinite(value):
        raise TrainError(f"metric {metric_name(metric)}: gave {value}; it has to be a finite number")
    return value

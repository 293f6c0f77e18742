"""The training loop: AdamW, one-cycle, optional teacher, resumable after every epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import TrainError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.checkpoint import load_checkpoint, save_checkpoint
from edge_dendrite.train.evaluate import Metric, accuracy, evaluate
from edge_dendrite.train.losses import distillation_loss

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
History = list[dict[str, Any]]


@dataclass(frozen=True)
class Teacher:
    """A network whose outputs are learned beside the labels."""

    module: nn.Module
    config: DistilConfig


def fit(
    module: nn.Module,
    data: DataSet,
    config: FitConfig,
    *,
    stage: str = "train",
    teacher: Teacher | None = None,
    loss: Loss = functional.cross_entropy,
    metric: Metric = accuracy,
    checkpoint: Path | None = None,
    key: str = "",
    progress: Progress = silent,
) -> History:
    """Train `module` in place for exactly `config.epochs` epochs and leave it in evaluation mode.

    With `checkpoint`, each finished epoch is saved there and a later call with the same arguments goes on from it
    (`key` names what the arguments do not tell: the data, the network, the teacher);
    on one machine the result is that of an uninterrupted run, bit for bit. With `teacher` the loss is
    distillation's, and `loss` is not used. Returns one entry per epoch: stage, epoch, train_loss, val_metric.
    Raises TrainError when the loss stops being finite; `module` then holds the state of that moment.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    distil = teacher.config.to_dict() if teacher else None
    identity = {"stage": stage, "config": config.to_dict(), "distil": distil, "key": key}
    history: History = []
    if checkpoint is not None and checkpoint.exists():
        history = load_checkpoint(checkpoint, module, optimizer, identity)
    num_batches = data.num_train_batches(config.batch_size)
    description = f"training {stage}"
    for epoch in range(len(history), config.epochs):
        progress(description, epoch * num_batches, config.epochs * num_batches)
        train_loss = _train_epoch(
            module,
            data,
            config,
            epoch,
            optimizer,
            _objective(loss, teacher),
            lambda done: progress(description, done, config.epochs * num_batches),
        )
        val_metric = evaluate(module, data, data.validation, metric)
        history.append({"stage": stage, "epoch": epoch + 1, "train_loss": train_loss, "val_metric": val_metric})
        if checkpoint is not None:
            save_checkpoint(checkpoint, module, optimizer, identity, history)
    module.eval()
    return history


def _objective(
    loss: Loss, teacher: Teacher | None
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """A function of (inputs, outputs, targets)."""
    if teacher is None:
        return lambda inputs, outputs, targets: loss(outputs, targets)
    teacher.module.eval()

    def distil(inputs: torch.Tensor, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted = teacher.module(inputs)
        return distillation_loss(outputs, wanted, targets, teacher.config)

    return distil


def _train_epoch(
    module: nn.Module,
    data: DataSet,
    config: FitConfig,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    objective: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    report: Callable[[int], None],
) -> float:
    """One epoch; returns the mean loss. All randomness comes from (seed, epoch), so an epoch can be repeated alone."""
    num_batches = data.num_train_batches(config.batch_size)
    epoch_seed = (config.seed * 1_000_003 + epoch) % 2**31
    total = torch.zeros((), dtype=torch.float64)
    module.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(epoch_seed)
        generator = torch.Generator().manual_seed(epoch_seed)
        for number, (inputs, targets) in enumerate(data.batches(data.train, config.batch_size, generator)):
            step = epoch * num_batches + number
            for group in optimizer.param_groups:
                group["lr"] = one_cycle(step, config.epochs * num_batches, config.learning_rate)
            optimizer.zero_grad(set_to_none=True)
            value = objective(inputs, module(inputs), targets)
            value.backward()
            optimizer.step()
            total += value.detach().double() * len(inputs)
            report(step + 1)
    mean = float(total) / len(data.train)
    if not math.isfinite(mean):
        raise TrainError(
            f"the loss became {mean} in epoch {epoch + 1} (learning rate {config.learning_rate:g}); "
            "lower the learning rate, or look for NaN in the data"
        )
    return mean


def one_cycle(step: int, num_steps: int, peak: float) -> float:
    """Learning rate of a step: a cosine from peak/25 up to peak over the first 30 %, then down to peak/10,000."""
    rise = 0.3 * num_steps
    if step < rise:
        low, high, share = peak / 25.0, peak, step / rise
    else:
        low, high, share = peak / 1e4, peak, 1.0 - (step - rise) / max(num_steps - rise, 1.0)
    return low + (high - low) * (1.0 - math.cos(math.pi * share)) / 2.0

"""The epochs of one training; `fit` sets the stage for them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from edge_dendrite.config import FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import TrainError
from edge_dendrite.progress import Progress
from edge_dendrite.train.average import Average
from edge_dendrite.train.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from edge_dendrite.train.device import Precision, as_float32, laid_out, seeded
from edge_dendrite.train.distil import Distiller
from edge_dendrite.train.distributed import Processes
from edge_dendrite.train.evaluate import Metric, evaluate, evaluating
from edge_dendrite.train.finite import first_not_finite, weight_not_finite
from edge_dendrite.train.history import History, is_over
from edge_dendrite.train.keep import Kept
from edge_dendrite.train.schedule import one_cycle
from edge_dendrite.train.teacher import known_outputs
from edge_dendrite.train.tensors import all_tensors

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Training:
    """One training of `module`, whose kept weights go to `kept` after every epoch."""

    def __init__(
        self,
        module: nn.Module,
        data: DataSet,
        config: FitConfig,
        *,
        loss: Loss,
        penalty: Callable[[], torch.Tensor] | None,
        distiller: Distiller | None,
        metric: Metric,
        processes: Processes,
        kept: Kept,
    ) -> None:
        self._module, self._data, self._config = module, data, config
        self._loss, self._penalty, self._distiller, self._metric = loss, penalty, distiller, metric
        self._processes, self._kept = processes, kept
        self._precision = Precision(config.precision, processes.device)
        self._average = None if config.ema_decay is None else Average(module, config.ema_decay)
        self._parameters = [*module.parameters(), *(distiller.parameters() if distiller else ())]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self._state = TrainingState(module, self._optimizer, self._precision.scaler, self._other_tensors())
        self._num_batches = data.num_train_batches(config.batch_size)
        self._wanted: torch.Tensor | None = None

    def run(self, checkpoint: Path | None, identity: Mapping[str, Any], progress: Progress) -> History:
        """All epochs that `checkpoint` does not have yet; `identity` says of which training it has to be."""
        history = self._resumed(checkpoint, identity)
        num_steps = self._config.epochs * self._num_batches
        description = f"training {identity['stage']}"
        if len(history) < self._config.epochs:
            self._ask_teacher(progress)
        while not is_over(history, self._config.epochs, self._config.patience):
            epoch = len(history)
            progress(description, epoch * self._num_batches, num_steps)
            train_loss = self._epoch(epoch, lambda done: progress(description, done, num_steps))
            self._equalise()
            self._check_weights(epoch)
            with self._delivered():
                val_metric = self._validate()
                history.append(
                    {"stage": identity["stage"], "epoch": epoch + 1, "train_loss": train_loss, "val_metric": val_metric}
                )
                self._kept.take(history)
            if checkpoint is not None and self._processes.is_main:
                save_checkpoint(checkpoint, self._state, identity, history)
        self._optimizer.zero_grad(set_to_none=True)
        self._processes.agree(0.0)  # nobody leaves before the main process has written
        return history

    def _other_tensors(self) -> dict[str, Mapping[str, torch.Tensor]]:
        """What a checkpoint holds beside network and optimizer."""
        tensors: dict[str, Mapping[str, torch.Tensor]] = {}
        if self._average is not None:
            tensors["average"] = self._average.tensors
        if self._config.patience is not None:
            tensors["kept"] = self._kept.tensors
        if self._distiller is not None:
            tensors["projections"] = dict(self._distiller.projections.named_parameters())
        return tensors

    def _resumed(self, checkpoint: Path | None, identity: Mapping[str, Any]) -> History:
        history: History = []
        if checkpoint is not None and checkpoint.exists():
            history = load_checkpoint(checkpoint, self._state, identity)
        if self._processes.agree(len(history)) != len(history):
            raise TrainError(f"{checkpoint}: not all processes see the same file; put it on storage that they share")
        self._equalise()
        if history and self._config.patience is None:
            with self._delivered():
                self._kept.take(history)
        return history

    def _ask_teacher(self, progress: Progress) -> None:
        """Once, where that is less work than in every epoch: each process asks for all samples.

        How many epochs are left does not matter: a resumed training must see the bits of an uninterrupted one.
        """
        config = self._config
        if self._distiller is not None and not self._distiller.needs_inputs and config.epochs > self._processes.num:
            self._wanted = known_outputs(
                self._distiller.teacher,
                self._data,
                self._data.train,
                config.batch_size,
                self._processes.device,
                self._precision,
                config.channels_last,
                progress,
            )

    def _equalise(self) -> None:
        for tensors in (all_tensors(self._module), *self._state.tensors.values()):
            self._processes.equalise(tensors)

    def _delivered(self) -> contextlib.AbstractContextManager[object]:
        """The network with the weights that are evaluated and kept."""
        return contextlib.nullcontext() if self._average is None else self._average.applied()

    def _validate(self) -> float:
        value = 0.0
        if self._processes.is_main:
            value = evaluate(self._module, self._data, self._data.validation, self._metric)
        return self._processes.agree(value)

    def _epoch(self, epoch: int, report: Callable[[int], None]) -> float:
        """Returns the mean loss. All randomness comes from (seed, epoch), so an epoch can be repeated alone."""
        epoch_seed = (self._config.seed * 1_000_003 + epoch) % 2**31
        generator = torch.Generator().manual_seed(epoch_seed)
        total = 0.0
        self._module.train()
        # Each process drops other units.
        with seeded(self._processes.device, epoch_seed + 7_919 * self._processes.index):
            batches = self._data.index_batches(self._data.train, self._config.batch_size, generator)
            for step, indices in enumerate(batches, start=epoch * self._num_batches):
                total += self._step(step, indices) * len(indices)
                report(step + 1)
        return total / len(self._data.train)

    def _step(self, step: int, indices: torch.Tensor) -> float:
        """One step on the samples at `indices`; returns the loss before it."""
        rate = one_cycle(step, self._config.epochs * self._num_batches, self._config.learning_rate)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        part, weight = self._processes.share(indices)
        inputs, targets = self._data.read(self._data.train, part, self._processes.device)
        inputs = laid_out(inputs, self._config.channels_last)
        self._optimizer.zero_grad(set_to_none=True)
        with self._precision.autocast():
            outputs = as_float32(self._module(inputs))
            value = self._value(part, inputs, outputs, targets)
            if self._penalty is not None:
                value = value + self._penalty()
        value = value * weight
        self._precision.scaler.scale(value).backward()
        loss = self._processes.average(self._parameters, value.detach())
        if not math.isfinite(loss):
            self._refuse(loss, step, rate, inputs)
        self._precision.scaler.step(self._optimizer)
        self._precision.scaler.update()
        if self._average is not None:
            self._average.update(step)
        return loss

    def _value(
        self, part: torch.Tensor, inputs: torch.Tensor, outputs: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """The loss of the samples at the indices `part`."""
        if self._distiller is None:
            return self._loss(outputs, targets)
        wanted = None if self._wanted is None else self._wanted[part].to(self._processes.device)
        return self._distiller(inputs, outputs, targets, wanted)

    def _refuse(self, loss: float, step: int, rate: float, inputs: torch.Tensor) -> NoReturn:
        with self._precision.autocast():
            words = first_not_finite(self._module, inputs)
            if not words and self._distiller:
                with evaluating(self._distiller.teacher):
                    found = first_not_finite(self._distiller.teacher, inputs)
                words = f"in the teacher, {found}" if found else ""
        words = self._processes.first_words(words) or "all layers are finite, so it comes from the loss or the targets"
        epoch, number = divmod(step, self._num_batches)
        raise TrainError(
            f"the loss became {loss} in epoch {epoch + 1}, step {number + 1} of {self._num_batches}, at learning rate "
            f"{rate:.3g}: {words}; lower the learning rate, or look for NaN in the data"
        )

    def _check_weights(self, epoch: int) -> None:
        # The last step of an epoch can break a weight without any loss that shows it.
        words = weight_not_finite(self._module)
        if words:
            raise TrainError(f"in epoch {epoch + 1} the weights became useless: {words}; lower the learning rate")

"""Training of one network: AdamW, one-cycle, optional teacher; on any device, in several processes, resumable."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.config import FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.device import laid_out, placed, seeded
from edge_dendrite.train.distil import Distiller
from edge_dendrite.train.distributed import join
from edge_dendrite.train.evaluate import Metric, accuracy
from edge_dendrite.train.history import History, marked
from edge_dendrite.train.keep import keeping
from edge_dendrite.train.loop import Loss, Training
from edge_dendrite.train.normalise import normalised
from edge_dendrite.train.teacher import Teacher

__all__ = ["History", "Loss", "Teacher", "fit"]

_NUM_EXAMPLES, _NUM_FOR_NORMS = 64, 512


def fit(
    module: nn.Module,
    data: DataSet,
    config: FitConfig,
    *,
    stage: str = "train",
    teacher: Teacher | None = None,
    loss: Loss = functional.cross_entropy,
    penalty: Callable[[], torch.Tensor] | None = None,
    metric: Metric = accuracy,
    is_new: bool = False,
    checkpoint: Path | None = None,
    key: str = "",
    device: str = "auto",
    progress: Progress = silent,
) -> History:
    """Train `module` in place for `config.epochs` epochs, or until patience ends, and leave it in evaluation mode.

    With `checkpoint`, each finished epoch is saved there and a later call with the same arguments goes on from it
    (`key` names what the arguments do not tell: the data, the network, the teacher). On the CPU of one machine the
    result is that of an uninterrupted run, bit for bit; on another device the checkpoint goes on too. With `teacher`
    the loss is distillation's, and `loss` is not used. penalty: called after each forward pass, for what is added to
    the loss (a scalar), for instance the work that gates let through; its attribute `identity`, if it has one, tells a
    checkpoint which it is (JSON-ready). is_new: the weights are random ones, and `config.transient_norms` start as
    norms do, while those of a network that was trained start without any effect.

    Training takes place on `device` ("auto": where the network is, or an accelerator if there is one; see
    `choose_device`); afterwards the network is back where it was. Under `accelerate launch` every process calls `fit`
    with the same arguments: batch_size is that of all together, batch norm sees each process's share alone, and
    `checkpoint` is a file that all of them can read. The main process evaluates, in float32, writes and reports.

    Returns one entry per epoch: stage, epoch, train_loss, val_metric; with patience also kept (history.py).
    Raises TrainError when the loss or a weight stops being finite, naming the layer, and ConfigError for a device or
    a precision that is not there. Whatever is raised, the network then holds the weights of its last good epoch
    (with patience its best one) or, in the first epoch, those that it came with.
    """
    processes = join(device, module)
    identity = {
        "stage": stage,
        "config": config.to_dict(),
        "distil": teacher.config.to_dict() if teacher else None,
        "key": key,
        # Only where there is one: checkpoints from before it was there stay good.
        **({"is_new": True} if is_new and config.transient_norms else {}),
        **({"penalty": getattr(penalty, "identity", "given")} if penalty is not None else {}),
    }
    with (
        placed(processes.device, module, *([teacher.module] if teacher else [])),
        _with_norms(module, data, config, processes.device, is_new),
        keeping(module, best_only=config.patience is not None) as kept,
        _distilling(module, teacher, data, processes.device, config.seed) as distiller,
    ):
        training = Training(
            module,
            data,
            config,
            loss=loss,
            penalty=penalty,
            distiller=distiller,
            metric=metric,
            processes=processes,
            kept=kept,
        )
        history = training.run(checkpoint, identity, progress if processes.is_main else silent)
    module.eval()
    return history if config.patience is None else marked(history)


def _with_norms(
    module: nn.Module, data: DataSet, config: FitConfig, device: torch.device, is_new: bool
) -> contextlib.AbstractContextManager[None]:
    if not config.transient_norms:
        return contextlib.nullcontext()
    inputs, _ = data.read(data.train, torch.arange(min(_NUM_FOR_NORMS, len(data.train))), device)
    return normalised(module, laid_out(inputs, config.channels_last), is_new=is_new)


@contextlib.contextmanager
def _distilling(
    module: nn.Module, teacher: Teacher | None, data: DataSet, device: torch.device, seed: int
) -> Iterator[Distiller | None]:
    if teacher is None:
        yield None
        return
    example, _ = data.read(data.train, torch.arange(min(_NUM_EXAMPLES, len(data.train))), device)
    with seeded(device, seed):
        distiller = Distiller(module, teacher.module, teacher.config, example)
    with distiller:
        yield distiller

"""Growing inside other people's loops: thin adapters around `Grower`, which does the work.

Both put new parameters into the optimizer's first group and not into a new one: schedulers know the groups that were
there when they were made, and would leave a new one at its first learning rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.dendrites.grow import Grower
from edge_dendrite.train.fit import Loss


def trainer_callback(
    grower: Grower,
    batches: Iterable[Batch],
    *,
    metric: str = "eval_loss",
    greater_is_better: bool = False,
    loss: Loss | None = None,
) -> Any:
    """A callback for `transformers.Trainer`: after each evaluation it observes `metric`, and grows when it is time.

    loss: of the model's outputs and the targets in `batches`; by default cross-entropy of `outputs.logits`. Call
    `grower.finish` after the training. Raises ImportError without transformers.
    """
    from transformers import TrainerCallback

    chosen = loss or _loss_of_logits

    class GrowCallback(TrainerCallback):
        is_training = False

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.is_training = True

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.is_training = False

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.is_training:  # the trainer keeps its optimizer for evaluations afterwards
                value, optimizer = _read(kwargs["metrics"], metric), kwargs["optimizer"]
                step(grower, value, greater_is_better, batches, chosen, optimizer)

    return GrowCallback()


class LightningCallback:
    """For a trainer with Lightning's hooks: after each epoch with a validation it observes `metric`, and grows when it
    is time.

    It acts at the end of the training epoch: all metrics are logged then, and gradients are on. Nothing of Lightning is
    imported: a hook that is not one of ours does nothing.
    """

    def __init__(
        self,
        grower: Grower,
        batches: Iterable[Batch],
        *,
        metric: str = "val_loss",
        greater_is_better: bool = False,
        loss: Loss = functional.cross_entropy,
    ) -> None:
        self._grower, self._batches, self._metric = grower, batches, metric
        self._greater_is_better, self._loss = greater_is_better, loss
        self._is_validated = False

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Note that there is a new value, unless it is of the check that precedes the first epoch."""
        self._is_validated = not getattr(trainer, "sanity_checking", False)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Observe, and grow when it is time."""
        if not self._is_validated:
            return
        self._is_validated = False
        value = _read(trainer.callback_metrics, self._metric)
        step(self._grower, value, self._greater_is_better, self._batches, self._loss, trainer.optimizers[0])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith(("on_", "setup", "teardown")):
            return _nothing
        if name in ("state_dict", "load_state_dict"):
            return _nothing_kept
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    @property
    def state_key(self) -> str:
        """What Lightning files a callback's state under; there is none."""
        return type(self).__qualname__


def step(
    grower: Grower, value: float, greater_is_better: bool, batches: Iterable[Batch], loss: Loss, optimizer: Any
) -> list[nn.Parameter]:
    """Tell the grower a metric; when it is time, grow and hand the new parameters to the optimizer. Returns them.

    The optimizer forgets parameters that the network no longer has, and all its moments after a metric that is not
    finite. Raises PruneError as `Grower.grow`.
    """
    is_time = grower.observe(value if greater_is_better else -value)
    if not math.isfinite(value):
        optimizer.state.clear()
    if not is_time:
        return []
    new = grower.grow(batches, loss)
    there = {id(one) for one in grower.module.parameters()}
    for group in optimizer.param_groups:
        for one in group["params"]:
            if id(one) not in there:
                optimizer.state.pop(one, None)
        group["params"][:] = [one for one in group["params"] if id(one) in there]
    optimizer.param_groups[0]["params"].extend(new)
    return new


def _read(metrics: Any, name: str) -> float:
    if name not in metrics:
        raise KeyError(f"metric {name!r} was not reported; there are {', '.join(sorted(metrics))}")
    return float(metrics[name])


def _loss_of_logits(outputs: Any, targets: Any) -> torch.Tensor:
    return functional.cross_entropy(outputs.logits, targets)


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _nothing_kept(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {}

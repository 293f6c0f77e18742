"""One training in several processes: each computes its share of every batch, then all take the same step.

`accelerate launch` (or torchrun) starts the processes; `fit` called in each of them finds the others. Gradients are
averaged by one reduction per step instead of a wrapper around the network: any network trains so, also one in which
some layers get no gradient, and its weights keep their names.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edge_dendrite.errors import TrainError
from edge_dendrite.train.device import choose_device

_NUM_WORDS = 1024


def join(device: str, module: nn.Module) -> Processes:
    """This process among those that were launched together; alone in an ordinary start.

    Raises TrainError when accelerate is missing or the processes do not find each other, ConfigError as
    `choose_device`.
    """
    chosen = choose_device(device, module)
    launched = num_launched()
    if launched == 1:
        return Processes(chosen)
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise TrainError(
            f"this is one of {launched} processes, and accelerate is not installed, which joins them; "
            "pip install 'edge-dendrite[accelerate]', or start a single process"
        ) from error
    state = PartialState(cpu=chosen.type == "cpu")
    if state.num_processes != launched:
        raise TrainError(
            f"{launched} processes were started, but {state.num_processes} found each other on {state.device}; "
            "start them with `accelerate launch` or torchrun"
        )
    # accelerate numbers the CPU.
    joined = torch.device("cpu") if state.device.type == "cpu" else state.device
    return Processes(joined, state.process_index, state.num_processes)


def num_launched() -> int:
    """How many processes a launcher says it started, by what it leaves in the environment; 1 without one."""
    names = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    given = [os.environ[name] for name in names if os.environ.get(name, "").isdigit()]
    return max(1, int(given[0])) if given else 1


@dataclass(frozen=True)
class Processes:
    """This process (number `index` of `num`) and its device."""

    device: torch.device
    index: int = 0
    num: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this one evaluates, writes and tells."""
        return self.index == 0

    def share(self, indices_b: torch.Tensor) -> tuple[torch.Tensor, float]:
        """This process's part of a batch, and the factor that makes the mean of all parts' losses that of the batch.

        A batch with less than two samples for each process is computed whole by every one: batch norm cannot train
        on a single sample.
        """
        if self.num == 1 or len(indices_b) < 2 * self.num:
            return indices_b, 1.0
        part = indices_b[self.index :: self.num]
        return part, len(part) * self.num / len(indices_b)

    @torch.no_grad()
    def average(self, parameters: Iterable[nn.Parameter], loss: torch.Tensor) -> float:
        """Make every gradient its mean over all processes; returns the mean of `loss`, a scalar.

        A parameter without a gradient counts as zero where another process has one, and stays without where none has.
        """
        if self.num == 1:
            return float(loss)
        from accelerate.utils import reduce

        trained = [one for one in parameters if one.requires_grad]
        has_gradient = torch.tensor([one.grad is not None for one in trained], device=self.device)
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in trained]
        dtype = functools.reduce(torch.promote_types, (one.dtype for one in gradients), torch.float32)
        flat = torch.cat([one.flatten().to(dtype) for one in (*gradients, has_gradient, loss)])
        mean = reduce(flat, reduction="mean")
        *parts, present, mean_loss = mean.split([*(one.numel() for one in trained), len(trained), 1])
        for one, part, count in zip(trained, parts, present.tolist(), strict=True):
            if count > 0:
                one.grad = part.view(one.shape).to(one.dtype)
        return float(mean_loss)

    def agree(self, value: float) -> float:
        """The main process's number, in all of them; all wait for it."""
        if self.num == 1:
            return value
        from accelerate.utils import broadcast

        return float(broadcast(torch.tensor([value], dtype=torch.float64, device=self.device)))

    @torch.no_grad()
    def equalise(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Give all processes the main process's values."""
        if self.num == 1:
            return
        from accelerate.utils import broadcast

        for tensor in tensors.values():
            tensor.copy_(broadcast(tensor.detach().clone().contiguous()))

    def first_words(self, words: str) -> str:
        """The first text among the processes that is not empty."""
        if self.num == 1:
            return words
        from accelerate.utils import gather

        mine = list(words.encode()[:_NUM_WORDS].ljust(_NUM_WORDS, b"\0"))
        rows: Any = gather(torch.tensor([mine], dtype=torch.uint8, device=self.device)).tolist()
        texts = [bytes(row).rstrip(b"\0").decode(errors="replace") for row in rows]
        return next(filter(None, texts), "")

"""What a teacher says of the training data, asked once instead of in every epoch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edge_dendrite.config import DistilConfig
from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.progress import Progress
from edge_dendrite.train.device import Precision, as_float32, laid_out
from edge_dendrite.train.evaluate import evaluating


@dataclass(frozen=True)
class Teacher:
    """A network whose outputs, and features if asked for, are learned beside the labels."""

    module: nn.Module
    config: DistilConfig


@torch.no_grad()
def known_outputs(
    teacher: nn.Module,
    data: DataSet,
    split: Split,
    batch_size: int,
    device: torch.device,
    precision: Precision,
    channels_last: bool,
    progress: Progress,
) -> torch.Tensor | None:
    """The teacher's outputs (n, ...) for all samples of a split, float32 on the CPU.

    Inputs are the same in every epoch, so these are. They are made in the order of the data and not of the first
    epoch, so that a resumed training has the same bits. None where they would take more memory than the split's
    inputs do. progress counts batches.
    """
    outputs: torch.Tensor | None = None
    batches = data.index_batches(split, batch_size)
    description = "asking the teacher"
    with evaluating(teacher):
        for number, indices in enumerate(batches):
            progress(description, number, len(batches))
            inputs, _ = data.read(split, indices, device)
            with precision.autocast():
                part = as_float32(teacher(laid_out(inputs, channels_last)))
            if outputs is None:
                if part[0].nbytes > split.inputs[0].nbytes:
                    return None
                outputs = torch.empty(len(split), *part.shape[1:], dtype=part.dtype)
            outputs[indices] = part.cpu()
    progress(description, len(batches), len(batches))
    return outputs

"""What each process of a training in several processes runs, started by a launcher; also alone, to compare with."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.data.digits import read_digits
from edge_dendrite.errors import TrainError
from edge_dendrite.models.convnets import DigitsCNN
from edge_dendrite.progress import Progress
from edge_dendrite.train.fit import Teacher, fit

CONFIG = FitConfig(epochs=3, batch_size=40, learning_rate=3e-3, ema_decay=0.9, patience=3)
HALF = "half.safetensors"


class Stop(Exception):
    pass


def digits(*, broken: bool = False) -> DataSet:
    """183 samples in float64; the last batch has 23, which two processes share as 12 and 11.

    broken: one sample, and so one process, has NaN.
    """
    whole = read_digits()
    inputs, targets = whole.prepare(whole.train.inputs).double(), whole.train.targets
    if broken:
        inputs[7] = float("nan")
    validation = (inputs[200:], targets[200:])
    return DataSet.from_tensors("digits", train=(inputs[:183], targets[:183]), validation=validation, test=validation)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    # In float32 AdamW would turn the rounding of a gradient near zero into a step of full size.
    return DigitsCNN().double()


def train(folder: Path, name: str, seed: int, checkpoint: Path, progress: Progress) -> None:
    """Distil a network with first weights of `seed`; leaves NAME.safetensors and NAME.json."""
    module, teacher = network(seed), Teacher(network(1), DistilConfig(features=("conv2",)))
    history = fit(module, digits(), CONFIG, teacher=teacher, checkpoint=checkpoint, progress=progress)
    save_file(module.state_dict(), folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(history))


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ.get("RANK", "0"))
    said: list[int] = []

    def stop(description: str, done: int, total: int, /) -> None:
        if done > total // 2:
            raise Stop

    # Each process comes with other weights; those of the first have to hold.
    train(folder, f"whole-{rank}", 2 + rank, folder / "c.safetensors", lambda words, done, total: said.append(done))
    if (folder / HALF).exists():
        train(folder, f"resumed-{rank}", 2, folder / HALF, lambda words, done, total: None)
    else:
        with contextlib.suppress(Stop):
            train(folder, "never", 2, folder / HALF, stop)
    try:
        fit(network(2), digits(broken=True), CONFIG)
        message = ""
    except TrainError as error:
        message = str(error)
    (folder / f"said-{rank}.json").write_text(json.dumps({"steps": len(said), "error": message}))


if __name__ == "__main__":
    main()

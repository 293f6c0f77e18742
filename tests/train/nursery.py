"""One process that imports torch and forks trainings, so that a test can kill many of them without waiting for torch.

Reads one order per line, {"folder", "setting", "die", "kill_after"}; answers with the exit code.
kill_after: null, or after about how many steps it is killed from outside, wherever it then is.
die: null, ["step", n] (kill -9 after step n), or ["half" | "synced" | "replaced", n]: kill -9 while checkpoint number n
of this process is written: in the middle, before and after it takes its place.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # the first step of an optimizer would import it in every child, for seconds
from safetensors.torch import save_file
from torch import nn

from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.train import checkpoint as checkpoints
from edge_dendrite.train.fit import Teacher, fit

SETTINGS = {
    "plain": FitConfig(epochs=5, batch_size=20),
    "everything": FitConfig(epochs=5, batch_size=20, ema_decay=0.95, patience=5, precision="bfloat16"),
    "stops-early": FitConfig(epochs=50, batch_size=20, learning_rate=1e-6, ema_decay=0.5, patience=4),
}


def network(width: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, 3))


def train(folder: Path, setting: str, die: tuple[str, int] | None) -> None:
    """Train, on from a checkpoint if there is one; writes each step's number to `steps`, at the end the result."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs, targets = torch.randn(900, 8), torch.randint(3, (900,))
    data = DataSet.from_tensors("noise", train=(inputs, targets), test=(inputs, targets))
    teacher = Teacher(network(24, 1), DistilConfig(features=("1",))) if setting == "everything" else None
    steps = os.open(folder / "steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def progress(description: str, done: int, total: int, /) -> None:
        os.write(steps, f"{done}\n".encode())
        if die == ("step", done):
            os.kill(os.getpid(), signal.SIGKILL)

    if die is not None and die[0] != "step":
        die_while_writing(*die)
    module = network(16, 2)
    history = fit(
        module, data, SETTINGS[setting], teacher=teacher, checkpoint=folder / "c.safetensors", progress=progress
    )
    save_file(module.state_dict(), folder / "final.safetensors")
    (folder / "history.json").write_text(json.dumps(history))


def die_while_writing(moment: str, number: int) -> None:
    real_sync, real_replace, written = os.fsync, Path.replace, []

    def sync(handle: int) -> None:
        written.append(handle)
        if len(written) == number and moment == "half":
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        real_sync(handle)

    def replace(path: Path, target: Path) -> Path:
        if len(written) == number and moment == "synced":
            os.kill(os.getpid(), signal.SIGKILL)
        result = real_replace(path, target)
        if len(written) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    checkpoints.os.fsync = sync
    Path.replace = replace


def wait_for_steps(path: Path, number: int, child: int) -> None:
    """Wait until a child has done `number` steps more, or has ended."""
    before = num_lines(path)
    while num_lines(path) < before + number:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.001)


def num_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                train(Path(order["folder"]), order["setting"], tuple(order["die"]) if order["die"] else None)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        if order["kill_after"] is not None:
            wait_for_steps(Path(order["folder"]) / "steps", order["kill_after"], child)
            os.kill(child, signal.SIGKILL)  # its number is its own until it is waited for
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()

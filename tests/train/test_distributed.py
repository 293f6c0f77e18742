"""Several processes on the loopback interface (gloo), started as a user starts them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from edge_dendrite.errors import TrainError
from edge_dendrite.train.distributed import Processes, join

ACCELERATE = [
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
]


def launch(launcher, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(
        [sys.executable, *launcher, Path(__file__).with_name("worker.py"), folder],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]


def read(folder, name):
    history = json.loads((folder / f"{name}.json").read_text())
    return load_file(folder / f"{name}.safetensors"), history


def distance(one, other):
    assert one.keys() == other.keys()
    return max(float((one[key] - other[key]).abs().max()) for key in one)


def test_two_processes_make_what_one_makes(tmp_path):
    alone, both = tmp_path / "alone", tmp_path / "both"
    alone.mkdir()
    both.mkdir()
    launch([], alone)
    shutil.copy(alone / "half.safetensors", both)
    launch(ACCELERATE, both)

    weights, history = read(alone, "whole-0")
    for name in ("whole", "resumed"):  # from the start, and from a checkpoint that one process made alone
        (first, entries), (second, _) = read(both, f"{name}-0"), read(both, f"{name}-1")
        assert distance(first, second) == 0.0
        assert distance(first, weights) < 1e-9
        for entry, wanted in zip(entries, history, strict=True):
            assert abs(entry["train_loss"] - wanted["train_loss"]) < 1e-9
            assert entry["val_metric"] == wanted["val_metric"]
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]  # there was something to compare

    said = [json.loads((both / f"said-{rank}.json").read_text()) for rank in (0, 1)]
    assert said[0]["steps"] == 3 * (1 + 5)
    assert said[1]["steps"] == 0  # only the main process reports
    assert "the inputs of this batch hold NaN" in said[0]["error"]
    assert said[0]["error"] == said[1]["error"]


def test_shares_make_up_the_batch_and_weigh_as_their_samples():
    batch = torch.arange(23)
    shares = [Processes(torch.device("cpu"), index, 3).share(batch) for index in range(3)]
    assert sorted(torch.cat([part for part, _ in shares]).tolist()) == batch.tolist()
    losses = torch.rand(23, generator=torch.Generator().manual_seed(0))
    mean = sum(float(losses[part].mean()) * weight for part, weight in shares) / 3
    assert abs(mean - float(losses.mean())) < 1e-6
    for index in range(3):  # too few for two samples each: all of them for everybody
        part, weight = Processes(torch.device("cpu"), index, 3).share(torch.arange(5))
        assert part.tolist() == [0, 1, 2, 3, 4]
        assert weight == 1.0


def test_a_missing_accelerate_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(
        TrainError, match=r"one of 4 processes, and accelerate is not installed.*edge-dendrite\[accelerate\]"
    ):
        join("cpu", nn.Linear(2, 2))


def test_an_ordinary_start_is_alone(monkeypatch):
    for name in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert join("cpu", nn.Linear(2, 2)) == Processes(torch.device("cpu"))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join("cpu", nn.Linear(2, 2)).num == 1

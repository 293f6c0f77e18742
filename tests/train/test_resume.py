"""Trainings that are killed with kill -9, at chosen and at random moments, and go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

NUM_BATCHES = 41  # 810 training samples in batches of 20, the last of 10
KILLED = -signal.SIGKILL


class Nursery:
    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def train(self, folder, setting, die=None, kill_after=None):
        """Exit code of one training; with `kill_after` it is killed from outside, unless it has ended."""
        folder.mkdir(exist_ok=True)
        order = {"folder": str(folder), "setting": setting, "die": die, "kill_after": kill_after}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def nursery():
    made = Nursery()
    yield made
    made.close()


@pytest.fixture(scope="module")
def uninterrupted(nursery, tmp_path_factory):
    """The folder of a training that nobody disturbed, by setting."""
    made = {}

    def get(setting):
        if setting not in made:
            folder = tmp_path_factory.mktemp(setting)
            assert nursery.train(folder, setting) == 0
            made[setting] = folder
        return made[setting]

    return get


def steps(folder):
    return [int(line) for line in (folder / "steps").read_text().split()]


def assert_ends_the_same(folder, whole):
    for name in ("final.safetensors", "history.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    made, wanted = load_file(folder / "c.safetensors"), load_file(whole / "c.safetensors")
    assert made.keys() == wanted.keys()
    assert all(torch.equal(made[key], wanted[key]) for key in wanted)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


@pytest.mark.parametrize("setting", ["plain", "everything"])
@pytest.mark.parametrize(
    "deaths",
    [
        [["step", 3]],  # before the first checkpoint
        [["step", 3 * NUM_BATCHES + 7], ["step", 3 * NUM_BATCHES + 7]],  # twice in the same epoch
        [["half", 1], ["half", 1], ["synced", 2], ["half", 1]],
        [["replaced", 2], ["step", 5 * NUM_BATCHES], ["replaced", 1]],  # the last leaves nothing but the result to do
    ],
    ids=lambda deaths: "-".join(name for name, _ in deaths),
)
def test_killed_at_chosen_moments(nursery, uninterrupted, tmp_path, setting, deaths):
    whole = uninterrupted(setting)
    folder = tmp_path / "run"
    before = 0
    for die in deaths:
        assert nursery.train(folder, setting, die) == KILLED
        assert len([path for path in folder.iterdir() if "writing" in path.name]) <= 1
        seen = steps(folder)
        went_on_from = seen[before]
        if before:
            assert seen[before - 1] - went_on_from <= NUM_BATCHES  # at most one epoch is done again
        before = len(seen)
    assert nursery.train(folder, setting) == 0
    assert_ends_the_same(folder, whole)


@pytest.mark.parametrize("setting", ["plain", "everything", "stops-early"])
def test_killed_at_random_moments(nursery, uninterrupted, tmp_path, setting):
    whole = uninterrupted(setting)
    moments = random.Random()
    folder = tmp_path / "run"
    num_killed = 0
    for _ in range(6):
        code = nursery.train(folder, setting, kill_after=moments.randrange(60))
        assert code in (0, KILLED)
        num_killed += code == KILLED
        assert len([path for path in folder.iterdir() if "writing" in path.name]) <= 1
    assert num_killed > 0
    assert nursery.train(folder, setting) == 0
    assert_ends_the_same(folder, whole)


def test_a_training_that_stopped_early_is_not_taken_up_again(nursery, uninterrupted):
    folder = uninterrupted("stops-early")
    history = json.loads((folder / "history.json").read_text())
    kept = [entry["kept"] for entry in history]
    assert len(history) < 50
    assert kept.index(True) == len(history) - 1 - 4
    done = len(steps(folder))
    assert nursery.train(folder, "stops-early") == 0
    assert len(steps(folder)) == done

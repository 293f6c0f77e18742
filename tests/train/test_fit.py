from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.errors import TrainError
from edge_dendrite.train.evaluate import accuracy, evaluate
from edge_dendrite.train.fit import Teacher, fit
from edge_dendrite.train.losses import distillation_loss
from edge_dendrite.train.schedule import one_cycle


def network(dropout=0.0):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))


def test_training_learns_and_says_how(blobs):
    module = network()
    before = evaluate(module, blobs, blobs.validation)
    history = fit(module, blobs, FitConfig(epochs=5, batch_size=32, learning_rate=0.03))
    assert history[-1]["val_metric"] > 0.9 > before
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4, 5]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert not module.training


def test_resume_is_bit_identical_with_dropout(blobs, tmp_path):
    config = FitConfig(epochs=4, batch_size=32)
    whole = network(dropout=0.3)
    history = fit(whole, blobs, config)

    class Stop(Exception):
        pass

    def stop(description, done, total):
        if done == 18:  # in the third epoch of seven steps
            raise Stop

    part = network(dropout=0.3)
    with pytest.raises(Stop):
        fit(part, blobs, config, checkpoint=tmp_path / "c.safetensors", progress=stop)
    again = network(dropout=0.3)
    assert fit(again, blobs, config, checkpoint=tmp_path / "c.safetensors") == history
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_the_seed_decides_and_global_state_is_left_alone(blobs):
    runs = []
    for seed in (0, 0, 1):
        module = network(dropout=0.3)
        state = torch.get_rng_state()
        fit(module, blobs, FitConfig(epochs=1, batch_size=32, seed=seed))
        assert torch.equal(torch.get_rng_state(), state)
        runs.append(module[0].weight.detach().clone())
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_a_loss_that_is_not_finite_is_an_error(blobs):
    with pytest.raises(TrainError, match="the loss became nan in epoch 1"):
        fit(network(), blobs, FitConfig(epochs=2), loss=lambda outputs, targets: outputs.sum() * float("nan"))


def test_a_damaged_or_foreign_checkpoint_is_named_and_kept(blobs, tmp_path):
    path = tmp_path / "c.safetensors"
    fit(network(), blobs, FitConfig(epochs=1), checkpoint=path)
    with pytest.raises(TrainError, match="made by another training"):
        fit(network(), blobs, FitConfig(epochs=2), checkpoint=path)
    with pytest.raises(TrainError, match="cannot go on from this checkpoint"):
        fit(nn.Linear(8, 3), blobs, FitConfig(epochs=1), checkpoint=path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TrainError, match="cannot go on from this checkpoint"):
        fit(network(), blobs, FitConfig(epochs=1), checkpoint=path)
    assert path.exists()


def test_the_student_follows_the_teacher(blobs):
    """A teacher that permutes the classes: with full weight on it, the student learns its labels."""
    good = network()
    fit(good, blobs, FitConfig(epochs=5, batch_size=32, learning_rate=0.03))
    permuted = nn.Sequential(good, Permute())
    student = network()
    teacher = Teacher(permuted, DistilConfig(weight=1.0))
    fit(student, blobs, FitConfig(epochs=5, batch_size=32, learning_rate=0.03), teacher=teacher)
    assert evaluate(student, blobs, blobs.train, lambda o, t: accuracy(o[:, [2, 0, 1]], t)) > 0.9
    assert evaluate(student, blobs, blobs.train) < 0.2


class Permute(nn.Module):
    def forward(self, x):
        return x[:, [1, 2, 0]]


def test_distillation_loss_by_hand():
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    targets = torch.tensor([0])
    p, q = (2.0 / 4, 0.25)
    log_p = [-math.log(1 + math.exp(p)), p - math.log(1 + math.exp(p))]
    log_q = [q - math.log(1 + math.exp(q)), -math.log(1 + math.exp(q))]
    divergence = sum(math.exp(a) * (a - b) for a, b in zip(log_p, log_q, strict=True))
    hard = math.log(1 + math.exp(-1.0))
    loss = distillation_loss(student, teacher, targets, DistilConfig(temperature=4.0, weight=0.7))
    assert math.isclose(float(loss), 0.7 * 16 * divergence + 0.3 * hard, rel_tol=1e-5)
    same = distillation_loss(student, student, targets, DistilConfig(weight=1.0))
    assert abs(float(same)) < 1e-6


def test_one_cycle_rises_to_the_peak_and_ends_near_zero():
    rates = [one_cycle(step, 100, 0.5) for step in range(100)]
    assert math.isclose(max(rates), 0.5)
    assert rates.index(max(rates)) == 30
    assert math.isclose(rates[0], 0.5 / 25)
    assert rates[-1] < 0.5 / 500
    assert all(a < b for a, b in zip(rates[:30], rates[1:31], strict=True))
    assert all(a > b for a, b in zip(rates[30:], rates[31:], strict=False))


def test_accuracy_by_hand():
    outputs = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert accuracy(outputs, torch.tensor([1, 0, 0, 0])) == 0.75


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), "high", None, torch.zeros(3), 10**400])
def test_a_metric_that_gives_no_number_is_named(blobs, answer):
    def strange(outputs, targets):
        return answer

    with pytest.raises(TrainError, match="metric .*strange: (gave|failed)"):
        evaluate(network(), blobs, blobs.validation, strange)


def test_a_last_batch_of_one_sample_joins_the_one_before(blobs):
    module = nn.Sequential(nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    size = len(blobs.train) - 1
    fit(module, blobs, FitConfig(epochs=1, batch_size=size))
    batches = list(blobs.batches(blobs.train, size, torch.Generator().manual_seed(0)))
    assert [len(inputs) for inputs, _ in batches] == [size + 1]
    assert blobs.num_train_batches(size) == 1
    assert blobs.num_train_batches(size - 1) == 2

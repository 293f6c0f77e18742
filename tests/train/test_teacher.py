from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.train.fit import Teacher, fit


class Counting(nn.Module):
    """Counts the samples that it sees, and knows the layout of the last batch."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen, self.last = inner, 0, torch.empty(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen, self.last = self.seen + len(x), x
        return self.inner(x)


def test_the_teacher_is_asked_once_and_the_training_is_the_same(network, blobs):
    teacher = Counting(network(width=32, seed=2))
    config = FitConfig(epochs=3, batch_size=32)
    once, again = network(), network()
    first = fit(once, blobs, config, teacher=Teacher(teacher, DistilConfig()))
    assert teacher.seen == len(blobs.train)
    # One epoch at a time there is nothing to keep: with features the teacher runs in each step.
    teacher.seen = 0
    watched = DistilConfig(features=(("2", "inner.2"),), feature_weight=1e-12)
    second = fit(again, blobs, config, teacher=Teacher(teacher, watched))
    assert teacher.seen >= 3 * len(blobs.train)
    assert [one["train_loss"] for one in first] == pytest.approx([one["train_loss"] for one in second], rel=1e-5)


def test_outputs_larger_than_the_inputs_are_not_kept(blobs):
    teacher = Counting(nn.Linear(8, 100))
    fit(nn.Linear(8, 100), blobs, FitConfig(epochs=2, batch_size=32), teacher=Teacher(teacher, DistilConfig()))
    assert teacher.seen >= 2 * len(blobs.train)


def test_channels_last_trains_the_same_network(images):
    made = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        convs = [nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)]
        student = Counting(nn.Sequential(*convs))
        fit(student, images, FitConfig(epochs=1, batch_size=16, channels_last=channels_last))
        made.append(student)
    plain, other = made
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-4) and one.is_contiguous() and two.is_contiguous()


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_network_sees_the_layout_that_was_asked_for(images, channels_last):
    layouts = []
    student = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten(), nn.Linear(144, 3))
    student[0].register_forward_pre_hook(
        lambda _, inputs: (
            layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
            if torch.is_grad_enabled()
            else None
        )
    )
    fit(student, images, FitConfig(epochs=1, batch_size=16, channels_last=channels_last))
    assert layouts and all(layout is channels_last for layout in layouts)


@pytest.fixture
def images() -> DataSet:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(64, 2, 8, 8, generator=generator)
    targets = (inputs[:, 0].mean((1, 2)) > 0).long()
    return DataSet.from_tensors("images", train=(inputs, targets), test=(inputs, targets), labels=("a", "b", "c"))

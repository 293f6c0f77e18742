from __future__ import annotations

import doctest

import pytest
import torch
from safetensors import safe_open
from torch import nn

from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.errors import TrainError
from edge_dendrite.models.convnets import DigitsCNN
from edge_dendrite.train import distil
from edge_dendrite.train.distil import Distiller
from edge_dendrite.train.fit import Teacher, fit
from edge_dendrite.train.losses import distillation_loss

INPUTS = torch.randn(12, 8, generator=torch.Generator().manual_seed(3))
TARGETS = torch.arange(12) % 3


def test_without_features_it_is_the_loss_of_the_logits(network):
    student, teacher = network(), network(seed=2)
    teacher.train()
    outputs = student(INPUTS)
    with Distiller(student, teacher, DistilConfig(weight=0.4)) as distiller:
        made = distiller(INPUTS, outputs, TARGETS)
    assert list(distiller.parameters()) == []
    assert teacher.training  # as it was; its outputs were those of evaluation
    teacher.eval()
    assert torch.equal(made, distillation_loss(outputs, teacher(INPUTS), TARGETS, DistilConfig(weight=0.4)))


def test_the_loss_of_features_by_hand():
    """Equal widths need no projection: the hint is the squared distance over the teacher's mean square."""
    student = nn.Sequential(nn.Linear(8, 4, bias=False), nn.Linear(4, 3))
    teacher = nn.Sequential(nn.Linear(8, 4, bias=False), nn.Linear(4, 3))
    config = DistilConfig(features=("0",), feature_weight=5.0)
    with Distiller(student, teacher, config, INPUTS) as distiller:
        assert list(distiller.parameters()) == []
        outputs = student(INPUTS)
        made = distiller(INPUTS, outputs, TARGETS)
    one, other = INPUTS @ student[0].weight.T, INPUTS @ teacher[0].weight.T
    hint = ((one - other) ** 2).mean() / (other**2).mean()
    wanted = distillation_loss(outputs, teacher(INPUTS), TARGETS, config) + 5.0 * hint
    assert torch.allclose(made, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "weight"),
    [
        (((5, 7), (5, 9)), (9, 7)),
        (((5, 4, 6, 6), (5, 8, 6, 6)), (8, 4)),  # maps: a 1x1 convolution
        (((5, 10, 4), (5, 10, 8)), (8, 4)),  # sequences: the last dimension
    ],
)
def test_narrower_features_are_projected_along_the_width(shapes, weight):
    student, teacher = (torch.randn(shape) for shape in shapes)
    projection = distil._projection(("a", "a"), student, teacher)
    assert tuple(projection.linear.weight.shape) == weight
    projected = projection(student)
    assert projected.shape == teacher.shape
    if student.dim() == 4:
        kernel = projection.linear.weight[:, :, None, None]
        assert torch.allclose(projected, nn.functional.conv2d(student, kernel, projection.linear.bias), atol=1e-5)


def test_a_student_without_labels_learns_the_features(network, blobs):
    """Through a projection: the teacher has twice the width. Learned are the features alone."""
    teacher = network(width=32, seed=2)
    fit(teacher, blobs, FitConfig(epochs=4, batch_size=32, learning_rate=0.03))
    config = DistilConfig(features=(("2", "2"),), feature_weight=1.0, weight=0.0)
    student = network(width=16)
    inputs, targets = blobs.train.inputs, blobs.train.targets
    with Distiller(student, teacher, config, inputs) as distiller:
        assert {tuple(one.shape) for one in distiller.parameters()} == {(32, 16), (32,)}
        optimizer = torch.optim.Adam([*student.parameters(), *distiller.parameters()], lr=0.01)
        hints = []
        for _ in range(150):
            outputs = student(inputs)
            hint = distiller(inputs, outputs, targets) - nn.functional.cross_entropy(outputs, targets)
            optimizer.zero_grad()
            hint.backward()
            optimizer.step()
            hints.append(float(hint.detach()))
    assert hints[-1] < 0.25 * hints[0]
    assert not student[2]._forward_hooks
    assert not teacher[2]._forward_hooks


def test_fit_with_features_trains_and_keeps_the_projections(digits, tmp_path):
    torch.manual_seed(0)
    student, teacher = DigitsCNN(), DigitsCNN()
    student.conv2, student.fc1 = nn.Conv2d(16, 12, 3, padding=1), nn.Linear(12 * 2 * 2, 64)
    path = tmp_path / "c.safetensors"
    config = FitConfig(epochs=1, batch_size=128)
    fit(student, digits, config, teacher=Teacher(teacher, DistilConfig(features=("conv2", "fc1"))), checkpoint=path)
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("projections.")]  # noqa: SIM118 - not a dict
        assert sorted(names) == ["projections.0.linear.bias", "projections.0.linear.weight"]  # fc1 needs none
        assert tuple(file.get_tensor("projections.0.linear.weight").shape) == (32, 12)
    assert set(student.state_dict()) == set(DigitsCNN().state_dict())
    assert not student.conv2._forward_hooks


class Twice(nn.Sequential):
    """Its second layer is never called, its third gives no tensor."""

    def forward(self, x):
        return self[2](self[0](x))[0]


class Pair(nn.Module):
    def forward(self, x):
        return x, x


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ((("0", "4"), ("01", "0")), "feature '01' is no layer of the student; did you mean '1'"),
        (("nothing",), "feature 'nothing' is no layer of the student; there are 0, 1, 2, 3, 4"),
        ((("0", "x.y"),), "is no layer of the teacher"),
    ],
)
def test_a_layer_that_is_not_there_is_named(network, features, message):
    student, teacher = network(), network()
    with pytest.raises(TrainError, match=message):
        Distiller(student, teacher, DistilConfig(features=features), INPUTS)
    assert not any(part._forward_hooks for part in (*student.modules(), *teacher.modules()))


def test_features_that_cannot_be_compared_are_named(network):
    student, teacher = Twice(nn.Linear(8, 3), nn.ReLU(), Pair()), network()
    for feature, message in (
        (("1", "0"), "feature '1' of the student was not called"),
        (("2", "0"), "feature '2' of the student gave a tuple"),
    ):
        with pytest.raises(TrainError, match=message):
            Distiller(student, teacher, DistilConfig(features=(feature,)), INPUTS)
    assert not any(part._forward_hooks for part in (*student.modules(), *teacher.modules()))
    with pytest.raises(TrainError, match="needs example_inputs"):
        Distiller(network(), teacher, DistilConfig(features=("0",)))
    maps = nn.Sequential(nn.Unflatten(1, (1, 2, 4)), nn.Flatten(), nn.Linear(8, 3))
    with pytest.raises(TrainError, match=r"student has the shape \(1, 2, 4\), '0' of the teacher \(16,\)"):
        Distiller(maps, teacher, DistilConfig(features=("0",)), INPUTS)
    silent = network()
    silent[0].weight.data.zero_()
    silent[0].bias.data.zero_()
    with pytest.raises(TrainError, match="feature '0' of the teacher has the mean square 0.0"):
        Distiller(network(), silent, DistilConfig(features=("0",)), INPUTS)


def test_the_example_in_its_docstring_runs():
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (example,) = finder.find(Distiller, "Distiller", globs={})
    assert len(example.examples) > 5
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert runner.run(example).failed == 0

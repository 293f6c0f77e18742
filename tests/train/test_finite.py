from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import TrainError
from edge_dendrite.train.fit import Teacher, fit

NAN = float("nan")


class Breaks(nn.Module):
    """Hands its input on until training has called it so often; then it is NaN."""

    def __init__(self, calls):
        super().__init__()
        self.left = calls

    def forward(self, x):
        self.left -= self.training
        return x / 0 if self.left < 0 else x


class Nested(nn.Module):
    def __init__(self, calls):
        super().__init__()
        self.stem = nn.Linear(8, 8)
        self.block = nn.Sequential(nn.ReLU(), Breaks(calls), nn.Linear(8, 8))
        self.head = nn.Linear(8, 3)
        self.register_buffer("mask", torch.tensor([float("-inf"), 0.0]))  # infinite on purpose

    def forward(self, x):
        return self.head(self.block(self.stem(x)))


def nested(calls):
    torch.manual_seed(0)
    return Nested(calls)


def test_the_first_layer_is_named_and_the_original_weights_stay(blobs, same_weights):
    module = nested(3)
    with pytest.raises(TrainError) as caught:
        fit(module, blobs, FitConfig(epochs=2, batch_size=32))
    assert "the loss became nan in epoch 1, step 4 of 7" in str(caught.value)
    assert "the output of layer 'block.1' (Breaks) is the first that holds NaN or infinity" in str(caught.value)
    assert same_weights(module, nested(3))
    assert module.training  # as it was given
    assert not module.head._forward_hooks


def test_the_last_good_epoch_stays(blobs, same_weights):
    module, good = nested(2 * 7 + 3), nested(100)
    with pytest.raises(TrainError, match="in epoch 3, step 4 of 7"):
        fit(module, blobs, FitConfig(epochs=3, batch_size=32))

    class Stop(Exception):
        pass

    def stop(description, done, total):
        if done == 15:
            raise Stop

    with pytest.raises(Stop):
        fit(good, blobs, FitConfig(epochs=3, batch_size=32), progress=stop)
    assert same_weights(module, good)
    assert not same_weights(module, nested(3))


def test_a_weight_that_is_not_finite_is_named(blobs):
    module = nested(100)
    module.block[2].weight.data[1, 1] = NAN
    with pytest.raises(TrainError, match=r"weight of layer 'block\.2' \(Linear\) holds NaN"):
        fit(module, blobs, FitConfig(epochs=1))


def test_what_the_network_computes_outside_its_layers(blobs):
    class Root(nn.Linear):
        def forward(self, x):
            return super().forward(x) * NAN

    with pytest.raises(TrainError, match=r"the output of the network itself \(Root\)"):
        fit(Root(8, 3), blobs, FitConfig(epochs=1))


def test_nan_in_the_data_is_named(blobs):
    inputs = blobs.train.inputs.clone()
    inputs[5, 2] = NAN
    data = DataSet.from_tensors("broken", train=(inputs, blobs.train.targets), test=(inputs, blobs.train.targets))
    with pytest.raises(TrainError, match="the inputs of this batch hold NaN"):
        fit(nested(1000), data, FitConfig(epochs=1))


def test_nan_in_the_teacher_is_named(blobs):
    teacher = nested(100)
    teacher.stem.bias.data.fill_(NAN)
    with pytest.raises(TrainError, match=r"in the teacher, bias of layer 'stem' \(Linear\)"):
        fit(nested(100), blobs, FitConfig(epochs=1), teacher=Teacher(teacher, DistilConfig()))


def test_a_loss_that_breaks_by_itself(blobs):
    with pytest.raises(TrainError, match="all layers are finite, so it comes from the loss or the targets"):
        fit(nested(100), blobs, FitConfig(epochs=1), loss=lambda outputs, targets: outputs.sum() * NAN)


class Explodes(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * NAN


@pytest.mark.parametrize("from_call", [7, 3])
def test_a_gradient_that_is_not_finite_is_found_also_in_the_last_step_of_an_epoch(
    blobs, tmp_path, same_weights, from_call
):
    """In the last step no loss shows it; earlier the next step's weights do."""
    calls = []

    def loss(outputs, targets):
        calls.append(1)
        return nn.functional.cross_entropy(Explodes.apply(outputs) if len(calls) == from_call else outputs, targets)

    module = nested(100)
    wanted = (
        "in epoch 1 the weights became useless: weight of layer 'stem'" if from_call == 7 else "step 4.*layer 'stem'"
    )
    with pytest.raises(TrainError, match=wanted):
        fit(module, blobs, FitConfig(epochs=2, batch_size=32), loss=loss, checkpoint=tmp_path / "c.safetensors")
    assert same_weights(module, nested(100))
    assert not (tmp_path / "c.safetensors").exists()

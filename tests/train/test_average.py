from __future__ import annotations

import torch
from torch import nn

from edge_dendrite.config import FitConfig
from edge_dendrite.train.average import Average
from edge_dendrite.train.evaluate import evaluate
from edge_dendrite.train.fit import fit


class Masked(nn.Module):
    """A batch norm, a causal mask and a counter."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.register_buffer("mask", torch.tensor([0.0, float("-inf")]))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))


def test_the_average_by_hand():
    module = nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(1.0)
    average = Average(module, 0.15)
    wanted = 1.0
    for step, value in enumerate([2.0, 5.0, -1.0]):
        module.weight.data.fill_(value)
        average.update(step)
        decay = [1 / 10, 0.15, 0.15][step]  # 2/11 and 3/12 are above the decay that was asked for
        wanted = decay * wanted + (1 - decay) * value
    assert abs(float(average.tensors["weight"]) - wanted) < 1e-6
    with average.applied():
        assert abs(float(module.weight.detach()) - wanted) < 1e-6
    assert float(module.weight.detach()) == -1.0


def test_running_statistics_are_averaged_and_other_buffers_are_the_live_ones():
    module = Masked()
    average = Average(module, 0.5)
    module.norm.running_mean.fill_(2.0)
    module.norm.num_batches_tracked.fill_(7)
    module.calls.fill_(3)
    average.update(100)
    with average.applied():
        assert float(module.norm.running_mean) == 1.0
        assert int(module.norm.num_batches_tracked) == 7
        assert int(module.calls) == 3
        assert module.mask.tolist() == [0.0, float("-inf")]
    assert float(module.norm.running_mean) == 2.0


def test_an_average_of_half_precision_weights_still_moves():
    module = nn.Linear(1, 1, bias=False).bfloat16()
    module.weight.data.fill_(1.0)
    average = Average(module, 0.999)
    module.weight.data.fill_(2.0)
    for step in range(10_000, 10_100):
        average.update(step)
    assert 1.09 < float(average.tensors["weight"]) < 1.10  # 2 - 0.999**100


def test_the_averaged_weights_are_what_is_evaluated_and_what_stays(blobs, network):
    config = FitConfig(epochs=3, batch_size=32, ema_decay=0.9)
    averaged, plain = network(), network()
    history = fit(averaged, blobs, config)
    fit(plain, blobs, FitConfig(epochs=3, batch_size=32))
    assert not torch.equal(averaged[0].weight, plain[0].weight)
    assert not torch.equal(averaged[1].running_mean, plain[1].running_mean)
    assert history[-1]["val_metric"] == evaluate(averaged, blobs, blobs.validation)
    # With a decay of next to nothing the average is the last weights.
    followed = network()
    fit(followed, blobs, FitConfig(epochs=3, batch_size=32, ema_decay=1e-9))
    assert torch.allclose(followed[0].weight, plain[0].weight, atol=1e-6)
    assert torch.allclose(followed[1].running_var, plain[1].running_var, atol=1e-6)

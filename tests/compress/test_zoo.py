"""The oracle of the architecture tests, against networks that were made smaller by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo import NETWORKS, call
from zoo.oracle import statistics_without

GONE, KEPT = [1, 4], [0, 2, 3, 5]


class Means(nn.Module):
    """Everything that takes a statistic over the six units."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.group, self.rms = nn.LayerNorm(width), nn.GroupNorm(1, width), nn.RMSNorm(width)

    def forward(self, x):
        written = x - x.mean(-1, keepdim=True)
        written = written / (written.pow(2).mean(-1, keepdim=True) + 0.1).sqrt()
        largest = x - x.amax(-1, keepdim=True)
        spread = x / (x.std(-1, keepdim=True) + 0.1)
        grouped = self.group(x.transpose(1, 2)).transpose(1, 2)
        return torch.stack([self.norm(x), self.rms(x), grouped, written, largest, spread])


@torch.no_grad()
def test_statistics_leave_out_what_is_silent():
    torch.manual_seed(0)
    whole, small = Means(6), Means(4)
    for one, other in zip(whole.parameters(), small.parameters(), strict=True):
        other.copy_(one.normal_()[KEPT])
    x = torch.randn(3, 5, 6)
    wanted = small(x[..., KEPT])
    x[..., GONE] = 0
    with statistics_without([(6, torch.tensor(GONE))]):
        assert torch.allclose(whole(x)[..., KEPT], wanted, atol=1e-6)
    assert not torch.allclose(whole(x)[..., KEPT], wanted, atol=1e-2)


@torch.no_grad()
def test_statistics_of_others_are_left_alone():
    x = torch.randn(3, 5, 6)
    wanted = x.mean(-1), x.var(1), nn.functional.layer_norm(x, (6,))
    with statistics_without([(6, torch.tensor(GONE)), (5, torch.tensor([0, 1])), (5, torch.tensor([3]))]):
        seen = x.mean(-1), x.var(1), nn.functional.layer_norm(x, (6,))
    assert all(torch.equal(one, other) for one, other in zip(seen, wanted, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")
@torch.no_grad()
def test_every_network_of_the_zoo_is_lively_and_the_same_each_time(name):
    network = NETWORKS[name]
    outputs = call(network.build(), network.sample(5))
    values = torch.cat([one.ravel() for one in outputs])
    assert bool(torch.isfinite(values).all())
    assert 1e-2 < float(values.std()) < 100
    assert all(5 in one.shape[:2] for one in outputs)
    again = call(network.build(), network.sample(5))
    assert all(torch.equal(one, other) for one, other in zip(outputs, again, strict=True))
    other = call(network.build(seed=1), network.sample(5))
    assert not torch.allclose(outputs[0], other[0], atol=1e-3)

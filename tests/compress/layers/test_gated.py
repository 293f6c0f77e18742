from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.errors import PruneError

SIZES = {
    "num_inputs": 3,
    "num_outputs": 5,
    "stride": 2,
    "num_dims": 2,
    "channels_last": 0,
    "hidden": 4,
    "copies_block": 0,
}


@pytest.fixture
def block():
    """Decides by the mean of the inputs: above zero the convolution runs."""
    torch.manual_seed(0)
    made = gated_block(nn.Conv2d(3, 5, 3, stride=2, padding=1), **SIZES).eval()
    nn.init.normal_(made.bypass.weight)
    with torch.no_grad():
        made.gate.hidden.weight.fill_(1.0)
        made.gate.hidden.bias.fill_(10.0)
        made.gate.decide.weight.fill_(1.0)
        made.gate.bias.fill_(-120.0)
    return made


@pytest.fixture
def x():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(8, 3, 6, 6, generator=generator) + torch.tensor([1.0, -1.0] * 4).view(-1, 1, 1, 1)


def test_each_input_goes_its_own_way(block, x):
    y = block(x)
    for number in range(8):
        wanted = block.block if number % 2 == 0 else block.bypass
        assert torch.allclose(y[number], wanted(x[number : number + 1])[0], atol=1e-6)
        assert torch.allclose(block(x[number : number + 1])[0], y[number], atol=1e-6)
    assert torch.allclose(block(x[::2]), block.block(x[::2])) and torch.allclose(block(x[1::2]), block.bypass(x[1::2]))


def test_only_the_way_that_is_taken_is_computed(block, x):
    seen = {"block": 0, "bypass": 0}
    for name in seen:
        getattr(block, name).register_forward_hook(
            lambda part, args, y, name=name: seen.__setitem__(name, seen[name] + len(y))
        )
    block(x[:1])
    assert seen == {"block": 1, "bypass": 0}
    block(x)
    assert seen == {"block": 5, "bypass": 4}


def test_in_training_gradients_reach_all_parts(block, x):
    with torch.no_grad():
        block.gate.bias.zero_()  # undecided
    block.train()
    torch.manual_seed(0)
    y = block(x)
    opened, closed = block.block(x), block.bypass(x)
    is_open = [torch.allclose(y[number], opened[number], atol=1e-5) for number in range(8)]
    assert all(torch.allclose(y[number], closed[number], atol=1e-5) for number in range(8) if not is_open[number])
    assert 0 < sum(is_open) < 8 and float(block._open_rate.detach()) == pytest.approx(sum(is_open) / 8)
    (y.square().mean() + block.take_open_rate()).backward()
    assert block.take_open_rate() is None
    assert all(one.grad is not None and bool(one.grad.any()) for one in block.parameters())


def test_a_new_gate_is_mostly_open_and_skips_by_the_identity():
    torch.manual_seed(0)
    made = gated_block(nn.Linear(4, 4), **{**SIZES, "num_inputs": 4, "num_outputs": 4, "stride": 1, "num_dims": 0})
    assert isinstance(made.bypass, nn.Identity)
    made.train()(torch.randn(4000, 4))
    assert 0.82 < float(made.take_open_rate().detach()) < 0.94
    assert bool((made.eval().gate(torch.randn(10, 4)) > 0).all())


@pytest.mark.parametrize(
    "wrong",
    [{"hidden": 0}, {"stride": 0}, {"num_dims": 4}, {"channels_last": 2}, {"num_inputs": 1 << 24}, {"num_dims": 0}],
)
def test_sizes_that_no_block_has(wrong):
    with pytest.raises(PruneError, match="the plan gates a block|the plan gives a stride"):
        gated_block(nn.Linear(4, 4), **{**SIZES, **wrong})

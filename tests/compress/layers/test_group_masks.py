"""Masks that are learned: what is read, what the scores follow, and what is left of them afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.layers.build import GROUPS, build_layer
from edge_dendrite.compress.layers.group_masks import MaskedLayer, without_masks
from edge_dendrite.errors import PruneError

LAYERS = {
    "conv2d": (lambda: nn.Conv2d(8, 6, 3, stride=2, padding=1), (3, 8, 5, 5)),
    "conv1d": (lambda: nn.Conv1d(8, 6, 3, bias=False), (3, 8, 7)),
    "linear": (lambda: nn.Linear(8, 6), (3, 8)),
}


@pytest.fixture(params=LAYERS)
def masked(request):
    torch.manual_seed(0)
    make, shape = LAYERS[request.param]
    return MaskedLayer(make(), 2), torch.randn(shape)


def test_a_group_reads_its_inputs_and_no_others(masked):
    layer, x = masked
    assert layer.inputs().shape == (2, 4)
    for group, neurons in ((0, slice(0, 3)), (1, slice(3, 6))):
        read = set(layer.inputs()[group].tolist())
        for channel in range(8):
            other = x.clone()
            other[:, channel] += 1.0
            changed = not torch.equal(layer(other)[:, neurons], layer(x)[:, neurons])
            assert changed == (channel in read), (group, channel)


def test_what_replaces_it_computes_the_same(masked):
    layer, x = masked
    grouped = build_layer(layer, GROUPS, layer.settings)
    torch.testing.assert_close(grouped(x), layer(x))
    torch.testing.assert_close(layer.dense()(x), layer(x))
    assert grouped.layer.weight.numel() * 2 == layer.layer.weight.numel()


def test_scores_follow_what_an_input_would_be_worth():
    """A group that starts with the wrong inputs finds those that its target is made of."""
    torch.manual_seed(0)
    layer = MaskedLayer(nn.Linear(8, 2, bias=False), 2)
    wanted = torch.zeros(2, 8)
    wanted[0, :4], wanted[1, 4:] = 1.0, 1.0
    before = layer.inputs()
    assert before.tolist() != [[0, 1, 2, 3], [4, 5, 6, 7]]
    optimizer = torch.optim.Adam(layer.parameters(), 0.01)
    for _ in range(400):
        x = torch.randn(64, 8)
        optimizer.zero_grad()
        functional.mse_loss(layer(x), x @ wanted.T).backward()
        optimizer.step()
    assert layer.inputs().tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_the_gradient_of_a_score_is_that_of_a_gate_on_the_input():
    torch.manual_seed(0)
    layer, x = MaskedLayer(nn.Conv2d(4, 2, 3), 2), torch.randn(2, 4, 5, 5)
    layer(x).square().sum().backward()
    dense = layer.dense()
    dense(x).square().sum().backward()
    expected = (layer.layer.weight * dense.weight.grad).sum((2, 3))
    torch.testing.assert_close(layer.scores.grad, expected)


def test_the_start_is_a_channel_shuffle_of_which_few_inputs_moved():
    torch.manual_seed(0)
    layer = MaskedLayer(nn.Conv2d(32, 32, 1), 4)
    for group, inputs in enumerate(layer.inputs()):
        assert inputs.tolist() == list(range(group, 32, 4))


def test_without_masks_leaves_the_original_and_plain_networks_alone():
    torch.manual_seed(0)
    network = nn.Sequential(MaskedLayer(nn.Conv2d(4, 4, 3), 2), nn.ReLU(), nn.Sequential(nn.Conv2d(4, 2, 1)))
    before, x = copy.deepcopy(network.state_dict()), torch.randn(2, 4, 6, 6)
    plain = without_masks(network)
    assert isinstance(network[0], MaskedLayer) and type(plain[0]) is nn.Conv2d
    torch.testing.assert_close(plain(x), network(x))
    assert int((plain[0].weight == 0).sum()) == plain[0].weight.numel() // 2
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert without_masks(plain) is plain


@pytest.mark.parametrize(
    ("layer", "groups", "message"),
    [
        (nn.Conv2d(6, 8, 3), 4, "8 neurons of 6 inputs do not divide into 4"),
        (nn.Conv2d(8, 6, 3), 4, "6 neurons of 8 inputs do not divide into 4"),
        (nn.Conv2d(8, 8, 3), 0, "do not divide into 0"),
        (nn.Conv2d(8, 8, 3, groups=2), 2, "in groups already"),
        (nn.ReLU(), 2, "not a plain convolution"),
    ],
)
def test_what_cannot_learn_groups(layer, groups, message):
    with pytest.raises(PruneError, match=message):
        MaskedLayer(layer, groups)

from __future__ import annotations

import torch
from torch import nn

from edge_dendrite.compress.stats import ModelStats, measure_stats
from edge_dendrite.models.convnets import MnistCNN


def test_counts_by_hand():
    stats = measure_stats(MnistCNN(), (torch.zeros(1, 1, 28, 28),))
    # Outputs times kernel for convolutions, inputs times outputs for linear layers.
    macs = {"conv1": 26 * 26 * 8 * 9, "conv2": 11 * 11 * 44 * 8 * 9, "fc1": 1100 * 34, "fc2": 340}
    assert {layer.name: layer.num_macs for layer in stats.layers} == macs
    assert stats.num_macs == sum(macs.values()) == 469_740
    assert stats.num_parameters == 41_076
    assert [(layer.num_inputs, layer.num_units) for layer in stats.layers] == [(1, 8), (8, 44), (1100, 34), (34, 10)]
    assert "biases" in stats.not_counted


def test_zeros_and_shared_tensors():
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    with torch.no_grad():
        module[0].weight[0] = 0.0
        module[0].bias.fill_(1.0)
        module[1].bias.fill_(1.0)
    stats = measure_stats(module, (torch.zeros(1, 3),))
    assert (stats.num_parameters, stats.num_nonzero, stats.num_macs) == (15, 12, 18)


def test_recurrent_layers_are_layers_too():
    network = Reader()
    stats = measure_stats(network, (torch.zeros(1, 7, 5),))
    gru, fc = stats.layers
    # Three gates, from 5 inputs and from 6 states, and two biases for each; both directions.
    assert (gru.name, gru.kind, gru.num_inputs, gru.num_units) == ("gru", "gru", 5, 12)
    assert gru.num_parameters == 2 * 3 * 6 * (5 + 6 + 2)
    assert gru.num_macs == 2 * 7 * 3 * 6 * (5 + 6)
    assert gru.num_macs + fc.num_macs == stats.num_macs


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.fc = nn.GRU(5, 6, batch_first=True, bidirectional=True), nn.Linear(12, 3)

    def forward(self, x):
        return self.fc(self.gru(x)[0][:, -1])


def test_torchs_attention_is_listed_by_its_projections():
    block = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    stats = measure_stats(block, (torch.zeros(1, 5, 8),))
    names = [layer.name for layer in stats.layers]
    assert names == [*(f"self_attn.{one}" for one in ("q_proj", "k_proj", "v_proj", "out_proj")), "linear1", "linear2"]
    assert {layer.num_macs for layer in stats.layers[:4]} == {5 * 8 * 8}
    assert sum(layer.num_parameters for layer in stats.layers) + 4 * 8 == stats.num_parameters
    assert isinstance(block.self_attn, nn.MultiheadAttention)
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


class Stubborn(nn.Module):
    """Reads the joint matrix, which the replacement does not have."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(4, 2)

    def forward(self, x):
        return x @ self.attn.in_proj_weight.T


def test_attention_that_cannot_be_replaced_is_counted_as_it_is():
    stats = measure_stats(Stubborn(), (torch.zeros(1, 4),))
    assert stats.num_parameters == 4 * 12 + 12 + 4 * 4 + 4
    assert stats.num_macs == 48


def test_groups_and_embeddings():
    network = nn.Sequential(nn.Conv2d(8, 16, 3, groups=4, padding=1), nn.Conv2d(16, 2, 1))
    layers = measure_stats(network, (torch.zeros(1, 8, 4, 4),)).layers
    assert [(one.num_inputs, one.num_units, one.num_groups) for one in layers] == [(8, 16, 4), (16, 2, 1)]
    (words,) = measure_stats(nn.Embedding(50, 6), (torch.zeros(1, 3, dtype=torch.long),)).layers
    assert (words.num_inputs, words.num_units, words.num_macs) == (50, 6, 0)


def test_round_trip():
    stats = measure_stats(MnistCNN(), (torch.zeros(1, 1, 28, 28),))
    assert ModelStats.from_dict(stats.to_dict()) == stats

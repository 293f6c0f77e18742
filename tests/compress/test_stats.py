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


def test_round_trip():
    stats = measure_stats(MnistCNN(), (torch.zeros(1, 1, 28, 28),))
    assert ModelStats.from_dict(stats.to_dict()) == stats

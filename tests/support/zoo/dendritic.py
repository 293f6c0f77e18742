"""Networks with layers of our own: what branching leaves must be prunable like any other network."""

from __future__ import annotations

from torch import nn

from edge_dendrite.compress.layers.branches import block_branches, map_branches, spatial_branches
from edge_dendrite.compress.layers.dendrites import dendritic_layer
from zoo.base import Network, floats


def branched_cnn(num_branches):
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1),
        nn.ReLU(),
        spatial_branches(nn.Conv2d(6, 12, 3, stride=2, padding=1), num_branches, "relu"),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Flatten(),
        map_branches(nn.Linear(12 * 16, 10), 12, num_branches, "tanh"),
        nn.ReLU(),
        nn.Linear(10, 4),
    )


def branched_pointwise():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        block_branches(nn.Conv2d(8, 10, 1), [3, 1, 0, 2, 7, 6, 5, 4], 2, 2, "relu"),
        nn.ReLU(),
        nn.Conv2d(10, 6, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def branched_mlp():
    return nn.Sequential(
        nn.Linear(6, 12),
        nn.ReLU(),
        block_branches(nn.Linear(12, 10), list(range(12)), 3, 2, "sigmoid"),
        nn.ReLU(),
        nn.Linear(10, 4),
    )


def grown():
    layers = branched_cnn(1)
    for at, size in ((0, 2), (8, 3)):
        layers[at] = dendritic_layer(layers[at], [size], "relu")
    return layers


NETWORKS = (
    Network(
        "dendrites that were grown",
        grown,
        floats(1, 8, 8),
        {"0.layer.weight": 6, "0.sets.0.branches.weight": 2, "8.sets.0.branches.weight": 3},
    ),
    Network(
        "branches of channels and maps",
        lambda: branched_cnn(1),
        floats(1, 8, 8),
        {"0.weight": 6, "2.soma.weight": 12, "6.soma.weight": 10},
    ),
    Network(
        "two branches for each channel and map",
        lambda: branched_cnn(2),
        floats(1, 8, 8),
        {"0.weight": 6, "2.soma.weight": 12, "6.soma.weight": 10},
    ),
    Network("branches of shuffled channels", branched_pointwise, floats(3, 6, 6), {"2.soma.weight": 10, "4.weight": 6}),
    Network("branches of features", branched_mlp, floats(5, 6), {"2.soma.weight": 10}),
)

"""Small networks of many architectures with random weights, and what of each must be prunable."""

from __future__ import annotations

from zoo import attention, dendritic, plumbing, recurrent, vision
from zoo.base import DYNAMO, NONE, TORCHSCRIPT, Inputs, Network, call, enliven_, flat_tensors

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (*vision.NETWORKS, *recurrent.NETWORKS, *attention.NETWORKS, *plumbing.NETWORKS)
}
# Beside the others: what only we make is in no comparison with peers.
DENDRITIC: dict[str, Network] = {network.name: network for network in dendritic.NETWORKS}

__all__ = [
    "DENDRITIC",
    "DYNAMO",
    "NETWORKS",
    "NONE",
    "TORCHSCRIPT",
    "Inputs",
    "Network",
    "call",
    "enliven_",
    "flat_tensors",
]

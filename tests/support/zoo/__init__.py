"""Small networks of many architectures with random weights, and what of each must be prunable."""

from __future__ import annotations

from zoo import attention, plumbing, recurrent, vision
from zoo.base import DYNAMO, NONE, TORCHSCRIPT, Inputs, Network, call, enliven_, flat_tensors

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (*vision.NETWORKS, *recurrent.NETWORKS, *attention.NETWORKS, *plumbing.NETWORKS)
}

__all__ = ["DYNAMO", "NETWORKS", "NONE", "TORCHSCRIPT", "Inputs", "Network", "call", "enliven_", "flat_tensors"]

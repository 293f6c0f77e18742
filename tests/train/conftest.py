from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_dendrite.data.dataset import DataSet


@pytest.fixture
def blobs():
    """Three well separated clouds of points, 8 dimensions."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(240) % 3
    inputs = torch.randn(240, 8, generator=generator) + 4 * torch.eye(3, 8)[targets]
    return DataSet.from_tensors("blobs", train=(inputs, targets), test=(inputs[:30], targets[:30]))


@pytest.fixture
def network():
    """Makes networks for the blobs with equal first weights: linear, batch norm, ReLU, dropout, linear."""

    def make(width=16, dropout=0.0, seed=1):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 3)
        )

    return make


@pytest.fixture
def same_weights():
    def same(one, other):
        states = one.state_dict(), other.state_dict()
        return states[0].keys() == states[1].keys() and all(
            torch.equal(states[0][key], states[1][key]) for key in states[0]
        )

    return same

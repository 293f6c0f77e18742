from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_dendrite.compress.dendrites import candidates
from edge_dendrite.compress.dendrites.candidates import correlation, train_candidates
from edge_dendrite.compress.layers.branches import ACTIVATIONS

SETTINGS = {"num_steps": 150, "learning_rate": 0.02, "seed": 0}


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    # Offsets and scales as layers see them: positive, uneven, one input always zero.
    x = torch.randn(2000, 6, generator=generator) * torch.tensor([1.0, 5.0, 0.1, 1.0, 1.0, 0.0]) + 2.0
    x[:, 5] = 0.0
    return x


def test_correlation_is_pearsons(inputs):
    sent = inputs.view(2000, 2, 3)
    errors = inputs[:, :2].sin()
    found = correlation(sent, errors)
    for k in range(2):
        for p in range(2):  # the last input of the second group never changes
            wanted = np.corrcoef(sent[:, k, p].numpy(), errors[:, k].numpy())[0, 1]
            assert float(found[k, p]) == pytest.approx(wanted, abs=1e-4)
    assert float(found[1, 2]) == 0.0


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_a_planted_unit_is_found(inputs, activation):
    """The error of neuron 1 is a unit of the inputs; that of neuron 0 is noise."""
    generator = torch.Generator().manual_seed(1)
    weight = torch.tensor([1.0, 0.2, -6.0, 0.5, 0.0, 0.0])
    planted = ACTIVATIONS[activation]()((inputs - 2.0) @ weight)
    noise = torch.randn(2000, 2, generator=generator)
    errors = torch.stack([noise[:, 0], planted + 0.1 * planted.std() * noise[:, 1]], 1)
    found = train_candidates(inputs, errors, 8, activation, **SETTINGS)
    assert found.neurons.tolist() == [1]
    assert float(found.correlation_d) > 0.95
    # In the layer's own units: what is said of the candidate is so for the raw inputs.
    sent = ACTIVATIONS[activation]()(inputs @ found.weight_df[0] + found.bias_d[0])
    held_out = torch.arange(2000) % 5 == 0
    seen = np.corrcoef(sent[held_out].numpy(), errors[held_out, 1].numpy())[0, 1]
    assert abs(seen) == pytest.approx(float(found.correlation_d), abs=1e-3)


def test_noise_has_no_candidates(inputs):
    generator = torch.Generator().manual_seed(1)
    errors = torch.randn(2000, 5, generator=generator)
    assert len(train_candidates(inputs, errors, 4, "relu", **SETTINGS).neurons) == 0


def test_no_error_has_no_candidates(inputs):
    assert len(train_candidates(inputs, torch.zeros(2000, 3), 4, "relu", **SETTINGS).neurons) == 0


def test_the_strongest_comes_first_and_seeds_repeat(inputs):
    generator = torch.Generator().manual_seed(1)
    unit = ((inputs - 2.0) @ torch.tensor([1.0, 0.2, 0.0, 0.5, 0.0, 0.0])).relu()
    noise = torch.randn(2000, 3, generator=generator)
    errors = unit.unsqueeze(1) + noise * torch.tensor([3.0, 0.1, 1.0])
    one, two = (train_candidates(inputs, errors, 4, "relu", **SETTINGS) for _ in range(2))
    assert one.neurons.tolist() == [1, 2, 0]
    assert torch.equal(one.weight_df, two.weight_df) and torch.equal(one.bias_d, two.bias_d)


def test_portions_of_neurons_find_the_same_units(inputs, monkeypatch):
    unit = ((inputs - 2.0) @ torch.tensor([1.0, 0.2, 0.0, 0.5, 0.0, 0.0])).relu()
    errors = unit.unsqueeze(1) + torch.randn(2000, 3, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(candidates, "_MOST_WEIGHTS", 1)
    found = train_candidates(inputs, errors, 4, "relu", **SETTINGS)
    assert sorted(found.neurons.tolist()) == [0, 1, 2] and float(found.correlation_d.min()) > 0.5

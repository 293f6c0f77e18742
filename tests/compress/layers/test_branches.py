"""Layers of branches against loops over branches."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.build import BLOCK_BRANCHES, MAP_BRANCHES, SPATIAL_BRANCHES, build_layer
from edge_dendrite.compress.plan import Plan, Replace, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.errors import PruneError

INPUTS = [3, 1, 0, 2, 7, 6, 5, 4]


def random_weights(num_branches, num_fields, field_size, num_neurons):
    generator = torch.Generator().manual_seed(3)
    shapes = (
        (num_branches, num_fields, field_size),
        (num_branches, num_fields),
        (num_neurons, num_branches, num_fields),
        (num_neurons,),
    )
    return [torch.randn(shape, generator=generator) for shape in shapes]


def soma_of(fields_ngs, weights, act):
    """Neuron by neuron, branch by branch: fields (n, g, s) to (n, k)."""
    filters, biases, soma, soma_bias = weights
    out = soma_bias.repeat(len(fields_ngs), 1)
    for j in range(filters.shape[0]):
        for g in range(filters.shape[1]):
            sent = act((fields_ngs[:, g] * filters[j, g]).sum(-1) + biases[j, g])
            out = out + sent.unsqueeze(1) * soma[:, j, g]
    return out


@pytest.mark.parametrize("num_branches", [1, 3])
@pytest.mark.parametrize(("activation", "act"), [("relu", torch.relu), ("tanh", torch.tanh)])
def test_branches_of_maps(num_branches, activation, act):
    settings = {"num_maps": 4, "num_branches": num_branches, "activation": activation}
    layer = build_layer(nn.Linear(24, 5), MAP_BRANCHES, settings)
    weights = random_weights(num_branches, 4, 6, 5)
    layer.set_weights_(*weights)
    x = torch.randn(7, 24)
    wanted = soma_of(x.view(7, 4, 6), weights, act)
    assert torch.allclose(layer(x), wanted, atol=1e-5)
    assert torch.allclose(layer(x.view(7, 1, 24)), wanted.view(7, 1, 5), atol=1e-5)
    assert torch.allclose(layer(x[0]), wanted[0], atol=1e-5)


@pytest.mark.parametrize("num_branches", [1, 2])
@pytest.mark.parametrize("kind", [nn.Linear, nn.Conv1d, nn.Conv2d])
def test_branches_of_blocks(kind, num_branches):
    dense = nn.Linear(8, 5) if kind is nn.Linear else kind(8, 5, 1)
    settings = {"inputs": INPUTS, "num_blocks": 2, "num_branches": num_branches, "activation": "relu"}
    layer = build_layer(dense, BLOCK_BRANCHES, settings)
    weights = random_weights(num_branches, 2, 4, 5)
    layer.set_weights_(*weights)
    rows = torch.randn(12, 8)
    wanted = soma_of(rows[:, INPUTS].view(12, 2, 4), weights, torch.relu)
    if kind is nn.Linear:
        for shape in ((12,), (3, 4), (3, 2, 2)):
            assert torch.allclose(layer(rows.view(*shape, 8)), wanted.view(*shape, 5), atol=1e-5)
        return
    places = (6,) if kind is nn.Conv1d else (3, 2)
    x = rows.view(2, *places, 8).movedim(-1, 1)
    assert torch.allclose(layer(x).movedim(1, -1).reshape(12, 5), wanted, atol=1e-5)


@pytest.mark.parametrize("num_branches", [1, 2])
def test_branches_of_channels(num_branches):
    dense = nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0), padding_mode="reflect")
    layer = build_layer(dense, SPATIAL_BRANCHES, {"num_branches": num_branches, "activation": "relu"})
    weights = random_weights(num_branches, 3, 6, 5)
    layer.set_weights_(*weights)
    x = torch.randn(2, 3, 6, 5)
    padded = nn.functional.pad(x, (0, 0, 1, 1), mode="reflect")
    fields = padded.unfold(2, 3, 2).unfold(3, 2, 1)  # (b, c, height, width, 3, 2)
    rows = fields.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, 6)
    wanted = soma_of(rows, weights, torch.relu).view(2, 3, 4, 5).permute(0, 3, 1, 2)
    assert torch.allclose(layer(x), wanted, atol=1e-5)
    assert layer(x).shape == dense(x).shape


@pytest.mark.parametrize(
    ("dense", "kind", "settings"),
    [
        (nn.Conv1d(4, 6, 3, dilation=2, bias=False), SPATIAL_BRANCHES, {}),
        (nn.Linear(8, 5, bias=False), MAP_BRANCHES, {"num_maps": 2}),
        (nn.Linear(8, 5), BLOCK_BRANCHES, {"inputs": INPUTS, "num_blocks": 4}),
    ],
)
def test_what_is_built_is_like_the_dense_layer(dense, kind, settings):
    dense = dense.double().requires_grad_(False).eval()
    settings = {**settings, "num_branches": 2, "activation": "relu"}
    before = torch.random.get_rng_state()
    layer = build_layer(dense, kind, settings)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not layer.training
    assert {(one.dtype, one.requires_grad) for one in layer.parameters()} == {(torch.float64, False)}
    assert all(bool(one.isfinite().all()) for one in layer.parameters())
    assert torch.equal(layer.soma.bias, torch.zeros_like(layer.soma.bias) if dense.bias is None else dense.bias)
    # As a plan, from JSON, on a network without weights of its own.
    plan = Plan.from_dict(json.loads(json.dumps(Plan((Replace("0", kind, settings),)).to_dict())))
    fresh = apply_plan_(nn.Sequential(type(dense)(*_arguments(dense))), plan)
    shapes = {name: one.shape for name, one in layer.state_dict().items()}
    assert {name.removeprefix("0."): one.shape for name, one in fresh.state_dict().items()} == shapes


def _arguments(dense):
    if isinstance(dense, nn.Linear):
        return dense.in_features, dense.out_features, dense.bias is not None
    return dense.in_channels, dense.out_channels, dense.kernel_size, 1, 0, dense.dilation, 1, dense.bias is not None


@pytest.mark.parametrize(
    ("layer", "kind", "settings", "words"),
    [
        (nn.Linear(8, 4), MAP_BRANCHES, {"num_maps": 3}, "8 inputs into 3 maps"),
        (nn.Linear(8, 4), MAP_BRANCHES, {"num_maps": 4, "num_branches": 3}, "3 branches for 2 features"),
        (nn.Conv1d(8, 4, 3), MAP_BRANCHES, {"num_maps": 4}, "not linear"),
        (nn.Linear(8, 4), BLOCK_BRANCHES, {"inputs": [0, 1], "num_blocks": 2}, "each of the 8 inputs"),
        (nn.Linear(8, 4), BLOCK_BRANCHES, {"inputs": INPUTS, "num_blocks": 3}, "8 inputs into 3 blocks"),
        (nn.Conv1d(8, 4, 3), BLOCK_BRANCHES, {"inputs": INPUTS, "num_blocks": 2}, "in one block"),
        (nn.Conv1d(8, 4, 3), SPATIAL_BRANCHES, {"num_branches": 0}, "0 branches for 3 positions"),
        (nn.Conv1d(8, 4, 3, groups=2), SPATIAL_BRANCHES, {}, "in groups already"),
    ],
)
def test_plans_that_do_not_fit(layer, kind, settings, words):
    with pytest.raises(PruneError, match=words):
        build_layer(layer, kind, {"num_branches": 1, "activation": "relu", **settings})


def test_only_known_activations():
    edit = {"edit": "replace", "module": "0", "kind": SPATIAL_BRANCHES}
    plan = Plan().to_dict()
    plan["edits"] = [{**edit, "settings": {"num_branches": 1, "activation": "__import__"}}]
    with pytest.raises(PruneError, match="not one of relu, tanh, sigmoid"):
        Plan.from_dict(plan)


@pytest.mark.parametrize("num_branches", [1, 2])
def test_convolutions_without_a_batch(num_branches):
    layer = build_layer(nn.Conv2d(3, 5, 3), SPATIAL_BRANCHES, {"num_branches": num_branches, "activation": "relu"})
    layer.set_weights_(*random_weights(num_branches, 3, 9, 5))
    x = torch.randn(3, 6, 6)
    assert torch.allclose(layer(x), layer(x[None])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("dense", "kind", "settings", "x", "macs"),
    [
        (nn.Linear(24, 5), MAP_BRANCHES, {"num_maps": 4}, torch.zeros(1, 24), 2 * 24 + 8 * 5),
        (
            nn.Linear(8, 5),
            BLOCK_BRANCHES,
            {"inputs": INPUTS, "num_blocks": 2},
            torch.zeros(1, 3, 8),
            3 * (2 * 8 + 4 * 5),
        ),
        (nn.Conv2d(3, 5, 3), SPATIAL_BRANCHES, {}, torch.zeros(1, 3, 6, 6), 16 * (6 * 9 + 6 * 5)),
    ],
)
def test_multiply_accumulates_by_hand(dense, kind, settings, x, macs):
    network = nn.Sequential(build_layer(dense, kind, {**settings, "num_branches": 2, "activation": "relu"}))
    stats = measure_stats(network, (x,))
    assert stats.num_macs == macs == sum(layer.num_macs for layer in stats.layers)
    assert stats.num_parameters == sum(layer.num_parameters for layer in stats.layers)

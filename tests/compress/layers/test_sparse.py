"""Layers in the place of dense ones, and the edit that puts them there: values, counts, refusals, ONNX."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from edge_dendrite.compress.layers.build import build_layer
from edge_dendrite.compress.layers.sparse import GroupedLayer, SegmentedLayer, kept_connections
from edge_dendrite.compress.plan import Cut, Plan, Replace, SetAttribute, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.errors import PruneError
from edge_dendrite.export.onnx import check_parity, export_onnx

NEURONS = [4, 1, 7, 2, 0, 6, 3, 5]
SETTINGS = {
    "segments": {"inputs": [0, 2, 3, 5]},
    "groups": {"num_groups": 2, "inputs": [0, 2, 5, 1, 2, 4], "neurons": NEURONS},
}
LAYERS = {
    "conv1d": (lambda: nn.Conv1d(6, 8, 5, stride=2, padding=3, dilation=2, bias=False), (3, 6, 20)),
    "conv2d": (lambda: nn.Conv2d(6, 8, (3, 2), padding="same", padding_mode="reflect"), (3, 6, 7, 9)),
    "conv2d without batch": (lambda: nn.Conv2d(6, 8, 3), (6, 7, 9)),
    "conv3d": (lambda: nn.Conv3d(6, 8, 2, stride=(1, 2, 1)), (2, 6, 4, 5, 3)),
    "linear": (lambda: nn.Linear(6, 8), (3, 6)),
    "linear on one": (lambda: nn.Linear(6, 8, bias=False), (6,)),
    "linear on positions": (lambda: nn.Linear(6, 8), (2, 5, 6)),
    "linear on a grid": (lambda: nn.Linear(6, 8), (2, 3, 5, 6)),
}


def masked_copy(layer, kind, settings):
    """The dense layer with zeros where the plan cuts, built by indices of its own."""
    masked = copy.deepcopy(layer)
    kept = torch.zeros(8, 6, dtype=torch.bool)
    if kind == "segments":
        kept[:, settings["inputs"]] = True
    else:
        for group in range(2):
            for neuron in NEURONS[group * 4 : group * 4 + 4]:
                kept[neuron, settings["inputs"][group * 3 : group * 3 + 3]] = True
    with torch.no_grad():
        masked.weight *= kept.view(8, 6, *[1] * (layer.weight.dim() - 2))
    return masked, kept


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_replaced_layer_computes_what_the_masked_one_does(name, kind):
    torch.manual_seed(0)
    factory, shape = LAYERS[name]
    layer = factory()
    masked, kept = masked_copy(layer, kind, SETTINGS[kind])
    small = build_layer(layer, kind, SETTINGS[kind])
    x = torch.randn(shape)
    wanted = masked(x)
    assert float((wanted - layer(x)).abs().max()) > 1e-2, "the mask must change something"
    assert small(x).shape == wanted.shape
    assert torch.allclose(small(x), wanted, atol=1e-5)
    assert torch.equal(kept_connections(SETTINGS[kind], (8, 6)), kept)
    removed = (~kept).sum() * layer.weight[0, 0].numel()
    assert sum(p.numel() for p in small.parameters()) == sum(p.numel() for p in layer.parameters()) - int(removed)


@pytest.mark.parametrize(
    ("inputs", "block_size"),
    [([4, 5, 6, 7], 4), ([0, 1, 8, 9, 10, 11], 2), ([1, 2], 1), ([2, 3, 5, 6], 1), ([6], 1), ([*range(12)], 12)],
)
@pytest.mark.parametrize("shape", [(12,), (3, 12), (2, 5, 12), (2, 2, 3, 12)])
@torch.no_grad()
def test_features_are_gathered_in_blocks(inputs, block_size, shape):
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 5), torch.randn(shape)
    small = build_layer(layer, "segments", {"inputs": inputs})
    assert (small.block_size, len(small.inputs) * block_size) == (block_size, len(inputs))
    wanted = x[..., inputs] @ layer.weight[:, inputs].T + layer.bias
    assert torch.allclose(small(x), wanted, atol=1e-6)


def test_neurons_in_their_order_need_no_second_gather():
    layer = nn.Linear(6, 8)
    settings = {**SETTINGS["groups"], "neurons": list(range(8))}
    assert build_layer(layer, "groups", settings).order is None
    assert build_layer(layer, "groups", SETTINGS["groups"]).order is not None


@pytest.mark.parametrize("kind", SETTINGS)
def test_type_modes_and_random_numbers_are_left_as_they_are(kind):
    layer = nn.Conv2d(6, 8, 3).double().eval()
    layer.weight.requires_grad_(False)
    state = torch.get_rng_state()
    small = build_layer(layer, kind, SETTINGS[kind])
    assert torch.equal(torch.get_rng_state(), state)
    assert not small.training and not small.layer.training
    assert small.layer.weight.dtype == torch.float64
    assert (small.layer.weight.requires_grad, small.layer.bias.requires_grad) == (False, True)
    assert build_layer(nn.Linear(6, 8), kind, SETTINGS[kind]).layer.training
    on_meta = build_layer(nn.Linear(6, 8, device="meta"), "segments", SETTINGS["segments"])
    assert on_meta.layer.weight.device == on_meta.inputs.device == torch.device("meta")


@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("factory", [lambda: nn.Conv2d(6, 8, 3), lambda: nn.Linear(6, 8)])
def test_new_weights_are_scaled_for_the_inputs_that_are_left(factory, kind):
    torch.manual_seed(0)
    small = build_layer(factory(), kind, SETTINGS[kind])
    with torch.no_grad():
        small.layer.weight.fill_(9.0)
    small.reset_parameters()
    fan_in = small.layer.weight[0].numel()
    bound = fan_in**-0.5  # torch's own bound of both layers: Kaiming, a = sqrt(5)
    assert 0.8 * bound < float(small.layer.weight.detach().abs().max()) <= bound
    assert float(small.layer.bias.detach().abs().max()) <= bound


class Net(nn.Module):
    """A convolution used under two names, one behind it, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(6, 6, 3, padding=1)
        self.again = self.first
        self.second = nn.Conv2d(6, 8, 3, stride=2)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        h = self.again(self.first(x).relu()).relu()
        return self.head(self.second(h).relu().mean((2, 3)))


PLAN = Plan(
    (
        Cut("head.weight", 1, (0, 1, 2, 3, 4, 6, 7)),
        SetAttribute("head", "in_features", 7),
        Cut("second.weight", 0, (0, 1, 2, 3, 4, 6, 7)),
        Cut("second.bias", 0, (0, 1, 2, 3, 4, 6, 7)),
        SetAttribute("second", "out_channels", 7),
        Replace("first", "groups", {"num_groups": 3, "inputs": [0, 1, 1, 2, 3, 5], "neurons": [5, 0, 1, 2, 4, 3]}),
        Replace("second", "segments", {"inputs": [0, 1, 2, 5]}),
        Cut("second.layer.weight", 0, (0, 1, 2, 3, 5)),
        Cut("second.layer.bias", 0, (0, 1, 2, 3, 5)),
        SetAttribute("second.layer", "out_channels", 5),
        Cut("head.weight", 1, (0, 1, 2, 3, 5)),
        SetAttribute("head", "in_features", 5),
    )
)


def test_edits_before_and_after_a_replacement_and_a_layer_of_two_names():
    module = apply_plan_(Net(), PLAN)
    assert isinstance(module.first, GroupedLayer) and module.again is module.first
    assert isinstance(module.second, SegmentedLayer)
    assert module.second.layer.weight.shape == (5, 4, 3, 3)
    assert module(torch.randn(2, 6, 8, 8)).shape == (2, 4)


def test_a_fresh_network_takes_the_weights_after_json():
    torch.manual_seed(0)
    module = apply_plan_(Net(), PLAN)
    again = Plan.from_dict(json.loads(json.dumps(PLAN.to_dict())))
    assert again == PLAN
    fresh = apply_plan_(Net(), again)
    fresh.load_state_dict(module.state_dict())
    x = torch.randn(2, 6, 8, 8)
    assert torch.equal(fresh(x), module(x))
    assert fresh.again is fresh.first


GROUPS = SETTINGS["groups"]


@pytest.mark.parametrize(
    "edit",
    [
        Replace("nothing", "segments", {"inputs": [0]}),
        Replace("", "segments", {"inputs": [0]}),
        Replace("head.weight", "segments", {"inputs": [0]}),
        Replace("first", "segments", {"inputs": [0]}),  # replaced already
        Replace("second", "segments", {"inputs": []}),
        Replace("second", "segments", {"inputs": [6]}),
        Replace("second", "segments", {"inputs": [1, 0]}),
        Replace("second", "segments", {"inputs": [1, 1]}),
        Replace("second", "groups", {**GROUPS, "num_groups": 4}),
        Replace("second", "groups", {**GROUPS, "num_groups": 0}),
        Replace("second", "groups", {"num_groups": 2, "inputs": [0, 1, 2, 3] * 2, "neurons": NEURONS}),  # too many
        Replace("second", "groups", {**GROUPS, "inputs": [0, 2, 2, 1, 2, 4]}),
        Replace("second", "groups", {**GROUPS, "neurons": [*NEURONS[:-1], 0]}),
        Replace("second", "groups", {**GROUPS, "neurons": NEURONS[:-1]}),
        Replace("norm", "segments", {"inputs": [0]}),
        Replace("lstm", "segments", {"inputs": [0]}),
        Replace("tied", "segments", {"inputs": [0]}),
        Cut("second.layer.weight", 0, (0,)),
    ],
)
def test_a_plan_that_does_not_fit_changes_nothing(edit):
    module = Net()
    module.norm, module.lstm = nn.BatchNorm2d(8), nn.LSTM(4, 3)
    module.tied, module.other = nn.Linear(3, 3), nn.Linear(3, 3)
    module.other.weight = module.tied.weight
    before = dict(module.named_modules()), dict(module.state_dict()), list(module.lstm._flat_weights)
    edits = (
        Cut("head.weight", 1, (0,)),
        SetAttribute("head", "in_features", 1),
        Cut("lstm.weight_hh_l0", 0, (0, 1)),
        Replace("first", "segments", {"inputs": [0, 2]}),
        edit,
    )
    with pytest.raises(PruneError, match="the plan"):
        apply_plan_(module, Plan(edits))
    assert dict(module.named_modules()) == before[0]
    now = dict(module.state_dict())
    assert now.keys() == before[1].keys()
    assert all(value.data_ptr() == before[1][name].data_ptr() for name, value in now.items())
    assert all(one is other for one, other in zip(module.lstm._flat_weights, before[2], strict=True))
    assert module.head.in_features == 8


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "torch.nn.Linear"},
        {"kind": "segments"},
        {"kind": 3},
        {"kind": ["groups"]},
        {"module": 3},
        {"settings": None},
        {"settings": {**GROUPS, "extra": 1}},
        {"settings": {key: GROUPS[key] for key in ("num_groups", "inputs")}},
        {"settings": {**GROUPS, "num_groups": 2.0}},
        {"settings": {**GROUPS, "num_groups": True}},
        {"settings": {**GROUPS, "num_groups": [2]}},
        {"settings": {**GROUPS, "num_groups": 2**31}},
        {"settings": {**GROUPS, "inputs": "0"}},
        {"settings": {**GROUPS, "inputs": 3}},
        {"settings": {**GROUPS, "inputs": [-1]}},
        {"settings": {**GROUPS, "inputs": [[0]]}},
        {"settings": {**GROUPS, "inputs": [None]}},
        {"settings": {**GROUPS, "inputs": [0] * ((1 << 22) + 1)}},
        {"code": "1"},
    ],
)
def test_what_is_no_replacement_is_refused(damage):
    values = PLAN.to_dict()
    values["edits"].append({"edit": "replace", "module": "head", "kind": "groups", "settings": GROUPS, **damage})
    with pytest.raises(PruneError, match="not a plan"):
        Plan.from_dict(values)


def test_attention_becomes_layers_that_can_be_cut():
    torch.manual_seed(0)
    module = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2, batch_first=True)}).eval()
    x = torch.randn(2, 5, 8)
    wanted = module["attention"](x, x, x)[0]
    plan = Plan.from_dict(json.loads(json.dumps(Plan((Replace("attention", "attention", {}),)).to_dict())))
    apply_plan_(module, plan)
    assert module["attention"].q_proj.weight.shape == (8, 8)
    assert torch.allclose(module["attention"](x, x, x)[0], wanted, atol=1e-6)
    with pytest.raises(PruneError, match="the plan replaces attention, but finds Linear"):
        apply_plan_(Net(), Plan((Replace("head", "attention", {}),)))
    with pytest.raises(PruneError, match="not a plan"):
        Plan.from_dict({**plan.to_dict(), "edits": [{**plan.to_dict()["edits"][0], "settings": {"heads": 2}}]})


class Scaled(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight * 2, bias)


def hooked():
    layer = nn.Linear(6, 8)
    layer.register_forward_hook(lambda part, args, result: result * 2)
    return layer


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (lambda: nn.Conv2d(6, 8, 3, groups=2), "in groups already"),
        (lambda: nn.ConvTranspose2d(8, 6, 3), "not a plain"),
        (lambda: nn.Embedding(8, 6), "not a plain"),
        (lambda: Scaled(6, 8, 3), "not a plain"),
        (lambda: parametrizations.weight_norm(nn.Linear(6, 8)), "parametrised"),
        (hooked, "hooks"),
    ],
)
def test_layers_that_compute_something_else_are_refused(factory, reason):
    with pytest.raises(PruneError, match=reason):
        build_layer(factory(), "segments", {"inputs": [0, 1]})


def test_counts_by_hand():
    stats = measure_stats(apply_plan_(Net(), PLAN), (torch.zeros(1, 6, 8, 8),))
    # Groups: 6 neurons with 2 inputs of their own, called twice on 8x8. Segments: 5 neurons with 4 inputs on 3x3.
    macs = {"first.layer": 2 * 8 * 8 * 6 * 2 * 9, "second.layer": 3 * 3 * 5 * 4 * 9, "head": 5 * 4}
    assert {layer.name: layer.num_macs for layer in stats.layers} == macs
    assert stats.num_macs == sum(macs.values())
    parameters = {"first.layer": 6 * 2 * 9 + 6, "second.layer": 5 * 4 * 9 + 5, "head": 5 * 4 + 4}
    assert {layer.name: layer.num_parameters for layer in stats.layers} == parameters
    assert stats.num_parameters == sum(parameters.values())
    assert [(one.num_inputs, one.num_units) for one in stats.layers] == [(6, 6), (4, 5), (5, 4)]


def test_a_block_diagonal_linear_layer_counted_by_hand():
    layer = build_layer(nn.Linear(6, 8), "groups", GROUPS)
    stats = measure_stats(nn.Sequential(layer), (torch.zeros(1, 5, 6),))
    assert (stats.num_parameters, stats.num_macs) == (8 * 3 + 8, 5 * 8 * 3)


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv3d", "linear", "linear on positions"])
def test_onnx_computes_the_same(name, kind, opset):
    torch.manual_seed(0)
    factory, shape = LAYERS[name]
    layer = nn.Conv2d(6, 8, (3, 2), padding=(1, 1)) if name == "conv2d" else factory()
    module = nn.Sequential(build_layer(layer, kind, SETTINGS[kind])).eval()
    exported = export_onnx(module, shape[1:], opset)
    assert check_parity(exported, module, torch.randn(3, *shape[1:]), 1e-5, 1e-5).max_abs_error < 1e-5


@pytest.mark.parametrize("kind", SETTINGS)
def test_gradients_reach_only_what_is_left(kind):
    torch.manual_seed(0)
    layer = nn.Linear(6, 8)
    masked, kept = masked_copy(layer, kind, SETTINGS[kind])
    small = build_layer(layer, kind, SETTINGS[kind])
    x = torch.randn(4, 6)
    for one in (masked, small):
        one(x).square().sum().backward()
    wanted = (masked.weight.grad * kept).square().sum()
    assert torch.allclose(small.layer.weight.grad.square().sum(), wanted, rtol=1e-5)

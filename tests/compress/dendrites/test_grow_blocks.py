"""Growing inside of recurrent layers and attention: the loss, the plan, the saved form, the export, the way back."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.dendrites.grow import Grower
from edge_dendrite.compress.layers.build import DENDRITES
from edge_dendrite.compress.layers.dendritic_attention import DendriticAttention
from edge_dendrite.compress.layers.open_blocks import dendritic_block, open_block
from edge_dendrite.compress.layers.recurrent import DendriticRecurrent
from edge_dendrite.compress.layers.slots import OpenBlock
from edge_dendrite.compress.model import CompressedModel, load
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan, Replace, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import Budget, GrowConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.export.onnx import check_parity, export_onnx

QUICK = {"candidate_steps": 60, "num_batches": 4, "num_samples": 2048, "patience": 2, "num_dendrites": 4}
STEPS, WIDTH = 6, 8
BLOCKS = ("rnn", "attn", r"encoder\.layers\.\d\.self_attn")


class Recurrent(nn.Module):
    def __init__(self, kind, **settings):
        super().__init__()
        self.rnn = kind(WIDTH, 6, **settings)
        self.fc = nn.Linear(6 * (1 + self.rnn.bidirectional), 3)

    def forward(self, x):
        out, _ = self.rnn(x if self.rnn.batch_first else x.transpose(0, 1))
        return self.fc(out.mean(1 if self.rnn.batch_first else 0))


class Attending(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.attn, self.fc = nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first), nn.Linear(WIDTH, 3)

    def forward(self, x):
        x = x if self.attn.batch_first else x.transpose(0, 1)
        out, _ = self.attn(x, x, x, need_weights=False)
        return self.fc((x + out).mean(1 if self.attn.batch_first else 0))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 12, batch_first=True)
        self.encoder, self.fc = nn.TransformerEncoder(layer, 2), nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.fc(self.encoder(x).mean(1))


NETWORKS = {
    "LSTM": lambda: Recurrent(nn.LSTM, batch_first=True),
    "GRU": lambda: Recurrent(nn.GRU),
    "LSTM stacked, both directions": lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True),
    "GRU stacked, both directions": lambda: Recurrent(nn.GRU, num_layers=2, bidirectional=True, batch_first=True),
    "attention": Attending,
    "attention, steps first": lambda: Attending(batch_first=False),
    "encoder": Encoder,
}


def build(name):
    torch.manual_seed(0)
    return NETWORKS[name]().eval()


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def batches():
    """The classes are those of a product, which a network with few units follows only partly."""
    x = torch.randn(512, STEPS, WIDTH, generator=torch.Generator().manual_seed(1))
    wanted = (x[:, 1:, 0] * x[:, 1:, 1] + x[:, :-1, 2].abs()).mean(1)
    targets = torch.bucketize(wanted, wanted.quantile(torch.tensor([0.33, 0.67])))
    return list(zip(x.split(128), targets.split(128), strict=True))


def mean_loss(network, batches):
    with torch.no_grad():
        return sum(float(functional.cross_entropy(network(x), y)) for x, y in batches) / len(batches)


def train(network, batches, num_epochs, parameters=None):
    optimizer = torch.optim.Adam(parameters or list(network.parameters()), lr=0.01)
    network.train()
    for _ in range(num_epochs):
        for x, y in batches:
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
    network.eval()


def grown(name, batches, **settings):
    """A network with dendrites in its blocks only, and its grower."""
    network = build(name)
    train(network, batches, 3)
    grower = Grower(network, GrowConfig(**{**QUICK, **settings}, layers=BLOCKS))
    assert grower.grow(batches), grower.growths
    return network, grower


def everything_counts():
    return itertools.count(0, -1).__next__


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize("mode", ["correlation", "gradient"])
def test_new_dendrites_lower_the_loss_and_learn(name, batches, mode, freeze):
    network = build(name)
    train(network, batches, 3)
    own = {id(one) for one in network.parameters()}
    before, y = mean_loss(network, batches), network(batches[0][0]).detach()
    grower = Grower(network, GrowConfig(**QUICK, mode=mode, freeze=freeze, layers=BLOCKS))
    new = grower.grow(batches)
    growth = grower.growths[-1]
    assert growth.num_dendrites > 0 and "fc" in grower.kept
    # All parameters that an optimizer knows are still the network's; the new ones are what came on top.
    frozen = [one for one in network.parameters() if not one.requires_grad]
    assert {id(one) for one in network.parameters()} == own | {id(one) for one in [*new, *frozen]}
    assert len(frozen) == (2 if freeze else 0) and not {id(one) for one in new} & own
    assert growth.losses == pytest.approx((before, mean_loss(network, batches)))
    assert not torch.equal(network(batches[0][0]), y)
    if mode == "correlation":
        assert growth.losses[1] < before and growth.correlation > 0.05
    values = [one.detach().clone() for one in new]
    train(network, batches, 2, list(network.parameters()))
    assert all(not torch.equal(one, value) for one, value in zip(new, values, strict=True))
    assert mean_loss(network, batches) < before
    assert sum(isinstance(one, OpenBlock) for one in network.modules()) == 1  # the others were closed again


def test_a_plan_leads_a_fresh_network_to_the_same(name, batches, tmp_path):
    network, grower = grown(name, batches)
    grower.observe(0.5)
    grower.grow(batches)
    grower.observe(0.6)
    plan = grower.finish(everything_counts())
    assert all(edit.kind == DENDRITES for edit in plan.edits) and plan.edits
    plan = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    x, y = batches[0]
    fresh = apply_plan_(NETWORKS[name](), plan).eval()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(x), network(x)) and torch.equal(copy.deepcopy(network)(x), network(x))
    model = CompressedModel(network, "grown", "test:factory", "compressed", (STEPS, WIDTH), plan)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model", NETWORKS[name])
    assert torch.equal(loaded.module(x), network(x))
    control = same_shape_from_scratch(NETWORKS[name], plan, 0)
    assert control.state_dict().keys() == network.state_dict().keys()
    made = {key: value for key, value in control.named_parameters() if ".sets." in key}
    assert made and all(float(value.detach().std()) > 0 for key, value in made.items() if value.numel() > 1)
    assert not torch.equal(control(x), network(x))
    exported = export_onnx(network, (STEPS, WIDTH), 17)
    check_parity(exported, network, x[:8], 1e-5, 1e-5)


def test_what_costs_nothing_to_zero_is_removed(name, batches):
    network, grower = grown(name, batches, mode="gradient")
    original = build(name)
    x = batches[0][0]
    grower.observe(0.5)
    block = next(one for one in network.modules() if isinstance(one, OpenBlock))
    slot = next(one for one in block.slots.values() if len(one.sets))
    with torch.no_grad():
        slot.sets[0].soma.weight[:, 0] = 0.0
    grower._best_weights.keep()
    wanted = network(x).detach()
    before = slot.sets[0].soma.weight.shape[1]
    plan = grower.finish(lambda: -float((network(x) - wanted).abs().max() > 1e-5))
    assert sum(plan.edits[0].settings["sizes"]) == before - 1 and torch.allclose(network(x), wanted, atol=1e-5)
    assert [(line.before, line.after) for line in plan.layers] == [(before, before - 1)]
    grower.finish(lambda: 0.0)
    assert not any(isinstance(one, OpenBlock) for one in network.modules())
    assert network.state_dict().keys() == original.state_dict().keys()


def test_a_growth_that_does_not_help_is_taken_back_bit_for_bit(name, batches):
    network = build(name)
    best = copy.deepcopy(network.state_dict())
    grower = Grower(network, GrowConfig(**QUICK, layers=BLOCKS))
    grower.observe(0.9)
    parameters = [*network.parameters(), *grower.grow(batches)]
    train(network, batches, 1, parameters)
    assert not grower.observe(0.5)
    grower.observe(float("nan"))
    assert network.state_dict().keys() == best.keys()
    assert all(torch.equal(value, best[key]) for key, value in network.state_dict().items())
    assert not any(isinstance(one, OpenBlock) for one in network.modules())


def test_the_work_is_counted(name, batches):
    """From scratch, by what the sizes say: dendrites are products of the inputs, and wider inputs of the gates."""
    x = batches[0][0][:1]
    network = build(name)
    before = measure_stats(network, (x,)).num_macs
    block_name = next(
        key for key, part in network.named_modules() if isinstance(part, (nn.RNNBase, nn.MultiheadAttention))
    )
    block = network.get_submodule(block_name)
    num_slots = block.num_layers if isinstance(block, nn.RNNBase) else 4
    plan = Plan((Replace(block_name, DENDRITES, {"sizes": [3, *[0] * (num_slots - 1)], "activation": "relu"}),))
    apply_plan_(network, plan)
    slot = next(iter(network.get_submodule(block_name).slots.values()))
    added = STEPS * 3 * (slot.num_inputs + slot.num_neurons)
    assert measure_stats(network, (x,)).num_macs == before + added
    assert measure_stats(network, (x,)).num_parameters == sum(one.numel() for one in build(name).parameters()) + 3 * (
        slot.num_inputs + 1 + slot.num_neurons
    )


class Deep(nn.Module):
    """A block with dendrites between layers that feed it and layers that can be cut."""

    def __init__(self, block):
        super().__init__()
        self.before, self.block = nn.Linear(WIDTH, WIDTH), block
        self.hidden, self.fc = nn.Linear(WIDTH, 20), nn.Linear(20, 3)

    def forward(self, x):
        x = self.before(x)
        x = self.block(x)[0] if isinstance(self.block, DendriticRecurrent) else self.block(x, x, x)[0]
        return self.fc(self.hidden(x).relu().mean(1))


@pytest.mark.parametrize(
    "factory",
    [
        lambda: nn.LSTM(WIDTH, WIDTH, batch_first=True),
        lambda: nn.GRU(WIDTH, WIDTH // 2, num_layers=2, bidirectional=True, batch_first=True),
        lambda: nn.MultiheadAttention(WIDTH, 2, batch_first=True),
    ],
    ids=["LSTM", "GRU", "attention"],
)
def test_pruning_afterwards_keeps_them_and_says_so(factory, batches):
    torch.manual_seed(0)
    block = dendritic_block(factory(), [2] * len(open_block(factory()).slots), "tanh")
    with torch.no_grad():
        for one in block.parameters():
            one.add_(0.1 * torch.randn_like(one))
    network = Deep(block).eval()
    state = copy.deepcopy(network.state_dict())
    # So little that only the layers behind need to be cut.
    pruned = prune(network, batches, Budget(pruning_ratio=0.1))
    cut = pruned.module.state_dict()
    assert len(cut["hidden.weight"]) < 20
    assert all(torch.equal(value, cut[key]) for key, value in state.items() if key.startswith("block."))
    assert torch.equal(cut["before.weight"], state["before.weight"])
    if not isinstance(block, DendriticAttention):
        reasons = {reason for key, reason in pruned.kept.items() if key.startswith(("block.", "before"))}
        assert any("this operator is not understood" in reason for reason in reasons)
    assert np.isfinite(mean_loss(pruned.module, batches))
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_numbers_of_double_precision(name, batches):
    twice = [(x.double(), y) for x, y in batches]
    network = build(name).double()
    new = Grower(network, GrowConfig(**QUICK, mode="gradient", layers=BLOCKS)).grow(twice)
    assert new and all(one.dtype is torch.float64 for one in new)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_inside_of_a_place_without_gradients(name, batches, context):
    network = build(name)
    train(network, batches, 2)
    grower = Grower(network, GrowConfig(**QUICK, layers=BLOCKS))
    with context():
        grower.observe(0.5)
        new = grower.grow(batches)
    assert new and all(one.requires_grad for one in new)
    train(network, batches, 1)


def test_all_kinds_of_places_are_tried(batches):
    network = build("LSTM stacked, both directions")
    grower = Grower(network, GrowConfig(**QUICK))
    grower.grow(batches)
    assert set(grower._sites.fields) == {"rnn.l0", "rnn.l1", "fc"} and grower.kept == {}
    chosen = Grower(build("attention"), GrowConfig(**QUICK, layers=(r"attn\.[qk]_proj",)))
    chosen.grow(batches)
    assert set(chosen._sites.fields) == {"attn.q_proj", "attn.k_proj"}
    assert set(chosen.kept) == {"attn.v_proj", "attn.out_proj", "fc"}


def test_sets_in_several_slots_and_another_grower(batches):
    network, grower = grown("LSTM stacked, both directions", batches)
    edit = Replace("rnn", DENDRITES, {"sizes": [2, 3], "activation": "relu"})
    grower.observe(0.5)
    grower.finish(lambda: 0.0)
    apply_plan_(network, Plan((edit,)))
    with torch.no_grad():
        for parameter in network.rnn.parameters():
            parameter.add_(0.01)
    other = Grower(network, GrowConfig(**QUICK, layers=("rnn",)))
    other.observe(0.4)
    assert other.grow(batches) and other.growths[-1].layer in ("rnn.l0", "rnn.l1")
    assert not any("rnn" in key for key in other.kept)
    other.observe(0.5)
    sizes = other.finish(everything_counts()).edits[0].settings["sizes"]
    assert sum(sizes) == 5 + other.growths[-1].num_dendrites and all(sizes)


def test_blocks_that_stay_are_named(batches):
    class Looks(Recurrent):
        def forward(self, x):
            return super().forward(x) * self.rnn.weight_hh_l0.shape[1] / 6

    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.attn = nn.RNNCell(WIDTH, WIDTH), nn.MultiheadAttention(WIDTH, 2, add_bias_kv=True)
            self.unused, self.shared, self.fc = nn.GRU(2, 2), nn.LSTM(WIDTH, WIDTH), nn.Linear(WIDTH, 3)
            self.other = nn.LSTM(WIDTH, WIDTH)
            self.other.weight_hh_l0 = self.shared.weight_hh_l0

        def forward(self, x):
            x = self.other(self.shared(x)[0])[0]
            return self.fc(self.rnn(self.attn(x, x, x)[0][:, 0]))

    torch.manual_seed(0)
    looks = Grower(Looks(nn.LSTM, batch_first=True), GrowConfig(**QUICK))
    looks.grow(batches)
    assert "weight_hh_l0" in looks.kept["rnn"] and looks.growths[-1].layer in ("fc", "")
    grower = Grower(Functional(), GrowConfig(**QUICK))
    grower.grow(batches)
    words = {
        "rnn": "not a plain",
        "attn": "of their own",
        "unused": "not called",
        "shared": "shares",
        "other": "shares",
    }
    assert all(word in grower.kept[key] for key, word in words.items())
    assert type(grower.module.attn) is nn.MultiheadAttention


def test_sizes_can_be_read_and_states_given(batches):
    class Given(Recurrent):
        def forward(self, x):
            self.rnn.flatten_parameters()
            h = x.new_zeros(self.rnn.num_layers * (1 + self.rnn.bidirectional), len(x), self.rnn.hidden_size)
            return self.fc(self.rnn(x, (h, h))[1][0][-1])

    torch.manual_seed(0)
    grower = Grower(Given(nn.LSTM, batch_first=True).eval(), GrowConfig(**QUICK, layers=("rnn",)))
    assert grower.grow(batches) and isinstance(grower.module.rnn, DendriticRecurrent)


def test_an_encoder_packs_again_after_its_attention_is_closed(batches):
    network = build("encoder")
    assert network.encoder.use_nested_tensor
    grower = Grower(network, GrowConfig(**QUICK, layers=("fc",)))
    grower.grow(batches)
    assert network.encoder.use_nested_tensor
    other, _ = grown("encoder", batches)
    assert not other.encoder.use_nested_tensor
    assert any(isinstance(one, DendriticAttention) for one in other.modules())


def test_a_plan_with_two_activations_in_one_block_is_refused(batches):
    network = build("LSTM stacked, both directions")
    plan = Plan((Replace("rnn", DENDRITES, {"sizes": [1, 1], "activation": "relu"}),))
    apply_plan_(network, plan)
    network.rnn.l1.sets[0].activation_name = "tanh"
    with pytest.raises(PruneError, match="rnn has dendrites with relu and tanh"):
        Grower(network).finish(everything_counts())


def test_packed_sequences_and_a_layer_that_is_called_twice():
    class Packed(Recurrent):
        def forward(self, x):
            lengths = (x[:, :, 0] > -0.5).sum(1).clamp(min=1)
            _, h = self.rnn(nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            packed = nn.utils.rnn.pack_padded_sequence(x.flip(1), lengths, batch_first=True, enforce_sorted=False)
            return self.fc(self.rnn(packed, h)[1][-1])

    torch.manual_seed(0)
    x = torch.randn(512, STEPS, WIDTH, generator=torch.Generator().manual_seed(1))
    targets = ((x[:, :, 0] * x[:, :, 1]).mean(1) > 0).long()
    batches = list(zip(x.split(128), targets.split(128), strict=True))
    network = Packed(nn.GRU, batch_first=True)
    train(network, batches, 20)
    grower = Grower(network, GrowConfig(**{**QUICK, "num_samples": 8192}, layers=("rnn",)))
    assert grower.grow(batches), grower.growths
    growth = grower.growths[-1]
    assert growth.correlation > 0.05 and growth.losses[1] < growth.losses[0]
    assert growth.losses[1] == pytest.approx(mean_loss(network, batches))

"""The attention that can be cut, against `nn.MultiheadAttention`: values, gradients, masks, whole transformers."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.attention import can_replace, equal_attention, replace_attention_
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan, Replace, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import Budget, LayerRule, PruneConfig
from edge_dendrite.errors import PruneError

WIDTH, HEADS, BATCH, TARGETS, SOURCES = 12, 4, 2, 5, 6


def pair(**settings):
    """(torch's, ours), with weights and biases that a newborn does not have."""
    torch.manual_seed(0)
    old = nn.MultiheadAttention(WIDTH, HEADS, **settings)
    with torch.no_grad():
        for parameter in old.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return old, equal_attention(old)


def inputs(old, *, batched=True):
    shapes = [(TARGETS, WIDTH), (SOURCES, old.kdim), (SOURCES, old.vdim)]
    if batched:
        shapes = [(BATCH, *one) if old.batch_first else (one[0], BATCH, one[1]) for one in shapes]
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


def projections(module):
    """(weights, biases) of queries, keys and values, and of the output, of either module; as gradients."""
    if isinstance(module, nn.MultiheadAttention):
        joint = module.in_proj_weight
        parts = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        weights = [one.grad for one in parts] if joint is None else list(joint.grad.chunk(3))
        biases = [] if module.in_proj_bias is None else list(module.in_proj_bias.grad.chunk(3))
        last = module.out_proj
    else:
        layers = (module.q_proj, module.k_proj, module.v_proj)
        weights = [one.weight.grad for one in layers]
        biases = [one.bias.grad for one in layers if one.bias is not None]
        last = module.out_proj
    return [*weights, *biases, *(one.grad for one in last.parameters())]


def assert_equal(old, new, arguments, **settings):
    """Outputs, attention weights, and all gradients."""
    given = [[one.detach().clone().requires_grad_() for one in arguments] for _ in range(2)]
    results = []
    for module, own in zip((old, new), given, strict=True):
        module.zero_grad()
        outputs, weights = module(*own, **settings)
        (outputs * torch.arange(outputs.numel()).view(outputs.shape)).sum().backward()
        results.append((outputs, weights))
    (wanted, wanted_weights), (seen, seen_weights) = results
    assert seen.shape == wanted.shape
    assert torch.allclose(seen, wanted, atol=1e-5)
    assert (seen_weights is None) == (wanted_weights is None)
    if wanted_weights is not None:
        assert seen_weights.shape == wanted_weights.shape
        assert torch.allclose(seen_weights, wanted_weights, atol=1e-6)
    for one, other in zip(*given, strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-3)
    for one, other in zip(projections(old), projections(new), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{}, {"bias": False}, {"kdim": 7}, {"vdim": 9}, {"kdim": 7, "vdim": 9, "bias": False}],
    ids=["plain", "no bias", "kdim", "vdim", "kdim, vdim, no bias"],
)
@pytest.mark.parametrize("need_weights", [True, False])
def test_values_and_gradients_are_those_of_torch(settings, batch_first, need_weights):
    old, new = pair(batch_first=batch_first, **settings)
    assert_equal(old, new, inputs(old), need_weights=need_weights)
    assert sum(one.numel() for one in new.parameters()) == sum(one.numel() for one in old.parameters())


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_attention_weights_averaged_or_for_each_head(batch_first, average):
    old, new = pair(batch_first=batch_first)
    assert_equal(old, new, inputs(old), average_attn_weights=average)


BOOL = torch.tensor([[0, 0, 1, 0, 1, 0], [0] * 6, [1, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1]]).bool()
PADDING = torch.tensor([[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]]).bool()


def of_each_head():
    return torch.rand(BATCH * HEADS, TARGETS, SOURCES, generator=torch.Generator().manual_seed(2))


MASKS = {
    "bool": {"attn_mask": BOOL},
    "float": {"attn_mask": torch.linspace(-3, 3, 30).view(TARGETS, SOURCES)},
    "bool of each head": {"attn_mask": of_each_head() > 0.6},
    "float of each head": {"attn_mask": of_each_head()},
    "padding": {"key_padding_mask": PADDING},
    "float padding": {"key_padding_mask": PADDING.float() * -2.5},
    "bool and padding": {"attn_mask": BOOL, "key_padding_mask": PADDING},
    "float of each head and padding": {"attn_mask": of_each_head(), "key_padding_mask": PADDING.float() * -2.5},
    "causal": {"attn_mask": torch.ones(TARGETS, SOURCES).triu(1).bool(), "is_causal": True},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
def test_masks_mean_what_they_mean_in_torch(mask, need_weights, batch_first):
    old, new = pair(batch_first=batch_first)
    assert_equal(old, new, inputs(old), need_weights=need_weights, **MASKS[mask])


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"attn_mask": BOOL},
        {"attn_mask": of_each_head()[:HEADS]},
        {"key_padding_mask": PADDING[0]},
        {"attn_mask": BOOL, "key_padding_mask": PADDING[0]},
    ],
    ids=["none", "bool", "of each head", "padding", "both"],
)
def test_one_sequence_without_a_batch(masks, need_weights):
    for batch_first in (True, False):
        old, new = pair(batch_first=batch_first)
        assert_equal(old, new, inputs(old, batched=False), need_weights=need_weights, **masks)


@pytest.mark.parametrize("need_weights", [True, False])
@torch.no_grad()
def test_in_evaluation_mode_too_where_torch_has_a_kernel_of_its_own(need_weights):
    old, new = pair(batch_first=True)
    x = torch.randn(BATCH, TARGETS, WIDTH)
    wanted, weights = old.eval()(x, x, x, need_weights=need_weights)
    seen, own = new.eval()(x, x, x, need_weights=need_weights)
    assert torch.allclose(seen, wanted, atol=1e-5)
    assert (weights is None) == (own is None)
    assert weights is None or torch.allclose(own, weights, atol=1e-6)


def test_dropout_is_that_of_the_mode():
    old, new = pair(batch_first=True, dropout=0.5)
    x = [one.detach() for one in inputs(old)]
    assert new.training
    assert not torch.equal(new(*x)[0], new(*x)[0])
    assert not torch.equal(new(*x, need_weights=False)[0], new(*x, need_weights=False)[0])
    results = []
    for module in (old, new):
        torch.manual_seed(5)
        results.append(module(*x))
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, atol=1e-5), "the same is dropped, and told, for the same random numbers"
    for module in (old, new):
        module.eval()
    assert torch.allclose(new(*x)[0], old(*x)[0], atol=1e-5)
    assert not equal_attention(old).training


def test_what_is_frozen_or_of_another_type_stays_so():
    old, _ = pair()
    old.double().requires_grad_(False)
    new = equal_attention(old)
    assert {one.dtype for one in new.parameters()} == {torch.float64}
    assert not any(one.requires_grad for one in new.parameters())
    half, _ = pair()
    half.out_proj.requires_grad_(False)
    frozen = {name: one.requires_grad for name, one in equal_attention(half).named_parameters()}
    assert not frozen["out_proj.weight"]
    assert frozen["q_proj.weight"], "the joint matrix was not frozen"


def test_what_it_cannot_compute_is_left_alone():
    class Own(nn.MultiheadAttention):
        def forward(self, *args, **settings):
            outputs, weights = super().forward(*args, **settings)
            return outputs * 2, weights

    for module in (
        nn.MultiheadAttention(WIDTH, HEADS, add_bias_kv=True),
        nn.MultiheadAttention(WIDTH, HEADS, add_zero_attn=True),
        Own(WIDTH, HEADS),
        nn.Linear(3, 3),
    ):
        assert not can_replace(module)
        assert type(replace_attention_(nn.Sequential(module))[0]) is type(module)


class Shared(nn.Module):
    """One attention under two names of one module, and of another."""

    def __init__(self):
        super().__init__()
        self.first = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.again = self.first
        self.inner = nn.ModuleDict({"third": self.first})
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        for one in (self.first, self.again, self.inner["third"]):
            x = x + one(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1))


def test_a_shared_one_stays_shared():
    module = replace_attention_(Shared())
    assert module.first is module.again is module.inner["third"]
    assert not isinstance(module.first, nn.MultiheadAttention)


@torch.no_grad()
def test_a_shared_one_is_cut_in_all_its_places():
    torch.manual_seed(0)
    module = Shared().eval()
    x, before = torch.randn(4, TARGETS, WIDTH), weights_of(module)
    pruned = prune(module, [(x, torch.tensor([0, 1, 2, 0]))], Budget(pruning_ratio=0.0), heads_only(1))
    assert pruned.module.first is pruned.module.again is pruned.module.inner["third"]
    assert torch.allclose(pruned.module(x), without_heads(module, ["first"], pruned)(x), atol=1e-5)
    assert same(module, before)


def weights_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(module, before):
    now = module.state_dict()
    return list(now) == list(before) and all(torch.equal(value, before[name]) for name, value in now.items())


def heads_only(count, heads=HEADS):
    """`count` heads of every attention go, and nothing else."""
    rules = (LayerRule(r".*q_proj", count / heads + 1e-6), LayerRule(r".*", 0.0))
    return PruneConfig(min_units=1, round_to=1, num_rounds=1, num_batches=1, layers=rules)


def without_heads(module, names, pruned):
    """A copy of the network in which what the removed heads send is multiplied by zero."""
    masked = copy.deepcopy(module)
    for name in names:
        kept = next(edit.keep for edit in pruned.plan.edits if getattr(edit, "tensor", "") == f"{name}.out_proj.weight")
        weight = masked.get_submodule(name).out_proj.weight
        gone = sorted(set(range(weight.shape[1])) - set(kept))
        assert len(gone) % (WIDTH // HEADS) == 0
        assert gone
        with torch.no_grad():
            weight[:, gone] = 0.0
    return masked


class Encoder(nn.Module):
    def __init__(self, layers=2, nested=True):
        super().__init__()
        self.embed = nn.Linear(4, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 10, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=nested)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.head(self.body(self.embed(x)).mean(1))


def lively(module):
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    return module


ENCODER_MASKS = {
    "none": {},
    "padding": {"src_key_padding_mask": torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]).bool()},
    "causal": {"mask": nn.Transformer.generate_square_subsequent_mask(TARGETS), "is_causal": True},
}


@pytest.mark.parametrize("mode", ["train", "eval", "eval without gradients"])
@pytest.mark.parametrize("masks", ENCODER_MASKS)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype")
def test_a_whole_encoder(masks, mode):
    """Also where torch takes its fused kernel, which reads the joint matrix that is no longer there."""
    old = lively(Encoder()).body.train(mode == "train")
    new = replace_attention_(copy.deepcopy(old))
    x = torch.randn(BATCH, TARGETS, WIDTH)
    with torch.set_grad_enabled(mode != "eval without gradients"):
        wanted, seen = old(x, **ENCODER_MASKS[masks]), new(x, **ENCODER_MASKS[masks])
    # What stands at padded places is nobody's business: torch writes zeros there in its fused kernel.
    valid = ~ENCODER_MASKS[masks].get("src_key_padding_mask", torch.zeros(BATCH, TARGETS).bool())
    assert torch.allclose(seen[valid], wanted[valid], atol=1e-4)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_a_whole_decoder(batch_first, norm_first):
    settings = {"dropout": 0.0, "batch_first": batch_first, "norm_first": norm_first}
    old = lively(nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, HEADS, 10, **settings), 2))
    new = replace_attention_(copy.deepcopy(old))
    shapes = [(BATCH, TARGETS, WIDTH), (BATCH, SOURCES, WIDTH)]
    target, memory = (torch.randn(one if batch_first else (one[1], one[0], one[2])) for one in shapes)
    causal = nn.Transformer.generate_square_subsequent_mask(TARGETS)
    for masks in (
        {},
        {"tgt_mask": causal, "tgt_is_causal": True},
        {"tgt_mask": causal.bool(), "memory_mask": BOOL, "memory_key_padding_mask": PADDING},
    ):
        assert torch.allclose(new(target, memory, **masks), old(target, memory, **masks), atol=1e-4)
    assert [type(one.multihead_attn).__name__ for one in new.layers] == ["Attention", "Attention"]


class Translator(nn.Module):
    """Encoder and decoder; takes two tensors."""

    def __init__(self):
        super().__init__()
        settings = {"dim_feedforward": 10, "dropout": 0.0, "batch_first": True}
        self.body = nn.Transformer(WIDTH, HEADS, 1, 1, **settings)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, source, target):
        return self.head(self.body(source, target).mean(1))


CASES = {
    "encoder": (Encoder, (torch.randn(4, TARGETS, 4),)),
    "translator": (Translator, (torch.randn(4, SOURCES, WIDTH), torch.randn(4, TARGETS, WIDTH))),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("count", [1, 2])
@torch.no_grad()
def test_heads_go_one_by_one(case, count):
    factory, x = CASES[case]
    module = lively(factory()).eval()
    names = [name for name, part in module.named_modules() if isinstance(part, nn.MultiheadAttention)]
    before = weights_of(module)
    pruned = prune(module, [(x, torch.tensor([0, 1, 2, 0]))], Budget(pruning_ratio=0.0), heads_only(count))
    assert [pruned.module.get_submodule(name).num_heads for name in names] == [HEADS - count] * len(names)
    seen, wanted = pruned.module(*x), without_heads(module, names, pruned)(*x)
    assert torch.allclose(seen, wanted, atol=1e-4)
    assert float((wanted - module(*x)).abs().max()) > 1e-2
    assert same(module, before)
    assert all(isinstance(module.get_submodule(name), nn.MultiheadAttention) for name in names)
    assert len([one for one in pruned.plan.edits if isinstance(one, Replace)]) == len(names)


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_a_plan_rebuilds_the_shapes_for_the_saved_weights(case):
    factory, x = CASES[case]
    config = PruneConfig(round_to=1, num_rounds=1, num_batches=1, normalised_units=True)
    module = lively(factory()).eval()
    pruned = prune(module, [(x, torch.tensor([0, 1, 2, 0]))], Budget(pruning_ratio=0.5), config)
    plan = Plan.from_dict(json.loads(json.dumps(pruned.plan.to_dict())))
    assert plan == pruned.plan
    fresh = apply_plan_(factory(), plan).eval()
    assert not torch.allclose(fresh(*x), pruned.module(*x), atol=1e-2)
    fresh.load_state_dict(pruned.module.state_dict())
    assert torch.equal(fresh(*x), pruned.module(*x))


def test_a_plan_finds_only_what_it_replaces():
    plan = Plan((Replace("0", "attention", {}),))
    with pytest.raises(PruneError, match="finds Linear"):
        apply_plan_(nn.Sequential(nn.Linear(3, 3)), plan)


@torch.no_grad()
def test_the_work_of_attention_is_counted_before_and_after():
    """By hand; the network as torch computes it fast must not seem to do less work than the same without its kernel."""
    module = Encoder(layers=1).eval()
    one = (torch.zeros(1, TARGETS, 4),)
    wanted = TARGETS * (4 * WIDTH + 4 * WIDTH**2 + 2 * TARGETS * WIDTH + 2 * WIDTH * 10) + WIDTH * 3
    assert measure_stats(replace_attention_(copy.deepcopy(module)), one).num_macs == wanted
    assert measure_stats(module, one).num_macs == wanted

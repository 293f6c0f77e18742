"""Attention with dendrites, against `nn.MultiheadAttention` and against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.attention import can_replace
from edge_dendrite.compress.layers.dendrites import new_dendrites, set_dendrites_
from edge_dendrite.compress.layers.open_blocks import open_block, reason_against_opening

WIDTH, HEADS, BATCH, TARGETS, SOURCES = 8, 2, 2, 5, 6
SLOTS = ["q_proj", "k_proj", "v_proj", "out_proj"]


def opened(**settings):
    torch.manual_seed(0)
    old = nn.MultiheadAttention(WIDTH, HEADS, **settings).eval()
    with torch.no_grad():
        for parameter in old.parameters():  # a newborn's biases are zeros
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return open_block(old)


def inputs(block):
    generator = torch.Generator().manual_seed(1)
    shapes = [(TARGETS, WIDTH), (SOURCES, block.kdim), (SOURCES, block.vdim)]
    return [
        torch.randn((BATCH, *one) if block.batch_first else (one[0], BATCH, one[1]), generator=generator)
        for one in shapes
    ]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"kdim": 6, "vdim": 7}])
@pytest.mark.parametrize("need_weights", [True, False])
def test_dendrites_that_add_nothing_change_no_value(settings, batch_first, need_weights):
    block = opened(batch_first=batch_first, **settings)
    assert list(block.slots) == SLOTS
    padding = torch.zeros(BATCH, SOURCES, dtype=torch.bool)
    padding[1, -2:] = True
    asked = {"key_padding_mask": padding, "need_weights": need_weights}
    wanted, wanted_weights = block.layer(*inputs(block), **asked)
    for slot in block.slots.values():
        slot.sets.append(new_dendrites(slot, 2, "relu"))
    seen, weights = block(*inputs(block), **asked)
    assert torch.allclose(seen, wanted, atol=1e-6)
    assert weights is None if wanted_weights is None else torch.allclose(weights, wanted_weights, atol=1e-6)


@pytest.mark.parametrize("name", SLOTS)
def test_dendrites_add_to_the_projection_that_they_are_at(name):
    block = opened(batch_first=True)
    slot, generator = block.slots[name], torch.Generator().manual_seed(2)
    one = new_dendrites(slot, 3, "tanh")
    shapes = ((3, slot.num_inputs), (3,), (slot.num_neurons, 3))
    set_dendrites_(one, *(torch.randn(shape, generator=generator) for shape in shapes))
    slot.sets.append(one)
    weights, biases = block.layer.in_proj_weight.chunk(3), block.layer.in_proj_bias.chunk(3)
    made = []
    for at, x in enumerate(inputs(block)):
        y = x @ weights[at].T + biases[at]
        made.append(y + one(x) if name == SLOTS[at] else y)
    q, k, v = (y.view(BATCH, -1, HEADS, WIDTH // HEADS).transpose(1, 2) for y in made)
    mixed = ((q @ k.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
    wanted = block.layer.out_proj(mixed) + (one(mixed) if name == "out_proj" else 0.0)
    assert torch.allclose(block(*inputs(block))[0], wanted, atol=1e-5)
    assert not torch.allclose(block(*inputs(block))[0], block.layer(*inputs(block))[0], atol=1e-2)


def test_an_encoder_layer_asks_and_is_answered():
    block = opened(batch_first=True)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True).eval()
    layer.self_attn = block.layer
    x = inputs(block)[0]
    with torch.no_grad():
        wanted = layer(x)
        block.q_proj.sets.append(new_dendrites(block.q_proj, 1, "relu"))
        layer.self_attn = block
        assert torch.allclose(layer(x), wanted, atol=1e-5)
        set_dendrites_(block.q_proj.sets[0], torch.ones(1, WIDTH), torch.ones(1), torch.randn(WIDTH, 1))
        assert not torch.allclose(layer(x), wanted, atol=1e-3)


@pytest.mark.parametrize("settings", [{"add_bias_kv": True}, {"add_zero_attn": True}])
def test_attention_that_stays(settings):
    attention = nn.MultiheadAttention(WIDTH, HEADS, **settings)
    assert not can_replace(attention) and "a bias or zeros of their own" in reason_against_opening(attention)

"""Recurrent layers with dendrites, against torch's layers and against cells that are written out."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils import _pytree

from edge_dendrite.compress.layers.dendrites import new_dendrites, set_dendrites_
from edge_dendrite.compress.layers.open_blocks import dendritic_block, open_block, reason_against_opening
from edge_dendrite.errors import PruneError

INPUTS, HIDDEN, BATCH, STEPS = 5, 4, 3, 6
KINDS = (nn.LSTM, nn.GRU, nn.RNN)


def opened(kind, **settings):
    torch.manual_seed(0)
    return open_block(kind(INPUTS, HIDDEN, **settings).eval())


def give_dendrites_(block, count=3):
    generator = torch.Generator().manual_seed(1)
    for slot in block.slots.values():
        one = new_dendrites(slot, count, "tanh")
        shapes = ((count, slot.num_inputs), (count,), (slot.num_neurons, count))
        set_dendrites_(one, *(torch.randn(shape, generator=generator) for shape in shapes))
        slot.sets.append(one)
    return block


def watch_(block, is_watched=True):
    for slot in block.slots.values():
        slot.is_watched = is_watched


def largest_difference(one, other):
    pairs = zip(_pytree.tree_leaves(one), _pytree.tree_leaves(other), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs if isinstance(a, torch.Tensor))


def sequence(block, *, packed=False):
    x = torch.randn(STEPS, BATCH, INPUTS, generator=torch.Generator().manual_seed(2))
    if packed:
        lengths = torch.tensor([2, STEPS, 4])
        x = x.transpose(0, 1) if block.batch_first else x
        return pack_padded_sequence(x, lengths, batch_first=block.batch_first, enforce_sorted=False)
    return x.transpose(0, 1) if block.batch_first else x


def states(block):
    shape = (block.num_layers * (1 + block.bidirectional), BATCH, block.proj_size or HIDDEN)
    h = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    return (h, h.new_ones(*shape[:-1], HIDDEN)) if block.mode == "LSTM" else h


@pytest.mark.parametrize(
    ("kind", "num_layers", "bidirectional", "batch_first", "bias"),
    list(itertools.product(KINDS, (1, 2), (False, True), (False, True), (True, False))),
)
def test_watched_slots_and_dendrites_that_add_nothing_change_no_value(
    kind, num_layers, bidirectional, batch_first, bias
):
    block = opened(kind, num_layers=num_layers, bidirectional=bidirectional, batch_first=batch_first, bias=bias)
    cases = [(sequence(block),), (sequence(block)[0],), (sequence(block, packed=True),)]
    cases += [(sequence(block), states(block)), (sequence(block, packed=True), states(block))]
    wanted = [block.layer(*case) for case in cases]
    watch_(block)
    assert max(largest_difference(block(*case), one) for case, one in zip(cases, wanted, strict=True)) < 1e-6
    watch_(block, False)
    for slot in block.slots.values():
        slot.sets.append(new_dendrites(slot, 2, "relu"))
    assert block.is_open
    assert max(largest_difference(block(*case), one) for case, one in zip(cases, wanted, strict=True)) < 1e-6


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_a_projected_state_and_other_settings():
    block = opened(nn.LSTM, num_layers=2, proj_size=2, bidirectional=True)
    wanted = block.layer(sequence(block), states(block))
    watch_(block)
    assert largest_difference(block(sequence(block), states(block)), wanted) < 1e-6
    assert (block.proj_size, block.hidden_size, block.mode) == (2, HIDDEN, "LSTM")
    relu = opened(nn.RNN, nonlinearity="relu")
    wanted = relu.layer(sequence(relu))
    watch_(relu)
    assert largest_difference(relu(sequence(relu)), wanted) < 1e-6
    with pytest.raises(AttributeError, match="weight_ih_l0"):
        _ = block.weight_ih_l0  # without its further columns it would be a wrong answer


def lstm_step(gates, h, c, weight_hh):
    i, f, g, o = (gates + h @ weight_hh.T).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def gru_step(gates, h, weight_hh, bias_hh):
    (r, z, n), (hr, hz, hn) = gates.chunk(3, -1), (h @ weight_hh.T + bias_hh).chunk(3, -1)
    n = (n + (r + hr).sigmoid() * hn).tanh()
    z = (z + hz).sigmoid()
    return (1 - z) * n + z * h


def by_hand(layer, x, added, suffix="_l0"):
    """Outputs (t, b, hidden) of one direction; added (t, b, gates) is what dendrites give to the gates."""
    weight, weight_hh, bias, bias_hh = (
        getattr(layer, f"{name}{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h, c = x.new_zeros(x.shape[1], HIDDEN), x.new_zeros(x.shape[1], HIDDEN)
    outputs = [h] * len(x)
    for step in reversed(range(len(x))) if suffix.endswith("reverse") else range(len(x)):
        gates = x[step] @ weight.T + bias + added[step]
        if layer.mode == "LSTM":
            h, c = lstm_step(gates + bias_hh, h, c, weight_hh)
        else:
            h = gru_step(gates, h, weight_hh, bias_hh)
        outputs[step] = h
    return torch.stack(outputs)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_dendrites_reach_every_gate_beside_the_input(kind):
    block = give_dendrites_(opened(kind, bidirectional=True))
    x = sequence(block)
    one = block.l0.sets[0]
    added = (one.branches(x).tanh() @ one.soma.weight.T).chunk(2, -1)
    wanted = [by_hand(block.layer, x, part, f"_l0{end}") for part, end in zip(added, ("", "_reverse"), strict=True)]
    assert torch.allclose(block(x)[0], torch.cat(wanted, -1), atol=1e-6)
    assert not torch.allclose(block(x)[0], block.layer(x)[0], atol=1e-2)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("has_dendrites", [False, True])
def test_what_a_watched_slot_gets_back_is_the_gradient_of_the_gates(kind, has_dendrites):
    """Of both directions, for every step and sample, against autograd through the cells written out."""
    block = opened(kind, bidirectional=True)
    if has_dendrites:
        give_dendrites_(block)
    x, caught = sequence(block), []
    watch_(block)

    def hook(slot, args, output):
        output.retain_grad()
        caught.append(output)

    with torch.no_grad():
        added = block.l0(x, torch.zeros(*x.shape[:-1], block.l0.num_neurons))
    block.l0.register_forward_hook(hook)
    weights = torch.randn(STEPS, BATCH, 2 * HIDDEN, generator=torch.Generator().manual_seed(4))
    (block(x)[0] * weights).sum().backward()
    added.requires_grad_()
    parts = zip(added.chunk(2, -1), ("", "_reverse"), strict=True)
    outputs = torch.cat([by_hand(block.layer, x, part, f"_l0{end}") for part, end in parts], -1)
    (outputs * weights).sum().backward()
    assert torch.allclose(caught[0].grad, added.grad, atol=1e-6) and float(added.grad.abs().max()) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_all_weights_learn_the_dendrites_too(kind):
    block = give_dendrites_(opened(kind, num_layers=2, bidirectional=True, dropout=0.5)).train()
    x = sequence(block).requires_grad_()
    block(x)[0].square().sum().backward()
    assert bool(x.grad.any()) and all(bool(one.grad.any()) for one in block.parameters())
    assert not torch.equal(block(x)[0], block(x)[0])  # the dropout between layers is still there
    assert torch.equal(block.eval()(x)[0], block(x)[0])


def test_sequences_without_a_batch_and_packed_ones_give_what_each_alone_gives():
    block = give_dendrites_(opened(nn.LSTM, num_layers=2, bidirectional=True))
    x = sequence(block)
    alone = block(x[:, 1])
    assert torch.allclose(alone[0], block(x)[0][:, 1], atol=1e-6)
    assert torch.allclose(alone[1][1], block(x)[1][1][:, 1], atol=1e-6)
    packed, last = block(sequence(block, packed=True))
    assert isinstance(packed, PackedSequence)
    assert torch.allclose(last[0][:, 1], alone[1][0], atol=1e-6)
    assert torch.allclose(last[0][:, 0], block(x[:2, 0])[1][0], atol=1e-6)


def test_what_cannot_be_opened_and_plans_that_fit_no_block():
    class Own(nn.LSTM):
        pass

    assert "class is not torch's" in reason_against_opening(Own(3, 4))
    assert "neither recurrent nor attention" in reason_against_opening(nn.Linear(3, 4))
    assert "parametrised" in reason_against_opening(
        nn.utils.parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0")
    )
    hooked = nn.GRU(3, 4)
    hooked.register_forward_hook(lambda *args: None)
    assert "hooks" in reason_against_opening(hooked)
    for sizes in ([1, 1], [0], []):
        with pytest.raises(PruneError, match="the plan has dendrites for"):
            dendritic_block(nn.LSTM(3, 4), sizes, "relu")
    with pytest.raises(PruneError, match="the plan adds"):
        dendritic_block(nn.LSTM(3, 4), [10_000_000], "relu")

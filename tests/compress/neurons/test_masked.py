"""The reference that every cut is compared with, against networks whose silent units are written out by hand."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.coupling.find import find_coupling
from edge_dendrite.compress.neurons.masked import masked_outputs


def lively(module):
    """Biases, scales and statistics that a newborn does not have."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) - 0.3)
        for name, buffer in module.named_buffers():
            if name.endswith("running_var"):
                buffer.add_(1.0)
    return module.eval()


def alive_without(coupling, **gone):
    """(num_units,) for each group; gone: units by the tensor that makes them, with _ for a dot."""
    alive = [np.ones(group.num_units, bool) for group in coupling.groups]
    for tensor, units in gone.items():
        name = tensor.replace("_weight", ".weight")
        (number,) = [
            number
            for number, group in enumerate(coupling.groups)
            if any(one.tensor == name and one.dim == 0 for one in group.slices)
        ]
        alive[number][units] = False
    return alive


def seen(module, coupling, alive, x):
    (output,) = masked_outputs(module, coupling, alive, x)
    return output


class Plain(nn.Module):
    """Two convolutions with batch norm and an addition, a flatten, two linear layers."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.b, self.c = nn.Conv2d(6, 5, 3, padding=1), nn.Conv2d(2, 5, 1)
        self.d, self.e = nn.Linear(5 * 4, 7), nn.Linear(7, 3)

    def forward(self, x):
        h = self.b(self.norm(self.a(x)).relu()) + self.c(x)
        return self.e(self.d(functional.adaptive_avg_pool2d(h, 2).flatten(1)).tanh())


@torch.no_grad()
def test_weights_that_read_silent_units_are_zero():
    module, x = lively(Plain()), torch.randn(2, 2, 6, 6)
    coupling = find_coupling(module, x)
    alive = alive_without(coupling, a_weight=[1, 4], b_weight=[0, 3], d_weight=[2])
    wanted = copy.deepcopy(module)
    wanted.b.weight[:, [1, 4]] = 0.0
    wanted.d.weight.view(7, 5, 4)[:, [0, 3]] = 0.0
    wanted.e.weight[:, 2] = 0.0
    outputs = seen(module, coupling, alive, x)
    assert torch.allclose(outputs, wanted(x), atol=1e-6)
    assert float((outputs - module(x)).abs().max()) > 1e-2
    assert torch.equal(seen(module, coupling, [np.ones_like(one) for one in alive], x), module(x))


@torch.no_grad()
def test_a_weight_that_is_read_twice_is_silent_in_both_places():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.c(self.b(self.b(self.a(x)).relu()).relu())

    module, x = lively(Twice()), torch.randn(2, 4)
    coupling = find_coupling(module, x)
    assert len(coupling.groups) == 1
    wanted = copy.deepcopy(module)
    for layer in (wanted.b, wanted.c):
        layer.weight[:, [0, 5]] = 0.0
    alive = alive_without(coupling, a_weight=[0, 5])
    assert torch.allclose(seen(module, coupling, alive, x), wanted(x), atol=1e-6)


class Normed(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(4, 8), norm, nn.Linear(8, 3)

    def forward(self, x):
        return self.b(self.norm(self.a(x)).tanh())


GONE, STAY = [0, 3, 6], [1, 2, 4, 5, 7]


def layer_norm_by_hand(norm, h):
    mean = h.mean(-1, keepdim=True)
    variance = ((h - mean) ** 2).mean(-1, keepdim=True)
    return (h - mean) / (variance + norm.eps).sqrt() * norm.weight[STAY] + norm.bias[STAY]


def rms_norm_by_hand(norm, h):
    return h / ((h**2).mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight[STAY]


@pytest.mark.parametrize(
    ("norm", "by_hand"),
    [(nn.LayerNorm(8, eps=0.1), layer_norm_by_hand), (nn.RMSNorm(8, eps=0.1), rms_norm_by_hand)],
    ids=["layer", "rms"],
)
@torch.no_grad()
def test_a_norm_is_taken_over_the_units_that_stay(norm, by_hand):
    module, x = lively(Normed(norm)), torch.randn(2, 5, 4)
    coupling = find_coupling(module, x)
    alive = alive_without(coupling, a_weight=GONE)
    kept = functional.linear(x, module.a.weight[STAY], module.a.bias[STAY])
    wanted = functional.linear(by_hand(module.norm, kept).tanh(), module.b.weight[:, STAY], module.b.bias)
    assert torch.allclose(seen(module, coupling, alive, x), wanted, atol=1e-5)
    zeroed = copy.deepcopy(module)
    zeroed.b.weight[:, GONE] = 0.0
    assert float((zeroed(x) - wanted).abs().max()) > 1e-3, "zero weights alone would not do"


@torch.no_grad()
def test_a_norm_that_is_written_out():
    class Written(nn.Module):
        """RMSNorm as language models write it."""

        def __init__(self):
            super().__init__()
            self.a, self.b, self.scale = nn.Linear(4, 8), nn.Linear(8, 3), nn.Parameter(torch.ones(8))

        def forward(self, x):
            h = self.a(x)
            return self.b(h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 0.1) * self.scale)

    module, x = lively(Written()), torch.randn(2, 5, 4)
    coupling = find_coupling(module, x)
    h = functional.linear(x, module.a.weight[STAY], module.a.bias[STAY])
    h = h / (h.pow(2).mean(-1, keepdim=True) + 0.1).sqrt() * module.scale[STAY]
    wanted = functional.linear(h, module.b.weight[:, STAY], module.b.bias)
    assert torch.allclose(seen(module, coupling, alive_without(coupling, a_weight=GONE), x), wanted, atol=1e-5)


@torch.no_grad()
def test_a_group_norm_is_taken_over_the_channels_of_each_group_that_stay():
    class Grouped(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm, self.b = nn.Conv2d(2, 8, 3), nn.GroupNorm(2, 8, eps=0.1), nn.Conv2d(8, 3, 1)

        def forward(self, x):
            return self.b(self.norm(self.a(x)).relu()).mean((2, 3))

    module, x = lively(Grouped()), torch.randn(2, 2, 6, 6)
    coupling = find_coupling(module, x)
    (group,) = coupling.groups
    channels = next(one.indices for one in group.slices if one.tensor == "norm.weight")
    alive = [np.ones(group.num_units, bool)]
    alive[0][1] = False
    stay = sorted(channels[alive[0]].ravel().tolist())
    parts = [[one for one in stay if one // 4 == half] for half in (0, 1)]
    assert len(parts[0]) == len(parts[1]) == 3, "a group norm needs groups of one size"
    h, normed = module.a(x), []
    for part in parts:
        own = h[:, part]
        mean = own.mean((1, 2, 3), keepdim=True)
        variance = ((own - mean) ** 2).mean((1, 2, 3), keepdim=True)
        scale, shift = module.norm.weight[part].view(1, -1, 1, 1), module.norm.bias[part].view(1, -1, 1, 1)
        normed.append((own - mean) / (variance + 0.1).sqrt() * scale + shift)
    wanted = functional.conv2d(torch.cat(normed, 1).relu(), module.b.weight[:, stay], module.b.bias).mean((2, 3))
    assert torch.allclose(seen(module, coupling, alive, x), wanted, atol=1e-5)


@torch.no_grad()
def test_silent_heads_send_nothing():
    class Heads(nn.Module):
        """Two tokens' width of six, three heads of two."""

        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(6, 6) for _ in range(4))

        def forward(self, x):
            q, k, v = (one(x).unflatten(-1, (-1, 2)).transpose(1, 2) for one in (self.q, self.k, self.v))
            return self.o(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    module, x = lively(Heads()), torch.randn(2, 5, 6)
    coupling = find_coupling(module, x)
    (number,) = [number for number, group in enumerate(coupling.groups) if group.num_units == 3]
    alive = [np.ones(group.num_units, bool) for group in coupling.groups]
    alive[number][1] = False
    wanted = copy.deepcopy(module)
    wanted.o.weight[:, [2, 3]] = 0.0
    assert torch.allclose(seen(module, coupling, alive, x), wanted(x), atol=1e-5)


@torch.no_grad()
def test_several_outputs_and_inputs_by_keyword():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 2)

        def forward(self, x, scale):
            h = self.a(x).relu()
            return {"first": self.b(h) * scale, "second": (self.c(h), scale)}

    module = lively(Several())
    inputs = {"scale": torch.rand(2, 1), "x": torch.randn(2, 4)}
    coupling = find_coupling(module, inputs)
    outputs = masked_outputs(module, coupling, alive_without(coupling, a_weight=[0]), inputs)
    wanted = copy.deepcopy(module)
    wanted.b.weight[:, 0] = 0.0
    wanted.c.weight[:, 0] = 0.0
    told = wanted(**inputs)
    for one, other in zip(outputs, (told["first"], *told["second"]), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_the_module_is_not_touched():
    module, x = lively(Plain()), torch.randn(2, 2, 6, 6)
    module.norm.train()  # of mixed modes, half of it frozen, in the middle of a training
    module.c.requires_grad_(False)
    module(x).sum().backward()
    coupling = find_coupling(module, x)
    alive = alive_without(coupling, a_weight=[1, 4], d_weight=[2])
    tensors = dict([*module.named_parameters(), *module.named_buffers()])
    before = {name: (id(one), one.clone(), one._version, one.requires_grad) for name, one in tensors.items()}
    gradients = {name: (id(one.grad), None if one.grad is None else one.grad.clone()) for name, one in tensors.items()}
    modes = {name: part.training for name, part in module.named_modules()}
    attributes = {name: sorted(vars(part)) for name, part in module.named_modules()}
    given = x.clone()
    outputs = masked_outputs(module, coupling, alive, x)
    assert not any(one.requires_grad for one in outputs)
    assert torch.equal(x, given)
    for name, one in {**dict(module.named_parameters()), **dict(module.named_buffers())}.items():
        identity, value, version, required = before[name]
        assert (id(one), one._version, one.requires_grad) == (identity, version, required), name
        assert torch.equal(one, value)
        assert id(one.grad) == gradients[name][0]
        assert one.grad is None or torch.equal(one.grad, gradients[name][1])
    assert modes == {name: part.training for name, part in module.named_modules()}
    assert attributes == {name: sorted(vars(part)) for name, part in module.named_modules()}

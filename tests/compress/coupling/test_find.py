"""Coupling by tracked dimensions: what belongs together is found whatever the modules are called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.coupling.find import find_coupling
from edge_dendrite.errors import PruneError
from edge_dendrite.models.convnets import MnistCNN, ResNet8


def tensors_of(coupling, name):
    group = next(one for one in coupling.groups if one.name == name)
    return {(one.tensor, one.dim): one.indices for one in group.slices}


def test_flatten_gives_every_channel_its_columns():
    coupling = find_coupling(MnistCNN(), (torch.zeros(2, 1, 28, 28),))
    slices = tensors_of(coupling, "conv2")
    assert set(slices) == {("conv2.weight", 0), ("conv2.bias", 0), ("fc1.weight", 1)}
    # Channel c of 5x5 maps occupies the columns 25 c to 25 c + 24.
    assert np.array_equal(slices["fc1.weight", 1], np.arange(1100).reshape(44, 25))
    assert coupling.kept == {"fc2": "an output of the network"}


def test_additions_join_the_layers_of_a_residual_stream():
    coupling = find_coupling(ResNet8(), (torch.zeros(2, 3, 32, 32),))
    stream = tensors_of(coupling, "conv + blocks.0.conv2")
    assert ("blocks.1.shortcut.weight", 1) in stream
    assert ("blocks.0.bn2.running_var", 0) in stream
    assert ("blocks.0.conv1.weight", 0) not in stream
    assert len(coupling.groups) == 6


class Functional(nn.Module):
    """The same arithmetic as MnistCNN's head with parameters of its own and other names, without layer modules."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(6, 1, 3, 3))
        self.shift = nn.Parameter(torch.randn(6))
        self.matrix = nn.Parameter(torch.randn(6 * 9, 5))
        self.last = nn.Parameter(torch.randn(2, 5))

    def forward(self, anything):
        h = functional.relu(functional.conv2d(anything, self.kernel, self.shift))
        return functional.linear(torch.tanh(h.reshape(h.shape[0], -1) @ self.matrix), self.last)


def test_functional_calls_couple_like_modules():
    coupling = find_coupling(Functional(), (torch.zeros(2, 1, 5, 5),))
    assert set(tensors_of(coupling, "kernel")) == {("kernel", 0), ("shift", 0), ("matrix", 0)}
    assert np.array_equal(tensors_of(coupling, "kernel")["matrix", 0], np.arange(54).reshape(6, 9))
    assert set(tensors_of(coupling, "matrix")) == {("matrix", 1), ("last", 1)}


def test_concatenated_branches_keep_their_own_columns():
    class Cat(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Linear(4, 3), nn.Linear(4, 2), nn.Linear(5, 2)

        def forward(self, x):
            return self.out(torch.cat([self.a(x), self.b(x)], dim=1))

    coupling = find_coupling(Cat(), (torch.zeros(2, 4),))
    assert tensors_of(coupling, "a")["out.weight", 1].ravel().tolist() == [0, 1, 2]
    assert tensors_of(coupling, "b")["out.weight", 1].ravel().tolist() == [3, 4]


def test_a_module_used_twice_and_tied_weights():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.again, self.out = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
            self.alias = self.again

        def forward(self, x):
            return self.out(self.again(self.alias(self.first(x)).relu()).relu())

    coupling = find_coupling(Twice(), (torch.zeros(2, 4),))
    # What goes in comes out again: one group over both dimensions of the shared matrix.
    slices = tensors_of(coupling, "first + again")
    assert {("again.weight", 0), ("again.weight", 1), ("first.weight", 0), ("out.weight", 1)} <= set(slices)


class Refusing(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)
        self._act = act

    def forward(self, x):
        return self.b(self._act(self.a(x)))


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda h: h.cumsum(1), "cumsum: goes along units in their order"),
        (lambda h: functional.layer_norm(h, (6,)), "layer_norm: the size 6 is a number in the code"),
        (lambda h: h.softmax(-1), "softmax: normalises over units"),
        (lambda h: h.view(-1, 6), "view: the size 6 is a number in the code"),
        (lambda h: h.view(-1, 2, 3).flatten(1), "view: is split into [2, 3], numbers in the code"),
        (lambda h: h.argmax(1, keepdim=True) * h, "argmax: this operator is not understood"),
        (lambda h: torch.sort(h, dim=1).values, "sort: goes along units in their order"),
        (lambda h: h + torch.ones(6), "joins a dimension that must stay"),
    ],
)
def test_what_is_not_understood_stays_and_is_named(act, reason):
    coupling = find_coupling(Refusing(act), (torch.zeros(2, 4),))
    assert coupling.groups == ()
    assert reason in coupling.kept["a"]


def test_units_under_a_mean_are_marked():
    (group,) = find_coupling(Refusing(lambda h: h - h.mean(1, keepdim=True)), (torch.zeros(2, 4),)).groups
    assert group.normalised


def test_grouped_convolution_loses_a_position_of_every_group_and_depthwise_follows():
    class Grouped(nn.Module):
        def __init__(self, groups):
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=groups)
            self.c = nn.Conv2d(8, 2, 1)

        def forward(self, x):
            return self.c(self.b(self.a(x))).mean((2, 3))

    image = (torch.zeros(2, 1, 6, 6),)
    into, out = (tensors_of(find_coupling(Grouped(2), image), name) for name in ("a", "b"))
    # Channels j and j + 4 are read by position j of both groups' weights.
    assert into["a.weight", 0].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert into["b.weight", 1].tolist() == [[0], [1], [2], [3]]
    assert out["b.weight", 0].tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert ("b.weight", 0) in tensors_of(find_coupling(Grouped(8), image), "a")


def test_data_dependent_control_flow_is_refused_in_one_line():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(PruneError, match="cannot be traced by torch.export") as caught:
        find_coupling(Branching(), (torch.zeros(2, 4),))
    assert "\n" not in str(caught.value)


def test_the_mode_of_the_network_is_put_back():
    module = MnistCNN().train()
    find_coupling(module, (torch.zeros(2, 1, 28, 28),))
    assert module.training


class Computed(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)
        self.down, self.up = nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(3, 6))
        self._weight = weight

    def forward(self, x):
        return functional.linear(self.a(x), self._weight(self))


@pytest.mark.parametrize(
    "weight",
    [lambda m: m.b.weight + m.down @ m.up, lambda m: functional.softplus(m.b.weight), lambda m: m.b.weight * 2.0],
    ids=["low rank added", "softplus", "scaled"],
)
def test_a_weight_that_is_computed_cannot_be_masked_and_stays(weight):
    coupling = find_coupling(Computed(weight), (torch.zeros(2, 4),))
    assert not any(one.tensor == "a.weight" for group in coupling.groups for one in group.slices)
    assert "a" in coupling.kept


def test_tied_weights_that_go_in_and_come_out_are_one_group():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(6, 4))

        def forward(self, x):
            return torch.relu(x @ self.matrix.t()) @ self.matrix

    coupling = find_coupling(Tied(), (torch.zeros(2, 4),))
    assert list(tensors_of(coupling, "matrix")) == [("matrix", 0)]


def test_units_that_a_buffer_reads_stay():
    class Buffered(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(4, 6)
            self.register_buffer("reader", torch.randn(2, 6))

        def forward(self, x):
            return functional.linear(self.a(x), self.reader)

    assert "reader: a buffer reads these units" in find_coupling(Buffered(), (torch.zeros(2, 4),)).kept["a"]

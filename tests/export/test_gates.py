"""Gated networks in real ONNX Runtime: both ways, and only the work of one."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ExportError
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.export.gates import inputs_of_every_path
from edge_dendrite.export.onnx import check_parity, export_onnx


class Net(nn.Module):
    """Two gated blocks: one is skipped by the identity, one by a strided convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        same = nn.Sequential(nn.Conv2d(4, 9, 3, padding=1), nn.ReLU(), nn.Conv2d(9, 4, 1))
        self.one = gated_block(same, 4, 4, 1, 2, 0, 4)
        self.two = gated_block(nn.Sequential(nn.Conv2d(4, 7, 3, stride=2, padding=1), nn.ReLU()), 4, 7, 2, 2, 0, 4)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.two(self.one(self.stem(x).relu())).mean((2, 3)))


@pytest.fixture
def network():
    """Gates that open for about half of the inputs, each for others."""
    torch.manual_seed(0)
    made = Net().eval()
    x = inputs()
    with torch.no_grad():
        for block in (made.one, made.two):
            nn.init.normal_(block.gate.decide.weight, std=4.0)
            nn.init.zeros_(block.gate.bias)
            if not isinstance(block.bypass, nn.Identity):
                nn.init.normal_(block.bypass.weight, std=0.5)
        h = made.stem(x).relu()
        for block in (made.one, made.two):
            logits = block.gate(h).sort().values
            widest = int(logits[16:48].diff().argmax()) + 16
            block.gate.bias -= logits[widest : widest + 2].mean()
            h = block(h)
    return made


def inputs():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(64, 2, 8, 8, generator=generator) * torch.linspace(0.2, 3.0, 64).view(-1, 1, 1, 1)


def ways(network, x):
    with torch.no_grad():
        h = network.stem(x).relu()
        first = network.one.gate(h) > 0
        return first, network.two.gate(network.one(h)) > 0


@pytest.mark.parametrize("opset", [13, 15, 17, 18, 23])
def test_every_way_has_the_values_of_pytorch(network, opset):
    exported = export_onnx(network, (2, 8, 8), opset)
    assert exported.opset == opset
    first, second = ways(network, inputs())
    assert {bool(one) for one in first} == {True, False} == {bool(one) for one in second}
    check_parity(exported, network, inputs(), 1e-5, 1e-5)


@pytest.mark.parametrize("opset", [13, 18])
def test_weights_lie_where_they_are_needed(network, opset):
    with torch.no_grad():
        for one in (network.two.block[0], network.two.bypass):
            one.bias.fill_(0.25)  # exporters write equal weights once
    model = onnx.load_model_from_string(export_onnx(network, (2, 8, 8), opset).content)
    nodes = [node for node in model.graph.node if node.op_type == "If"]
    assert len(nodes) == 2
    kernels = {tuple(one.dims) for one in model.graph.initializer if len(one.dims) == 4}
    assert kernels == {(4, 2, 3, 3)}  # the stem's alone
    inside = [
        {tuple(one.dims) for one in attribute.g.initializer if len(one.dims) in (1, 4)}
        for node in nodes
        for attribute in node.attribute
    ]
    two = [[(7,), (7, 4, 1, 1)], [(7,), (7, 4, 3, 3)]]
    assert sorted(map(sorted, inside)) == [[], [(4,), (4, 9, 1, 1), (9,), (9, 4, 3, 3)], *two]
    assert not [node for node in model.graph.node if node.op_type == "Identity"]


@pytest.mark.parametrize("opset", [17, 18])
def test_a_closed_gate_skips_the_work(network, opset, tmp_path):
    """What ONNX Runtime says it ran, input by input."""
    content = export_onnx(network, (2, 8, 8), opset).content
    first, second = ways(network, inputs())
    chosen = {(bool(a), bool(b)): number for number, (a, b) in enumerate(zip(first, second, strict=True))}
    for (one, two), number in chosen.items():
        options = onnxruntime.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / f"{one}-{two}")
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        session.run(None, {"input": inputs()[number : number + 1].numpy()})
        with open(session.end_profiling()) as stream:
            events = json.load(stream)
        convolutions = [
            event
            for event in events
            if event.get("args", {}).get("op_name") == "Conv" and "kernel_time" in event["name"]
        ]
        assert len(convolutions) == 1 + (2 if one else 0) + 1  # the stem, the first block's two, one of either way


def test_inputs_of_every_path_are_few_and_decided(network):
    chosen = inputs_of_every_path(network, inputs())
    first, second = ways(network, inputs()[chosen])
    assert len(chosen) <= 4
    assert {bool(one) for one in first} == {True, False} == {bool(one) for one in second}


def test_a_gate_that_decides_nothing_is_refused_by_name(network):
    with torch.no_grad():
        network.two.gate.bias.fill_(1e6)
    with pytest.raises(ExportError, match="gate 'two' is open for all of 64 inputs"):
        inputs_of_every_path(network, inputs())


def test_a_bundle_has_reference_inputs_of_every_path(network, tmp_path):
    x = inputs()
    data = DataSet.from_tensors(
        "x", train=(x, torch.arange(64) % 3), test=(x, torch.arange(64) % 3), validation=(x, torch.arange(64) % 3)
    )
    model = CompressedModel(network, "gated", "mine", "compressed", (2, 8, 8))
    bundle = export_bundle(model, tmp_path / "gated", ExportConfig(opset=13), data=data)
    cases = bundle.manifest["reference"]["cases"]
    seen = [torch.from_numpy(np.fromfile(bundle.path / case["inputs"][0], "<f4").reshape(1, 2, 8, 8)) for case in cases]
    first, second = ways(network, torch.cat(seen))
    assert {bool(one) for one in first} == {True, False} == {bool(one) for one in second}


@pytest.mark.parametrize("opset", [13, 18])
def test_a_gate_inside_of_a_gate_is_refused(network, opset):
    network.one.block = nn.Sequential(gated_block(nn.Conv2d(4, 4, 1), 4, 4, 1, 2, 0, 4))
    with pytest.raises(ExportError, match=r"'one\.block\.0' is inside of 'one'"):
        export_onnx(network, (2, 8, 8), opset)


@pytest.mark.parametrize("opset", [13, 18])
def test_a_block_with_two_names_keeps_its_gate(network, opset):
    class Alias(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.entry = network, network.one

        def forward(self, x):
            net = self.inner
            return net.head(net.two(self.entry(net.stem(x).relu())).mean((2, 3)))

    alias = Alias().eval()
    check_parity(export_onnx(alias, (2, 8, 8), opset), alias, inputs(), 1e-5, 1e-5)


@pytest.mark.parametrize("opset", [13, 18])
def test_a_block_that_is_called_twice_decides_twice(network, opset):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            h = self.inner.one(self.inner.stem(x).relu())
            return self.inner.one(h.flip(1) * 2.0).mean((2, 3))

    twice = Twice().eval()
    network.two = nn.Identity()
    exported = export_onnx(twice, (2, 8, 8), opset)
    check_parity(exported, twice, inputs(), 1e-5, 1e-5)
    decisions = [one.op_type for one in onnx.load_model_from_string(exported.content).graph.node]
    assert decisions.count("If") == 2


def test_a_block_of_inputs_of_two_shapes_is_refused(network):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = network.one

        def forward(self, x):
            h = x.repeat(1, 2, 1, 1)
            return self.one(h).mean((2, 3)) + self.one(h[..., ::2]).mean((2, 3))

    with pytest.raises(ExportError, match="'one' is given inputs of several shapes"):
        export_onnx(Twice().eval(), (2, 8, 8), 13)


@pytest.mark.parametrize("opset", [13, 18])
def test_a_block_that_gives_its_input_back_keeps_its_gate(network, opset):
    network.one.block = nn.Identity()
    network.one.bypass = nn.Conv2d(4, 4, 1)
    check_parity(export_onnx(network, (2, 8, 8), opset), network, inputs(), 1e-5, 1e-5)


@pytest.mark.parametrize("opset", [13, 18])
def test_a_decision_of_the_users_own_is_refused_with_gates_too(network, opset):
    class Decides(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            return self.inner(x) if x.mean() > 0 else self.inner(x) * 2

    with pytest.raises(ExportError, match="decides by the values"):
        export_onnx(Decides().eval(), (2, 8, 8), opset)


def test_a_block_of_parts_of_an_input_is_refused(network):
    class Windows(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = network.one

        def forward(self, x):
            return self.one(x.repeat(4, 2, 1, 1)).sum((0, 2, 3))[None]

    with pytest.raises(ExportError, match="'one' is given 4 parts of one input"):
        export_onnx(Windows().eval(), (2, 8, 8), 13)


def test_a_bundle_without_data_is_refused(network, tmp_path):
    model = CompressedModel(network, "gated", "mine", "compressed", (2, 8, 8))
    with pytest.raises(ExportError, match="needs data"):
        export_bundle(model, tmp_path / "gated", ExportConfig(opset=13))

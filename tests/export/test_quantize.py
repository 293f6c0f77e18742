"""int8 files in real ONNX Runtime: symmetric, per channel, the same opset, and close to what they were made from."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from zoo import NETWORKS

from edge_dendrite.boards import load_board
from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.config import PrecisionConfig
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.half import to_half
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.quantize import Quantizer
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.export.targets import check_target

INT8 = PrecisionConfig(precision="int8")
PAIR = ("QuantizeLinear", "DequantizeLinear")


@pytest.fixture(scope="module")
def inputs(digits):
    return digits.prepare(digits.train.inputs[:128]).numpy()


@pytest.fixture(scope="module")
def fp32_13(trained):
    return export_onnx(trained, (1, 8, 8), 13)


def accuracy(model, digits):
    x = digits.prepare(digits.validation.inputs).numpy()
    return float((run_onnx(open_session(model.content), x).argmax(1) == digits.validation.targets.numpy()).mean())


def nodes(graph):
    for node in graph.node:
        yield graph, node
        for one in node.attribute:
            if one.type == onnx.AttributeProto.GRAPH:
                yield from nodes(one.g)


def assert_symmetric_per_channel(content):
    """Every pair is s8 with zero point 0; weights of layers are s8 with a scale for each channel; biases are floats."""
    num_weights = 0
    for graph, node in nodes(onnx.load_model_from_string(content).graph):
        values = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        if node.op_type in PAIR:
            zero = values[node.input[2]]
            assert zero.dtype == np.int8 and not zero.any()
            if node.input[0] in values:
                num_weights += 1
                assert values[node.input[0]].dtype == np.int8
                assert values[node.input[1]].ndim == 1
        if node.op_type in ("Conv", "Gemm") and len(node.input) > 2:
            assert values[node.input[2]].dtype == np.float32
    assert num_weights > 0


@pytest.mark.parametrize(
    ("opset", "calibration"), [(13, "minmax"), (13, "entropy"), (17, "percentile"), (18, "minmax")]
)
def test_int8_is_symmetric_per_channel_and_keeps_opset_and_ir(trained, inputs, digits, opset, calibration):
    fp32 = export_onnx(trained, (1, 8, 8), opset)
    made = Quantizer(fp32, inputs, PrecisionConfig(precision="int8", calibration=calibration)).quantize()
    assert (made.model.opset, made.model.ir_version) == (fp32.opset, fp32.ir_version)
    assert made.model.precision == "int8"
    assert_symmetric_per_channel(made.model.content)
    assert len(made.model.content) < 0.6 * len(fp32.content)
    assert abs(accuracy(made.model, digits) - accuracy(fp32, digits)) <= 2 / 144
    assert made.quantized["Conv"] >= 2 and made.quantized["Gemm"] >= 1


def test_nothing_is_left_in_the_folder_of_temporary_files(fp32_13, inputs, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Quantizer(fp32_13, inputs, PrecisionConfig(precision="int8", calibration="entropy")).quantize()
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr().out == ""


def test_layers_by_name_or_expression_stay_in_float(fp32_13, inputs):
    quantizer = Quantizer(fp32_13, inputs, INT8)
    convs = [one for one in quantizer.layers if "conv" in one.lower()]
    kept = quantizer.named([".*[Cc]onv.*"])
    assert set(convs) <= set(kept)
    made = quantizer.quantize(kept)
    assert made.left["Conv"] == len(convs)
    with pytest.raises(ConfigError, match="no layer that can be quantized; these can"):
        quantizer.named(["no-such-layer"])


def test_pairs_of_weights_give_the_same_outputs(fp32_13, inputs):
    plain = Quantizer(fp32_13, inputs, INT8).quantize().model
    pairs = Quantizer(fp32_13, inputs, PrecisionConfig(precision="int8", weight_pairs=True)).quantize().model
    assert len(pairs.content) > len(fp32_13.content)
    seen = [run_onnx(open_session(one.content), inputs[:32]) for one in (plain, pairs)]
    assert np.allclose(*seen, atol=1e-5)


class Residual(nn.Module):
    """A value that three layers read."""

    def __init__(self):
        super().__init__()
        self.stem, self.a, self.b = (nn.Conv2d(n, 16, 3, padding=1) for n in (3, 16, 16))
        self.side, self.head = nn.Conv2d(16, 16, 1), nn.Linear(16, 5)

    def forward(self, x):
        h = self.stem(x).relu()
        h = (self.b(self.a(h).relu()) + self.side(h)).relu()
        return self.head(h.mean((2, 3)))


def test_onnx_runtime_computes_all_layers_of_a_residual_network_as_integers(tmp_path):
    """Where one value is quantized for several readers, ONNX Runtime on x86 fell back to float for what follows."""
    import onnxruntime

    torch.manual_seed(0)
    fp32 = export_onnx(Residual().eval(), (3, 12, 12), 17)
    x = np.random.default_rng(0).standard_normal((32, 3, 12, 12)).astype(np.float32)
    made = Quantizer(fp32, x, INT8).quantize()
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(made.model.content, options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kinds["QLinearConv"] == 4 and kinds["Conv"] + kinds["FusedConv"] == 0
    wanted = run_onnx(open_session(fp32.content), x)
    assert np.abs(run_onnx(open_session(made.model.content), x) - wanted).max() < 0.1 * np.ptp(wanted)


@pytest.mark.parametrize(
    ("name", "stays"),
    [("GRU", "GRU"), ("LSTM", "LSTM"), ("chunked qkv attention", "Softmax"), ("einsum attention", "Softmax")],
)
@pytest.mark.parametrize("calibration", ["minmax", "percentile"])
def test_what_cannot_be_int8_stays_in_float_and_is_named(name, stays, calibration):
    network = NETWORKS[name]
    x = network.sample(48)
    assert isinstance(x, tuple) and len(x) == 1 and x[0].is_floating_point()
    fp32 = export_onnx(network.build(), tuple(x[0].shape[1:]), 17)
    config = PrecisionConfig(precision="int8", calibration=calibration)
    made = Quantizer(fp32, x[0].numpy(), config).quantize()
    assert made.left[stays] >= 1
    assert sum(made.quantized.values()) >= 1
    assert_symmetric_per_channel(made.model.content)
    wanted, seen = (run_onnx(open_session(one.content), x[0].numpy()) for one in (fp32, made.model))
    assert np.isfinite(seen).all()
    assert np.sqrt(np.mean((seen - wanted) ** 2)) < 0.25 * wanted.std()


class GatedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        block = nn.Sequential(nn.Conv2d(4, 9, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(9, 7, 1))
        self.block = gated_block(block, 4, 7, 2, 2, 0, 4)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.block(self.stem(x).relu()).mean((2, 3)))


@pytest.fixture(scope="module")
def gated():
    """A gate that opens for half of the inputs, well decided."""
    torch.manual_seed(0)
    module = GatedNet().eval()
    x = torch.randn(64, 2, 8, 8) * torch.linspace(0.3, 3, 64).view(-1, 1, 1, 1)
    with torch.no_grad():
        nn.init.normal_(module.block.gate.decide.weight, std=4.0)
        nn.init.normal_(module.block.bypass.weight, std=0.5)
        logits = module.block.gate(module.stem(x).relu())
        module.block.gate.bias -= logits.median()
    return module, x


@pytest.mark.parametrize("opset", [13, 18])
def test_both_ways_of_a_gate_are_quantized_and_the_gate_decides_in_float(gated, opset):
    module, x = gated
    fp32 = export_onnx(module, (2, 8, 8), opset)
    made = Quantizer(fp32, x.numpy(), INT8).quantize()
    assert_symmetric_per_channel(made.model.content)
    graph = onnx.load_model_from_string(made.model.content).graph
    choice = next(node for node in graph.node if node.op_type == "If")
    for way in choice.attribute:
        assert any(node.op_type == "QuantizeLinear" for node in way.g.node), way.name
    wanted, seen = (run_onnx(open_session(one.content), x.numpy()) for one in (fp32, made.model))
    # The gate sees what the quantized stem makes: inputs at its edge may go the other way, no others.
    near = np.sqrt(((seen - wanted) ** 2).mean(1)) < 0.25 * wanted.std()
    assert near.mean() > 0.9


@pytest.mark.parametrize("opset", [13, 18])
def test_a_board_with_int8_takes_a_gated_network_in_it(gated, opset):
    """The zero points of what is inside of the ways lie there too."""
    module, x = gated
    quantizer = Quantizer(export_onnx(module, (2, 8, 8), opset), x.numpy(), INT8)
    outside = [name for name in quantizer.layers if not name.startswith(("/block", "node_cond", "If"))]
    for kept in ((), tuple(outside)):  # all layers, and those of the ways alone
        made = quantizer.quantize(kept)
        assert made.model.precision == "int8"
        assert check_target(made.model.content, load_board("jetson-agx-orin")) == ()


def test_a_way_that_no_sample_takes_stays_in_float(gated):
    module, x = gated
    fp32 = export_onnx(module, (2, 8, 8), 17)
    with torch.no_grad():
        is_open = module.block.gate(module.stem(x).relu()) > 0
    made = Quantizer(fp32, x[is_open].numpy(), INT8).quantize()
    choice = next(n for n in onnx.load_model_from_string(made.model.content).graph.node if n.op_type == "If")
    pairs = {one.name: sum(n.op_type == "QuantizeLinear" for n in one.g.node) for one in choice.attribute}
    assert pairs["then_branch"] > 0 and pairs["else_branch"] == 0


def test_samples_that_tell_nothing_are_refused(fp32_13, inputs):
    broken = inputs.copy()
    broken[5, 0, 0, 0] = np.nan
    for samples, words in (
        (broken, "1 of 128 samples to calibrate on have NaN or infinite values, the first is sample 5"),
        (inputs[:7], "7 samples are too few"),
        (inputs[:, :, :4], "the network takes"),
    ):
        with pytest.raises(ExportError, match=words):
            Quantizer(fp32_13, samples, INT8)


@pytest.mark.parametrize("calibration", ["minmax", "entropy", "percentile"])
def test_values_that_never_change_are_handled(calibration):
    """A layer that always gives 0, and an input that is always 0."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()
    with torch.no_grad():
        module[0].bias.fill_(-100.0)
        module[0].weight[2] = 0.0
    fp32 = export_onnx(module, (1, 8, 8), 17)
    config = PrecisionConfig(precision="int8", calibration=calibration)
    for x in (np.zeros((16, 1, 8, 8), np.float32), np.random.default_rng(0).random((16, 1, 8, 8), np.float32)):
        made = Quantizer(fp32, x, config).quantize()
        assert made.constant
        seen, wanted = (run_onnx(open_session(one.content), x) for one in (made.model, fp32))
        assert np.allclose(seen, wanted, atol=1e-2)


def test_networks_that_were_quantized_or_cast_already_are_refused(fp32_13, inputs):
    int8, fp16 = Quantizer(fp32_13, inputs, INT8).quantize().model, to_half(fp32_13)
    for model, name in ((int8, "int8"), (fp16, "fp16")):
        with pytest.raises(ExportError, match=f"is {name} already"):
            Quantizer(model, inputs, INT8)
        with pytest.raises(ExportError, match=f"is {name} already"):
            to_half(model)


def test_a_network_of_which_nothing_can_be_int8_is_refused():
    fp32 = export_onnx(nn.Sequential(nn.Flatten(), nn.Softmax(1)), (2, 2), 17)
    with pytest.raises(ExportError, match="nothing in this network can be quantized .it has .*Softmax"):
        Quantizer(fp32, np.ones((16, 2, 2), np.float32), INT8)


def test_values_that_are_not_finite_are_named():
    class Logarithm(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            return self.layer(x.log())

    fp32 = export_onnx(Logarithm().eval(), (4,), 17)
    with pytest.raises(ExportError, match="not finite on the samples"):
        Quantizer(fp32, np.zeros((16, 4), np.float32), INT8)


def test_opsets_without_scales_per_channel_are_refused(fp32_13, inputs):
    old = replace(fp32_13, opset=12)
    with pytest.raises(ExportError, match="scales per channel need 13"):
        Quantizer(old, inputs, INT8)

"""Attention, which the TorchScript exporter knows at some opsets and in some places only."""

from __future__ import annotations

import io
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.layers.attention import replace_attention_
from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import check_parity, export_onnx


class OfSelf(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x):
        return x + self.attention(x, x, x, need_weights=self.need_weights)[0]


class Scaled(nn.Module):
    """Attention as a function, with whatever it is given."""

    def __init__(self, **settings):
        super().__init__()
        self.project, self.settings = nn.Linear(8, 24), settings

    def forward(self, x):
        q, k, v = self.project(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return x + functional.scaled_dot_product_attention(q, k, v, **self.settings).transpose(1, 2).flatten(2)


def layer():
    return nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)


BLOCKS = {
    "module": lambda: OfSelf(False),
    "module, with weights": lambda: OfSelf(True),
    "replaced": lambda: replace_attention_(OfSelf(False)),
    "function": lambda: Scaled(),
    "causal": lambda: Scaled(is_causal=True),
    "encoder's layer": layer,
    "encoder": lambda: nn.TransformerEncoder(layer(), 2),
}


class Net(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.stem, self.one, self.head = nn.Linear(6, 8), gated_block(block, 8, 8, 1, 1, 1, 4), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.one(self.stem(x)).mean(1))


def inputs():
    return 3.0 * torch.randn(20, 5, 6, generator=torch.Generator().manual_seed(1))


def network(name):
    """A gate that is open for half of the inputs, around a block whose values matter."""
    torch.manual_seed(0)
    made = Net(BLOCKS[name]()).eval()
    with torch.no_grad():
        for weight in made.one.parameters():
            nn.init.normal_(weight, std=0.5)
        logits = made.one.gate(made.stem(inputs()))
        made.one.gate.bias -= logits.median() + 1e-3
        assert {bool(one) for one in made.one.gate(made.stem(inputs())) > 0} == {True, False}
    return made


@pytest.mark.parametrize("opset", [13, 14, 17, 18, 23])
@pytest.mark.parametrize("name", BLOCKS)
def test_attention_in_a_gated_block(name, opset):
    made = network(name)
    check_parity(export_onnx(made, (5, 6), opset), made, inputs(), 1e-5, 1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"is_causal": True},
        {"scale": 0.3},
        {"attn_mask": torch.randn(5, 5, generator=torch.Generator().manual_seed(0))},
        {"attn_mask": torch.arange(25).view(5, 5) % 3 > 0},
    ],
    ids=["causal", "scale", "numbers", "truths"],
)
def test_attention_at_13_is_that_of_pytorch(settings):
    torch.manual_seed(0)
    made = Scaled(**settings).eval()
    x = torch.randn(4, 5, 8)
    with torch.no_grad():
        assert not torch.allclose(made(x), Scaled.forward(_without_settings(made), x), atol=1e-3)
    check_parity(export_onnx(made, (5, 8), 13), made, x, 1e-5, 1e-5)


@pytest.mark.parametrize("settings", [{}, {"scale": 0.3}], ids=["plain", "scale"])
def test_attention_at_13_with_a_dynamic_batch_is_that_of_pytorch(settings):
    torch.manual_seed(0)
    made = Scaled(**settings).eval()
    check_parity(export_onnx(made, (5, 8), 13, dynamic_batch=True), made, torch.randn(4, 5, 8), 1e-5, 1e-5)


def test_causal_attention_at_13_with_a_dynamic_batch_is_refused_in_words_or_right():
    made = Scaled(is_causal=True).eval()
    try:
        exported = export_onnx(made, (5, 8), 13, dynamic_batch=True)
    except ExportError as error:
        assert "causal attention with a dynamic batch" in str(error)
    else:
        check_parity(exported, made, torch.randn(4, 5, 8), 1e-5, 1e-5)


def test_default_arguments_of_a_forward_are_no_tensors():
    torch.manual_seed(0)
    made = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()  # is_causal=False, among others
    check_parity(export_onnx(made, (5, 8), 13), made, torch.randn(3, 5, 8), 1e-5, 1e-5)


def _without_settings(made):
    plain = Scaled()
    plain.load_state_dict(made.state_dict())
    return plain.eval()


def test_heads_that_share_keys_are_refused_at_13():
    class Shared(nn.Module):
        def forward(self, x):
            q, k = x.unflatten(-1, (4, 2)).transpose(1, 2), x[..., :4].unflatten(-1, (2, 2)).transpose(1, 2)
            return functional.scaled_dot_product_attention(q, k, k, enable_gqa=True)

    with pytest.raises(ExportError, match="heads share keys cannot be exported at opset 13"):
        export_onnx(Shared(), (5, 8), 13)


def test_what_the_export_sets_is_as_it_was():
    made = network("encoder's layer")
    for allowed in (True, False):
        torch.backends.mha.set_fastpath_enabled(allowed)
        try:
            export_onnx(made, (5, 6), 13)
            assert torch.backends.mha.get_fastpath_enabled() is allowed
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
    with warnings.catch_warnings(), pytest.raises(torch.onnx.errors.UnsupportedOperatorError):
        warnings.simplefilter("ignore")
        torch.onnx.export(Scaled().eval(), (torch.zeros(1, 5, 8),), io.BytesIO(), dynamo=False, opset_version=13)

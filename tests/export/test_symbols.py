"""Operators that the TorchScript exporter cannot write by itself, against PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.onnx._internal.torchscript_exporter.registration import registry

from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import check_parity, export_onnx


class Difference(nn.Module):
    def forward(self, x):
        return torch.diff(x, dim=1, prepend=x[:, :1]), torch.diff(x, n=2, dim=1), torch.diff(x, dim=-1)


class Counted(nn.Module):
    """Sums of truth values, of whole numbers and of others."""

    def forward(self, x):
        counted = torch.cumsum(x > 0, dim=1)
        return counted.float() + torch.cumsum(x, dim=2) + torch.cumsum(x.round().int(), 1, dtype=torch.float32)


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.own, self.plain = nn.RMSNorm(3, eps=0.1), nn.RMSNorm((4, 3), elementwise_affine=False)
        nn.init.uniform_(self.own.weight, 0.5, 1.5)

    def forward(self, x):
        return self.own(x) + self.plain(x)


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 5))

    def forward(self, x):
        return self.layer(x)


def sample(count):
    return torch.randn(count, 4, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("kind", [Difference, Counted, Norms, Spectral])
def test_values_are_those_of_pytorch(kind, opset):
    torch.manual_seed(0)
    module = kind().eval()
    model = export_onnx(module, sample(1), opset)
    assert check_parity(model, module, sample(5), 1e-5, 1e-5).max_abs_error < 1e-5


def test_symbols_are_there_only_while_exporting():
    export_onnx(Norms().eval(), (4, 3), 13)
    assert not registry.is_registered_op("aten::rms_norm", 13)


def test_a_file_that_the_runtime_cannot_run_is_refused():
    """Written without a word, and wrong: the newest exporter and an LSTM with projections."""

    class Projected(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 6, proj_size=2, batch_first=True)

        def forward(self, x):
            return self.lstm(x)[0]

    module = Projected().eval()
    with pytest.raises(ExportError):
        check_parity(export_onnx(module, (4, 3), 18), module, sample(2), 1e-4, 1e-4)

"""Export with real ONNX Runtime on this side; the Python 3.6 side is in tests/test_python36.py."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.config import Budget
from edge_dendrite.errors import ExportError
from edge_dendrite.export.onnx import check_onnx, check_parity, export_onnx
from edge_dendrite.models.convnets import DigitsCNN, MnistCNN, ResNet8

SHAPES = {DigitsCNN: (1, 8, 8), MnistCNN: (1, 28, 28), ResNet8: (3, 32, 32)}


@pytest.fixture(scope="module", params=SHAPES, ids=lambda network: network.__name__)
def pruned(request):
    torch.manual_seed(0)
    shape = SHAPES[request.param]
    batch = [(torch.randn(16, *shape), torch.randint(0, 10, (16,)))]
    return prune(request.param(), batch, Budget(pruning_ratio=0.5)).module, shape


@pytest.mark.parametrize(("opset", "ir"), [(13, 7), (17, 8)])
def test_pruned_networks_match_pytorch(pruned, opset, ir):
    module, shape = pruned
    model = export_onnx(module, shape, opset)
    assert (model.opset, model.ir_version) == (opset, ir)
    assert (model.input_shape, model.outputs[0].shape) == ((1, *shape), (1, 10))
    parity = check_parity(model, module, 3 * torch.randn(4, *shape), atol=1e-4, rtol=1e-4)
    assert parity.max_abs_error < 1e-4
    assert np.std(parity.outputs) > 1e-2, "a check about zeros would prove nothing"


def test_a_file_that_computes_something_else_is_refused():
    module = nn.Linear(4, 2)
    model = export_onnx(module, (4,), 13)
    with torch.no_grad():
        module.weight[0, 0] += 0.01
    with pytest.raises(ExportError, match="differs from PyTorch by"):
        check_parity(model, module, torch.ones(2, 4), atol=1e-4, rtol=1e-4)


def test_nan_is_never_parity():
    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt()

    with pytest.raises(ExportError, match="differs"):
        check_parity(export_onnx(Root(), (2,), 13), Root(), -torch.ones(1, 2), atol=1.0, rtol=1.0)


def test_what_cannot_be_exported_is_said_in_one_line():
    class Sorting(nn.Module):
        def forward(self, x):
            return torch.linalg.svd(x)[1]

    with pytest.raises(ExportError, match="cannot be exported at opset 13") as caught:
        export_onnx(Sorting(), (3, 3), 13)
    assert "\n" not in str(caught.value)


def change(content: bytes, edit) -> bytes:
    model = onnx.load_from_string(content)
    edit(model)
    return model.SerializeToString()


def dynamic(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def text(model):
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.STRING


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "weights.bin"


def no_output(model):
    del model.graph.output[:]


def half_dynamic(model):
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "batch"


@pytest.mark.parametrize("edit", [dynamic, text, external, no_output, half_dynamic], ids=lambda edit: edit.__name__)
def test_files_of_unsupported_form_are_refused(edit):
    content = export_onnx(nn.Linear(4, 2), (4,), 13).content
    check_onnx(content, 13)
    with pytest.raises(ExportError):
        check_onnx(change(content, edit))


def test_another_opset_than_asked_is_never_passed_on():
    content = export_onnx(nn.Linear(4, 2), (4,), 13).content
    with pytest.raises(ExportError, match="asked for opset 17"):
        check_onnx(content, 17)
    for garbage in (b"", b"garbage", content[: len(content) // 2]):
        with pytest.raises(ExportError):
            check_onnx(garbage)


def test_a_decision_by_values_is_refused_and_one_by_shapes_is_not():
    class ByValue(nn.Module):
        def forward(self, x):
            return x * 2.0 if x.sum() > 0 else x - 1.0

    class ByShape(nn.Module):
        def forward(self, x):
            return x * 2.0 if x.shape[1] == 4 else x - 1.0

    with pytest.raises(ExportError, match="decides by the values of its input"):
        export_onnx(ByValue(), (4,), 13)
    assert export_onnx(ByShape(), (4,), 13).opset == 13


def test_modes_survive_the_export():
    module = ResNet8().train()
    module.bn.eval()
    export_onnx(module, (3, 32, 32), 13)
    assert module.training
    assert not module.bn.training


def test_a_file_of_batch_four_is_refused():
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(nn.Linear(4, 2), (torch.zeros(4, 4),), stream, dynamo=False, opset_version=13)
    with pytest.raises(ExportError, match="export it with batch 1"):
        check_onnx(stream.getvalue())


class TwoOfTwo(nn.Module):
    """Token numbers and a mask in by name, two tensors out."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 6), nn.Linear(6, 3)

    def forward(self, tokens, mask, unread=None):
        x = self.embed(tokens) * mask.unsqueeze(-1)
        return {"logits": self.head(x.sum(1)), "features": x}


def tokens(batch):
    generator = torch.Generator().manual_seed(0)
    return {
        "tokens": torch.randint(11, (batch, 5), generator=generator),
        "mask": torch.rand(batch, 5, generator=generator).round(),
        "unread": torch.zeros(batch, 2),
    }


@pytest.mark.parametrize("dynamic_batch", [False, True])
@pytest.mark.parametrize("opset", [13, 17, 18])
def test_several_inputs_and_outputs_of_several_types(opset, dynamic_batch):
    torch.manual_seed(0)
    module = TwoOfTwo().eval()
    model = export_onnx(module, tokens(1), opset, dynamic_batch=dynamic_batch)
    read = {one.name: (one.dtype, one.shape) for one in model.inputs}
    assert read.items() >= {"tokens": ("int64", (1, 5)), "mask": ("float32", (1, 5))}.items()
    assert [one.shape for one in model.outputs] == [(1, 3), (1, 5, 6)]
    assert model.has_dynamic_batch is dynamic_batch
    assert check_parity(model, module, tokens(4), 1e-5, 1e-5).max_abs_error < 1e-5


def test_a_network_that_fixes_its_batch_is_refused_a_dynamic_one():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(1, 4)

    for opset, words in ((13, "the network fixes its batch"), (18, "is invalid for input of size")):
        with pytest.raises(ExportError, match=words):
            export_onnx(Fixed(), (2, 2), opset, dynamic_batch=True)
    assert not export_onnx(Fixed(), (2, 2), 13).has_dynamic_batch

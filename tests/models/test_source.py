from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edge_dendrite.errors import ModelError
from edge_dendrite.models.convnets import DigitsCNN, MnistCNN, ResNet8
from edge_dendrite.models.source import build, find_factory, load_weights_


def num_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_of_the_claims():
    assert num_parameters(MnistCNN()) == 41_076
    assert num_parameters(ResNet8()) == 77_946
    assert num_parameters(DigitsCNN()) == 13_706


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("digits-cnn", (1, 8, 8)),
        ("mnist-cnn", (1, 28, 28)),
        ("resnet8", (3, 32, 32)),
        ("resnet18-dendritic", (3, 32, 32)),
    ],
)
def test_builtins_take_their_input_and_any_number_of_classes(name, shape):
    assert find_factory(name)()(torch.zeros(2, *shape)).shape == (2, 10)
    assert find_factory(name, 3)()(torch.zeros(2, *shape)).shape == (2, 3)


def test_factory_of_the_user(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(3, 2)\nnumber = 3\n")
    (tmp_path / "broken_nets.py").write_text("raise RuntimeError('half written')\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(build(find_factory("my_nets:make"), "my_nets:make"), nn.Linear)
    for source, message in [
        ("my_nets:absent", "has no function or class 'absent'"),
        ("my_nets:number", "has no function or class 'number'"),
        ("no_such_module:make", "cannot import no_such_module"),
        ("broken_nets:make", "half written"),
        ("mnist-cn", "did you mean 'mnist-cnn'"),
        ("whatever-else", "built in are digits-cnn"),
    ]:
        with pytest.raises(ModelError, match=message):
            find_factory(source)


def test_a_factory_that_fails_or_returns_something_else():
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        build(lambda: 1 / 0, "mine")
    with pytest.raises(ModelError, match="returned int"):
        build(lambda: 3, "mine")


def test_weights_must_fit_and_be_whole(tmp_path):
    module = nn.Linear(3, 2)
    save_file(nn.Linear(3, 2).state_dict(), tmp_path / "good.safetensors")
    save_file(nn.Linear(4, 2).state_dict(), tmp_path / "other.safetensors")
    (tmp_path / "bad.safetensors").write_bytes((tmp_path / "good.safetensors").read_bytes()[:-3])
    load_weights_(module, tmp_path / "good.safetensors")
    for name in ("other", "bad", "absent"):
        with pytest.raises(ModelError, match=f"{name}.safetensors"):
            load_weights_(module, tmp_path / f"{name}.safetensors")

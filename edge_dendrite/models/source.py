"""Where a network comes from: a built-in name or `package.module:factory`."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from edge_dendrite.errors import ModelError
from edge_dendrite.importing import import_object
from edge_dendrite.models.convnets import DigitsCNN, MnistCNN, ResNet8
from edge_dendrite.models.recurrent import RowGRU
from edge_dendrite.models.resnet18 import ResNet18, dendritic_resnet18


def builtin_models(num_classes: int = 10) -> dict[str, Callable[[], nn.Module]]:
    """Factories of the built-in networks by name."""
    networks: dict[str, Callable[[int], nn.Module]] = {
        "digits-cnn": DigitsCNN,
        "mnist-cnn": MnistCNN,
        "mnist-gru": RowGRU,
        "resnet8": ResNet8,
        "resnet18": ResNet18,
        "resnet18-dendritic": dendritic_resnet18,
    }
    return {name: functools.partial(network, num_classes) for name, network in networks.items()}


def find_factory(source: str, num_classes: int = 10) -> Callable[[], nn.Module]:
    """The factory behind a built-in name or `package.module:factory` (which decides its number of classes itself).

    Raises ModelError naming what exists instead, or the line of the user's module that failed.
    """
    builtins = builtin_models(num_classes)
    if source in builtins:
        return builtins[source]
    if ":" in source:
        return import_object(source, "model factory")
    close = difflib.get_close_matches(source, builtins, n=1)
    hint = f"did you mean {close[0]!r}" if close else f"built in are {', '.join(builtins)}"
    raise ModelError(
        f"model {source!r} does not exist: {hint}. "
        "Else give package.module:factory, the folder of a compressed model, or an .onnx file."
    )


def build(factory: Callable[[], nn.Module], source: str) -> nn.Module:
    """Call a factory. Raises ModelError when it fails or does not return a network."""
    try:
        module = factory()
    except (Exception, SystemExit) as error:  # the user's code may do anything; its own message is what helps
        raise ModelError(f"model {source}: its factory failed with {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"model {source}: its factory returned {type(module).__name__}, not a torch.nn.Module")
    return module


def load_weights_(module: nn.Module, path: Path) -> nn.Module:
    """Load a .safetensors state dict into `module`. Raises ModelError when it is damaged or does not fit."""
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(f"{path}: cannot be loaded into this network ({error})") from error
    return module

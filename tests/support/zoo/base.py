"""What a network of the zoo is: how it is built, what it is fed, and what of it must be prunable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

# Positional tensors, or tensors by keyword.
Inputs = tuple[torch.Tensor, ...] | dict[str, torch.Tensor]

# ONNX exporters; with NONE not even the network as it is can be written.
TORCHSCRIPT, DYNAMO, NONE = "torchscript", "dynamo", ""


@dataclass(frozen=True)
class Network:
    """One architecture.

    factory: the network as its constructor leaves it. sample: inputs for a batch size, the same for the same size.
    units: tensors that units of an ordinary group come out of, with the number of units where it is certain (None
    where several are right); normalised_units: the same for groups whose units share a norm.
    stays: tensors that no group may touch, because no right cut of them exists.
    refused: no unit of it can go; `prune` says so, and why for every layer.
    exporter: the ONNX exporter that can write the network as it is.
    opens_attention: nn.MultiheadAttention is replaced first; `prune` does that by itself.
    """

    name: str
    factory: Callable[[], nn.Module]
    sample: Callable[[int], Inputs]
    units: Mapping[str, int | None] = field(default_factory=dict)
    normalised_units: Mapping[str, int | None] = field(default_factory=dict)
    stays: tuple[str, ...] = ()
    refused: bool = False
    exporter: str = TORCHSCRIPT
    opens_attention: bool = False

    def build(self, seed: int = 0) -> nn.Module:
        """The network in evaluation mode with weights of a trained one's size."""
        torch.manual_seed(seed)
        return enliven_(self.factory()).eval()


def enliven_(module: nn.Module) -> nn.Module:
    """Weights that keep activations near one, and norms, biases and scales that are not those of a newborn.

    At initialisation biases are zero, norms the identity and deep outputs tiny: a wrong cut would not show.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            _fill(name.rpartition(".")[2], parameter)
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.3)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
    return module


def _fill(name: str, parameter: torch.Tensor) -> None:
    values = sum(size > 1 for size in parameter.shape)
    if values >= 2:
        inputs = parameter[0].numel()
        parameter.normal_(std=1.2 / max(inputs, 1) ** 0.5)
    elif "bias" in name:
        parameter.normal_(std=0.3)
    else:  # scales of norms, of layers and of channels; some are negative in trained networks
        parameter.uniform_(0.5, 1.5)
        parameter.view(-1)[1::5] *= -1


def floats(*shape: int) -> Callable[[int], Inputs]:
    """One float input of this shape behind the batch."""
    return several(shape)


def several(*shapes: tuple[int, ...]) -> Callable[[int], Inputs]:
    """Several float inputs, each (batch, *shape)."""

    def sample(batch: int) -> Inputs:
        generator = torch.Generator().manual_seed(100 + batch)
        return tuple(torch.randn(batch, *shape, generator=generator) for shape in shapes)

    return sample


def tokens(length: int, vocabulary: int = 50) -> Callable[[int], Inputs]:
    """One input of token numbers (batch, length)."""

    def sample(batch: int) -> Inputs:
        generator = torch.Generator().manual_seed(100 + batch)
        return (torch.randint(0, vocabulary, (batch, length), generator=generator),)

    return sample


def call(module: nn.Module, inputs: Inputs) -> tuple[torch.Tensor, ...]:
    """All floating-point tensors that a network returns, in order."""
    outputs = module(**inputs) if isinstance(inputs, dict) else module(*inputs)
    return tuple(flat_tensors(outputs))


def flat_tensors(value: Any) -> list[torch.Tensor]:
    """Floating-point tensors in any nesting of tuples, lists and dicts (which Hugging Face's outputs are)."""
    if isinstance(value, torch.Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [one for part in value or () for one in flat_tensors(part)] if isinstance(value, (tuple, list)) else []

"""Size and work of a network."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from edge_dendrite.compress.layers.attention import replace_attention_, replaceable_attention
from edge_dendrite.compress.layers.branches import MapSums
from edge_dendrite.compress.layers.dendrites import is_transposed
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.train.evaluate import evaluating

NOT_COUNTED = (
    "num_macs counts convolutions, linear layers, matrix products and attention; "
    "not biases, activations, pooling, normalisation, gathers; gated blocks as if they ran for every input"
)


@dataclass(frozen=True)
class LayerStats:
    """One layer with a weight matrix or kernel. num_inputs and num_units are channels or features; of a recurrent
    layer the units are those of its states. num_groups: groups of units, each with inputs of its own.
    """

    name: str
    kind: str
    num_inputs: int
    num_units: int
    num_parameters: int
    num_macs: int
    num_groups: int = 1


@dataclass(frozen=True)
class ModelStats:
    """Totals and the layers. num_macs is for one input; onnx_bytes is None before the export."""

    num_parameters: int
    num_nonzero: int
    num_macs: int
    layers: tuple[LayerStats, ...]
    onnx_bytes: int | None = None
    not_counted: str = NOT_COUNTED

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "layers": [asdict(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelStats:
        """The inverse of `to_dict`."""
        return cls(**{**values, "layers": tuple(LayerStats(**layer) for layer in values["layers"])})


@torch.no_grad()
def measure_stats(module: nn.Module, example_inputs: tuple[torch.Tensor, ...]) -> ModelStats:
    """Count parameters (shared ones once) and multiply-accumulates for one input: `example_inputs` have batch 1.

    Torch's attention is listed as the four projections that it holds, as it is after pruning.
    """
    if replaceable_attention(module):
        # A forward that reads the joint weights of torch's attention runs with no replacement.
        with contextlib.suppress(Exception):
            return _measured(replace_attention_(copy.deepcopy(module)), example_inputs)
    return _measured(module, example_inputs)


def _measured(module: nn.Module, example_inputs: tuple[torch.Tensor, ...]) -> ModelStats:
    counter = FlopCounterMode(display=False)
    with evaluating(module), gates_open(module), as_plain_products(), products_of_maps(module) as of_maps, counter:
        module(*example_inputs)
    by_module = {
        name.partition(".")[2]: sum(counts.values()) // 2
        for name, counts in counter.get_flop_counts().items()
        if "." in name
    } | of_maps
    parameters = list(module.parameters())
    return ModelStats(
        num_parameters=sum(parameter.numel() for parameter in parameters),
        num_nonzero=sum(int(torch.count_nonzero(parameter)) for parameter in parameters),
        num_macs=counter.get_total_flops() // 2 + sum(of_maps.values()),
        layers=tuple(_layers(module, by_module)),
    )


@contextlib.contextmanager
def as_plain_products() -> Iterator[None]:
    """Attention, encoder layers and recurrent ones as the products that they are: the counter does not know fused
    kernels."""
    fused, recurrent = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        torch.backends.mkldnn.enabled = False
        with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        torch.backends.mkldnn.enabled = recurrent


@contextlib.contextmanager
def gates_open(module: nn.Module) -> Iterator[None]:
    """Every gated block runs for a while, or the count would be that of whatever way the example takes."""
    blocks = [part for part in module.modules() if isinstance(part, GatedBlock)]
    before = [block.is_held_open for block in blocks]
    for block in blocks:
        block.is_held_open = True
    try:
        yield
    finally:
        for block, value in zip(blocks, before, strict=True):
            block.is_held_open = value


@contextlib.contextmanager
def products_of_maps(module: nn.Module) -> Iterator[dict[str, int]]:
    """Multiply-accumulates of branches of maps, by layer: the counter does not see sums of products."""
    found: dict[str, int] = {}

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def count(part: Any, args: Any, output: Any) -> None:
            positions = args[0].numel() // args[0].shape[-1]
            found[name] = found.get(name, 0) + positions * part.weight.numel()

        return count

    parts = [(name, part) for name, part in module.named_modules() if isinstance(part, MapSums)]
    handles = [part.register_forward_hook(hook(name)) for name, part in parts]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _layers(module: nn.Module, macs: dict[str, int]) -> list[LayerStats]:
    layers = []
    for name, part in module.named_modules():
        sizes = _sizes(part)
        if sizes is None:
            continue
        num_inputs, num_units, num_groups = sizes
        layers.append(
            LayerStats(
                name=name,
                kind=type(part).__name__.lower(),
                num_inputs=num_inputs,
                num_units=num_units,
                num_parameters=sum(one.numel() for one in part.parameters(recurse=False)),
                num_macs=macs.get(name, 0),
                num_groups=num_groups,
            )
        )
    return layers


def _sizes(part: nn.Module) -> tuple[int, int, int] | None:
    """(inputs, units, groups) of a layer; None for what has neither a matrix nor a kernel of its own."""
    if isinstance(part, nn.RNNBase):
        return part.input_size, (part.proj_size or part.hidden_size) * (1 + part.bidirectional), 1
    weight = dict(part.named_parameters(recurse=False)).get("weight")
    if weight is None or weight.dim() < 2:
        return None
    if isinstance(part, MapSums):
        return part.num_maps * part.map_size, weight.shape[0], part.num_maps
    if isinstance(part, nn.Embedding) or is_transposed(part):
        return weight.shape[0], weight.shape[1], 1
    groups = getattr(part, "groups", 1)
    num_groups = groups if isinstance(groups, int) else 1
    return weight.shape[1] * num_groups, weight.shape[0], num_groups

"""What layers see and make on real data, and how much the loss minds a change of what they make.

Shape suffixes: n samples (positions of a layer's output), g fields, s inputs of a field, k neurons.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.batches import Batch
from edge_dendrite.compress.dendrites.fields import Fields, field_inputs, flat_inputs, flat_outputs, some_samples
from edge_dendrite.compress.forward import batch_size, forward
from edge_dendrite.compress.layers.dendrites import DendriticLayer, sizes_of
from edge_dendrite.compress.layers.slots import Slot
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating
from edge_dendrite.train.fit import Loss

# Fewer tell nothing: a fifth of them is held out.
MIN_SAMPLES = 50


@dataclass(frozen=True)
class LayerSamples:
    """Samples of one layer. errors_nk: the derivative of one input's loss by the outputs; weight_k: its mean square,
    times the positions of one input: what a squared error there costs."""

    inputs_ngs: torch.Tensor
    outputs_nk: torch.Tensor
    errors_nk: torch.Tensor
    weight_k: torch.Tensor


def collect(
    module: nn.Module, fields: Mapping[str, Fields], batches: Sequence[Batch], num_samples: int, seed: int, loss: Loss
) -> dict[str, LayerSamples]:
    """Samples of the layers named in `fields`, at random positions: equal batches and seed give equal positions.

    loss: the mean over a batch. Layers that no gradient reaches have zeros in errors_nk and weight_k. Raises PruneError
    when the loss, or what a layer sees or makes, is not finite, and with fewer than MIN_SAMPLES samples.
    """
    module = copy.deepcopy(module).requires_grad_(True)  # a frozen layer has outputs that matter too
    found: dict[str, list[tuple[torch.Tensor, ...]]] = {name: [] for name in fields}
    weights: dict[str, list[torch.Tensor]] = {name: [] for name in fields}
    for name in fields:
        part: Any = module.get_submodule(name)
        if isinstance(part, Slot):
            part.is_watched = True
    for number, (inputs, targets) in enumerate(batches):
        with torch.inference_mode(False), torch.enable_grad(), _differentiable(module):
            with evaluating(module), _recorded(module, list(fields)) as calls:
                value = loss(forward(module, inputs), targets)
            if not bool(value.isfinite()):
                raise PruneError(f"the loss is {float(value)} on training batch {number}; look for NaN in the data")
            value.backward()
        module.zero_grad(set_to_none=True)
        size = batch_size(inputs)
        for name, one in fields.items():
            layer = dense_layer_of(module.get_submodule(name))
            weights[name].append(torch.zeros(sizes_of(layer)[1], device=_device_of(layer)))
            for call, (x, y) in enumerate(calls[name]):
                share = -(-num_samples // (len(batches) * len(calls[name])))
                generator = torch.Generator().manual_seed(_seed(seed, number, call))
                # The loss is a mean over the batch: times its size, the derivative is that of one input's loss.
                gradient = torch.zeros_like(y) if y.grad is None else y.grad * size
                weights[name][-1] += flat_outputs(layer, gradient).square().sum(0) / size
                found[name].append(_take(one, layer, (x, y.detach(), gradient), share, generator))
    return {name: _joined(name, parts, weights[name]) for name, parts in found.items()}


@torch.no_grad()
def field_inputs_in(
    module: nn.Module, name: str, fields: Fields, layer: Any, batches: Sequence[Batch], num_samples: int, seed: int
) -> torch.Tensor:
    """(n, g, s): what the layer `name` sees in another network, at the positions of `collect`. layer: the dense one."""
    return _rows_of(
        module, name, lambda x: field_inputs(fields, layer, some_samples(layer, x)), batches, num_samples, seed
    )


@torch.no_grad()
def flat_inputs_in(module: nn.Module, name: str, batches: Sequence[Batch], num_samples: int, seed: int) -> torch.Tensor:
    """(n, f): inputs of a linear layer or a convolution with a kernel of 1, at random positions."""
    layer: Any = module.get_submodule(name)
    return _rows_of(module, name, lambda x: flat_inputs(layer, some_samples(layer, x)), batches, num_samples, seed)


def _rows_of(
    module: nn.Module,
    name: str,
    rows_of: Callable[[torch.Tensor], torch.Tensor],
    batches: Sequence[Batch],
    num_samples: int,
    seed: int,
) -> torch.Tensor:
    parts = []
    for number, (inputs, _) in enumerate(batches):
        with evaluating(module), _recorded(module, [name]) as calls:
            forward(module, inputs)
        for call, (x, _) in enumerate(calls[name]):
            share = -(-num_samples // (len(batches) * len(calls[name])))
            generator = torch.Generator().manual_seed(_seed(seed, number, call))
            rows = rows_of(x)
            parts.append(rows[_positions(len(rows), share, generator).to(rows.device)])
    return torch.cat(parts)


def dense_layer_of(layer: nn.Module) -> Any:
    """The layer that was there before dendrites were added to it, or the layer itself."""
    return layer.layer if isinstance(layer, DendriticLayer) else layer


def _device_of(layer: Any) -> torch.device:
    return layer.place.device if isinstance(layer, Slot) else layer.weight.device


def _differentiable(module: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """cuDNN has no gradients of a recurrent layer in evaluation mode; torch's own kernels have."""
    has_steps = any(isinstance(part, nn.RNNBase) for part in module.modules())
    return torch.backends.cudnn.flags(enabled=False) if has_steps else contextlib.nullcontext()


@contextlib.contextmanager
def _recorded(module: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[tuple[torch.Tensor, torch.Tensor]]]]:
    """Inputs and outputs of every call of the layers; outputs keep their gradient."""
    calls: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in names}

    def hook(name: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def record(part: nn.Module, args: Any, output: torch.Tensor) -> torch.Tensor:
            if output.requires_grad:
                output.retain_grad()
            calls[name].append((args[0].detach().clone(), output))
            return output.clone()  # what follows may work in place

        return record

    handles = [module.get_submodule(name).register_forward_hook(hook(name)) for name in names]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _take(
    fields: Fields,
    layer: Any,
    seen: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    share: int,
    generator: torch.Generator,
) -> tuple[torch.Tensor, ...]:
    """(inputs, outputs, errors) at random positions."""
    # The steps of a slot may come first, and the last ones must not be missing.
    x, y, gradient = seen if isinstance(layer, Slot) else (some_samples(layer, one) for one in seen)
    rows = field_inputs(fields, layer, x)
    chosen = _positions(len(rows), share, generator).to(rows.device)
    return rows[chosen], flat_outputs(layer, y)[chosen], flat_outputs(layer, gradient)[chosen]


def _positions(count: int, share: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randperm(count, generator=generator)[:share]


def _joined(name: str, parts: list[tuple[torch.Tensor, ...]], weights: list[torch.Tensor]) -> LayerSamples:
    inputs, outputs, errors = (torch.cat(one) for one in zip(*parts, strict=True))
    if not all(bool(one.isfinite().all()) for one in (inputs, outputs, errors)):
        raise PruneError(f"what {name} sees, makes or gets back as gradient is not finite; look for NaN in the data")
    if len(inputs) < MIN_SAMPLES:
        raise PruneError(f"{len(inputs)} samples of {name} are too few to fit anything; give at least {MIN_SAMPLES}")
    return LayerSamples(inputs, outputs, errors, torch.stack(weights).mean(0))


def _seed(seed: int, batch: int, call: int) -> int:
    return (seed * 1_000_003 + batch * 1_009 + call) % 2**31

"""Where a network trains: the device, its random numbers, and the precision of the forward pass."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import torch
from torch import nn

from edge_dendrite.errors import ConfigError


def device_of(module: nn.Module) -> torch.device:
    """Where a network's first tensor is; the CPU for one without any."""
    first = next(itertools.chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if first is None else first.device


def choose_device(name: str, module: nn.Module) -> torch.device:
    """The device behind "auto", "cpu", "cuda", "cuda:1", "mps" or another name of torch.

    "auto" stays where the network is, unless that is the CPU: then an accelerator, if there is one.
    Raises ConfigError for a device that is not on this machine.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        here = device_of(module)
        return here if here.type != "cpu" or accelerator is None else accelerator
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"device {name!r} is not known; give auto, cpu, cuda, cuda:1 or mps") from error
    present = accelerator is not None and device.type == accelerator.type
    if device.type != "cpu" and not (present and (device.index or 0) < torch.accelerator.device_count()):
        count = torch.accelerator.device_count()
        there = f"cpu and {count} x {accelerator.type}" if accelerator is not None else "only cpu"
        raise ConfigError(
            f"device {name!r} is not on this machine, or this torch was built without it; there is {there}"
        )
    return device


@contextlib.contextmanager
def placed(device: torch.device, *modules: nn.Module) -> Iterator[None]:
    """The networks are on `device` for a while, then where they were. Parameters remain the same objects."""
    homes = [device_of(module) for module in modules]
    try:
        for module, home in zip(modules, homes, strict=True):
            if home != device:
                module.to(device)
        yield
    finally:
        for module, home in zip(modules, homes, strict=True):
            if home != device:
                module.to(home)


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Random numbers on the CPU and on `device` start from `seed` for a while; the global state is left alone."""
    with torch.random.fork_rng(devices=[]), contextlib.ExitStack() as stack:
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            stack.enter_context(torch.accelerator.device_index(device.index))
            backend = torch.get_device_module(device.type)
            stack.callback(backend.set_rng_state, backend.get_rng_state())
            backend.manual_seed(seed)
        yield


class Precision:
    """The precision of the forward pass in training: `float32`, `bfloat16` or `float16` (CUDA only).

    scaler: keeps small gradients in float16's range; it does nothing in the other precisions.
    Raises ConfigError for float16 elsewhere than on CUDA.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name == "float16" and device.type != "cuda":
            raise ConfigError(f"precision float16 needs a CUDA device, and this is {device.type}; give bfloat16")
        self._dtype = None if name == "float32" else getattr(torch, name)
        self._device = device
        self.scaler = torch.amp.GradScaler("cuda", enabled=name == "float16")

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """For the forward pass and the loss."""
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)


def laid_out(inputs: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """Images (n, c, h, w) and volumes with their channels next to each other in memory; all else as it is."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if not channels_last or inputs.dim() not in formats:
        return inputs
    return inputs.contiguous(memory_format=formats[inputs.dim()])


def as_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Half precision as float32, for losses; all else as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor

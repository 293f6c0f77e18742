"""What a network computes without some of its units, by means that the pruning engine does not use.

The engine's word is taken for one thing only: which slices of which tensors make a unit. That those slices are right,
and that a cut network computes what remains, is what the comparison shows.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from edge_dendrite.compress.coupling.find import CONTRACTED, Coupling
from zoo.base import Inputs, call

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_REDUCTIONS = ("mean", "var", "var_mean", "std", "std_mean", "sum", "amax", "amin", "max", "min")


def tied_sets(coupling: Coupling) -> list[list[int]]:
    """Groups that must lose equally many units, as lists of numbers."""
    ties = [list(tie) for tie in coupling.ties]
    assert sorted(number for tie in ties for number in tie) == list(range(len(coupling.groups))), "ties: no partition"
    return ties


def random_halves(coupling: Coupling, numbers: Sequence[int], seed: int) -> dict[int, np.ndarray]:
    """For each tied set among `numbers` about half of the units, the same number in each group; never all."""
    generator = np.random.default_rng(seed)
    gone = {}
    for tie in tied_sets(coupling):
        width = min(coupling.groups[number].num_units for number in tie)
        if set(tie) <= set(numbers) and width > 1:
            for number in tie:
                units = generator.permutation(coupling.groups[number].num_units)[: max(width // 2, 1)]
                gone[number] = np.sort(units)
    return gone


@torch.no_grad()
def silence_(module: nn.Module, coupling: Coupling, gone: dict[int, np.ndarray]) -> None:
    """Zero every weight through which the units act; where no weight reads them, and where a norm does, also what
    makes them."""
    for number, units in gone.items():
        group = coupling.groups[number]
        whole = group.normalised or not any(one.role == CONTRACTED for one in group.slices)
        for one in group.slices:
            if one.role == CONTRACTED or (whole and not one.tensor.endswith(_STATISTICS)):
                index = torch.from_numpy(one.indices[units].ravel().astype(np.int64))
                _tensor(module, one.tensor).data.index_fill_(one.dim, index, 0)


@torch.no_grad()
def outputs_without(
    module: nn.Module, coupling: Coupling, gone: dict[int, np.ndarray], inputs: Inputs
) -> tuple[torch.Tensor, ...]:
    """Outputs of a copy whose units `gone` are without effect and do not count in any mean over units."""
    silent = copy.deepcopy(module)
    silence_(silent, coupling, gone)
    with statistics_without(_places(coupling, gone)):
        return call(silent, inputs)


def _places(coupling: Coupling, gone: dict[int, np.ndarray]) -> list[tuple[int, torch.Tensor]]:
    """Where units that share a norm are silent: (size of a dimension, indices in it)."""
    found = {}
    for number, units in gone.items():
        if coupling.groups[number].normalised:
            assert len(units) > 1, f"{coupling.groups[number].name}: one silent unit alone cannot be recognised"
            for one in coupling.groups[number].slices:
                key = coupling.shapes[one.tensor][one.dim], tuple(sorted(one.indices[units].ravel().tolist()))
                found[key] = key[0], torch.tensor(key[1])
    return list(found.values())


@contextlib.contextmanager
def statistics_without(places: list[tuple[int, torch.Tensor]]) -> Iterator[None]:
    """Means, variances and extremes leave out what is silent at `places`: (size of a dimension, indices in it)."""
    if not places:
        yield
        return
    with _plain_attention(), _KeptStatistics(places):
        yield


@contextlib.contextmanager
def _plain_attention() -> Iterator[None]:
    """torch's fused encoder layer hides its norms from a dispatch mode."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


class _KeptStatistics(TorchDispatchMode):
    """Means and variances over units see only those that stay.

    The silent units of a dimension are recognised by what they hold: the same value everywhere (zero, or zero less
    the mean), in exactly the places where the group's slices say.
    """

    def __init__(self, places: list[tuple[int, torch.Tensor]]) -> None:
        super().__init__()
        self._places = places

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        if name == "native_layer_norm":
            return self._layer_norm(func, *args, **kwargs)
        if name == "_fused_rms_norm":
            return self._rms_norm(func, *args, **kwargs)
        if name == "native_group_norm":
            return self._group_norm(func, *args, **kwargs)
        if name in _REDUCTIONS and len(args) > 1:
            return self._reduce(func, args, kwargs)
        return func(*args, **kwargs)

    def _kept(self, x: torch.Tensor, dim: int) -> torch.Tensor | None:
        """Places along a dimension that stay; None when no silent units are there."""
        gone = torch.zeros(x.shape[dim], dtype=torch.bool)
        for size, places in self._places:
            if size == len(gone):
                part = x.index_select(dim, places)
                # One place alone is always equal to itself; it has to hold zeros.
                first = part.narrow(dim, 0, 1) if len(places) > 1 else 0.0
                if float((part - first).abs().max()) < 1e-6 * (1 + float(part.abs().max())):
                    gone[places] = True
        return (~gone).nonzero().ravel() if bool(gone.any()) else None

    def _layer_norm(self, func, x, shape, weight, bias, eps):
        kept = self._kept(x, -1) if len(shape) == 1 else None
        if kept is None:
            return func(x, shape, weight, bias, eps)
        pick = [None if one is None else one[kept] for one in (weight, bias)]
        result = torch.zeros_like(x)
        result[..., kept] = functional.layer_norm(x[..., kept], (len(kept),), *pick, eps)
        return result, x.mean(-1, keepdim=True), x.mean(-1, keepdim=True)

    def _rms_norm(self, func, x, shape, weight, eps):
        kept = self._kept(x, -1) if len(shape) == 1 else None
        if kept is None:
            return func(x, shape, weight, eps)
        result = torch.zeros_like(x)
        result[..., kept] = functional.rms_norm(
            x[..., kept], (len(kept),), None if weight is None else weight[kept], eps
        )
        return result, x.mean(-1, keepdim=True)

    def _group_norm(self, func, x, weight, bias, batch, channels, places, groups, eps):
        kept = self._kept(x, 1)
        if kept is None:
            return func(x, weight, bias, batch, channels, places, groups, eps)
        result = torch.zeros_like(x)
        for number in range(groups):
            width = channels // groups
            here = kept[(kept >= number * width) & (kept < (number + 1) * width)]
            if len(here):
                pick = [None if one is None else one[here] for one in (weight, bias)]
                result[:, here] = functional.group_norm(x[:, here], 1, *pick, eps)
        return result, x.new_zeros(batch, groups), x.new_zeros(batch, groups)

    def _reduce(self, func, args, kwargs):
        x, dims = args[0], args[1]
        if isinstance(dims, (int, list)):
            for dim in [dims] if isinstance(dims, int) else dims:
                kept = self._kept(x, dim)
                x = x if kept is None else x.index_select(dim, kept)
        return func(x, *args[1:], **kwargs)


def _tensor(module: nn.Module, name: str) -> torch.Tensor:
    owner, _, leaf = name.rpartition(".")
    return getattr(module.get_submodule(owner), leaf)

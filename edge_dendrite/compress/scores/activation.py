"""How strong the values are that units send, seen while the network runs.

The operators that multiply with a weight are watched below the modules, so that classes, functional calls and shared
layers make no difference: what a weight that reads units is multiplied with is what these units send.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.compress.coupling.grouping import CONTRACTED, PRODUCED, Group
from edge_dendrite.compress.forward import Inputs, forward
from edge_dendrite.compress.plan import find_tensor
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating

_PRODUCTS = frozenset(("mm", "bmm", "mv", "addmm", "baddbmm", "addmv"))
_COPIES = frozenset(("clone", "_to_copy"))
_RECURRENT = ("aten.lstm", "aten.gru", "aten.rnn_tanh", "aten.rnn_relu")

# (name of a tensor, dimension, role in an operator).
Place = tuple[str, int, str]


def activation_scores(
    module: nn.Module, coupling: Coupling, batches: Iterable[tuple[Inputs, Any]], locked: Collection[int] = ()
) -> list[torch.Tensor]:
    """Mean absolute value of what each unit sends, (num_units,) in float64 for each group; the targets are not used.

    The activation criterion of Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient
    Inference", section 2.2, with absolute values, because not every activation function is positive. The mean is over
    samples and positions; where several layers read a unit, each of them counts the same. Units that no weight reads
    are measured where they are made.
    Raises PruneError for a group of which nothing was seen. locked: groups that are left out; their scores are zero.
    """
    groups = [group for number, group in enumerate(coupling.groups) if number not in locked]
    watch = _Watch({one.tensor: find_tensor(module, one.tensor) for group in groups for one in group.slices})
    with evaluating(module), torch.no_grad(), separate_steps(coupling), _separate_attention(), watch:
        for inputs, _ in batches:
            forward(module, inputs)
            watch.forget_copies()
    return [
        torch.zeros(group.num_units, dtype=torch.float64) if number in locked else _mean_of(group, watch)
        for number, group in enumerate(coupling.groups)
    ]


def _mean_of(group: Group, watch: _Watch) -> torch.Tensor:
    for role in (CONTRACTED, PRODUCED):
        means = [
            watch.mean((one.tensor, one.dim, role))[torch.from_numpy(one.indices)].mean(1)
            for one in group.slices
            if one.role == role and (one.tensor, one.dim, role) in watch.counts
        ]
        if means:
            return torch.stack(means).mean(0)
    raise PruneError(
        f"score 'activation': what the units of {group.name!r} send was not seen, because no operator that is watched "
        "reads their weights; choose another score"
    )


@contextlib.contextmanager
def separate_steps(coupling: Coupling) -> Iterator[None]:
    """Recurrent layers step by step: a fused kernel hides their hidden units, and cuDNN's has no gradient in evaluation
    mode. Nothing changes for networks without them."""
    nodes = coupling.program.graph.nodes
    if not any(str(node.target).startswith(_RECURRENT) for node in nodes if node.op == "call_function"):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a setting for other machines, which the switch repeats
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
            yield


@contextlib.contextmanager
def _separate_attention() -> Iterator[None]:
    """Blocks of attention as single operators; the fused form hides its weights."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@dataclass(frozen=True)
class _Stored:
    """Memory that holds a weight: the tensor, the weight's name, and which dimension of the weight each one is."""

    tensor: torch.Tensor
    name: str
    dims: tuple[int, ...]

    def dims_of(self, view: torch.Tensor, at: int) -> list[tuple[int, int]]:
        """(dimension of the weight, its size) for all that make up dimension `at` of a view, each whole; maybe none."""
        shape, strides = self.tensor.shape, self.tensor.stride()
        for first in range(len(shape)):
            for last in range(first, len(shape)):
                merged = [place for place in range(first, last + 1) if shape[place] > 1] or [last]
                size = math.prod(shape[place] for place in merged)
                if size == view.shape[at] and (size == 1 or _is_one_dim(shape, strides, merged, view.stride(at))):
                    return [(self.dims[place], shape[place]) for place in merged]
        return []

    def holds(self, view: torch.Tensor) -> bool:
        start = self.tensor.data_ptr()
        return start <= view.data_ptr() < start + self.tensor.nbytes


def _is_one_dim(shape: Sequence[int], strides: Sequence[int], merged: Sequence[int], stride: int) -> bool:
    """Whether dimensions lie in memory as a single one with this stride."""
    for place in reversed(merged):
        if strides[place] != stride:
            return False
        stride *= shape[place]
    return True


class _Watch(TorchDispatchMode):
    """Sums up the absolute values that weights are multiplied with, and those that they make."""

    supports_higher_order_operators = True

    def __init__(self, tensors: dict[str, torch.Tensor | None]) -> None:
        super().__init__()
        self.sums: dict[Place, torch.Tensor] = {}
        self.counts: dict[Place, int] = {}
        self._stored: dict[int, list[_Stored]] = {}
        self._copies: list[int] = []
        for name, tensor in tensors.items():
            if tensor is not None and tensor.numel():
                self._store(_Stored(tensor.detach(), name, tuple(range(tensor.dim()))))

    def mean(self, place: Place) -> torch.Tensor:
        """Mean absolute value for each index, float64."""
        return self.sums[place].cpu() / self.counts[place]

    def forget_copies(self) -> None:
        """Copies of weights live for one forward."""
        for memory in self._copies:
            self._stored.pop(memory, None)
        self._copies.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.higher_order.cond:
            with self:
                return (args[1] if args[0] else args[2])(*args[3])
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "overloadpacket", func).__name__
        if name in _COPIES:
            self._follow(args[0], result)
        for weight, at, role, values, values_at in _uses(name, args, result):
            if stored := self._find(weight):
                self._add(stored.name, role, stored.dims_of(weight, at), values.movedim(values_at, 0))
        return result

    def _add(self, name: str, role: str, dims: list[tuple[int, int]], values: torch.Tensor) -> None:
        """values: (indices of `dims`, anything); a grouped convolution reads several inputs with each index."""
        sizes = [size for _, size in dims]
        sums = values.abs().flatten(1).sum(1, dtype=torch.float64).reshape(-1, *sizes).sum(0)
        for at, (dim, size) in enumerate(dims):
            place = (name, dim, role)
            own = sums.movedim(at, 0).reshape(size, -1).sum(1)
            self.sums[place] = self.sums[place] + own if place in self.sums else own
            self.counts[place] = self.counts.get(place, 0) + values.numel() // size

    def _store(self, stored: _Stored) -> None:
        self._stored.setdefault(stored.tensor.untyped_storage().data_ptr(), []).append(stored)

    def _find(self, view: torch.Tensor) -> _Stored | None:
        candidates = self._stored.get(view.untyped_storage().data_ptr(), ())
        return next((stored for stored in candidates if stored.holds(view)), None)

    def _follow(self, source: torch.Tensor, copy: torch.Tensor) -> None:
        """A copy of a weight, in another order (einsum) or precision (autocast), is the weight still."""
        stored = self._find(source)
        if stored is not None:
            found = [stored.dims_of(source, at) for at in range(source.dim())]
            if all(len(dims) == 1 for dims in found):
                self._store(_Stored(copy, stored.name, tuple(dims[0][0] for dims in found)))
                self._copies.append(copy.untyped_storage().data_ptr())


def _uses(name: str, args: Sequence[Any], result: Any) -> Iterator[tuple[torch.Tensor, int, str, torch.Tensor, int]]:
    """(weight, its dimension, role, values, their dimension that runs along) for what may be a weight in a call."""
    if name == "convolution":
        values, weight, transposed = args[0], args[1], bool(args[6])
        yield weight, 0 if transposed else 1, CONTRACTED, values, 1
        yield weight, 1 if transposed else 0, PRODUCED, result, 1
    elif name == "embedding":
        yield args[0], 1, PRODUCED, result, result.dim() - 1
    elif name in _PRODUCTS:
        first, second = args[-2:]
        last, inner = first.dim() - 1, max(second.dim() - 2, 0)
        yield first, last, CONTRACTED, second, inner
        yield second, inner, CONTRACTED, first, last
        yield first, last - 1, PRODUCED, result, last - 1
        if second.dim() > 1:
            yield second, second.dim() - 1, PRODUCED, result, result.dim() - 1

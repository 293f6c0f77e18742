"""The network that a cut has to agree with: the traced original in which the removed units have no effect.

Weights that read removed units are zero while they are used, and where a mean or its like is taken over units, it is
taken over those that stay. The module itself is not touched and not copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export.graph_signature import InputKind
from torch.utils import _pytree

from edge_dendrite.compress.coupling.calls import Statistic, is_labels
from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.compress.coupling.grouping import CONTRACTED
from edge_dendrite.compress.coupling.sizes import quiet
from edge_dendrite.compress.forward import Inputs, arguments, tensors_of


@torch.no_grad()
def masked_outputs(
    module: nn.Module, coupling: Coupling, alive: Sequence[np.ndarray], inputs: Inputs
) -> list[torch.Tensor]:
    """Output tensors of `module`, which was traced for inputs of these shapes, with only the units `alive`.

    alive: per group (num_units,) bool.
    """
    with quiet():
        return tensors_of(_MaskedRun(module, coupling, alive).run(*_graph_inputs(module, coupling, inputs)))


def _graph_inputs(module: nn.Module, coupling: Coupling, inputs: Inputs) -> list[Any]:
    """What the graph's placeholders take, in order."""
    program = coupling.program
    tensors = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    given = iter(_pytree.tree_leaves(arguments(inputs)))
    values: list[Any] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind == InputKind.PARAMETER:
            values.append(tensors[str(spec.target)])
        elif spec.kind == InputKind.BUFFER:
            values.append(tensors[str(spec.target)].clone())  # the forward may count in it
        elif spec.kind == InputKind.USER_INPUT:
            values.append(next(given))
        else:
            values.append(program.constants[str(spec.target)])
    return values


class _MaskedRun(torch.fx.Interpreter):
    def __init__(self, module: nn.Module, coupling: Coupling, alive: Sequence[np.ndarray]) -> None:
        super().__init__(coupling.program.graph_module, garbage_collect_values=True)
        self._coupling, self._alive = coupling, alive
        self._statistics = {one.node: one for one in coupling.statistics}
        self._masks = _masks(module, coupling, alive)

    def run_node(self, n: torch.fx.Node) -> Any:
        statistic = self._statistics.get(n.name)
        if statistic is None or n.op != "call_function":
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return self._restricted(n, statistic, args, kwargs)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        masked = _pytree.tree_map_only(torch.Tensor, self._mask, (tuple(args), dict(kwargs)))
        return super().call_function(target, *masked)

    def _mask(self, tensor: torch.Tensor) -> torch.Tensor:
        for dim, gone in self._masks.get(id(tensor), ()):
            tensor = tensor.index_fill(dim, gone, 0.0)
        return tensor

    def _restricted(
        self, node: torch.fx.Node, statistic: Statistic, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """The call on the indices that stay; what it returns is spread out again, with zeros for the others."""
        given = self._restrict((args, dict(kwargs)), statistic.arguments)
        if "normalized_shape" in str(getattr(node.target, "_schema", "")):
            first, sizes, *rest = given[0]
            given = ((first, list(first.shape[first.dim() - len(sizes) :]), *rest), given[1])
        result = super().call_function(node.target, *given)
        if isinstance(result, (tuple, list)):
            return type(result)(self._spread(*one) for one in zip(result, statistic.results, strict=True))
        return self._spread(result, statistic.results)

    def _restrict(self, value: Any, labels: Any) -> Any:
        if is_labels(labels) and isinstance(value, torch.Tensor):
            for dim, one in enumerate(labels):
                keep = self._coupling.stays(one, self._alive)
                if not keep.all():
                    value = value.index_select(dim, torch.from_numpy(np.flatnonzero(keep)).to(value.device))
            return value
        if isinstance(value, dict):
            return {key: self._restrict(one, labels[key]) for key, one in value.items()}
        if isinstance(value, (tuple, list)) and isinstance(labels, (tuple, list)):
            return type(value)(self._restrict(one, label) for one, label in zip(value, labels, strict=True))
        return value

    def _spread(self, value: torch.Tensor, labels: Any) -> torch.Tensor:
        for dim, one in enumerate(labels):
            keep = self._coupling.stays(one, self._alive)
            if not keep.all():
                shape = list(value.shape)
                shape[dim] = len(keep)
                index = torch.from_numpy(np.flatnonzero(keep)).to(value.device)
                value = value.new_zeros(shape).index_copy(dim, index, value)
        return value


def _masks(
    module: nn.Module, coupling: Coupling, alive: Sequence[np.ndarray]
) -> dict[int, list[tuple[int, torch.Tensor]]]:
    """By identity of a parameter: (dimension, indices) that read removed units."""
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    masks: dict[int, list[tuple[int, torch.Tensor]]] = {}
    for group, stays in zip(coupling.groups, alive, strict=True):
        for one in group.slices:
            if one.role == CONTRACTED and not stays.all():
                tensor = tensors[one.tensor]
                gone = torch.from_numpy(one.indices[~stays].ravel()).to(tensor.device)
                masks.setdefault(id(tensor), []).append((one.dim, gone))
    return masks

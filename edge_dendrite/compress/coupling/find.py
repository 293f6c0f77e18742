"""Which slices of which tensors make one unit, found on the graph of `torch.export`.

Dimensions are tracked through operators (operators.py, layer_rules.py, shape_rules.py), never by module class: renamed
modules and classes, shared modules and functional calls make no difference.
"""

from __future__ import annotations

import io
import logging
import operator
import traceback
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export.graph_signature import InputKind

from edge_dendrite.compress.coupling.atoms import Atoms
from edge_dendrite.compress.coupling.attributes import Settlement, SourceSize
from edge_dendrite.compress.coupling.calls import (
    ELEMENTWISE,
    UNCHANGED,
    Call,
    Labels,
    Roles,
    Statistic,
    Work,
    elementwise,
    fixed_labels,
    is_labels,
    not_understood,
    tensors_in,
    unchanged,
)
from edge_dendrite.compress.coupling.grouping import (
    CARRIED,
    CONTRACTED,
    DEPTHWISE,
    PRODUCED,
    Group,
    Groups,
    Slices,
    find_groups,
)
from edge_dendrite.compress.coupling.layer_rules import LAYER_RULES
from edge_dendrite.compress.coupling.shape_rules import SHAPE_RULES
from edge_dendrite.compress.coupling.sizes import Attribute, Origin, WrittenSizes, quiet, record_sizes
from edge_dendrite.compress.forward import Inputs, arguments, flat
from edge_dendrite.compress.unchanged import left_unchanged
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating

__all__ = ["CARRIED", "CONTRACTED", "DEPTHWISE", "PRODUCED", "Coupling", "Group", "Slices", "find_coupling"]


@dataclass(frozen=True)
class SizedAttribute:
    """A whole number in a module that falls by `per_unit[number]` with every unit of that group."""

    attribute: Attribute
    value: int
    per_unit: dict[int, int]


@dataclass(frozen=True)
class Coupling:
    """All groups whose units can be removed, the shapes of all tensors, and why other layers must stay.

    shapes: parameters and buffers by canonical name; a tensor registered under several names is there once.
    trainable: the names that count as parameters. kept: layer name -> reason.
    ties: a partition of the groups' numbers; groups of one tie must keep equal numbers of units.
    attributes: whole numbers in modules that follow the groups' sizes.
    program: the graph that was traced. group_of, unit_of: for every atom its group and unit there, -1 for what stays.
    """

    groups: tuple[Group, ...]
    shapes: dict[str, tuple[int, ...]]
    trainable: frozenset[str]
    kept: dict[str, str]
    ties: tuple[tuple[int, ...], ...]
    attributes: tuple[SizedAttribute, ...]
    work: tuple[Work, ...] = field(repr=False)
    program: torch.export.ExportedProgram = field(repr=False)
    statistics: tuple[Statistic, ...] = field(repr=False)
    group_of: np.ndarray = field(repr=False)
    unit_of: np.ndarray = field(repr=False)

    def stays(self, labels: np.ndarray, alive: Sequence[np.ndarray]) -> np.ndarray:
        """Which indices of a labelled dimension stay when the units in `alive` (per group (num_units,)) do: bool."""
        groups, units = self.group_of[labels], self.unit_of[labels]
        result: np.ndarray = np.ones(len(labels), bool)
        for number in np.unique(groups[groups >= 0]).tolist():
            own = groups == number
            result[own] = alive[number][units[own]]
        return result


def find_coupling(module: nn.Module, example_inputs: Inputs) -> Coupling:
    """Trace `module` in evaluation mode and find its groups.

    example_inputs: a tensor, a tuple of positional tensors or a dict of keyword ones, with a batch of two at least.
    Raises PruneError when the network cannot be traced (for instance control flow that depends on values).
    """
    return couple(module, example_inputs, trace(module, example_inputs))


def couple(module: nn.Module, inputs: Inputs, program: torch.export.ExportedProgram) -> Coupling:
    """The groups of a network of which `trace` made `program`."""
    with evaluating(module), left_unchanged(module):
        written = record_sizes(module, inputs, program.graph)
    return _Tracker(module, program, written).track()


def trace(module: nn.Module, inputs: Inputs) -> torch.export.ExportedProgram:
    """The graph of `torch.export` in evaluation mode. Raises PruneError with the line that cannot be traced."""
    args, kwargs = arguments(inputs)
    disabled = logging.root.manager.disable
    try:
        # Recurrent layers renew a list of their weights while they run, which torch.export warns of; nothing changes.
        # What is wrong is told once, in one line; torch prints the graph so far, too.
        with evaluating(module), left_unchanged(module), torch.no_grad(), quiet(), redirect_stderr(io.StringIO()):
            logging.disable(logging.CRITICAL)
            return torch.export.export(module, args, kwargs, strict=False)
    except Exception as error:  # torch.export raises many kinds; the first line says what it stumbled over
        raise PruneError(f"the network cannot be traced by torch.export: {_explained(error)}") from error
    finally:
        logging.disable(disabled)


def _explained(error: Exception) -> str:
    """The first line, and the user's own line of code where torch names one."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    places = [line.strip() for line in lines if line.strip().startswith("File ") and "site-packages" not in line]
    if not places:
        frames = [one for one in traceback.extract_tb(error.__traceback__) if _is_of_user(one.filename)]
        places = [f'File "{one.filename}", line {one.lineno}, in {one.name}' for one in frames]
    return f"{lines[0]} ({places[-1]})" if places else lines[0]


def _is_of_user(filename: str) -> bool:
    return "site-packages" not in filename and filename != __file__ and not filename.startswith("<")


class _Tracker:
    """Walks the graph once, then groups the classes of atoms."""

    def __init__(self, module: nn.Module, program: torch.export.ExportedProgram, written: WrittenSizes) -> None:
        self._module, self._program, self._written = module, program, written
        self._atoms = Atoms()
        self._roles = Roles()
        self._canonical: dict[str, str] = {}
        self._labels: dict[str, Labels] = {}
        self._trainable: set[str] = set()
        self._nested = False
        self._results: dict[str, Any] = {}
        first_names: dict[int, str] = {}
        for name, tensor in [
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ]:
            known = first_names.setdefault(id(tensor), name)
            self._canonical[name] = known
            if known == name:
                self._labels[name] = tuple(self._atoms.fresh(size) for size in tensor.shape)
                self._roles.own |= {id(dim) for dim in self._labels[name]}
                if isinstance(tensor, nn.Parameter):
                    self._trainable.add(name)

    def track(self) -> Coupling:
        tensors = {
            spec.arg.name: spec.target
            for spec in self._program.graph_signature.input_specs
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER)
        }
        inputs = {name: self._labels[self._canonical[target]] for name, target in tensors.items() if target is not None}
        for result in self._walk(self._program.graph_module, inputs):
            self._fix(result, "an output of the network")
        return self._coupling()

    def _walk(self, graph_module: torch.fx.GraphModule, inputs: Mapping[str, Any]) -> list[Any]:
        """Labels of the outputs of a graph, given those of its placeholders by name."""
        environment: dict[torch.fx.Node, Any] = {}
        for node in graph_module.graph.nodes:
            if node.op == "placeholder" and node.name in inputs:
                environment[node] = inputs[node.name]
            elif node.op == "get_attr" and isinstance(getattr(graph_module, str(node.target), None), nn.Module):
                environment[node] = getattr(graph_module, str(node.target))
            elif node.op == "call_function":
                environment[node] = self._results[node.name] = self._call(node, environment)
            elif node.op == "output":
                return [environment[result] for result in node.all_input_nodes]
            else:
                environment[node] = _fixed_like(node.meta.get("val"))
        return []

    def _call(self, node: torch.fx.Node, environment: dict[torch.fx.Node, Any]) -> Any:
        args = torch.fx.map_arg(list(node.args), lambda one: environment[one])
        kwargs = torch.fx.map_arg(dict(node.kwargs), lambda one: environment[one])
        if node.target is operator.getitem:
            return args[0][args[1]]
        if node.target is torch.ops.higher_order.cond:
            return self._branches(args)
        value = node.meta.get("val")
        shapes = tuple(tuple(one.shape) for one in flat([value]) if isinstance(one, torch.Tensor))
        name = _operator_name(node.target)
        if not shapes:
            for tensor in tensors_in([*args, *kwargs.values()]):
                if name not in ("_assert_tensor_metadata", "sym_size"):
                    self._fix(tensor, f"{name}: this operator is not understood")
            return _fixed_like(value)
        call = Call(
            name,
            node,
            tuple(args),
            dict(kwargs),
            shapes,
            self._atoms,
            self._roles,
            self._written,
            self._module,
            self._nested,
        )
        return _apply(call)

    def _branches(self, args: list[Any]) -> list[Any]:
        """torch.cond: both branches see the same operands, and what they return is joined."""
        _, on_true, on_false, operands = args
        results = []
        self._nested = True
        for branch in (on_true, on_false):
            names = [node.name for node in branch.graph.nodes if node.op == "placeholder"]
            results.append(self._walk(branch, dict(zip(names, operands, strict=True))))
        self._nested = False
        for first, second in zip(*results, strict=True):
            for one, other in zip(first, second, strict=True):
                self._atoms.unify(one, other, "cond: joins a dimension that must stay")
        return results[0]

    def _fix(self, labels: Any, reason: str) -> None:
        for tensor in tensors_in([labels]):
            for dim in tensor:
                self._atoms.fix(dim, reason)

    def _settled(self) -> tuple[np.ndarray, dict[int, str], list[SourceSize]]:
        sources = {source for binding in self._roles.bindings for source in binding.size.sources}
        origins: dict[Origin, np.ndarray] = {}
        for source in sources:
            if isinstance(source, Origin):
                result = self._results.get(self._written.node_of.get(source.call, ""))
                if source.tensor:
                    result = self._labels[self._canonical[source.tensor]]
                if result is not None:
                    origins[source] = (result if is_labels(result) else result[source.output])[source.dim]
        return Settlement(self._atoms, self._roles.bindings, origins, self._written.escaped).solve()

    def _coupling(self) -> Coupling:
        for name, dims in self._labels.items():
            if name not in self._trainable:
                for atoms in self._roles.contracted:
                    if any(atoms is dim for dim in dims):
                        # No gradient reaches a buffer, so nothing would be known of what these units are worth.
                        self._atoms.fix(atoms, f"{name}: a buffer reads these units")
        classes, reasons, changing = self._settled()
        weights = {name for name in self._trainable if len(self._labels[name]) > 1}
        found = find_groups(self._labels, classes, reasons, self._roles, [one.labels for one in changing], weights)
        return Coupling(
            groups=found.groups,
            shapes={name: tuple(len(dim) for dim in dims) for name, dims in self._labels.items()},
            trainable=frozenset(self._trainable),
            kept=found.kept,
            ties=tuple((number,) for number in range(len(found.groups))),
            attributes=tuple(_attribute(one, found) for one in changing),
            work=tuple(self._roles.work),
            program=self._program,
            statistics=tuple(self._roles.statistics),
            group_of=found.group_of,
            unit_of=found.unit_of,
        )


def _attribute(one: SourceSize, found: Groups) -> SizedAttribute:
    assert isinstance(one.source, Attribute)
    groups = found.group_of[one.labels]
    numbers, counts = np.unique(groups[groups >= 0], return_counts=True)
    per_unit = {
        number: count * one.value // (len(one.labels) * found.groups[number].num_units)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True)
    }
    return SizedAttribute(one.source, one.value, per_unit)


def _apply(call: Call) -> Any:
    plain = call.name if call.name.startswith("_") else call.name.rstrip("_")  # in-place forms couple as the others do
    if plain in UNCHANGED:
        return unchanged(call)
    if plain in ELEMENTWISE:
        return elementwise(call)
    rule = LAYER_RULES.get(plain) or SHAPE_RULES.get(plain) or not_understood
    try:
        return rule(call)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        # A form of the operator that its rule did not foresee: not understood, as one without a rule.
        return not_understood(call)


def _operator_name(target: Any) -> str:
    schema = getattr(target, "_schema", None)
    name = schema.name if schema is not None else str(getattr(target, "__name__", target))
    return name.removeprefix("aten::")


def _fixed_like(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return fixed_labels(value.shape)
    if isinstance(value, (list, tuple)):
        return [_fixed_like(one) for one in value]
    return None

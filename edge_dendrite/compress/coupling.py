"""Which slices of which tensors make one unit, found on the graph of `torch.export`.

Dimensions are tracked through operators (operators.py), never by module class: renamed modules and classes, shared
modules and functional calls make no difference.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export.graph_signature import InputKind

from edge_dendrite.compress.atoms import Atoms
from edge_dendrite.compress.operators import Call, Labels, Roles, apply_operator, fixed_labels, is_labels
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating

PRODUCED, CONTRACTED, DEPTHWISE, CARRIED = "produced", "contracted", "depthwise", "carried"


@dataclass(frozen=True)
class Slices:
    """The part of one tensor dimension that belongs to a group's units.

    indices: (num_units, indices per unit); role: produced (makes the units), contracted (sums over them),
    depthwise, or carried (one value per unit, such as a bias or batch-norm statistics).
    """

    tensor: str
    dim: int
    role: str
    indices: np.ndarray


@dataclass(frozen=True)
class Group:
    """Units that occupy the same tensors: the neurons of a layer, or of several layers joined by additions."""

    name: str
    slices: tuple[Slices, ...]

    @property
    def num_units(self) -> int:
        return len(self.slices[0].indices)


@dataclass(frozen=True)
class Coupling:
    """All groups whose units can be removed, the shapes of all tensors, and why other layers must stay.

    shapes: parameters and buffers by canonical name; a tensor registered under several names is there once.
    trainable: the names that count as parameters. kept: layer name -> reason.
    """

    groups: tuple[Group, ...]
    shapes: dict[str, tuple[int, ...]]
    trainable: frozenset[str]
    kept: dict[str, str]


def find_coupling(module: nn.Module, example_inputs: tuple[torch.Tensor, ...]) -> Coupling:
    """Trace `module` in evaluation mode and find its groups.

    Raises PruneError when the network cannot be traced (for instance control flow that depends on values).
    """
    try:
        with evaluating(module), torch.no_grad():
            program = torch.export.export(module, example_inputs)
    except Exception as error:  # torch.export raises many kinds; the first line says what it stumbled over
        first_line = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise PruneError(f"the network cannot be traced by torch.export: {first_line}") from error
    return _Tracker(module).track(program)


class _Tracker:
    """Walks the graph once, then groups the classes of atoms."""

    def __init__(self, module: nn.Module) -> None:
        self._atoms = Atoms()
        self._roles = Roles()
        self._canonical: dict[str, str] = {}
        self._labels: dict[str, Labels] = {}
        self._trainable: set[str] = set()
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

    def track(self, program: torch.export.ExportedProgram) -> Coupling:
        environment: dict[torch.fx.Node, Any] = {}
        tensors = {
            spec.arg.name: spec.target
            for spec in program.graph_signature.input_specs
            if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER)
        }
        for node in program.graph.nodes:
            if node.op == "placeholder" and node.name in tensors:
                environment[node] = self._labels[self._canonical[tensors[node.name]]]
            elif node.op == "call_function":
                environment[node] = self._call(node, environment)
            elif node.op == "output":
                for result in node.all_input_nodes:
                    self._fix(environment[result], "an output of the network")
            else:
                environment[node] = _fixed_like(node.meta.get("val"))
        return self._group()

    def _call(self, node: torch.fx.Node, environment: dict[torch.fx.Node, Any]) -> Any:
        args = torch.fx.map_arg(list(node.args), lambda one: environment[one])
        kwargs = torch.fx.map_arg(dict(node.kwargs), lambda one: environment[one])
        value = node.meta.get("val")
        if node.target is operator.getitem:
            return args[0][args[1]]
        name = _operator_name(node.target)
        if isinstance(value, torch.Tensor):
            call = Call(name, tuple(args), dict(kwargs), tuple(value.shape), self._atoms, self._roles)
            return apply_operator(call)
        for argument in _flat([*args, *kwargs.values()]):
            self._fix(argument, f"{name}: this operator is not understood")
        return _fixed_like(value)

    def _fix(self, labels: Any, reason: str) -> None:
        if is_labels(labels):
            for dim in labels:
                self._atoms.fix(dim, reason)

    def _group(self) -> Coupling:
        for name, dims in self._labels.items():
            if name not in self._trainable:
                for atoms in self._roles.contracted:
                    if any(atoms is dim for dim in dims):
                        # No gradient reaches a buffer, so nothing would be known of what these units are worth.
                        self._atoms.fix(atoms, f"{name}: a buffer reads these units")
        classes, reasons = self._atoms.solve()
        roles = self._roles_of_atoms(len(classes))
        produced: np.ndarray = np.zeros(len(classes), bool)
        for atoms in self._roles.produced:
            produced[atoms] = True
        members: dict[int, list[tuple[str, int, np.ndarray]]] = defaultdict(list)
        kept: dict[str, str] = {}
        for name, dims in self._labels.items():
            for dim, atoms in enumerate(dims):
                numbers = classes[atoms]
                if len(atoms) and produced[atoms[0]]:
                    stays = [reasons[number] for number in numbers.tolist() if number in reasons]
                    if stays:
                        kept[name.rpartition(".")[0] or name] = stays[0]
                for number in np.unique(numbers).tolist():
                    if number not in reasons:
                        members[number].append((name, dim, np.flatnonzero(numbers == number)))
        shapes = {name: tuple(len(dim) for dim in dims) for name, dims in self._labels.items()}
        groups = self._join_units(members, roles, produced)
        return Coupling(groups, shapes, frozenset(self._trainable), kept)

    def _roles_of_atoms(self, count: int) -> np.ndarray:
        roles: np.ndarray = np.full(count, CARRIED, dtype=object)
        for role, marked in (
            (PRODUCED, self._roles.produced),
            (DEPTHWISE, self._roles.depthwise),
            (CONTRACTED, self._roles.contracted),
        ):
            for atoms in marked:
                roles[atoms] = role
        return roles

    def _join_units(
        self, members: dict[int, list[tuple[str, int, np.ndarray]]], roles: np.ndarray, produced: np.ndarray
    ) -> tuple[Group, ...]:
        """Units with the same tensors, dimensions and index counts form a group."""
        by_signature: dict[tuple[tuple[str, int, int], ...], list[list[np.ndarray]]] = defaultdict(list)
        for places in members.values():
            signature = tuple((name, dim, len(indices)) for name, dim, indices in places)
            by_signature[signature].append([indices for _, _, indices in places])
        groups = []
        for signature, units in by_signature.items():
            slices = tuple(
                Slices(name, dim, str(roles[self._labels[name][dim][0]]), np.stack([unit[at] for unit in units]))
                for at, (name, dim, _) in enumerate(signature)
            )
            producers = [one for one in slices if produced[self._labels[one.tensor][one.dim][0]]]
            if producers:
                groups.append(Group(" + ".join(_layer_name(one.tensor) for one in producers), slices))
        return tuple(groups)


def _layer_name(tensor: str) -> str:
    return tensor.rpartition(".")[0] or tensor


def _operator_name(target: Any) -> str:
    schema = getattr(target, "_schema", None)
    name = schema.name if schema is not None else str(target)
    return name.removeprefix("aten::")


def _fixed_like(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return fixed_labels(value.shape)
    if isinstance(value, (list, tuple)):
        return [_fixed_like(one) for one in value]
    return None


def _flat(values: list[Any]) -> list[Any]:
    found = []
    for value in values:
        found.extend(_flat(value) if isinstance(value, list) else [value])
    return found

"""A plan: ordered edits on names of parameters and modules. Printed, saved and compared before anything is cut.

A plan is data. Applying it to a fresh network of the same class rebuilds the compressed shapes, into which the
saved weights go; so a compressed network needs no pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from edge_dendrite.errors import PruneError

SCHEMA = "edge-dendrite.plan"
VERSION = 1


@dataclass(frozen=True)
class Cut:
    """Keep only the indices `keep` of dimension `dim` of a parameter or buffer."""

    tensor: str
    dim: int
    keep: tuple[int, ...]


@dataclass(frozen=True)
class SetAttribute:
    """Set a whole-number attribute of a module, such as `out_channels`, that a cut has changed."""

    module: str
    attribute: str
    value: int


@dataclass(frozen=True)
class LayerChange:
    """One line for people: units of a layer before and after, and the summed score of what is removed."""

    layer: str
    before: int
    after: int
    removed_score: float
    total_score: float


@dataclass(frozen=True)
class Plan:
    """Edits in order, and the lines that explain them. An empty plan changes nothing."""

    edits: tuple[Cut | SetAttribute, ...] = ()
    layers: tuple[LayerChange, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        edits = [{"edit": "cut" if isinstance(edit, Cut) else "set", **asdict(edit)} for edit in self.edits]
        for edit in edits:
            if "keep" in edit:
                edit["keep"] = list(edit["keep"])
        layers = [asdict(layer) for layer in self.layers]
        return {"schema": SCHEMA, "version": VERSION, "edits": edits, "layers": layers}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`. Raises PruneError for anything that is not a plan."""
        try:
            if values["schema"] != SCHEMA or values["version"] != VERSION:
                raise ValueError(f"schema {values['schema']!r} version {values['version']!r}")
            edits = tuple(_edit_from_dict(edit) for edit in values["edits"])
            layers = tuple(LayerChange(**layer) for layer in values["layers"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PruneError(f"not a plan of version {VERSION} ({error})") from error
        return cls(edits, layers)


def _edit_from_dict(values: Mapping[str, Any]) -> Cut | SetAttribute:
    rest = {key: value for key, value in values.items() if key != "edit"}
    if values["edit"] == "cut":
        cut = Cut(**{**rest, "keep": tuple(rest["keep"])})
        if not all(type(index) is int for index in (cut.dim, *cut.keep)):
            raise ValueError(f"indices of {cut.tensor} are not whole numbers")
        return cut
    if values["edit"] == "set":
        change = SetAttribute(**rest)
        # Only numbers that describe sizes: a plan must not be able to put anything else into a module.
        if type(change.value) is not int or change.attribute.startswith("_"):
            raise ValueError(f"attribute {change.attribute} of {change.module}")
        return change
    raise ValueError(f"unknown edit {values['edit']!r}")


def apply_plan_(module: nn.Module, plan: Plan) -> nn.Module:
    """Apply the edits in place and return `module`. Tensors registered under several names stay shared.

    Raises PruneError when a name is missing or an index does not exist; `module` is then unchanged.
    """
    _check_fits(module, plan)
    for edit in plan.edits:
        if isinstance(edit, Cut):
            _cut_(module, edit)
        else:
            setattr(module.get_submodule(edit.module), edit.attribute, edit.value)
    return module


def find_tensor(module: nn.Module, name: str) -> torch.Tensor | None:
    """The parameter or buffer of that name, or None."""
    owner_name, _, leaf = name.rpartition(".")
    try:
        owner = module.get_submodule(owner_name)
    except AttributeError:
        return None
    found = owner._parameters.get(leaf)
    return found if found is not None else owner._buffers.get(leaf)


def _check_fits(module: nn.Module, plan: Plan) -> None:
    sizes: dict[tuple[int, int], int] = {}
    for edit in plan.edits:
        if isinstance(edit, SetAttribute):
            try:
                owner = module.get_submodule(edit.module)
            except AttributeError as error:
                raise PruneError(f"the plan names module {edit.module!r}, which this network does not have") from error
            if type(getattr(owner, edit.attribute, None)) is not int:
                raise PruneError(f"the plan sets {edit.module}.{edit.attribute}, which is not a number here")
            continue
        tensor = find_tensor(module, edit.tensor)
        if tensor is None or not 0 <= edit.dim < tensor.dim():
            raise PruneError(f"the plan cuts {edit.tensor!r}, which this network does not have in that shape")
        size = sizes.get((id(tensor), edit.dim), tensor.shape[edit.dim])
        if not edit.keep or list(edit.keep) != sorted(set(edit.keep)) or not 0 <= edit.keep[0] <= edit.keep[-1] < size:
            raise PruneError(
                f"the plan keeps indices of {edit.tensor} dimension {edit.dim} that do not fit size {size}"
            )
        sizes[(id(tensor), edit.dim)] = len(edit.keep)


def _cut_(module: nn.Module, cut: Cut) -> None:
    old = find_tensor(module, cut.tensor)
    assert old is not None
    kept = old.detach().index_select(cut.dim, torch.tensor(cut.keep, device=old.device)).clone()
    new = nn.Parameter(kept, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else kept
    for owner in module.modules():
        for table in (owner._parameters, owner._buffers):
            for name, tensor in table.items():
                if tensor is old:
                    table[name] = new

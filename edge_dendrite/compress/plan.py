"""A plan: ordered edits on names of parameters and modules. Printed, saved and compared before anything is cut.

A plan is data. Applying it to a fresh network of the same class rebuilds the compressed shapes, into which the
saved weights go; so a compressed network needs no pickle.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from edge_dendrite.compress.layers.attention import PlainAttention, forbid_nested_tensors_
from edge_dendrite.compress.layers.build import build_layer, check_settings
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
    """Set a whole-number attribute of a module, such as `out_channels`, that a cut has changed; or entry `index` of a
    tuple, such as `normalized_shape`."""

    module: str
    attribute: str
    value: int
    index: int | None = None


@dataclass(frozen=True)
class Replace:
    """Put a layer of `kind` (layers/build.py) in the place of another; `settings` are JSON-ready."""

    module: str
    kind: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class LayerChange:
    """One line for people: units of a layer before and after, and the summed score of what is removed.

    parameters_saved, macs_saved: what cutting this layer alone would save; cuts of neighbours overlap.
    """

    layer: str
    before: int
    after: int
    removed_score: float
    total_score: float
    parameters_saved: int = 0
    macs_saved: int = 0


Edit = Cut | SetAttribute | Replace
_EDIT_NAMES: dict[type, str] = {Cut: "cut", SetAttribute: "set", Replace: "replace"}


@dataclass(frozen=True)
class Plan:
    """Edits in order, and the lines that explain them. An empty plan changes nothing."""

    edits: tuple[Edit, ...] = ()
    layers: tuple[LayerChange, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        edits = [{"edit": _EDIT_NAMES[type(edit)], **asdict(edit)} for edit in self.edits]
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


def _edit_from_dict(values: Mapping[str, Any]) -> Edit:
    rest = {key: value for key, value in values.items() if key != "edit"}
    if values["edit"] == "cut":
        cut = Cut(**{**rest, "keep": tuple(rest["keep"])})
        if not isinstance(cut.tensor, str) or not all(type(index) is int for index in (cut.dim, *cut.keep)):
            raise ValueError(f"indices of {cut.tensor} are not whole numbers")
        return cut
    if values["edit"] == "set":
        change = SetAttribute(**rest)
        # Only numbers that describe sizes: a plan must not be able to put anything else into a module.
        entry_fits = change.index is None or (type(change.index) is int and change.index >= 0)
        named = isinstance(change.module, str) and isinstance(change.attribute, str)
        if not named or not entry_fits or change.attribute.startswith("_"):
            raise ValueError(f"attribute {change.attribute} of {change.module}")
        if type(change.value) is not int or not 0 < change.value < 2**31:
            raise ValueError(f"attribute {change.attribute} of {change.module}")
        return change
    if values["edit"] == "replace":
        replace = Replace(**rest)
        if not isinstance(replace.module, str):
            raise ValueError("a replaced module has no name")
        check_settings(replace.kind, replace.settings)
        return replace
    raise ValueError(f"unknown edit {values['edit']!r}")


def apply_plan_(module: nn.Module, plan: Plan) -> nn.Module:
    """Apply the edits in place and return `module`. Tensors registered under several names stay shared.

    Raises PruneError when a name is missing or an index does not exist; `module` is then unchanged.
    """
    restore = _remember(module)
    try:
        # Names and sizes after a replacement are those of the new layer, so what follows it is checked then.
        for edits in _stretches(plan.edits):
            _check_fits(module, edits)
            for edit in edits:
                _apply_(module, edit)
    except BaseException:
        restore()
        raise
    return module


def cut_copy(module: nn.Module, plan: Plan) -> nn.Module:
    """A copy of `module` with the cuts and attributes of a plan without replacements. What is cut away is never copied.

    Raises PruneError as `apply_plan_`.
    """
    _check_fits(module, plan.edits)
    tensors: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for edit in plan.edits:
        if isinstance(edit, Cut):
            old = find_tensor(module, edit.tensor)
            assert old is not None
            tensors[id(old)] = (old, _kept(tensors.get(id(old), (old, old))[1], edit))
    memo = {key: _like(old, kept) for key, (old, kept) in tensors.items()}
    copied = copy.deepcopy(module, memo)
    for edit in plan.edits:
        if isinstance(edit, SetAttribute):
            _set_(copied.get_submodule(edit.module), edit)
    return copied


def _apply_(module: nn.Module, edit: Edit) -> None:
    if isinstance(edit, Cut):
        _cut_(module, edit)
    elif isinstance(edit, Replace):
        _replace_(module, edit)
    else:
        _set_(module.get_submodule(edit.module), edit)


def _stretches(edits: tuple[Edit, ...]) -> Iterator[tuple[Edit, ...]]:
    """The edits in runs of which each ends with its only replacement, or at the end."""
    start = 0
    for number, edit in enumerate(edits, 1):
        if isinstance(edit, Replace) or number == len(edits):
            yield edits[start:number]
            start = number


def _remember(module: nn.Module) -> Callable[[], None]:
    """A function that undoes all edits: they exchange entries of tables and lists, and change no tensor in place."""
    parts = list(module.modules())
    tables = [
        (table, dict(table)) for part in parts for table in (vars(part), part._parameters, part._buffers, part._modules)
    ]
    lists = [(value, list(value)) for part in parts for value in vars(part).values() if type(value) is list]

    def restore() -> None:
        for table, before in tables:
            table.clear()
            table.update(before)
        for one, entries in lists:
            one[:] = entries

    return restore


def find_tensor(module: nn.Module, name: str) -> torch.Tensor | None:
    """The parameter or buffer of that name, or None."""
    owner_name, _, leaf = name.rpartition(".")
    try:
        owner = module.get_submodule(owner_name)
    except AttributeError:
        return None
    found = owner._parameters.get(leaf)
    return found if found is not None else owner._buffers.get(leaf)


def _check_fits(module: nn.Module, edits: tuple[Edit, ...]) -> None:
    sizes: dict[tuple[int, int], int] = {}
    for edit in edits:
        if isinstance(edit, Replace):
            _replaced(module, edit)
            continue
        if isinstance(edit, SetAttribute):
            try:
                owner = module.get_submodule(edit.module)
            except AttributeError as error:
                raise PruneError(f"the plan names module {edit.module!r}, which this network does not have") from error
            if not _is_number(vars(owner).get(edit.attribute), edit.index):
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


def _is_number(value: Any, index: int | None) -> bool:
    if index is None:
        return type(value) is int
    return type(value) in (tuple, list, torch.Size) and index < len(value) and type(value[index]) is int


def _set_(owner: nn.Module, edit: SetAttribute) -> None:
    old = getattr(owner, edit.attribute)
    if edit.index is None:
        setattr(owner, edit.attribute, edit.value)
    else:
        entries = list(old)
        entries[edit.index] = edit.value
        setattr(owner, edit.attribute, type(old)(entries))


def _cut_(module: nn.Module, cut: Cut) -> None:
    old = find_tensor(module, cut.tensor)
    assert old is not None
    new = _like(old, _kept(old, cut))
    for owner in module.modules():
        for table in (owner._parameters, owner._buffers):
            for name, tensor in list(table.items()):
                if tensor is old:
                    # Through setattr: recurrent layers keep a second list of their weights that follows it.
                    setattr(owner, name, new)


def _kept(tensor: torch.Tensor, cut: Cut) -> torch.Tensor:
    return tensor.detach().index_select(cut.dim, torch.tensor(cut.keep, device=tensor.device))


def _like(old: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return nn.Parameter(values, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else values


def _replaced(module: nn.Module, edit: Replace) -> nn.Module:
    try:
        old = module.get_submodule(edit.module)
    except AttributeError as error:
        raise PruneError(f"the plan replaces module {edit.module!r}, which this network does not have") from error
    if old is module:
        raise PruneError("the plan replaces the whole network, not a layer of it")
    own = {id(parameter) for parameter in old.parameters()}
    inside = set(old.modules())
    for other in module.modules():
        if other not in inside and any(id(one) in own for one in other._parameters.values()):
            raise PruneError(f"the plan replaces {edit.module!r}, whose weight another layer shares")
    return old


def _replace_(module: nn.Module, edit: Replace) -> None:
    old = _replaced(module, edit)
    new = build_layer(old, edit.kind, edit.settings)
    put_in_place_(module, old, new)
    if isinstance(new, PlainAttention):
        forbid_nested_tensors_(module)


def put_in_place_(module: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Everywhere in `module` where `old` is a part, `new` is it then; not inside of `new` itself."""
    inside = set(new.modules())
    for owner in list(module.modules()):
        for name, part in owner._modules.items():
            if part is old and owner not in inside:
                owner._modules[name] = new

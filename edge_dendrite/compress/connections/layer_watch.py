"""One forward, watched: which layers are called, with what, and who else reads their weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree

from edge_dendrite.compress.forward import Inputs, forward
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating


@dataclass
class Watch:
    """What one forward did: the inputs of each call of a layer, in the order of first calls; layers whose input was
    given by keyword; layers whose weight was read by others."""

    calls: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    called_by_keyword: set[str] = field(default_factory=set)
    read_elsewhere: set[str] = field(default_factory=set)


def watch_layers(module: nn.Module, candidates: dict[str, Any], inputs: Inputs) -> Watch:
    mode = _WatchMode(candidates)
    hooks = []
    for name, part in candidates.items():
        hooks.append(part.register_forward_pre_hook(mode.entering(name)))
        hooks.append(part.register_forward_hook(mode.leaving))
    try:
        with evaluating(module), torch.no_grad(), mode:
            forward(module, inputs)
    except Exception as error:  # whatever the user's forward raises
        raise PruneError(f"the network fails at its forward ({type(error).__name__}: {error})") from error
    finally:
        for hook in hooks:
            hook.remove()
    return mode.watch


class _WatchMode(TorchFunctionMode):
    """Sees every torch function of a forward: who reads which weight, and which features make up a map."""

    def __init__(self, candidates: dict[str, Any]) -> None:
        super().__init__()
        self.watch = Watch()
        self._owners = {id(one): name for name, part in candidates.items() for one in part.parameters()}
        self._inside: list[str] = []
        self._map_sizes: dict[int, int] = {}
        self._alive: list[torch.Tensor] = []  # or another tensor could get the number of one that is gone

    def entering(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(part: nn.Module, args: Any) -> None:
            self._inside.append(name)
            if not args:
                self.watch.called_by_keyword.add(name)
            x = args[0] if args and isinstance(args[0], torch.Tensor) else None
            map_size = self._map_sizes.get(id(x), 1)
            positions = math.prod(x.shape[1:-1]) if x is not None and x.dim() > 2 else 1
            self.watch.calls.setdefault(name, []).append((map_size, positions))

        return hook

    def leaving(self, part: nn.Module, args: Any, result: Any) -> None:
        self._inside.pop()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [one for one in _pytree.tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        for one in tensors:
            owner = self._owners.get(id(one))
            if owner is not None and owner not in self._inside[-1:]:
                self.watch.read_elsewhere.add(owner)
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and tensors:
            self._follow_maps(func, tensors[0], result)
        return result

    def _follow_maps(self, func: Any, source: torch.Tensor, result: torch.Tensor) -> None:
        """Remember what comes out of a flatten of maps, and what elementwise functions make of it."""
        size = self._map_sizes.get(id(source), 1)
        if getattr(func, "__name__", "") in ("flatten", "view", "reshape") and source.dim() > 2 and result.dim() == 2:
            flat = source.shape[0] == result.shape[0] and math.prod(source.shape[1:]) == result.shape[1]
            size = math.prod(source.shape[2:]) if flat else 1
        elif source.shape != result.shape:
            size = 1
        if size > 1:
            self._map_sizes[id(result)] = size
            self._alive.append(result)

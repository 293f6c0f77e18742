"""Gated networks for export: which blocks have gates, what each is given, and inputs that take every way.

How a gate becomes an `If` is in torchscript.py and dynamo.py.
"""

from __future__ import annotations

import copy
from typing import Any

import onnx
import torch
from torch import nn

from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.plan import put_in_place_
from edge_dendrite.errors import ExportError
from edge_dendrite.train.evaluate import evaluating


@torch.no_grad()
def inputs_of_blocks(module: nn.Module, example: torch.Tensor) -> dict[str, torch.Tensor]:
    """What each gated block of `module`, in evaluation, is given for `example` (1, ...), by name.

    Raises ExportError for a gated block inside of another one, one that is not called, and one that is not given one
    input at a time, always of one shape.
    """
    names = [name for name, part in module.named_modules() if isinstance(part, GatedBlock)]
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in names}

    def hook(name: str) -> Any:
        return lambda part, args: seen[name].append(args[0].clone())

    handles = [module.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]
    try:
        module(example)
    finally:
        for handle in handles:
            handle.remove()
    for name in names:
        inner = [other for other in names if other != name and other.startswith(f"{name}.")]
        if inner:
            raise ExportError(f"gated block {inner[0]!r} is inside of {name!r}; open one of the two")
        if not seen[name]:
            raise ExportError(f"gated block {name!r} is not called in the forward of this network")
        for x in seen[name]:
            if len(x) != 1:
                raise ExportError(f"gated block {name!r} is given {len(x)} parts of one input at a time")
            if x.shape != seen[name][0].shape:
                raise ExportError(f"gated block {name!r} is given inputs of several shapes")
    return {name: inputs[0] for name, inputs in seen.items()}


def check_every_gate(content: bytes, module: nn.Module) -> None:
    """Raise ExportError unless the file has as many decisions as the network has gates."""
    wanted = sum(isinstance(part, GatedBlock) for part in module.modules())
    nodes = onnx.load_model_from_string(content).graph.node
    found = sum(node.op_type == "If" for node in nodes)
    if found < wanted:
        raise ExportError(
            f"the file has {found} decisions for {wanted} gates: a gated block is reached by another way than its name"
        )


def with_open_gates(module: nn.Module) -> nn.Module:
    """A copy in which every gated block is its block alone."""
    copied = copy.deepcopy(module)
    for part in [one for one in copied.modules() if isinstance(one, GatedBlock)]:
        put_in_place_(copied, part, part.block)
    return copied


@torch.no_grad()
def inputs_of_every_path(module: nn.Module, inputs: torch.Tensor, count: int = 0) -> torch.Tensor:
    """Indices into `inputs` (n, ...): few inputs that take every gate both ways, and the first `count` beside them.

    An input on which a gate hardly decides could go the other way on a device that rounds differently: of those that go
    a way the one is taken whose least decided gate is the most decided, and the first `count` are those of the
    more decided half. Raises ExportError naming a gate that takes one way for all of them: it decides nothing, and the
    other way could not be checked.
    """
    logits = [_logits(module, one) for one in inputs]
    certain = [min((abs(value) for value in one.values()), default=0.0) for one in logits]
    chosen: set[int] = set()
    for name in [name for name, part in module.named_modules() if isinstance(part, GatedBlock)]:
        for is_open in (True, False):
            going = [at for at, one in enumerate(logits) if name in one and (one[name] > 0) is is_open]
            if not going:
                only = "closed" if is_open else "open"
                raise ExportError(
                    f"gate {name!r} is {only} for all of {len(inputs)} inputs: it decides nothing, and its other way "
                    "cannot be checked. Take the gate away, train it with another target, or give inputs of both kinds"
                )
            chosen.add(max(going, key=lambda at: certain[at]))
    middle = sorted(certain)[len(certain) // 2]
    chosen |= set([at for at, value in enumerate(certain) if value >= middle][:count])
    return torch.tensor(sorted(chosen))


def _logits(module: nn.Module, one: torch.Tensor) -> dict[str, float]:
    """What each gate says of one input; gates that it does not meet are missing."""
    found: dict[str, float] = {}
    handles = [
        part.gate.register_forward_hook(lambda gate, args, y, name=name: found.__setitem__(name, float(y[0])))
        for name, part in module.named_modules()
        if isinstance(part, GatedBlock)
    ]
    try:
        with evaluating(module):
            module(one[None])
    finally:
        for handle in handles:
            handle.remove()
    return found

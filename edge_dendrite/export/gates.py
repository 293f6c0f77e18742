"""Gated networks in ONNX: each gate an `If` whose subgraphs hold the weights that only they need.

Tracing alone would keep the way that the example took and drop the other without a word, so each gated block is
scripted around its traced parts first. Exporters leave all weights outside of the `If`; there the way that was taken
took 1.9 times as long in ONNX Runtime as the same block without a gate, and 1.05 times with the weights inside.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import onnx
import torch
from torch import nn

from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.plan import put_in_place_
from edge_dendrite.errors import ExportError
from edge_dendrite.train.evaluate import evaluating


class _Either(nn.Module):
    """What is scripted: the decision for a batch of one."""

    def __init__(self, gate: nn.Module, block: nn.Module, bypass: nn.Module) -> None:
        super().__init__()
        self.gate, self.block, self.bypass = gate, block, bypass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(self.gate(x)[0] > 0):
            y = self.block(x)
        else:
            y = self.bypass(x)
        return y


@torch.no_grad()
def traced_with_gates(module: nn.Module, example: torch.Tensor) -> torch.nn.Module:
    """`module`, which is unchanged, as a script module in which every gate is still a decision; example (1, ...).

    Raises ExportError for a gated block inside of another one, one that is not called, and one that is not given one
    input at a time.
    """
    copied = copy.deepcopy(module).eval()
    names = [name for name, part in copied.named_modules() if isinstance(part, GatedBlock)]
    for name in names:
        inner = [other for other in names if other != name and other.startswith(f"{name}.")]
        if inner:
            raise ExportError(f"gated block {inner[0]!r} is inside of {name!r}; open one of the two")
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # the exporter has no symbol for what it would become
        seen = _inputs_of_blocks(copied, names, example)
        for name in names:
            part: Any = copied.get_submodule(name)
            if name not in seen:
                raise ExportError(f"gated block {name!r} is not called in the forward of this network")
            if len(seen[name]) != 1:
                raise ExportError(f"gated block {name!r} is given {len(seen[name])} parts of one input at a time")
            traced = [torch.jit.trace(one, seen[name].clone()) for one in (part.gate, part.block, part.bypass)]
            put_in_place_(copied, part, torch.jit.script(_Either(*traced)))
        made: torch.nn.Module = torch.jit.trace(copied, example, check_trace=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return made


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


def _inputs_of_blocks(module: nn.Module, names: list[str], example: torch.Tensor) -> dict[str, torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}

    def hook(name: str) -> Any:
        return lambda part, args: seen.__setitem__(name, args[0].clone())

    handles = [module.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]
    try:
        module(example)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def weights_into_branches(content: bytes) -> bytes:
    """The ONNX file with every initializer that only one subgraph of an `If` reads inside of that subgraph, and without
    those that nobody reads."""
    model = onnx.load_model_from_string(content)
    graph = model.graph
    _write_out_copies(graph)
    outside = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    readers: dict[str, list[onnx.GraphProto]] = {}
    for branch in _branches(graph):
        for name in _names_read(branch):
            readers.setdefault(name, []).append(branch)
    for tensor in list(graph.initializer):
        owners = readers.get(tensor.name, [])
        if tensor.name in outside or len(owners) > 1:
            continue
        if owners:
            owners[0].initializer.append(tensor)
        graph.initializer.remove(tensor)
    result: bytes = model.SerializeToString()
    return result


def _write_out_copies(graph: onnx.GraphProto) -> None:
    """Equal weights are written once by the exporter, and copied at run time by Identity: each gets its own again."""
    values = {tensor.name: tensor for tensor in graph.initializer}
    for node in [one for one in graph.node if one.op_type == "Identity" and one.input[0] in values]:
        own = onnx.TensorProto()
        own.CopyFrom(values[node.input[0]])
        own.name = node.output[0]
        graph.initializer.append(own)
        graph.node.remove(node)


def all_initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """All weights of a graph, those of its subgraphs too."""
    yield from graph.initializer
    for branch in _branches(graph):
        yield from all_initializers(branch)


def _branches(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The subgraphs of the main graph's own nodes."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield attribute.g


def _names_read(graph: onnx.GraphProto) -> set[str]:
    """What a subgraph reads, those below it too."""
    names = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
    for inner in _branches(graph):
        names |= _names_read(inner)
    return names


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

"""The exporter behind torch.export, for opset 18 and above: below it silently writes 18."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import nn

from edge_dendrite.compress.forward import Inputs, arguments, batch_size, first_samples
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.plan import put_in_place_
from edge_dendrite.errors import ExportError
from edge_dendrite.export.gates import inputs_of_blocks
from edge_dendrite.export.subgraphs import strip_notes, weights_into_branches
from edge_dendrite.export.torchscript import BATCH, Names

FIRST_OPSET = 18


def export_dynamo(module: nn.Module, example: Inputs, opset: int, names: Names, dynamic_batch: bool = False) -> bytes:
    """As export_torchscript: the ONNX file of `module`, which is unchanged, with all its weights in it.

    It says the oldest IR version that has its opset, and nothing of the machine that it was made on.
    """
    gated = has_gates(module)
    if gated:
        if not isinstance(example, torch.Tensor):
            raise ExportError("a network with gates is exported for one input tensor only")
        module = _with_conditions(module, example)
    shapes: Any = None
    if dynamic_batch:
        example = first_samples(example, 2)  # of one, torch.export would make a constant
    positional, keywords = arguments(example)
    if dynamic_batch:
        batch = {0: torch.export.Dim(BATCH, min=1)}
        size = batch_size(example)
        axes = {name: batch if one.dim() and len(one) == size else None for name, one in keywords.items()}
        shapes = tuple(batch if one.dim() and len(one) == size else None for one in positional) or axes
    with _quiet(), torch.no_grad():
        # Given a module, it would try several ways to a graph, and report the failure of the last one.
        program: Any = torch.onnx.export(
            torch.export.export(module, positional, keywords, dynamic_shapes=shapes),
            (),
            dynamo=True,
            opset_version=opset,
            input_names=list(names[0]),
            output_names=list(names[1]),
            external_data=False,
            verbose=False,
        )
    model = program.model_proto
    strip_notes(model.graph)
    model.ClearField("metadata_props")
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import)
    content: bytes = model.SerializeToString()
    return weights_into_branches(content) if gated else content


def _with_conditions(module: nn.Module, example: torch.Tensor) -> nn.Module:
    """A copy in which every gated block is a torch.cond."""
    copied = copy.deepcopy(module).eval()
    for name in inputs_of_blocks(copied, example):
        part: Any = copied.get_submodule(name)
        put_in_place_(copied, part, _Either(part.gate, part.block, part.bypass))
    return copied


class _Either(nn.Module):
    """The decision for a batch of one."""

    def __init__(self, gate: nn.Module, block: nn.Module, bypass: nn.Module) -> None:
        super().__init__()
        self.gate, self.block, self.bypass = gate, block, bypass

    def forward(self, x: torch.Tensor) -> Any:
        return torch.cond(self.gate(x)[0] > 0, self._opened, self._closed, (x,))

    # torch.cond takes no way that gives a view of its input back, nor two that lie differently in memory.

    def _opened(self, x: torch.Tensor) -> torch.Tensor:
        return self.block(x).clone(memory_format=torch.contiguous_format)

    def _closed(self, x: torch.Tensor) -> torch.Tensor:
        return self.bypass(x).clone(memory_format=torch.contiguous_format)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of every library that is not installed, and of a network that fails the whole graph."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)

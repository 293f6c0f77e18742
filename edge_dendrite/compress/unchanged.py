"""Running a network only to look at it: afterwards it is as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def left_unchanged(module: nn.Module) -> Iterator[None]:
    """Put back what a forward may leave behind: attributes and lists of every part, and values of buffers.

    Random numbers drawn meanwhile are not drawn for the caller. Parameters are taken to be read only.
    """
    parts = list(module.modules())
    tables = [
        (table, dict(table)) for part in parts for table in (vars(part), part._parameters, part._buffers, part._modules)
    ]
    lists = [(value, list(value)) for part in parts for value in vars(part).values() if type(value) is list]
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for table, before in tables:
                table.clear()
                table.update(before)
            for one, entries in lists:
                one[:] = entries
            with torch.no_grad():
                for buffer, values in buffers:
                    buffer.copy_(values)

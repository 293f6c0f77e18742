"""What tells one piece of work from another: digests of settings and of the source of networks."""

from __future__ import annotations

import hashlib
import inspect
import json
from typing import Any

from torch import nn


def digest_of(value: Any) -> str:
    """sha256 of a JSON-ready value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def source_digest(module: nn.Module) -> str:
    """sha256 over the source of the network's own classes: a changed `forward` must not pass for the old one."""
    sources = set()
    for kind in {type(part) for part in module.modules()}:
        if kind.__module__.partition(".")[0] != "torch":
            try:
                sources.add(inspect.getsource(kind))
            except (OSError, TypeError):  # typed at a prompt, or built at run time
                sources.add(f"{kind.__module__}.{kind.__qualname__}")
    return digest_of([repr(module), sorted(sources)])

"""What pruning gives, at every level."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from edge_dendrite.compress.plan import Plan


@dataclass(frozen=True)
class Pruned:
    """A smaller network of the same class, and the plan that leads from the original to it.

    kept: layers that stay whole, with the reason.
    """

    module: nn.Module
    plan: Plan
    kept: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Planned:
    """What would be cut: the plan, the layers that stay whole with the reason, and the totals before and after."""

    plan: Plan
    kept: dict[str, str]
    num_parameters: tuple[int, int] = (0, 0)
    num_macs: tuple[int, int] = (0, 0)

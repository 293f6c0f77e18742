"""A block that runs only for inputs that need it.

Source: Veit and Belongie 2018, "Convolutional Networks with Adaptive Inference Graphs", section 3: a gate for each
block on pooled features, hard decisions by the straight-through Gumbel trick while it is trained.

Shape suffixes: b batch, c channels or features.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.errors import PruneError

_MAX_WEIGHTS = 1 << 24  # a plan from elsewhere must not fill the memory
_SPREAD = 3.0  # standard deviation of what gates say; that of the noise in training is 1.8
_MOMENTUM = 0.05
_EPSILON = 1e-6


class Gate(nn.Module):
    """Pooled features to one number per input, (b, c, ...) to (b,): above zero the block runs.

    The numbers have a fixed spread over inputs, as under a batch norm (Ioffe and Szegedy 2015, section 3), and only
    their mean is learned: a gate can be open or closed for most inputs, but it cannot run off to where no input and no
    gradient moves it, which gates without this do under any pressure to close.
    """

    mean: torch.Tensor
    var: torch.Tensor

    def __init__(self, num_inputs: int, hidden: int, channel_dim: int) -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.hidden, self.decide = nn.Linear(num_inputs, hidden), nn.Linear(hidden, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("var", torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled_bc = x if x.dim() == 2 else x.mean([at for at in range(1, x.dim()) if at != self.channel_dim % x.dim()])
        hidden_bh = self.hidden(pooled_bc).relu()
        if not self.training:
            scale = _SPREAD * (self.var + _EPSILON).rsqrt()
            # On the weights, which an exporter folds, and not on the number.
            return functional.linear(hidden_bh, self.decide.weight * scale, self.bias - self.mean * scale).squeeze(-1)
        raw_b = self.decide(hidden_bh).squeeze(-1).float()
        var, mean = torch.var_mean(raw_b, correction=0)
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean.dtype), _MOMENTUM)
            self.var.lerp_(var.to(self.var.dtype), _MOMENTUM)
        return _SPREAD * (raw_b - mean) * (var + _EPSILON).rsqrt() + self.bias


class GatedBlock(nn.Module):
    """`block` where the gate is open, `bypass` where it is closed, decided for each input by itself.

    In training both are computed, and gradients pass the decision straight through; `take_open_rate` gives the share
    of the batch that was open, and `num_steps` counts the batches. In evaluation each input goes one way, and only that
    way is computed. is_held_open: the block runs for all, whatever the gate says.
    """

    num_steps: torch.Tensor

    def __init__(self, block: nn.Module, bypass: nn.Module, gate: Gate) -> None:
        super().__init__()
        self.block, self.bypass, self.gate = block, bypass, gate
        self.is_held_open = False
        self._open_rate: torch.Tensor | None = None
        self.register_buffer("num_steps", torch.zeros((), dtype=torch.long))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_held_open:
            return self.block(x)
        logits_b = self.gate(x)
        if self.training:
            return self._both(x, logits_b)
        is_open_b = logits_b > 0
        if bool(is_open_b.all()):
            return self.block(x)
        if not bool(is_open_b.any()):
            return self.bypass(x)
        opened, closed = self.block(x[is_open_b]), self.bypass(x[~is_open_b])
        y = opened.new_empty(len(x), *opened.shape[1:])
        y[is_open_b], y[~is_open_b] = opened, closed.to(opened.dtype)
        return y

    def take_open_rate(self) -> torch.Tensor | None:
        """The share of the last training batch that was open (a scalar with a gradient); None where it was taken."""
        rate, self._open_rate = self._open_rate, None
        return rate

    def _both(self, x: torch.Tensor, logits_b: torch.Tensor) -> torch.Tensor:
        logits_b = logits_b.float()  # half precision has too few numbers near 0 and 1
        uniform_b = torch.rand_like(logits_b).clamp(1e-6, 1.0 - 1e-6)
        soft_b = torch.sigmoid(logits_b + uniform_b.logit())
        # Forward the decision, backward the probability.
        hard_b = (soft_b > 0.5).to(soft_b.dtype) + (soft_b - soft_b.detach())
        self._open_rate = hard_b.mean()
        self.num_steps += 1
        opened, closed = self.block(x), self.bypass(x)
        if opened.shape != closed.shape:
            raise PruneError(f"a gated block gives {tuple(opened.shape)} and its bypass {tuple(closed.shape)}")
        share = hard_b.view(-1, *[1] * (opened.dim() - 1)).to(opened.dtype)
        return share * opened + (1.0 - share) * closed.to(opened.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open_rate": None}  # of a step that is over; it cannot be copied


def has_gates(module: nn.Module) -> bool:
    """Whether any part of `module` is gated."""
    return any(isinstance(part, GatedBlock) for part in module.modules())


def gated_block(
    old: nn.Module,
    num_inputs: int,
    num_outputs: int,
    stride: int,
    num_dims: int,
    channels_last: int,
    hidden: int,
    copies_block: int = 0,
) -> GatedBlock:
    """`old` with a gate that starts open, and a bypass. Raises PruneError for numbers that are no sizes.

    num_inputs, num_outputs: channels or features of what `old` takes and gives; channels_last: 1 where they are its
    last dimension. copies_block: 1 where the bypass is a copy of the block, which the plan goes on to make cheaper;
    else it is the identity where the widths agree and stride is 1, a linear map of each position elsewhere, with
    `stride` along the num_dims dimensions of positions, of zeros.
    """
    if min(num_inputs, num_outputs, stride, hidden) < 1 or num_dims > 3 or max(channels_last, copies_block) > 1:
        raise PruneError("the plan gates a block with sizes that no block has")
    if num_inputs * max(num_outputs, hidden) > _MAX_WEIGHTS:
        raise PruneError(f"the plan gates a block with a gate or bypass of more than {_MAX_WEIGHTS:,} weights")
    if stride > 1 and (channels_last or num_dims == 0):
        raise PruneError("the plan gives a stride to a block without positions to leave out")
    gate = Gate(num_inputs, hidden, -1 if channels_last else 1)
    bypass: Any = copy.deepcopy(old) if copies_block else nn.Identity()
    if not copies_block and (num_inputs != num_outputs or stride != 1):
        kinds: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
        if channels_last or num_dims == 0:
            bypass = nn.Linear(num_inputs, num_outputs)
        else:
            bypass = kinds[num_dims](num_inputs, num_outputs, 1, stride=stride)
        with torch.no_grad():
            for one in bypass.parameters():
                one.zero_()
    with torch.no_grad():
        gate.decide.weight.zero_()
        gate.bias.fill_(2.0)
    like = next(old.parameters(), torch.zeros(()))
    made = GatedBlock(old, bypass, gate).train(old.training)
    for part in (made.gate, made.bypass):
        part.to(like.device, like.dtype)
    made.num_steps = made.num_steps.to(like.device)
    return made

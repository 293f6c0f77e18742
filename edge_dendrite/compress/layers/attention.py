"""Attention whose heads and widths can be cut one by one, in place of `nn.MultiheadAttention`.

The module of torch keeps queries, keys and values in one matrix and asserts that the width of its input is the number
of heads times their size, so neither a head nor the width around it can go alone. The replacement computes the same
with four linear layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.layers.slots import OpenBlock

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class PlainAttention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2) with the signature of `nn.MultiheadAttention`.

    Inputs (b, t, width) with batch_first, else (t, b, width). Subclasses say what the projections are.
    """

    # Tells nn.TransformerEncoderLayer that its fused kernel, which reads one joint matrix, does not apply.
    _qkv_same_embed_dim = False
    head_dim: int
    dropout: float
    batch_first: bool

    def _projected(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """(b, t, f) to (b, t, n) by q_proj, k_proj, v_proj or out_proj."""
        raise NotImplementedError

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        key_padding_mask: torch.Tensor | None = None,
        need_weights: bool = True,
        attn_mask: torch.Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(outputs, attention weights or None), as `nn.MultiheadAttention` returns them."""
        unbatched = query.dim() == 2
        if unbatched:
            query, key, value = (one.unsqueeze(0) for one in (query, key, value))
        elif not self.batch_first:
            query, key, value = (one.transpose(0, 1) for one in (query, key, value))
        q, k, v = (
            self._projected(name, one).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for name, one in (("q_proj", query), ("k_proj", key), ("v_proj", value))
        )
        mask = _joint_mask(attn_mask, key_padding_mask, q)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = q @ k.transpose(-2, -1) * self.head_dim**-0.5
            weights = functional.softmax(scores if mask is None else scores + mask, dim=-1)
            weights = functional.dropout(weights, dropout)
            mixed = weights @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, mask, dropout)
        out = self._projected("out_proj", mixed.transpose(1, 2).flatten(2))
        if weights is not None and average_attn_weights:
            weights = weights.mean(1)
        if unbatched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights


class Attention(PlainAttention):
    """Attention of four linear layers. The number of heads follows from the projections."""

    def __init__(
        self,
        widths: tuple[int, int, int, int],
        head_dim: int,
        num_heads: int,
        *,
        bias: bool = True,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        """widths: of queries, keys, values and outputs."""
        super().__init__()
        self.head_dim, self.dropout, self.batch_first = head_dim, dropout, batch_first
        inner = num_heads * head_dim
        self.q_proj = nn.Linear(widths[0], inner, bias, device)
        self.k_proj = nn.Linear(widths[1], inner, bias, device)
        self.v_proj = nn.Linear(widths[2], inner, bias, device)
        self.out_proj = nn.Linear(inner, widths[3], bias, device)

    @property
    def num_heads(self) -> int:
        """How many heads there are."""
        return self.q_proj.weight.shape[0] // self.head_dim

    @property
    def in_proj_bias(self) -> torch.Tensor | None:
        """Only whether there is one is asked."""
        return self.q_proj.bias

    def _projected(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return getattr(self, name)(x)


def _joint_mask(
    attn_mask: torch.Tensor | None, key_padding_mask: torch.Tensor | None, q: torch.Tensor
) -> torch.Tensor | None:
    """Both masks as numbers to add to the scores (b, heads, t, s)."""
    total: torch.Tensor | None = None
    if attn_mask is not None:
        # (t, s), or (b * heads, t, s) with one mask for each head.
        total = _as_numbers(attn_mask, q.dtype)
        if total.dim() == 3:
            total = total.unflatten(0, (q.shape[0], -1))
    if key_padding_mask is not None:
        padding = _as_numbers(key_padding_mask, q.dtype)
        padding = padding.view(-1, 1, 1, padding.shape[-1])
        total = padding if total is None else total + padding
    return total


def _as_numbers(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if mask.dtype != torch.bool:
        return mask.to(dtype)
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))


def replace_attention_(module: nn.Module) -> nn.Module:
    """Put an equal `Attention` in the place of every `nn.MultiheadAttention`; shared ones stay shared.

    Those that have dendrites stay: the block around them reads their weights.
    """
    made: dict[int, nn.Module] = {}
    if can_replace(module):
        return equal_attention(module)
    for part in list(module.modules()):
        if isinstance(part, OpenBlock):
            continue
        for name, child in list(part._modules.items()):
            if child is not None and can_replace(child):
                if id(child) not in made:
                    made[id(child)] = equal_attention(child)
                setattr(part, name, made[id(child)])
    forbid_nested_tensors_(module)
    return module


def replaceable_attention(module: nn.Module) -> list[str]:
    """The names of all that `replace_attention_` replaces inside of `module`."""
    inside = {part.layer for part in module.modules() if isinstance(part, OpenBlock)}
    return [name for name, part in module.named_modules() if name and can_replace(part) and part not in inside]


def forbid_nested_tensors_(module: nn.Module) -> None:
    """An encoder of torch would pack padded inputs for a fused kernel that does not apply any more."""
    for part in module.modules():
        if isinstance(part, nn.TransformerEncoder):
            part.use_nested_tensor = False


def can_replace(part: nn.Module) -> bool:
    """Whether it is an `nn.MultiheadAttention` that the replacement can compute, without hooks that would be lost."""
    if any(getattr(part, name) for name in _HOOKS):
        return False
    return type(part) is nn.MultiheadAttention and part.bias_k is None and not part.add_zero_attn


@torch.no_grad()
def equal_attention(old: Any) -> Attention:
    """The replacement for one `nn.MultiheadAttention`, with its weights."""
    new = Attention(
        (old.embed_dim, old.kdim, old.vdim, old.embed_dim),
        old.head_dim,
        old.num_heads,
        bias=old.in_proj_bias is not None,
        dropout=old.dropout,
        batch_first=old.batch_first,
        device="meta",  # no random number is drawn: the caller's sequence must not depend on this
    )
    new.to_empty(device=old.out_proj.weight.device).to(old.out_proj.weight.dtype)
    if old.in_proj_weight is not None:
        weights = old.in_proj_weight.chunk(3)
    else:
        weights = (old.q_proj_weight, old.k_proj_weight, old.v_proj_weight)
    for at, layer in enumerate((new.q_proj, new.k_proj, new.v_proj)):
        layer.weight.copy_(weights[at])
        if old.in_proj_bias is not None:
            layer.bias.copy_(old.in_proj_bias.chunk(3)[at])
    new.out_proj.load_state_dict(old.out_proj.state_dict())
    joint = old.in_proj_weight
    for layer, weight in zip(
        (new.q_proj, new.k_proj, new.v_proj),
        (joint,) * 3 if joint is not None else (old.q_proj_weight, old.k_proj_weight, old.v_proj_weight),
        strict=True,
    ):
        layer.weight.requires_grad_(weight.requires_grad)
        if old.in_proj_bias is not None:
            layer.bias.requires_grad_(old.in_proj_bias.requires_grad)
    for copied, parameter in zip(new.out_proj.parameters(), old.out_proj.parameters(), strict=True):
        copied.requires_grad_(parameter.requires_grad)
    return new.train(old.training)

"""Blocks that fit behind each other in any order: (b, channels, h, w) in, the same form out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True)
class BlockSpec:
    """A kind out of BLOCKS and the width that it has inside or behind; always a multiple of four."""

    kind: str
    width: int


class Conv(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), width

    def forward(self, x):
        return self.norm(self.conv(x)).relu()


class Depthwise(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.depth, self.point = nn.Conv2d(channels, channels, 3, 1, 1, groups=channels), nn.Conv2d(channels, width, 1)
        self.out = width

    def forward(self, x):
        return functional.relu6(self.point(self.depth(x)))


class Residual(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.a, self.b, self.out = nn.Conv2d(channels, width, 1), nn.Conv2d(width, channels, 3, padding=1), channels

    def forward(self, x):
        return x + self.b(self.a(x).relu())


class Cat(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.a, self.out = nn.Conv2d(channels, width, 3, padding=1), channels + width

    def forward(self, x):
        return torch.cat([self.a(x).tanh(), x], 1)


class Split(nn.Module):
    """One half passes, the other goes through a convolution; by chunk, by split or by slices."""

    def __init__(self, channels, width):
        super().__init__()
        self.half, self.how = channels // 2, width
        self.a, self.out = nn.Conv2d(self.half, self.half, 3, padding=1), channels

    def forward(self, x):
        if self.how == 4:
            first, second = x.chunk(2, 1)
        elif self.how == 8:
            first, second = x.split([self.half, self.half], dim=1)
        else:
            first, second = x[:, : self.half], x[:, self.half :]
        return torch.cat([first, self.a(second).relu()], 1)


class Shuffle(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.conv, self.out = nn.Conv2d(channels, width, 1), width

    def forward(self, x):
        x = self.conv(x)
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class Grouped(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.conv, self.out = nn.Conv2d(channels, width, 3, padding=1, groups=2), width

    def forward(self, x):
        return self.conv(x).relu()


class Squeeze(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.down, self.up, self.out = nn.Linear(channels, width), nn.Linear(width, channels), channels

    def forward(self, x):
        return x * self.up(self.down(x.mean((2, 3))).relu()).sigmoid()[:, :, None, None]


class Subpixel(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.conv, self.shuffle, self.out = nn.Conv2d(channels, 4 * width, 1), nn.PixelShuffle(2), width

    def forward(self, x):
        return functional.avg_pool2d(self.shuffle(self.conv(x).relu()), 2)


class Transposed(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.up, self.out = nn.ConvTranspose2d(channels, width, 2, stride=2), width

    def forward(self, x):
        return functional.max_pool2d(self.up(x), 2)


class Gated(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.conv, self.out = nn.Conv2d(channels, 2 * width, 1), width

    def forward(self, x):
        return functional.glu(self.conv(x), 1)


class Twice(nn.Module):
    """One convolution used for two steps."""

    def __init__(self, channels, width):
        super().__init__()
        self.inlet, self.conv, self.out = nn.Conv2d(channels, width, 1), nn.Conv2d(width, width, 3, padding=1), width

    def forward(self, x):
        return self.conv(self.conv(self.inlet(x)).relu()).relu()


class Normed(nn.Module):
    """ConvNeXt's inside: LayerNorm with channels last, linear layers, a residual."""

    def __init__(self, channels, width):
        super().__init__()
        self.norm, self.a, self.b = nn.LayerNorm(channels), nn.Linear(channels, width), nn.Linear(width, channels)
        self.out = channels

    def forward(self, x):
        return x + self.b(functional.gelu(self.a(self.norm(x.permute(0, 2, 3, 1))))).permute(0, 3, 1, 2)


BLOCKS = {
    kind.__name__: kind
    for kind in (
        *(Conv, Depthwise, Residual, Cat, Split, Shuffle, Grouped),
        *(Squeeze, Subpixel, Transposed, Gated, Twice, Normed),
    )
}


class Attention(nn.Module):
    """Positions look at each other; the heads are parted by view."""

    def __init__(self, channels):
        super().__init__()
        self.qkv, self.proj = nn.Linear(channels, 24), nn.Linear(8, 4)

    def forward(self, x):
        x = x.flatten(2).transpose(1, 2)
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(b, n, -1)).mean(1)


class Recurrent(nn.Module):
    """Columns are steps."""

    def __init__(self, channels, kind, **options):
        super().__init__()
        self.rnn = kind(channels, 6, batch_first=True, **options)
        self.head = nn.Linear(12 if options.get("bidirectional") else 6, 4)

    def forward(self, x):
        return self.head(self.rnn(x.mean(2).transpose(1, 2))[0][:, -1])


class Flat(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.hidden, self.head = nn.Linear(channels * 36, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.head(self.hidden(x.flatten(1)).relu())


class Pooled(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.head = nn.Linear(channels, 4)

    def forward(self, x):
        return self.head(functional.adaptive_avg_pool2d(x, 1).view(x.size(0), -1))


TAILS = {
    "pooled": Pooled,
    "flat": Flat,
    "attention": Attention,
    "lstm": lambda channels: Recurrent(channels, nn.LSTM),
    "gru": lambda channels: Recurrent(channels, nn.GRU, num_layers=2, bidirectional=True),
}


class Composed(nn.Module):
    """A stem, any blocks, a last convolution, a tail: (b, 3, 6, 6) to (b, 4).

    Places are six and never a number of channels: the oracle tells dimensions by what they hold, and maps of zeros
    hold the same everywhere.
    """

    def __init__(self, blocks: Sequence[BlockSpec], tail: str) -> None:
        super().__init__()
        self.stem, channels = nn.Conv2d(3, 8, 3, padding=1), 8
        self.blocks = nn.ModuleList()
        for spec in blocks:
            self.blocks.append(BLOCKS[spec.kind](channels, spec.width))
            channels = self.blocks[-1].out
        self.last = nn.Conv2d(channels, 8, 1)
        self.tail = TAILS[tail](8)

    def forward(self, x):
        x = self.stem(x).relu()
        for block in self.blocks:
            x = block(x)
        return self.tail(self.last(x).relu())

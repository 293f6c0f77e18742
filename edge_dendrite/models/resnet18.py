"""ResNet-18 for 32x32 images, dense and as a dendritic network of 1/64 of its size.

Source of the dense one: He et al. 2016, "Deep Residual Learning", section 4.2 (the stem for small images) with the
depth and widths of their ResNet-18. Shape suffixes: b batch, c channels, h height, w width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from edge_dendrite.compress.layers.gated import gated_block
from edge_dendrite.compress.layers.group_masks import MaskedLayer

# Of the dendritic network, by stage. Groups of 8 to 32 channels are what runtimes compute fast; the 8 channels of the
# first stage are too few to divide.
DENDRITIC_WIDTHS, DENDRITIC_GROUPS = (8, 16, 64, 128), (1, 2, 4, 4)
_GATE_HIDDEN = 8


class ResNet18Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, each with batch norm; the shortcut is the identity where the shape stays."""

    def __init__(self, num_in: int, num_out: int, stride: int, groups: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.keeps_shape = stride == 1 and num_in == num_out
        self.shortcut = nn.Sequential()
        if not self.keeps_shape:
            self.shortcut.append(nn.Conv2d(num_in, num_out, 1, stride=stride, groups=groups, bias=False))
            self.shortcut.append(nn.BatchNorm2d(num_out))

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        h_bchw = self.bn1(self.conv1(x_bchw)).relu()
        h_bchw = self.bn2(self.conv2(h_bchw))
        return (h_bchw + self.shortcut(x_bchw)).relu()


class ResNet18(nn.Module):
    """Four stages of two blocks; 11,173,962 parameters and 555,422,720 multiply-accumulates with 10 classes.

    widths: channels of each stage; groups: of each stage's convolutions, as in `nn.Conv2d`.
    """

    def __init__(
        self, num_classes: int = 10, widths: Sequence[int] = (64, 128, 256, 512), groups: Sequence[int] = (1, 1, 1, 1)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential()
        num_in = widths[0]
        for stage, (width, count) in enumerate(zip(widths, groups, strict=True)):
            self.blocks.append(ResNet18Block(num_in, width, 2 if stage else 1, count))
            self.blocks.append(ResNet18Block(width, width, 1, count))
            num_in = width
        self.fc = nn.Linear(num_in, num_classes)

    def forward(self, x_b3hw: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) to logits (b, num_classes)."""
        h_bchw = self.blocks(self.bn(self.conv(x_b3hw)).relu())
        return self.fc(h_bchw.mean((2, 3)))


def dendritic_resnet18(num_classes: int = 10) -> ResNet18:
    """A ResNet-18 of dendritic sparse convolutions: learnable masks and gates; see the module's constants.

    While it is trained each convolution of the later stages has dense weights under a mask, by which every group of its
    neurons learns what it reads; `fold_masks` makes grouped convolutions of them. Blocks that keep the shape run only
    for inputs that need them, behind a gate that reads the block's own input; closed, they are the identity. Folded it
    has 173,223 parameters with 10 classes.
    """
    network = ResNet18(num_classes, DENDRITIC_WIDTHS)
    for number, block in enumerate(network.blocks):
        width, groups = DENDRITIC_WIDTHS[number // 2], DENDRITIC_GROUPS[number // 2]
        if groups > 1:
            block.conv1, block.conv2 = MaskedLayer(block.conv1, groups), MaskedLayer(block.conv2, groups)
            if not block.keeps_shape:
                block.shortcut[0] = MaskedLayer(block.shortcut[0], groups)
        if block.keeps_shape:
            network.blocks[number] = gated_block(block, width, width, 1, 2, 0, _GATE_HIDDEN)
    return network


def plain_resnet18(num_classes: int = 10) -> ResNet18:
    """The dendritic network's shape with ordinary grouped convolutions and no gate: its control."""
    return ResNet18(num_classes, DENDRITIC_WIDTHS, DENDRITIC_GROUPS)


def narrow_resnet18(num_classes: int = 10) -> ResNet18:
    """An eighth of the channels everywhere; 176,402 parameters with 10 classes: the plain network of that size."""
    return ResNet18(num_classes, (8, 16, 32, 64))

"""Small convolutional networks.

Shape suffixes: b batch, c channels, h height, w width, f features.
"""

import torch
from torch import nn


class DigitsCNN(nn.Module):
    """For 8x8 grey digits: two 3x3 convolutions, two linear layers; 13,706 parameters with 10 classes."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 2 * 2, 64)
        self.fc2 = nn.Linear(64, num_classes)

    def forward(self, x_b1hw: torch.Tensor) -> torch.Tensor:
        """(b, 1, 8, 8) to logits (b, num_classes)."""
        h_bchw = nn.functional.max_pool2d(self.conv1(x_b1hw).relu(), 2)
        h_bchw = nn.functional.max_pool2d(self.conv2(h_bchw).relu(), 2)
        h_bf = self.fc1(h_bchw.flatten(1)).relu()
        return self.fc2(h_bf)


class MnistCNN(nn.Module):
    """The network of the claims for 28x28 grey digits; 41,076 parameters with 10 classes."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.conv2 = nn.Conv2d(8, 44, 3)
        self.fc1 = nn.Linear(44 * 5 * 5, 34)
        self.fc2 = nn.Linear(34, num_classes)

    def forward(self, x_b1hw: torch.Tensor) -> torch.Tensor:
        """(b, 1, 28, 28) to logits (b, num_classes)."""
        h_bchw = nn.functional.max_pool2d(self.conv1(x_b1hw).relu(), 2)
        h_bchw = nn.functional.max_pool2d(self.conv2(h_bchw).relu(), 2)
        h_bf = self.fc1(h_bchw.flatten(1)).relu()
        return self.fc2(h_bf)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut, a 1x1 convolution where the shape changes."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.shortcut = nn.Identity() if num_in == num_out else nn.Conv2d(num_in, num_out, 1, stride=stride)

    def forward(self, x_bchw: torch.Tensor) -> torch.Tensor:
        h_bchw = self.bn1(self.conv1(x_bchw)).relu()
        h_bchw = self.bn2(self.conv2(h_bchw))
        return (h_bchw + self.shortcut(x_bchw)).relu()


class ResNet8(nn.Module):
    """The ResNet-8 of MLPerf Tiny's image classification, for 32x32 colour images; 77,946 parameters."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(ResidualBlock(16, 16, 1), ResidualBlock(16, 32, 2), ResidualBlock(32, 64, 2))
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x_b3hw: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) to logits (b, num_classes)."""
        h_bchw = self.blocks(self.bn(self.conv(x_b3hw)).relu())
        return self.fc(h_bchw.mean((2, 3)))

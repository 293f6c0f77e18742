"""Convolutional networks in small: the topologies are those of the papers, the widths are not."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from zoo.base import Network, floats


def conv_bn(inputs, outputs, kernel=3, stride=1, groups=1, act=nn.ReLU):
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([act()] if act else []))


class PlainCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.fc1, self.fc2 = nn.Linear(12 * 16, 20), nn.Linear(20, 5)

    def forward(self, x):
        x = functional.max_pool2d(self.norm1(self.conv1(x)).relu(), 2)
        x = functional.max_pool2d(self.norm2(self.conv2(x)).relu(), 2)
        return self.fc2(self.fc1(x.flatten(1)).relu())


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inputs, width, stride):
        super().__init__()
        out = width * self.expansion
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != out:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    """He et al. 2015, with `width` instead of 64."""

    def __init__(self, block, depths, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        inputs, stages = width, []
        for stage, depth in enumerate(depths):
            planes, blocks = width * 2**stage, []
            for number in range(depth):
                blocks.append(block(inputs, planes, 2 if stage and not number else 1))
                inputs = planes * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(inputs, 10)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand):
        super().__init__()
        hidden = inputs * expand
        self.use_res_connect = stride == 1 and inputs == outputs
        layers = [conv_bn(inputs, hidden, 1, act=nn.ReLU6)] if expand != 1 else []
        layers += [conv_bn(hidden, hidden, 3, stride, hidden, nn.ReLU6), conv_bn(hidden, outputs, 1, act=None)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """Sandler et al. 2018: inverted residuals around depthwise convolutions."""

    def __init__(self):
        super().__init__()
        plan = [(8, 8, 1, 1), (8, 12, 2, 4), (12, 12, 1, 4), (12, 16, 2, 4), (16, 16, 1, 4)]
        blocks = [InvertedResidual(*one) for one in plan]
        self.features = nn.Sequential(conv_bn(3, 8, 3, 2, act=nn.ReLU6), *blocks, conv_bn(16, 32, 1, act=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 6))

    def forward(self, x):
        return self.classifier(functional.adaptive_avg_pool2d(self.features(x), (1, 1)).reshape(x.shape[0], -1))


class SEBlock(nn.Module):
    """Hu et al. 2017, with linear layers and the view of the best-known implementation."""

    def __init__(self, channels, reduction=2):
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, channels // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        b, c, _, _ = x.size()
        y = self.avg_pool(x).view(b, c)
        y = self.fc(y).view(b, c, 1, 1)
        return x * y.expand_as(x)


class SENet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.conv = conv_bn(3, 12), conv_bn(12, 12, act=None)
        self.se = SEBlock(12)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        x = self.stem(x)
        x = (x + self.se(self.conv(x))).relu()
        return self.head(x.mean((2, 3)))


class MBConv(nn.Module):
    """Tan and Le 2019: depthwise, squeeze-and-excitation by 1x1 convolutions, SiLU, stochastic depth."""

    def __init__(self, channels, expand=3):
        super().__init__()
        hidden = channels * expand
        self.expand = conv_bn(channels, hidden, 1, act=nn.SiLU)
        self.depthwise = conv_bn(hidden, hidden, 5, groups=hidden, act=nn.SiLU)
        self.fc1, self.fc2 = nn.Conv2d(hidden, 4, 1), nn.Conv2d(4, hidden, 1)
        self.project = conv_bn(hidden, channels, 1, act=None)
        self.drop_prob = 0.2

    def forward(self, x):
        h = self.depthwise(self.expand(x))
        h = self.fc2(functional.silu(self.fc1(functional.adaptive_avg_pool2d(h, 1)))).sigmoid() * h
        h = self.project(h)
        if self.training:
            keep = torch.rand(h.shape[0], 1, 1, 1, device=h.device) >= self.drop_prob
            h = h * keep.to(h.dtype) / (1 - self.drop_prob)
        return x + h


class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2, act=nn.SiLU)
        self.blocks = nn.Sequential(MBConv(8), MBConv(8))
        self.head, self.classifier = conv_bn(8, 20, 1, act=nn.SiLU), nn.Linear(20, 4)

    def forward(self, x):
        return self.classifier(self.head(self.blocks(self.stem(x))).mean([2, 3]))


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 2 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(2 * growth), nn.Conv2d(2 * growth, growth, 3, 1, 1, bias=False)

    def forward(self, features):
        x = torch.cat(features, 1)
        return self.conv2(self.norm2(self.conv1(self.norm1(x).relu())).relu())


class DenseNet(nn.Module):
    """Huang et al. 2016: every layer reads all before it."""

    def __init__(self, growth=6):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList(DenseLayer(8 + growth * number, growth) for number in range(3))
        self.norm, self.transition = nn.BatchNorm2d(8 + 3 * growth), nn.Conv2d(8 + 3 * growth, 10, 1)
        self.head = nn.Linear(10 * 4, 4)

    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(features))
        x = self.transition(self.norm(torch.cat(features, 1)).relu())
        return self.head(functional.avg_pool2d(x, 4).flatten(1))


class YoloBottleneck(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.cv1, self.cv2 = conv_bn(channels, channels, act=nn.SiLU), conv_bn(channels, channels, act=nn.SiLU)

    def forward(self, x):
        return x + self.cv2(self.cv1(x))


class C2f(nn.Module):
    """YOLOv8's block: half of the channels pass, the other half goes through bottlenecks; all are joined again."""

    def __init__(self, inputs, outputs, repeats, how):
        super().__init__()
        self.c = outputs // 2
        self.how = how
        self.cv1 = conv_bn(inputs, 2 * self.c, 1, act=nn.SiLU)
        self.cv2 = conv_bn((2 + repeats) * self.c, outputs, 1, act=nn.SiLU)
        self.m = nn.ModuleList(YoloBottleneck(self.c) for _ in range(repeats))

    def forward(self, x):
        x = self.cv1(x)
        y = list(x.chunk(2, 1) if self.how == "chunk" else x.split((self.c, self.c), 1))
        y.extend(m(y[-1]) for m in self.m)
        return self.cv2(torch.cat(y, 1))


class Yolo(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2, act=nn.SiLU)
        self.block1, self.down = C2f(8, 12, 1, how), conv_bn(12, 16, 3, 2, act=nn.SiLU)
        self.block2 = C2f(16, 16, 2, how)
        self.detect = nn.Conv2d(16, 7, 1)

    def forward(self, x):
        return self.detect(self.block2(self.down(self.block1(self.stem(x)))))


def channel_shuffle(x, groups):
    b, channels, height, width = x.size()
    x = x.view(b, groups, channels // groups, height, width)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(b, channels, height, width)


class ShuffleUnit(nn.Module):
    """Ma et al. 2018: split, one half through a bottleneck with a depthwise convolution, cat, shuffle."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride, branch = stride, outputs // 2
        if stride > 1:
            self.branch1 = nn.Sequential(conv_bn(inputs, inputs, 3, stride, inputs, None), conv_bn(inputs, branch, 1))
        self.branch2 = nn.Sequential(
            conv_bn(inputs if stride > 1 else branch, branch, 1),
            conv_bn(branch, branch, 3, stride, branch, None),
            conv_bn(branch, branch, 1),
        )

    def forward(self, x):
        if self.stride == 1:
            x1, x2 = x.chunk(2, dim=1)
            out = torch.cat((x1, self.branch2(x2)), dim=1)
        else:
            out = torch.cat((self.branch1(x), self.branch2(x)), dim=1)
        return channel_shuffle(out, 2)


class ShuffleNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.units = nn.Sequential(ShuffleUnit(8, 16, 2), ShuffleUnit(16, 16, 1), ShuffleUnit(16, 16, 1))
        self.last, self.fc = conv_bn(16, 24, 1), nn.Linear(24, 5)

    def forward(self, x):
        return self.fc(self.last(self.units(self.stem(x))).mean([2, 3]))


class ShuffleNetV1(nn.Module):
    """Zhang et al. 2017: grouped 1x1 convolutions with a shuffle between."""

    def __init__(self, groups=2):
        super().__init__()
        self.groups = groups
        self.stem = conv_bn(3, 12)
        self.squeeze, self.depth = conv_bn(12, 8, 1, groups=groups), conv_bn(8, 8, 3, groups=8, act=None)
        self.grow = conv_bn(8, 12, 1, groups=groups, act=None)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.stem(x)
        x = (x + self.grow(self.depth(channel_shuffle(self.squeeze(x), self.groups)))).relu()
        return self.fc(x.mean([2, 3]))


class RegNetBlock(nn.Module):
    """Radosavovic et al. 2020: a residual bottleneck around a convolution with groups of several channels."""

    def __init__(self, inputs, width, group_width, stride):
        super().__init__()
        self.a, self.c = conv_bn(inputs, width, 1), conv_bn(width, width, 1, act=None)
        self.b = conv_bn(width, width, 3, stride, width // group_width)
        self.proj = conv_bn(inputs, width, 1, stride, act=None) if stride > 1 or inputs != width else None

    def forward(self, x):
        short = x if self.proj is None else self.proj(x)
        return functional.relu(short + self.c(self.b(self.a(x))))


class RegNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.blocks = nn.Sequential(RegNetBlock(8, 16, 4, 2), RegNetBlock(16, 16, 4, 1), RegNetBlock(16, 24, 8, 2))
        self.fc = nn.Linear(24, 5)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean([2, 3]))


class CatGroupConv(nn.Module):
    """The groups of a convolution read from two different layers: Torch-Pruning raises here."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.grouped, self.fc = nn.Conv2d(12, 18, 3, groups=2), nn.Linear(18, 4)

    def forward(self, x):
        return self.fc(self.grouped(torch.cat([self.a(x), self.b(x)], 1).relu()).relu().mean((2, 3)))


class ESPCN(nn.Module):
    """Shi et al. 2016: the upscaling is a PixelShuffle; a second one sits in the middle, where units pass it."""

    def __init__(self):
        super().__init__()
        self.conv1, self.up = nn.Conv2d(1, 8, 5, padding=2), nn.Conv2d(8, 24, 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)
        self.conv2, self.conv3 = nn.Conv2d(6, 10, 3, padding=1), nn.Conv2d(10, 4, 3, padding=1)

    def forward(self, x):
        x = self.shuffle(self.up(self.conv1(x).tanh())).relu()
        return self.shuffle(self.conv3(self.conv2(x).relu()))


class SpaceToDepth(nn.Module):
    """PixelUnshuffle as a stem and again between layers."""

    def __init__(self):
        super().__init__()
        self.down = nn.PixelUnshuffle(2)
        self.conv1, self.conv2, self.fc = nn.Conv2d(12, 8, 3, padding=1), nn.Conv2d(32, 10, 1), nn.Linear(10, 4)

    def forward(self, x):
        x = self.conv1(self.down(x)).relu()
        return self.fc(self.conv2(self.down(x)).relu().mean((2, 3)))


class DoubleConv(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(conv_bn(inputs, outputs), conv_bn(outputs, outputs))


class UNet(nn.Module):
    """Ronneberger et al. 2015: transposed convolutions upwards, skips by cat, padded to the size of the skip."""

    def __init__(self):
        super().__init__()
        self.inc, self.down1, self.down2 = DoubleConv(1, 6), DoubleConv(6, 10), DoubleConv(10, 16)
        self.up1, self.conv1 = nn.ConvTranspose2d(16, 10, 2, stride=2), DoubleConv(20, 10)
        self.up2, self.conv2 = nn.ConvTranspose2d(10, 6, 2, stride=2), DoubleConv(12, 6)
        self.outc = nn.Conv2d(6, 3, 1)

    def join(self, x, skip):
        dy, dx = skip.size(2) - x.size(2), skip.size(3) - x.size(3)
        return torch.cat([skip, functional.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])], dim=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(functional.max_pool2d(x1, 2))
        x3 = self.down2(functional.max_pool2d(x2, 2))
        x = self.conv1(self.join(self.up1(x3), x2))
        return self.outc(self.conv2(self.join(self.up2(x), x1)))


class UNetBilinear(nn.Module):
    """Upsampling instead of transposed convolutions, and skips that are added."""

    def __init__(self):
        super().__init__()
        self.inc, self.down, self.mid = conv_bn(1, 8), conv_bn(8, 12, 3, 2), conv_bn(12, 8)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.nearest = nn.Upsample(scale_factor=2)
        self.refine, self.outc = conv_bn(8, 8), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        skip = self.inc(x)
        x = skip + self.up(self.mid(self.down(skip)))
        x = functional.interpolate(self.refine(x), scale_factor=0.5, mode="nearest")
        return self.outc(self.nearest(x) + skip)


class ConvTransposeAutoencoder(nn.Module):
    """Transposed convolutions plain and depthwise; the last with groups or without."""

    def __init__(self, groups):
        super().__init__()
        self.enc1, self.enc2 = nn.Conv2d(1, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, 2, 1)
        self.dec1 = nn.ConvTranspose2d(12, 8, 4, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.depth = nn.ConvTranspose2d(8, 8, 3, 1, 1, groups=8)
        self.grouped = nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=groups)
        self.out = nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, x):
        x = self.enc2(self.enc1(x).relu()).relu()
        x = self.depth(self.norm(self.dec1(x)).relu()).relu()
        return self.out(self.grouped(x).relu())


class ASPP(nn.Module):
    """Chen et al. 2017: dilated branches and a pooled one that is blown up again, joined by cat."""

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2)
        self.branches = nn.ModuleList(nn.Conv2d(8, 6, 3, padding=d, dilation=d) for d in (1, 2, 3))
        self.pooled, self.project = nn.Conv2d(8, 6, 1), conv_bn(24, 10, 1)
        self.classifier = nn.Conv2d(10, 4, 1)

    def forward(self, x):
        size = x.shape[-2:]
        x = self.stem(x)
        pooled = self.pooled(functional.adaptive_avg_pool2d(x, 1)).relu()
        pooled = functional.interpolate(pooled, size=x.shape[-2:], mode="bilinear", align_corners=False)
        x = self.project(torch.cat([*(branch(x).relu() for branch in self.branches), pooled], 1))
        return functional.interpolate(self.classifier(x), size=size, mode="bilinear", align_corners=False)


class CBAM(nn.Module):
    """Woo et al. 2018: a gate over channels, then one over positions from the mean and maximum over channels."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv = conv_bn(3, 12), conv_bn(12, 12, act=None)
        self.mlp = nn.Sequential(nn.Conv2d(12, 5, 1, bias=False), nn.ReLU(), nn.Conv2d(5, 12, 1, bias=False))
        self.spatial, self.head = nn.Conv2d(2, 1, 7, padding=3), nn.Linear(12, 4)

    def forward(self, x):
        x = self.conv(self.stem(x))
        gate = self.mlp(functional.adaptive_avg_pool2d(x, 1)) + self.mlp(functional.adaptive_max_pool2d(x, 1))
        x = x * gate.sigmoid()
        pooled = torch.cat([torch.mean(x, 1, keepdim=True), torch.max(x, 1, keepdim=True)[0]], 1)
        return self.head((x * self.spatial(pooled).sigmoid()).mean((2, 3)))


class ECA(nn.Module):
    """Wang et al. 2020: a 1-D convolution runs along the channels, so they have neighbours and none can go."""

    def __init__(self):
        super().__init__()
        self.stem, self.mid = conv_bn(3, 8), nn.Conv2d(8, 10, 3, padding=1)
        self.along, self.out = nn.Conv1d(1, 1, 3, padding=1, bias=False), nn.Conv2d(10, 4, 1)

    def forward(self, x):
        x = self.mid(self.stem(x)).relu()
        y = self.along(x.mean((2, 3), keepdim=True).squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return self.out(x * y.sigmoid().expand_as(x)).mean((2, 3))


class LayerNorm2d(nn.Module):
    """ConvNeXt's own norm: over channels, channels first, written out."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        var = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(var + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXtBlock(nn.Module):
    """Liu et al. 2022: depthwise 7x7, LayerNorm on channels-last, linear layers, a scale per channel."""

    def __init__(self, dim):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(dim, dim, 7, padding=3, groups=dim), nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(dim, 3 * dim), nn.Linear(3 * dim, dim)
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        h = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        h = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(h)))
        return x + h.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 10, 4, 4), LayerNorm2d(10))
        self.blocks = nn.Sequential(ConvNeXtBlock(10), ConvNeXtBlock(10))
        self.norm, self.head = nn.LayerNorm(10), nn.Linear(10, 4)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x)).mean([-2, -1])))


class GroupNormNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 12, 3, padding=1), nn.GroupNorm(3, 12)
        self.conv2, self.norm2 = nn.Conv2d(12, 8, 3, padding=1), nn.GroupNorm(1, 8)
        self.conv3, self.head = nn.Conv2d(8, 10, 1), nn.Linear(10, 4)

    def forward(self, x):
        x = self.norm1(self.conv1(x)).relu()
        x = self.norm2(self.conv2(x)).relu()
        return self.head(self.conv3(x).relu().mean((2, 3)))


class InstanceNormNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8, affine=True)
        self.conv2, self.norm2 = nn.Conv2d(8, 10, 3, padding=1), nn.InstanceNorm2d(10)
        self.conv3 = nn.Conv2d(10, 3, 3, padding=1)

    def forward(self, x):
        return self.conv3(self.norm2(self.conv2(self.norm1(self.conv1(x)).relu())).relu())


class LocalResponseNet(nn.Module):
    """AlexNet's norm: each channel is divided by its neighbours, so the order of channels counts."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.LocalResponseNorm(3, alpha=0.1)
        self.conv2, self.head = nn.Conv2d(8, 10, 3), nn.Linear(10, 4)

    def forward(self, x):
        return self.head(self.conv2(self.norm(self.conv1(x)).relu()).relu().mean((2, 3)))


class Padded(nn.Module):
    """All paddings, and PReLU with a slope per channel."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect")
        self.conv2 = nn.Conv2d(8, 10, 3, padding=1, padding_mode="circular")
        self.pad, self.zero = nn.ReplicationPad2d(1), nn.ZeroPad2d((1, 0, 2, 0))
        self.conv3, self.prelu = nn.Conv2d(10, 12, 3, padding="same"), nn.PReLU(12)
        self.conv4, self.head = nn.Conv2d(12, 8, 3), nn.Linear(8, 4)

    def forward(self, x):
        x = self.conv2(functional.leaky_relu(self.conv1(x), 0.1)).relu()
        x = self.prelu(self.conv3(self.pad(x)))
        x = self.conv4(functional.pad(self.zero(x), (1, 1, 0, 1), value=0.5)).relu()
        return self.head(functional.adaptive_max_pool2d(x, 1).flatten(1))


class PadShortcut(nn.Module):
    """ResNet's shortcut A: a subsampled identity with zero channels on both sides."""

    def __init__(self):
        super().__init__()
        self.stem, self.conv1, self.conv2 = conv_bn(3, 8), conv_bn(8, 16, 3, 2), conv_bn(16, 16, act=None)
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        x = self.stem(x)
        short = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        return self.head((short + self.conv2(self.conv1(x))).relu().mean((2, 3)))


class Maxout(nn.Module):
    """Goodfellow et al. 2013: a unit is the largest of three linear pieces."""

    def __init__(self, pieces=3):
        super().__init__()
        self.pieces = pieces
        self.conv, self.fc = nn.Conv2d(3, 8 * pieces, 3), nn.Linear(8, 10 * pieces)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        x = self.conv(x)
        x = x.view(x.size(0), -1, self.pieces, *x.shape[2:]).max(2)[0].mean((2, 3))
        x = self.fc(x)
        return self.head(x.view(x.size(0), -1, self.pieces).amax(2))


class GhostNet(nn.Module):
    """Han et al. 2020: cheap depthwise copies are joined with their sources, then cut to the wanted width."""

    def __init__(self, outputs=15):
        super().__init__()
        self.oup, primary = outputs, 8
        self.primary, self.cheap = conv_bn(3, primary, 1), conv_bn(primary, primary, 3, groups=primary)
        self.head = nn.Conv2d(outputs, 4, 1)

    def forward(self, x):
        x1 = self.primary(x)
        return self.head(torch.cat([x1, self.cheap(x1)], dim=1)[:, : self.oup]).mean((2, 3))


class Res2Net(nn.Module):
    """Gao et al. 2019: the channels are split in four parts, each adds the result of the one before."""

    def __init__(self, width=5, scale=4):
        super().__init__()
        self.width = width
        self.conv1, self.conv3 = conv_bn(3, width * scale, 1), conv_bn(width * scale, 12, 1)
        self.convs = nn.ModuleList(conv_bn(width, width) for _ in range(scale - 1))
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        parts = torch.split(self.conv1(x), self.width, 1)
        done = [parts[0]]
        for part, conv in zip(parts[1:], self.convs, strict=True):
            done.append(conv(part if len(done) == 1 else part + done[-1]))
        return self.fc(self.conv3(torch.cat(done, 1)).mean((2, 3)))


class FPN(nn.Module):
    """A pyramid with lateral 1x1 convolutions; one head is shared by all levels, and their results are joined."""

    def __init__(self):
        super().__init__()
        self.c1, self.c2 = conv_bn(3, 8, 3, 2), conv_bn(8, 12, 3, 2)
        self.lateral1, self.lateral2 = nn.Conv2d(8, 10, 1), nn.Conv2d(12, 10, 1)
        self.smooth, self.boxes, self.scores = nn.Conv2d(10, 10, 3, padding=1), nn.Conv2d(10, 4, 1), nn.Conv2d(10, 3, 1)

    def forward(self, x):
        c1 = self.c1(x)
        p2 = self.lateral2(self.c2(c1))
        p1 = self.lateral1(c1) + functional.interpolate(p2, scale_factor=2.0)
        levels = [self.smooth(level).relu() for level in (p1, p2)]
        boxes = torch.cat([self.boxes(level).flatten(2) for level in levels], 2)
        scores = torch.cat(
            [self.scores(level).permute(0, 2, 3, 1).reshape(level.shape[0], -1, 3) for level in levels], 1
        )
        return {"boxes": boxes, "scores": scores.sigmoid()}


class VideoNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm, self.conv2 = nn.Conv3d(2, 6, 3, padding=1), nn.BatchNorm3d(6), nn.Conv3d(6, 8, 3)
        self.fc = nn.Linear(8 * 2 * 2 * 2, 4)

    def forward(self, x):
        x = functional.max_pool3d(self.norm(self.conv1(x)).relu(), 1)
        return self.fc(functional.adaptive_avg_pool3d(self.conv2(x).relu(), 2).flatten(1))


class GatedConv(nn.Module):
    """GLU over channels (Dauphin et al. 2016), and a sum of products of two convolutions."""

    def __init__(self):
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(8, 10, 1), nn.Conv2d(8, 10, 1)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        x = functional.glu(self.conv(x), 1)
        return self.head((self.a(x) * self.b(x).sigmoid()).mean((2, 3)))


class SubpixelReshape(nn.Module):
    """A PixelShuffle written by hand with view and permute."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x):
        x = self.conv(x).relu()
        b, c, h, w = x.shape
        x = x.reshape(b, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(b, c // 4, 2 * h, 2 * w)
        return self.out(x)


NETWORKS = (
    Network("plain CNN", PlainCNN, floats(3, 16, 16), {"conv1.weight": 8, "conv2.weight": 12, "fc1.weight": 20}),
    Network(
        "ResNet-18",
        lambda: ResNet(BasicBlock, (2, 2, 2, 2), 8),
        floats(3, 32, 32),
        {
            "conv1.weight": 8,
            "layer2.0.conv1.weight": 16,
            "layer4.1.conv2.weight": 64,
            "layer3.0.downsample.0.weight": 32,
        },
    ),
    Network(
        "ResNet-50",
        lambda: ResNet(Bottleneck, (3, 4, 6, 3), 8),
        floats(3, 32, 32),
        {"conv1.weight": 8, "layer1.0.conv2.weight": 8, "layer4.2.conv3.weight": 256, "layer3.5.conv1.weight": 32},
    ),
    Network(
        "MobileNetV2",
        MobileNetV2,
        floats(3, 24, 24),
        {"features.2.conv.0.0.weight": 32, "features.2.conv.1.0.weight": 32, "features.3.conv.2.0.weight": 12},
    ),
    Network("SE blocks", SENet, floats(3, 8, 8), {"stem.0.weight": 12, "se.fc.0.weight": 6}),
    Network(
        "EfficientNet MBConv",
        EfficientNet,
        floats(3, 16, 16),
        {"blocks.0.expand.0.weight": 24, "blocks.0.fc1.weight": 4, "stem.0.weight": 8, "head.0.weight": 20},
    ),
    Network(
        "DenseNet cat",
        DenseNet,
        floats(3, 8, 8),
        {"stem.weight": 8, "layers.0.conv1.weight": 12, "layers.2.conv2.weight": 6, "transition.weight": 10},
    ),
    Network(
        "C2f chunk",
        lambda: Yolo("chunk"),
        floats(3, 16, 16),
        {"stem.0.weight": 8, "block1.cv1.0.weight": None, "block2.m.0.cv1.0.weight": 8, "block2.cv2.0.weight": 16},
    ),
    Network(
        "C2f split by attribute",
        lambda: Yolo("split"),
        floats(3, 16, 16),
        {"stem.0.weight": 8, "block1.cv1.0.weight": None, "block2.m.0.cv1.0.weight": 8, "block2.cv2.0.weight": 16},
    ),
    Network(
        "ShuffleNetV2",
        ShuffleNetV2,
        floats(3, 16, 16),
        {"stem.0.weight": 8, "units.1.branch2.1.0.weight": None, "last.0.weight": 24},
    ),
    Network("ShuffleNetV1 group shuffle", ShuffleNetV1, floats(3, 8, 8), {"stem.0.weight": None}),
    Network("RegNet group conv", RegNet, floats(3, 16, 16), {"stem.0.weight": 8, "blocks.0.a.0.weight": None}),
    Network("cat + group conv", CatGroupConv, floats(3, 8, 8), {"grouped.weight": None}),
    Network("ESPCN PixelShuffle", ESPCN, floats(1, 8, 8), {"conv1.weight": 8, "up.weight": 6, "conv2.weight": 10}),
    Network("PixelUnshuffle", SpaceToDepth, floats(3, 16, 16), {"conv1.weight": 8, "conv2.weight": 10}),
    Network(
        "U-Net ConvTranspose",
        UNet,
        floats(1, 18, 18),
        {"inc.1.0.weight": 6, "up1.weight": 10, "up2.weight": 6, "down2.1.0.weight": 16, "conv2.0.0.weight": 6},
    ),
    Network("U-Net bilinear", UNetBilinear, floats(1, 8, 8), {"inc.0.weight": 8, "down.0.weight": 12}),
    Network(
        "ConvTranspose autoencoder",
        lambda: ConvTransposeAutoencoder(1),
        floats(1, 12, 12),
        {"enc1.weight": 8, "enc2.weight": 12, "dec1.weight": 8, "grouped.weight": 6},
    ),
    Network(
        "ConvTranspose with groups",
        lambda: ConvTransposeAutoencoder(2),
        floats(1, 12, 12),
        {"enc1.weight": 8, "enc2.weight": 12},
    ),
    Network(
        "ASPP",
        ASPP,
        floats(3, 16, 16),
        {"stem.0.weight": 8, "branches.1.weight": 6, "pooled.weight": 6, "project.0.weight": 10},
    ),
    Network("CBAM", CBAM, floats(3, 8, 8), {"stem.0.weight": 12, "mlp.0.weight": 5}, {"conv.0.weight": 12}),
    Network("ECA", ECA, floats(3, 8, 8), {"stem.0.weight": 8}, stays=("mid.weight",)),
    Network("ConvNeXt", ConvNeXt, floats(3, 12, 12), {"blocks.0.pwconv1.weight": 30}, {"blocks.0.pwconv2.weight": 10}),
    Network(
        "GroupNorm", GroupNormNet, floats(3, 8, 8), {"conv3.weight": 10}, {"conv1.weight": None, "conv2.weight": 8}
    ),
    Network("InstanceNorm", InstanceNormNet, floats(3, 8, 8), {"conv1.weight": 8, "conv2.weight": 10}),
    Network("LocalResponseNorm", LocalResponseNet, floats(3, 8, 8), {"conv2.weight": 10}, stays=("conv1.weight",)),
    Network("paddings and PReLU", Padded, floats(3, 8, 8), {"conv1.weight": 8, "conv3.weight": 12, "conv4.weight": 8}),
    Network("zero-padded shortcut", PadShortcut, floats(3, 8, 8), {"conv1.0.weight": 16}),
    Network("Maxout", Maxout, floats(3, 8, 8), {"conv.weight": 8, "fc.weight": 10}),
    Network("GhostNet", GhostNet, floats(3, 8, 8), {"primary.0.weight": 8}),
    Network("Res2Net", Res2Net, floats(3, 8, 8), {"conv1.0.weight": None, "conv3.0.weight": 12}),
    Network("FPN", FPN, floats(3, 16, 16), {"c1.0.weight": 8, "smooth.weight": 10, "lateral2.weight": 10}),
    Network("Conv3d", VideoNet, floats(2, 4, 6, 6), {"conv1.weight": 6, "conv2.weight": 8}),
    Network("GLU gates", GatedConv, floats(3, 8, 8), {"conv.weight": None, "a.weight": 10}),
    Network("PixelShuffle by reshape", SubpixelReshape, floats(3, 6, 6), {"conv.weight": 6}),
)

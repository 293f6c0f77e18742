"""Networks whose layers are ordinary and whose wiring is not: sharing, masks, views, gates, several inputs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from zoo.base import DYNAMO, Network, floats, several, tokens


class Siamese(nn.Module):
    """One tower, used for both inputs."""

    def __init__(self):
        super().__init__()
        self.tower = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU())
        self.head = nn.Linear(16, 3)

    def forward(self, left, right):
        left, right = self.tower(left).mean((2, 3)), self.tower(right).mean((2, 3))
        return self.head(torch.cat([(left - right).abs(), left * right], 1))


class UsedTwice(nn.Module):
    """A layer applied to its own output, and one registered under two names."""

    def __init__(self):
        super().__init__()
        self.stem, self.again = nn.Linear(7, 10), nn.Linear(10, 10)
        self.first = nn.Linear(10, 12)
        self.second = nn.Linear(10, 12)
        self.second.weight = self.first.weight
        self.alias, self.head = self.first, nn.Linear(12, 4)

    def forward(self, x):
        x = self.again(self.again(self.stem(x).relu()).relu()).relu()
        return self.head(self.first(x).relu() + self.second(x).tanh() + self.alias(x).sigmoid())


class TiedAutoencoder(nn.Module):
    """The decoder's weights are the encoder's, transposed."""

    def __init__(self):
        super().__init__()
        self.enc1, self.enc2 = nn.Linear(9, 12), nn.Linear(12, 6)
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(12)), nn.Parameter(torch.zeros(9))

    def forward(self, x):
        code = self.enc2(self.enc1(x).relu()).relu()
        h = functional.linear(code, self.enc2.weight.t(), self.bias1).relu()
        return functional.linear(h, self.enc1.weight.t(), self.bias2)


class ParameterLists(nn.Module):
    """No layer at all: parameters in a list and a dict, multiplied by hand."""

    def __init__(self):
        super().__init__()
        sizes = [7, 12, 10, 4]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.zeros(outputs, inputs)) for inputs, outputs in zip(sizes, sizes[1:], strict=False)
        )
        self.extra = nn.ParameterDict({"bias": nn.Parameter(torch.zeros(12)), "scale": nn.Parameter(torch.ones(10))})

    def forward(self, x):
        x = (x @ self.weights[0].t() + self.extra["bias"]).relu()
        x = functional.linear(x, self.weights[1]).tanh() * self.extra["scale"]
        return torch.matmul(x, self.weights[2].transpose(0, 1))


class FunctionalConvs(nn.Module):
    """functional.conv2d and functional.batch_norm on parameters and buffers of the network itself."""

    def __init__(self):
        super().__init__()
        self.kernel1, self.bias1 = nn.Parameter(torch.zeros(8, 3, 3, 3)), nn.Parameter(torch.zeros(8))
        self.kernel2, self.depth = nn.Parameter(torch.zeros(10, 8, 1, 1)), nn.Parameter(torch.zeros(8, 1, 3, 3))
        self.register_buffer("running_mean", torch.zeros(8))
        self.register_buffer("running_var", torch.ones(8))
        self.out = nn.Parameter(torch.zeros(4, 10))

    def forward(self, x):
        x = functional.conv2d(x, self.kernel1, self.bias1, padding=1)
        x = functional.batch_norm(x, self.running_mean, self.running_var, training=self.training).relu()
        x = functional.conv2d(x, self.depth, padding=1, groups=x.shape[1])
        return functional.linear(functional.conv2d(x, self.kernel2).relu().mean((2, 3)), self.out)


class MaskBuffer(nn.Module):
    """A buffer holds one value per channel, as other pruners and dropout schemes leave it."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 8, 3), nn.Linear(8, 4)
        self.register_buffer("mask", (torch.arange(12) % 4 != 0).float())
        self.register_buffer("wide", torch.linspace(0.5, 1.5, 8).view(1, 8, 1, 1))

    def forward(self, x):
        x = self.conv1(x).relu() * self.mask.view(1, -1, 1, 1)
        return self.head((self.conv2(x).relu() * self.wide).mean((2, 3)))


class MaskAttribute(nn.Module):
    """The same with a plain tensor, which no state_dict knows."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 8, 3), nn.Linear(8, 4)
        self.mask = (torch.arange(12) % 4 != 0).float().view(1, 12, 1, 1)

    def forward(self, x):
        return self.head(self.conv2(self.conv1(x).relu() * self.mask).relu().mean((2, 3)))


class IndexBuffer(nn.Module):
    """A buffer holds the order of channels, as learned groups do after CondenseNet."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 10, 3), nn.Linear(10, 4)
        self.register_buffer("order", torch.tensor([3, 1, 7, 5, 0, 2, 6, 4]))

    def forward(self, x):
        x = torch.index_select(self.conv1(x).relu(), 1, self.order)
        return self.head(self.conv2(x).relu().mean((2, 3)))


class MaskedWeight(nn.Module):
    """Unstructured pruning by a mask on the weights themselves."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(7, 12), nn.Linear(12, 4)
        self.register_buffer("mask", (torch.arange(12 * 7).view(12, 7) % 3 != 0).float())

    def forward(self, x):
        return self.b(functional.linear(x, self.a.weight * self.mask, self.a.bias).relu())


class CondGate(nn.Module):
    """torch.cond decides for the whole batch whether the second branch runs."""

    def __init__(self):
        super().__init__()
        self.stem, self.gate = nn.Linear(7, 12), nn.Linear(7, 1)
        self.a, self.b, self.head = nn.Linear(12, 10), nn.Linear(12, 10), nn.Linear(10, 4)

    def forward(self, x):
        h = self.stem(x).relu()
        opened = self.gate(x).mean() > 0
        h = torch.cond(opened, lambda v: self.a(v).relu(), lambda v: self.b(v).tanh(), (h,))
        return self.head(h)


class Flattened(nn.Module):
    """Every way to write the step from feature maps to a linear layer."""

    def __init__(self, how):
        super().__init__()
        self.how, self.flat = how, 10 * 7 * 7
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 10, 3, padding=1)
        self.flatten = nn.Flatten()
        self.fc1, self.fc2 = nn.Linear(self.flat, 12), nn.Linear(12, 4)

    def forward(self, x):
        x = functional.max_pool2d(self.conv2(self.conv1(x).relu()).relu(), 2)
        if self.how == "number":
            x = x.view(-1, 10 * 7 * 7)
        elif self.how == "attribute":
            x = x.view(-1, self.flat)
        elif self.how == "size":
            x = x.view(x.size(0), -1)
        elif self.how == "sizes":
            b, c, h, w = x.shape
            x = x.reshape(b, c * h * w)
        elif self.how == "channels last":
            x = x.permute(0, 2, 3, 1).contiguous().view(x.shape[0], -1)
        else:
            x = self.flatten(x)
        return self.fc2(self.fc1(x).relu())


class StochasticDepth(nn.Module):
    """Residual branches that are dropped in training, and dropout in all its kinds."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 10, 3, padding=1)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(10, 12, 1), nn.ReLU(), nn.Conv2d(12, 10, 1)) for _ in range(2)
        )
        self.drop2d, self.drop, self.alpha = nn.Dropout2d(0.1), nn.Dropout(0.2), nn.AlphaDropout(0.1)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        x = self.drop2d(self.stem(x).relu())
        for branch in self.branches:
            if self.training and float(torch.rand(())) < 0.1:
                continue
            x = x + branch(x)
        return self.head(self.alpha(self.drop(x.mean((2, 3)))))


class NormalisedWeights(nn.Module):
    """Weights that are computed from others: by weight_norm, or by spectral_norm."""

    def __init__(self, parametrise):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 6, 1)
        self.conv1, self.conv2 = nn.Conv2d(6, 8, 3), parametrise(nn.Conv2d(8, 12, 3))
        self.fc1, self.fc2, self.head = nn.Linear(12, 14), parametrise(nn.Linear(14, 10)), nn.Linear(10, 4)

    def forward(self, x):
        x = self.conv2(self.conv1(self.conv0(x).relu()).relu()).relu().mean((2, 3))
        return self.head(self.fc2(self.fc1(x).relu()).relu())


class ManyInputs(nn.Module):
    """An image and a vector in, features and two heads out, nested."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 8, 3), nn.Linear(5, 6)
        self.joint, self.classes, self.box = nn.Linear(14, 12), nn.Linear(12, 3), nn.Linear(12, 4)

    def forward(self, image, vector):
        x = torch.cat([self.conv(image).relu().mean((2, 3)), self.fc(vector).relu()], -1)
        h = self.joint(x).relu()
        return {"classes": self.classes(h), "extra": (self.box(h), [h.mean(1)])}


class FeatureOutput(nn.Module):
    """The features are an output too, so they stay; what is before them need not."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(7, 12), nn.Linear(12, 10), nn.Linear(10, 4)

    def forward(self, x):
        features = self.b(self.a(x).relu()).relu()
        return self.head(features), features


class Coincidence(nn.Module):
    """Everything measures 12: channels, length, kernel, an unrelated setting. Only channels may be taken for units."""

    def __init__(self):
        super().__init__()
        self.num_features = self.out_channels = self.size = 12
        self.conv1, self.conv2 = nn.Conv1d(12, 12, 3, padding=1), nn.Conv1d(12, 12, 3, padding=1)
        self.over_time, self.head = nn.Linear(12, 12), nn.Linear(12, 12)

    def forward(self, x):
        x = self.conv1(x).relu()
        x = self.conv2(self.over_time(x)).relu()
        x = x[:, :, : self.size] * (self.num_features / self.out_channels)
        return self.head(x.mean(2))


class Stacked(nn.Module):
    """stack, unbind, narrow, strided slices, repeat and flip of channels."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(7, 10), nn.Linear(7, 10), nn.Linear(10, 4)
        self.wide, self.even, self.odd = nn.Linear(7, 12), nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, x):
        h = torch.stack([self.a(x).relu(), self.b(x).tanh()], 1)
        first, second = h.unbind(1)
        y = self.head(first * second + h.sum(1) + h.max(1).values)
        w = self.wide(x).relu()
        z = self.even(w[:, ::2]) + self.odd(w[:, 1::2])
        return torch.cat([y, z, z.flip(1)], 1)


class OverUnits(nn.Module):
    """Operators that mix units of a layer: softmax, a maximum, a norm, a running sum. None can go unnoticed."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.before, self.layer, self.head = nn.Linear(7, 9), nn.Linear(9, 12), nn.Linear(12, 4)

    def forward(self, x):
        h = self.layer(self.before(x).relu())
        if self.how == "softmax":
            h = 12 * h.softmax(-1)
        elif self.how == "maximum":
            h = h - h.amax(-1, keepdim=True)
        elif self.how == "l2 norm":
            h = 3 * functional.normalize(h, dim=-1)
        elif self.how == "running sum":
            h = h.cumsum(-1)
        elif self.how == "standard deviation":
            h = h / (h.std(-1, keepdim=True) + 0.1)
        else:
            h = torch.sort(h, -1).values
        return self.head(h)


class BagOfWords(nn.Module):
    """An embedding whose dimensions are units, a mean over tokens, BatchNorm1d on vectors and on sequences."""

    def __init__(self):
        super().__init__()
        self.embed, self.norm1 = nn.Embedding(50, 10, padding_idx=0), nn.BatchNorm1d(10)
        self.fc, self.norm2, self.head = nn.Linear(10, 12), nn.BatchNorm1d(12), nn.Linear(12, 4)

    def forward(self, x):
        mask = (x != 0).unsqueeze(-1).float()
        h = self.norm1(self.embed(x).transpose(1, 2)).transpose(1, 2)
        h = (h * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.head(self.norm2(self.fc(h)).relu())


class DeadEnds(nn.Module):
    """Layers that are never used, a frozen layer, a parameter that scales everything, a detached branch."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(7, 12), nn.Linear(12, 10), nn.Linear(10, 4)
        self.unused, self.temperature = nn.Linear(12, 5), nn.Parameter(torch.ones(()))
        self.b.requires_grad_(False)

    def forward(self, x):
        h = self.a(x).relu()
        return self.head(self.b(h.detach() * 0.5 + h * 0.5).relu()) / self.temperature


class LearnedExpand(nn.Module):
    """A parameter is spread over batch and places before it meets the units."""

    def __init__(self):
        super().__init__()
        self.conv, self.bias = nn.Conv2d(3, 8, 3, padding=1), nn.Parameter(torch.zeros(1, 8, 1, 1))
        self.place, self.out = nn.Parameter(torch.zeros(1, 8, 6, 6)), nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.conv(x) + self.bias.expand(x.shape[0], -1, 6, 6) + self.place.repeat(x.shape[0], 1, 1, 1)
        return self.out(x.relu()).mean((2, 3))


class Bilinear(nn.Module):
    """nn.Bilinear, and an outer product of two layers that is flattened."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(7, 6), nn.Linear(7, 5)
        self.bilinear, self.mix, self.head = nn.Bilinear(6, 5, 8), nn.Linear(30, 8), nn.Linear(8, 4)

    def forward(self, x):
        a, b = self.a(x).relu(), self.b(x).relu()
        outer = (a.unsqueeze(2) * b.unsqueeze(1)).flatten(1)
        return self.head((self.bilinear(a, b) + self.mix(outer)).relu())


_VECTOR, _IMAGE, _DIGIT = floats(7), floats(3, 8, 8), floats(1, 14, 14)

NETWORKS = (
    Network("Siamese", Siamese, several((1, 8, 8), (1, 8, 8)), {"tower.0.weight": 6, "tower.3.weight": 8}),
    Network("module used twice", UsedTwice, _VECTOR, {"stem.weight": 10, "first.weight": 12}),
    Network("weight-tied autoencoder", TiedAutoencoder, floats(9), {"enc1.weight": 12, "enc2.weight": None}),
    Network("ParameterList", ParameterLists, _VECTOR, {"weights.0": 12, "weights.1": 10}),
    Network("functional convolutions", FunctionalConvs, _IMAGE, {"kernel1": 8, "kernel2": 10}),
    Network("mask in a buffer", MaskBuffer, _IMAGE, {"conv1.weight": 12, "conv2.weight": 8}),
    Network("mask in a plain attribute", MaskAttribute, _IMAGE, {"conv2.weight": 8}),
    Network("channel order in a buffer", IndexBuffer, _IMAGE, {"conv2.weight": 10}),
    Network("masked weight", MaskedWeight, _VECTOR, refused=True),
    Network("torch.cond gate", CondGate, _VECTOR, {"stem.weight": 12, "a.weight": 10}, exporter=DYNAMO),
    Network("flatten", lambda: Flattened("module"), _DIGIT, {"conv1.weight": 8, "conv2.weight": 10, "fc1.weight": 12}),
    Network("view(x.size(0), -1)", lambda: Flattened("size"), _DIGIT, {"conv1.weight": 8, "conv2.weight": 10}),
    Network("reshape(b, c * h * w)", lambda: Flattened("sizes"), _DIGIT, {"conv1.weight": 8, "conv2.weight": 10}),
    Network("channels-last view", lambda: Flattened("channels last"), _DIGIT, {"conv1.weight": 8, "conv2.weight": 10}),
    Network("view(-1, number)", lambda: Flattened("number"), _DIGIT, {"conv1.weight": 8, "fc1.weight": 12}),
    Network("view(-1, self.flat)", lambda: Flattened("attribute"), _DIGIT, {"conv1.weight": 8, "fc1.weight": 12}),
    Network("stochastic depth and dropout", StochasticDepth, _IMAGE, {"stem.weight": 10, "branches.0.0.weight": 12}),
    Network(
        "weight_norm",
        lambda: NormalisedWeights(parametrizations.weight_norm),
        _IMAGE,
        {"conv0.weight": 6},
    ),
    Network(
        "spectral_norm",
        lambda: NormalisedWeights(parametrizations.spectral_norm),
        _IMAGE,
        {"conv0.weight": 6},
        exporter=DYNAMO,
    ),
    Network("several inputs and outputs", ManyInputs, several((1, 6, 6), (5,)), {"conv.weight": 8, "fc.weight": 6}),
    Network("features returned", FeatureOutput, _VECTOR, {"a.weight": 12}, stays=("b.bias",)),
    Network("everything measures 12", Coincidence, floats(12, 12), {"conv1.weight": 12, "conv2.weight": 12}),
    Network("stack, unbind and strided slices", Stacked, _VECTOR, {"a.weight": 10}),
    *(
        Network(f"{how} over units", lambda how=how: OverUnits(how), _VECTOR, {"before.weight": 9}, normalised)
        for how, normalised in (
            ("softmax", {}),
            ("maximum", {"layer.weight": 12}),
            ("l2 norm", {"layer.weight": 12}),
            ("running sum", {}),
            ("standard deviation", {"layer.weight": 12}),
            ("sort", {}),
        )
    ),
    Network("embedding and BatchNorm1d", BagOfWords, tokens(6), {"embed.weight": 10, "fc.weight": 12}),
    Network("unused, frozen and detached", DeadEnds, _VECTOR, {"a.weight": 12, "b.weight": 10}),
    Network("expanded parameters", LearnedExpand, floats(3, 6, 6), {"conv.weight": 8}),
    Network("bilinear and outer product", Bilinear, _VECTOR, refused=True, exporter=DYNAMO),
)

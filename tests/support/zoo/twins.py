"""The same networks once more, written by someone else: other classes, other names, functions instead of layers.

Each registers its tensors in the order of its twin, so that values can be handed over one by one.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from zoo.base import Network


class Tensors(nn.Module):
    """Parameters and buffers without any layer around them."""

    def param(self, name, *shape):
        self.register_parameter(name, nn.Parameter(torch.zeros(*shape)))

    def norm(self, name, size):
        self.param(name + "_gain", size)
        self.param(name + "_shift", size)

    def statistics(self, name, size):
        self.register_buffer(name + "_average", torch.zeros(size))
        self.register_buffer(name + "_spread", torch.ones(size))

    def normed(self, name, x):
        return functional.batch_norm(
            x,
            getattr(self, name + "_average"),
            getattr(self, name + "_spread"),
            getattr(self, name + "_gain"),
            getattr(self, name + "_shift"),
            self.training,
        )


class Digits(Tensors):
    """PlainCNN without a module."""

    def __init__(self):
        super().__init__()
        for name, inputs, outputs in (("one", 3, 8), ("two", 8, 12)):
            self.param("kernel_" + name, outputs, inputs, 3, 3)
            self.param("offset_" + name, outputs)
            self.norm(name, outputs)
        self.param("hidden", 20, 192)
        self.param("hidden_offset", 20)
        self.param("out", 5, 20)
        self.param("out_offset", 5)
        self.statistics("one", 8)
        self.statistics("two", 12)

    def forward(self, picture):
        for name in ("one", "two"):
            kernel, offset = getattr(self, "kernel_" + name), getattr(self, "offset_" + name)
            picture = torch.conv2d(picture, kernel, offset, (1, 1), (1, 1))
            picture = torch.max_pool2d(torch.relu(self.normed(name, picture)), (2, 2))
        flat = picture.reshape(len(picture), -1)
        return torch.addmm(self.out_offset, (flat @ self.hidden.mT + self.hidden_offset).clamp(min=0), self.out.t())


class Wring(nn.Module):
    """A squeeze-and-excitation block under other names, with means and broadcasting instead of pooling and expand."""

    def __init__(self, n):
        super().__init__()
        self.fc = nn.Identity()
        self.down_map, self.up_map = nn.Linear(n, n // 2, bias=False), nn.Linear(n // 2, n, bias=False)

    def forward(self, tensor):
        gate = torch.sigmoid(self.up_map(torch.relu(self.down_map(tensor.mean(dim=(-1, -2))))))
        return torch.mul(gate[:, :, None, None], tensor)


class Layer0(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.bn, self.batchnorm = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.batchnorm(self.bn(x))


class Squeezer(nn.Module):
    def __init__(self):
        super().__init__()
        self.Linear, self.Dropout, self.conv, self.lstm = Layer0(3, 12), Layer0(12, 12), Wring(12), nn.Linear(12, 4)

    def forward(self, x):
        x = torch.relu(self.Linear(x))
        y = self.conv(self.Dropout(x))
        return self.lstm(torch.relu(y + x).flatten(2).mean(-1))


class Reader(nn.Module):
    """LastStep under names that say the wrong thing."""

    def __init__(self):
        super().__init__()
        self.conv, self.BatchNorm2d, self.embedding = (
            nn.Linear(5, 9),
            nn.LSTM(9, 12, batch_first=True),
            nn.Linear(12, 4),
        )

    def forward(self, sequence):
        _, (last, _) = self.BatchNorm2d(torch.relu(self.conv(sequence)))
        return self.embedding(last.squeeze(0))


class Looker(Tensors):
    """PatchTransformer with FusedAttention as functions on parameters."""

    def __init__(self):
        super().__init__()
        for name, *shape in (("a", 1, 1, 16), ("b", 1, 5, 16), ("c", 16, 3, 4, 4), ("d", 16)):
            self.param(name, *shape)
        self.norm("e", 16)
        for name, *shape in (("f", 48, 16), ("g", 48), ("h", 16, 16), ("i", 16)):
            self.param(name, *shape)
        self.norm("j", 16)
        for name, *shape in (("k", 28, 16), ("l", 28), ("m", 16, 28), ("n", 16)):
            self.param(name, *shape)
        self.norm("o", 16)
        self.param("p", 4, 16)
        self.param("q", 4)

    def scaled(self, name, x):
        gain = getattr(self, name + "_gain")
        return functional.layer_norm(x, gain.shape, gain, getattr(self, name + "_shift"))

    def look(self, x):
        q, k, v = (x @ self.f.t() + self.g).unflatten(-1, (3, -1, 4)).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.mT * 0.5, -1)
        return functional.linear(torch.matmul(weights, v).transpose(1, 2).flatten(2), self.h, self.i)

    def forward(self, picture):
        x = functional.conv2d(picture, self.c, self.d, stride=4).flatten(2).mT
        x = torch.cat((self.a.expand(len(x), 1, -1), x), dim=-2) + self.b
        x = x + self.look(self.scaled("e", x))
        x = x + functional.linear(
            functional.gelu(functional.linear(self.scaled("j", x), self.k, self.l)), self.m, self.n
        )
        return functional.linear(self.scaled("o", x).select(1, 0), self.p, self.q)


class Pair(nn.Module):
    """Convolution and norm in reversed attribute order of use, joined by a hand-written SiLU."""

    def __init__(self, inputs, outputs, size=3, step=1):
        super().__init__()
        self.relu = nn.Conv2d(inputs, outputs, size, step, size // 2, bias=False)
        self.sigmoid = nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = self.sigmoid(self.relu(x))
        return x * torch.sigmoid(x)


class Halves(nn.Module):
    """C2f with slices instead of split, and a growing cat instead of a list."""

    def __init__(self, inputs, outputs, repeats):
        super().__init__()
        half = outputs // 2
        self.inlet, self.outlet = Pair(inputs, 2 * half, 1), Pair((2 + repeats) * half, outputs, 1)
        self.steps = nn.ModuleList(nn.ModuleList([Pair(half, half), Pair(half, half)]) for _ in range(repeats))

    def forward(self, x):
        whole = self.inlet(x)
        last = whole.chunk(2, dim=1)[1]
        for first, second in self.steps:
            last = last + second(first(last))
            whole = torch.cat([whole, last], 1)
        return self.outlet(whole)


class Finder(nn.Module):
    def __init__(self):
        super().__init__()
        self.zero, self.one = Pair(3, 8, 3, 2), Halves(8, 12, 1)
        self.two, self.three, self.four = Pair(12, 16, 3, 2), Halves(16, 16, 2), nn.Conv2d(16, 7, 1)

    def forward(self, x):
        for layer in (self.zero, self.one, self.two, self.three, self.four):
            x = layer(x)
        return x


# Name in the zoo -> the twin's class.
TWINS = {
    "plain CNN": Digits,
    "SE blocks": Squeezer,
    "LSTM": Reader,
    "ViT with fused qkv": Looker,
    "C2f chunk": Finder,
}


def build_twin(network: Network) -> tuple[nn.Module, nn.Module, dict[str, str]]:
    """(network, its twin with the same values, tensor names of the twin -> those of the network)."""
    module, twin = network.build(), TWINS[network.name]().eval()
    names = {}
    for tables in ("named_parameters", "named_buffers"):
        ours = [(name, one) for name, one in getattr(module, tables)() if one.dim()]
        theirs = [(name, one) for name, one in getattr(twin, tables)() if one.dim()]
        for (name, value), (other, target) in zip(ours, theirs, strict=True):
            assert value.shape == target.shape, (name, other)
            target.data.copy_(value.data)
            names[other] = name
    return module, twin, names

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

from edge_dendrite.compress.dendrites.gate import gate, open_rates
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.config import FitConfig, GateConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.models.convnets import ResNet8
from edge_dendrite.train.fit import fit

FEW = {"num_batches": 2, "num_samples": 1024}


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(8, 3, 32, 32, generator=generator), torch.arange(8)) for _ in range(2)]


def test_blocks_are_found_and_start_open(batches):
    torch.manual_seed(0)
    network = ResNet8().eval()
    before = copy.deepcopy(network.state_dict())
    made = gate(network, batches, GateConfig(**FEW))
    assert [name for name, part in made.module.named_modules() if isinstance(part, GatedBlock)] == [
        "blocks.0",
        "blocks.1",
        "blocks.2",
    ]
    assert isinstance(made.module.blocks[0].bypass, nn.Identity)
    assert made.module.blocks[1].bypass.stride == (2, 2)
    assert torch.equal(made.module(batches[0][0]), network(batches[0][0]))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    fresh = apply_plan_(ResNet8(), Plan.from_dict(json.loads(json.dumps(made.plan.to_dict()))))
    fresh.load_state_dict(made.module.state_dict())
    assert torch.equal(fresh.eval()(batches[0][0]), network(batches[0][0]))


def test_a_bypass_is_the_best_linear_map(batches):
    """A block that is a strided linear map of each position is found again."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head = nn.Sequential(nn.Conv2d(3, 6, 1, stride=2)), nn.Conv2d(6, 2, 3)

        def forward(self, x):
            return self.head(self.block(x))

    torch.manual_seed(0)
    network = Net().eval()
    made = gate(network, batches, GateConfig(blocks=("block",), **FEW))
    bypass = made.module.block.bypass
    assert torch.allclose(bypass.weight, network.block[0].weight, atol=1e-3)
    assert torch.allclose(bypass.bias, network.block[0].bias, atol=1e-3)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x):
        return x + self.two(self.one(x).relu())


class Halves(nn.Module):
    """The first input says whether the block is needed: easy and hard inputs."""

    def __init__(self):
        super().__init__()
        self.block, self.head = Residual(), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.block(x))


@pytest.fixture
def halves():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(2000, 8, generator=generator)
    inputs[:, 0] = inputs[:, 0].sign() * 2
    easy = inputs[:, 1] > 0
    hard = inputs[:, 2] * inputs[:, 3] > 0
    targets = torch.where(inputs[:, 0] > 0, hard, easy).long()
    return DataSet.from_tensors("halves", train=(inputs, targets), test=(inputs, targets))


def test_training_with_the_penalty_lowers_the_work_and_keeps_the_metric(halves):
    torch.manual_seed(0)
    network = Halves()
    dense = fit(network, halves, FitConfig(epochs=20, batch_size=64, learning_rate=0.01))[-1]["val_metric"]
    made = gate(network, list(halves.batches(halves.train, 64)), GateConfig(blocks=("block",)))
    assert open_rates(made.module, halves, halves.validation) == {"block": 1.0}
    config = FitConfig(epochs=60, batch_size=64, learning_rate=0.01)
    history = fit(made.module, halves, config, penalty=made.penalty)
    assert open_rates(made.module, halves, halves.validation)["block"] < 0.85
    assert history[-1]["val_metric"] > dense - 0.03
    with torch.no_grad():
        is_open = made.module.block.gate(halves.validation.inputs) > 0
    is_hard = halves.validation.inputs[:, 0] > 0
    assert float(is_open[is_hard].float().mean()) > float(is_open[~is_hard].float().mean()) + 0.2


def test_the_penalty_by_hand(batches):
    made = gate(ResNet8().eval(), batches, GateConfig(target=0.25, weight=3.0, warm_up=4, **FEW))
    assert float(made.penalty()) == 0.0  # before the first forward
    blocks = list(made.module.blocks)
    for block, rate in zip(blocks, (1.0, 0.5, 0.0), strict=True):
        block.open_rate = torch.tensor(rate, requires_grad=True)
    costs = [4_718_592, 3_538_944 - 0, 3_538_944]  # of the three blocks, at 32x32
    costs[1] += 16 * 32 * 256
    costs[2] += 32 * 64 * 64
    share = (costs[0] + 0.5 * costs[1]) / sum(costs)
    for block in blocks:
        block.num_steps.fill_(2)
    assert float(made.penalty().detach()) == pytest.approx(3.0 * max(0.0, share - 0.625) ** 2)  # half of the warm-up
    for block in blocks:
        block.num_steps.fill_(9)
    value = made.penalty()
    assert float(value.detach()) == pytest.approx(3.0 * (share - 0.25) ** 2)
    value.backward()
    assert float(blocks[0].open_rate.grad) > 0


def test_a_transformer_block(batches):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.mlp = nn.Linear(32, 16), nn.Sequential(nn.Linear(16, 64), nn.GELU(), nn.Linear(64, 16))
            self.head = nn.Linear(16, 4)

        def forward(self, x):
            x = self.embed(x.flatten(1, 2))
            return self.head((x + self.mlp(x)).mean(1))

    made = gate(Net().eval(), batches, GateConfig(blocks=("mlp",), **FEW))
    block = made.module.mlp
    assert block.gate.hidden.in_features == 16 and isinstance(block.bypass, nn.Identity)
    made.module.train()(batches[0][0]).sum().backward()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.two = (
            nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)),
            nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)),
        )

    def forward(self, x):
        return self.two(self.block(self.block(x)))


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (("block",), "'block' cannot have a gate: it is called 2 times"),
        (("two",), r"'two' cannot have a gate: it makes \(2, 4\) of \(2, 3, 32, 32\)"),
        (("nothing",), "no block of this network can have a gate"),
    ],
)
def test_blocks_that_cannot(blocks, words, batches):
    with pytest.raises(PruneError, match=words):
        gate(Twice(), batches, GateConfig(blocks=blocks, **FEW))


@pytest.mark.parametrize(
    "wrong", [{"blocks": "x"}, {"blocks": ("(",)}, {"hidden": 0}, {"target": 2.0}, {"weight": 0.0}, {"num_batches": 0}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match="GateConfig"):
        GateConfig(**wrong)

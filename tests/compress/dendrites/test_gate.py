from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.dendrites.gate import gate, open_rates, penalty_of_gates, without_idle_gates
from edge_dendrite.compress.layers.branches import SpatialBranches
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.model import CompressedModel, load
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import Budget, FitConfig, GateConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import ConfigError, PruneError, TrainError
from edge_dendrite.export.onnx import check_parity, export_onnx
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


def test_branches_of_batches_that_can_be_read_only_once(batches):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
            self.head = nn.Linear(8, 8)

        def forward(self, x):
            return self.head(self.block(x).relu().mean((2, 3)))

    torch.manual_seed(0)
    network, settings = Net(), GateConfig(blocks=("block",), bypass="branches", **FEW)
    once, again = gate(network, iter(batches), settings).module, gate(network, batches, settings).module
    x = batches[0][0]
    branches = [dict(one.named_modules())["block"].bypass for one in (once, again)]
    assert torch.equal(*(one(x) for one in branches))


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
    made = gate(network, list(halves.batches(halves.train, 64)), GateConfig(blocks=("block",), target=0.7))
    assert open_rates(made.module, halves, halves.validation) == {"block": 1.0}
    config = FitConfig(epochs=60, batch_size=64, learning_rate=0.01)
    metric = fit(made.module, halves, config, penalty=made.penalty)[-1]["val_metric"]
    rate = open_rates(made.module, halves, halves.validation)["block"]
    assert 0.6 < rate < 0.8
    assert metric > dense - 0.06
    # The inputs decide, and it matters which: as many open gates anywhere are worth less.
    gate_of = made.module.block.gate
    shuffled = torch.randperm(len(halves.validation), generator=torch.Generator().manual_seed(1))
    logits = gate_of(halves.validation.inputs)[shuffled].detach()
    handle = gate_of.register_forward_hook(lambda part, args, y: logits)
    with torch.no_grad():
        guessed = made.module(halves.validation.inputs).argmax(1) == halves.validation.targets
    handle.remove()
    assert metric > float(guessed.float().mean()) + 0.05


def test_the_penalty_by_hand(batches):
    made = gate(ResNet8().eval(), batches, GateConfig(target=0.25, weight=3.0, warm_up=4, **FEW))
    assert float(made.penalty()) == 0.0  # before the first forward
    blocks = list(made.module.blocks)
    rates = [torch.tensor(rate, requires_grad=True) for rate in (1.0, 0.5, 0.0)]
    costs = [4_718_592, 3_538_944 - 0, 3_538_944]  # of the three blocks, at 32x32
    costs[1] += 16 * 32 * 256
    costs[2] += 32 * 64 * 64
    shares = [cost / sum(costs) for cost in costs]
    for block, rate in zip(blocks, rates, strict=True):
        block.num_steps.fill_(2)
        block._open_rate = rate
    half_way = made.penalty()  # half of the warm-up: the target is 0.625
    work = shares[0] + 0.5 * shares[1]
    assert float(half_way.detach()) == pytest.approx(3.0 * (work - 0.625) ** 2)
    for block, rate in zip(blocks, rates, strict=True):
        block.num_steps.fill_(9)
        block._open_rate = rate
    value = made.penalty()
    assert float(value.detach()) == pytest.approx(3.0 * (work - 0.25) ** 2)
    value.backward()
    # Each gate is pushed by what its block costs; below the target it is pushed open.
    assert [float(rate.grad) for rate in rates] == pytest.approx([6.0 * (work - 0.25) * share for share in shares])
    for block in blocks:
        block._open_rate = torch.zeros((), requires_grad=True)
    made.penalty().backward()
    closed = blocks[0]._open_rate
    assert closed is None  # it was taken


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
        (("nothing",), "'nothing' is no block of this network"),
        (("two", "tow"), "'two' cannot have a gate|'tow' is no block"),
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


class Blocks(nn.Module):
    """A stem, blocks that are given as layers, a head; how the blocks are reached is the subclass's."""

    def __init__(self, *blocks):
        super().__init__()
        self.stem, self.blocks, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.ModuleList(blocks), nn.Linear(4, 3)

    def walk(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x

    def forward(self, x):
        return self.head(self.walk(self.stem(x)).mean((2, 3)))


def conv_block(in_place=False):
    return nn.Sequential(nn.ReLU(inplace=in_place), nn.Conv2d(4, 4, 3, padding=1))


class ByType(Blocks):
    def walk(self, x):
        for block in self.blocks:
            x = x + block(x) if isinstance(block, nn.Sequential) else x
        return x


class ByList(Blocks):
    def __init__(self, *blocks):
        super().__init__(*blocks)
        self.order = list(self.blocks)

    def walk(self, x):
        return x + self.order[0](x)


class Tokens(nn.Module):
    """Positions before the batch."""

    def __init__(self):
        super().__init__()
        self.block, self.head = nn.Sequential(nn.Linear(96, 96), nn.ReLU()), nn.Linear(96, 3)

    def forward(self, x):
        return self.head(self.block(x.permute(2, 0, 1, 3).flatten(2)).mean(0))


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.head = nn.Sequential(nn.Linear(3, 3), nn.GELU()), nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.block(x.permute(0, 2, 3, 1)).mean((1, 2)))


class Tied(Blocks):
    def __init__(self):
        super().__init__(conv_block(), conv_block())
        self.again = self.blocks[0][1].weight


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (lambda: Blocks(conv_block(in_place=True)), "blocks.0", "changes its input in place"),
        (lambda: ByType(conv_block()), "blocks.0", "does not reach the block by this name"),
        (lambda: ByList(conv_block()), "blocks.0", "does not reach the block by this name"),
        (Tokens, "block", "first dimension is not that of the network's inputs"),
        (ChannelsLast, "block", "channels do not come before its positions"),
        (lambda: Blocks(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(4))), "blocks.0", "no work that is counted"),
        (Tied, r"blocks\.0", "shares a weight with the rest"),
        (lambda: Blocks(nn.Sequential(conv_block())), r"blocks\.0(\.0)?", "is inside of blocks.0"),
    ],
)
def test_what_a_gate_would_change_is_refused_by_name(make, name, words, batches):
    torch.manual_seed(0)
    with pytest.raises(PruneError, match=words):
        gate(make().eval(), batches, GateConfig(blocks=(name,), **FEW))


def test_a_block_that_cannot_does_not_keep_others_from_it(batches):
    made = gate(Tied().eval(), batches, GateConfig(**FEW))
    assert "shares a weight" in made.kept["blocks.0"] and isinstance(made.module.blocks[1], GatedBlock)


def test_gates_are_given_once_and_last(batches):
    made = gate(ResNet8().eval(), batches, GateConfig(**FEW)).module
    with pytest.raises(PruneError, match="'blocks.0' has a gate already"):
        gate(made, batches, GateConfig(**FEW))
    with pytest.raises(PruneError, match="'blocks.0' has a gate, which decides by values; prune first"):
        prune(made, batches, Budget(pruning_ratio=0.5))


def test_the_work_of_a_gated_network_is_that_of_open_gates(batches):
    network = ResNet8().eval()
    made = gate(network, batches, GateConfig(**FEW)).module
    wanted = measure_stats(network, (batches[0][0][:1],)).num_macs
    for bias in (50.0, -50.0):
        with torch.no_grad():
            for block in made.blocks:
                block.gate.bias.fill_(bias)
        found = measure_stats(made, (batches[0][0][:1],)).num_macs
        assert found == wanted


def test_fused_encoder_layers_have_work(batches):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(32, 16)
            self.layers = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True) for _ in range(3))
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            x = self.embed(x.flatten(1, 2))
            for layer in self.layers:
                x = layer(x)
            return self.head(x.mean(1))

    made = gate(Encoder().eval(), batches, GateConfig(**FEW))
    assert [name for name, part in made.module.named_modules() if isinstance(part, GatedBlock)] == [
        "layers.0",
        "layers.1",
        "layers.2",
    ]


def test_trained_then_copied_saved_and_exported(halves, tmp_path):
    torch.manual_seed(0)
    made = gate(Halves(), list(halves.batches(halves.train, 64)), GateConfig(blocks=("block",), warm_up=10))
    fit(made.module, halves, FitConfig(epochs=3, batch_size=64, learning_rate=0.01), penalty=made.penalty)
    made.module.train()(halves.train.inputs[:8])  # a rate that nobody took
    made.module.eval()
    x = halves.validation.inputs[:32]
    assert torch.equal(copy.deepcopy(made.module)(x), made.module(x))
    check_parity(export_onnx(made.module, (8,), 13), made.module, x, 1e-4, 1e-4)
    model = CompressedModel.describe(
        made.module, halves, name="gated", source="halves", role="compressed", plan=made.plan
    )
    model.save(tmp_path / "gated")
    assert torch.equal(load(tmp_path / "gated", model=Halves).module(x), made.module(x))


def test_a_checkpoint_knows_its_penalty(halves, tmp_path):
    torch.manual_seed(0)
    made = gate(Halves(), list(halves.batches(halves.train, 64)), GateConfig(blocks=("block",)))
    config = FitConfig(epochs=1, batch_size=64)
    fit(copy.deepcopy(made.module), halves, config, checkpoint=tmp_path / "c.safetensors")
    with pytest.raises(TrainError, match="was made by another training"):
        fit(made.module, halves, config, penalty=made.penalty, checkpoint=tmp_path / "c.safetensors")


def test_half_precision_decides_hard(batches):
    torch.manual_seed(0)
    made = gate(ResNet8().eval(), batches, GateConfig(**FEW)).module.train()
    with torch.autocast("cpu", torch.bfloat16):
        made(batches[0][0])
    for block in made.blocks:
        rate = block.take_open_rate()
        assert rate.dtype is torch.float32 and float(rate.detach() * 8) == round(float(rate.detach() * 8))


def test_a_control_from_scratch_leaves_the_block_as_the_factory_made_it(batches):
    def factory():
        network = ResNet8()
        nn.init.normal_(network.blocks[1].conv1.weight, std=1e-3)
        return network

    plan = gate(factory().eval(), batches, GateConfig(**FEW)).plan
    control = same_shape_from_scratch(factory, plan, 0)
    assert float(control.blocks[1].block.conv1.weight.detach().std()) < 2e-3


def test_settings_from_json():
    config = GateConfig(blocks=("a", "b.*"), target=0.3)
    assert GateConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_network_with_gates_of_its_own_has_the_penalty_of_one_that_was_given_them(batches):
    config = GateConfig(target=0.3, weight=2.0, warm_up=7, **FEW)
    made = gate(ResNet8().eval(), batches, config)
    assert penalty_of_gates(made.module, batches[0][0], config).identity == made.penalty.identity
    with torch.no_grad():
        for block in made.module.blocks:
            block.gate.bias.fill_(-9.0)  # costs are those of the blocks, whichever way the inputs go
    assert penalty_of_gates(made.module, batches[0][0], config).identity == made.penalty.identity
    with pytest.raises(PruneError, match="no block of this network has a gate"):
        penalty_of_gates(ResNet8(), batches[0][0])


def test_gates_that_decide_nothing_are_taken_away(batches):
    made = gate(ResNet8().eval(), batches, GateConfig(**FEW)).module.eval()
    with torch.no_grad():
        made.blocks[0].gate.bias.fill_(9.0)
        made.blocks[1].gate.bias.fill_(-9.0)
    rates = {"blocks.0": 1.0, "blocks.1": 0.0, "blocks.2": 0.5}
    plain = without_idle_gates(made, rates)
    assert torch.equal(plain(batches[0][0]), made(batches[0][0]))
    assert type(plain.blocks[0]) is type(made.blocks[0].block)
    assert type(plain.blocks[1]) is nn.Conv2d
    assert isinstance(plain.blocks[2], GatedBlock) and isinstance(made.blocks[0], GatedBlock)
    rare = without_idle_gates(made, {**rates, "blocks.0": 0.98, "blocks.1": 0.02})
    assert isinstance(rare.blocks[0], GatedBlock) and isinstance(rare.blocks[1], GatedBlock)


def test_a_bypass_of_branches_is_the_block_with_branches_fitted_to_it():
    torch.manual_seed(0)
    module = ResNet8().eval()
    batches = [(torch.randn(32, 3, 32, 32), torch.randint(10, (32,))) for _ in range(2)]
    with torch.no_grad():  # statistics of batch norm that are not those of a newborn network
        module.train()(batches[0][0])
        module.eval()
    made = gate(module, batches, GateConfig(bypass="branches", num_batches=2, num_samples=2048))
    block = made.module.blocks[1]
    assert isinstance(block.bypass.conv1, SpatialBranches) and isinstance(block.bypass.conv2, SpatialBranches)
    assert isinstance(block.block.conv1, torch.nn.Conv2d)
    x = module.blocks[0](module.bn(module.conv(batches[0][0])).relu())
    with torch.no_grad():
        wanted, seen = module.blocks[1](x), block.bypass(x)
    assert float((wanted - seen).square().mean() / wanted.var()) < 0.5
    plan = Plan.from_dict(json.loads(json.dumps(made.plan.to_dict())))
    fresh = apply_plan_(ResNet8(), plan).eval()
    fresh.load_state_dict(made.module.state_dict())
    with torch.no_grad():
        for part in (fresh, made.module.eval()):
            part.blocks[1].gate.bias.fill_(-100.0)
        assert torch.equal(fresh(batches[0][0]), made.module(batches[0][0]))
        assert not torch.equal(made.module(batches[0][0]), module(batches[0][0]))


def test_blocks_without_a_layer_for_branches_are_refused():
    module = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU()), torch.nn.Linear(8, 2))
    batches = [(torch.randn(16, 8), torch.randint(2, (16,)))]
    with pytest.raises(PruneError, match="no layer inside of the gated blocks can have branches"):
        gate(module, batches, GateConfig(blocks=("0",), bypass="branches"))

"""The dendritic ResNet-18: its size against the dense one, that it trains, folds, and ships with its gates."""

from __future__ import annotations

import copy

import pytest
import torch

from edge_dendrite.compress.connections.mask_folding import fold_masks
from edge_dendrite.compress.dendrites.gate import open_rates, penalty_of_gates
from edge_dendrite.compress.layers.gated import GatedBlock
from edge_dendrite.compress.layers.group_masks import MaskedLayer
from edge_dendrite.compress.pipeline import compress_with_controls
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import Budget, CompressConfig, ExportConfig, FitConfig, GateConfig, GroupConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.export.gates import inputs_of_every_path
from edge_dendrite.export.onnx import check_parity, export_onnx
from edge_dendrite.models.resnet18 import ResNet18, dendritic_resnet18, narrow_resnet18, plain_resnet18
from edge_dendrite.models.source import find_factory
from edge_dendrite.train.fit import fit

EXAMPLE = (torch.zeros(1, 3, 32, 32),)
CLAIM = 0.9843  # the share of parameters and multiply-accumulates that is said to go


@pytest.fixture(scope="module")
def images():
    """Classes that differ in brightness and in one colour; the brighter, the more structure."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(160) % 4
    inputs = torch.randn(160, 3, 32, 32, generator=generator) * (0.3 + targets.view(-1, 1, 1, 1) / 2)
    inputs[:, 0] += targets.view(-1, 1, 1)
    return DataSet.from_tensors("images", train=(inputs, targets), test=(inputs[:16], targets[:16]))


@pytest.fixture(scope="module")
def trained(images):
    """After a few steps in which gates learn to close."""
    torch.manual_seed(0)
    network = dendritic_resnet18(4)
    before = copy.deepcopy(network.state_dict())
    penalty = penalty_of_gates(network, EXAMPLE[0], GateConfig(target=0.3, warm_up=2))
    history = fit(network, images, FitConfig(epochs=3, batch_size=16, learning_rate=5e-3), penalty=penalty)
    return network, before, history


def folded_stats(network):
    return measure_stats(fold_masks(network.eval(), [(EXAMPLE[0], None)]).module, EXAMPLE)


def test_sizes_are_those_of_the_claim():
    dense = measure_stats(find_factory("resnet18")(), EXAMPLE)
    assert (dense.num_parameters, dense.num_macs) == (11_173_962, 555_422_720)
    stats = folded_stats(find_factory("resnet18-dendritic")())
    assert stats.num_parameters == 173_223
    assert 1 - stats.num_parameters / dense.num_parameters > CLAIM
    assert 1 - stats.num_macs / dense.num_macs > CLAIM


def test_controls_have_its_shape_or_its_size():
    ours = folded_stats(dendritic_resnet18())
    plain, narrow = (measure_stats(make(), EXAMPLE) for make in (plain_resnet18, narrow_resnet18))
    named = dendritic_resnet18().named_parameters()
    gates = sum(one.numel() for name, one in named if ".gate." in name)
    assert plain.num_parameters == ours.num_parameters - gates
    assert plain.num_macs == ours.num_macs
    assert [one.num_units for one in plain.layers] == [one.num_units for one in ours.layers if ".gate." not in one.name]
    assert abs(narrow.num_parameters / ours.num_parameters - 1) < 0.02


def test_every_later_convolution_learns_groups_and_every_block_of_one_shape_has_a_gate():
    network = dendritic_resnet18()
    masked = [name for name, part in network.named_modules() if isinstance(part, MaskedLayer)]
    assert len(masked) == 3 * 5 and not any(name.startswith(("blocks.0", "blocks.1")) for name in masked)
    gated = [name for name, part in network.named_modules() if isinstance(part, GatedBlock)]
    assert gated == ["blocks.0", "blocks.1", "blocks.3", "blocks.5", "blocks.7"]


def test_a_few_steps_train_weights_masks_and_gates(trained):
    network, before, history = trained
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    names = [name for name, _ in network.named_parameters()]
    still = [name for name in names if torch.equal(network.state_dict()[name], before[name])]
    assert not still
    start = dendritic_resnet18(4)
    start.load_state_dict(before)
    names = [name for name, part in network.named_modules() if isinstance(part, MaskedLayer)]
    pairs = [[one.get_submodule(name).inputs() for one in (start, network)] for name in names]
    assert any(not torch.equal(first, last) for first, last in pairs)


@pytest.mark.parametrize("opset", [13, 17])
def test_it_ships_folded_with_gates_that_go_both_ways(trained, images, opset):
    network = fold_masks(trained[0], [(images.train.inputs[:8], None)]).module
    inputs = images.train.inputs[:64]
    with torch.no_grad():
        for block in [part for part in network.modules() if isinstance(part, GatedBlock)]:
            # In the middle of what it says of these images, so that both ways are met whatever was learned.
            seen = []
            handle = block.gate.register_forward_hook(lambda gate, args, y, seen=seen: seen.append(y))
            network(inputs)
            handle.remove()
            logits = torch.cat(seen).sort().values
            block.gate.bias -= logits[len(logits) // 2 - 1 : len(logits) // 2 + 1].mean()
    assert all(0 < rate < 1 for rate in open_rates(network, images, images.train.subset(torch.arange(64))).values())
    exported = export_onnx(network, (3, 32, 32), opset)
    chosen = inputs[inputs_of_every_path(network, inputs, 8)]
    check_parity(exported, network, chosen, ExportConfig().atol, ExportConfig().rtol)


def test_compressing_it_trains_it_with_its_penalty_and_folds_it(images, tmp_path):
    config = CompressConfig(
        budget=Budget(pruning_ratio=0.5),
        prune=GroupConfig(num_batches=1),
        fit=FitConfig(epochs=1, batch_size=48),
        finetune_epochs=1,
    )
    made = compress_with_controls(lambda: dendritic_resnet18(4), images, config, tmp_path / "out", source="mine")
    assert made.baseline.stats.num_parameters > 600_000
    assert made.compressed.stats.num_parameters == 173_223 - 6 * 129
    scratch = made.controls[1]
    assert scratch.stats.num_parameters == made.compressed.stats.num_parameters
    gates = [part for part in made.compressed.module.modules() if isinstance(part, GatedBlock)]
    assert len(gates) == 5 and all(int(one.num_steps) == 6 for one in gates)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_it_learns_and_its_gates_close_to_the_target(images):
    torch.manual_seed(0)
    network = dendritic_resnet18(4)
    penalty = penalty_of_gates(network, EXAMPLE[0], GateConfig(target=0.5, warm_up=100))
    config = FitConfig(epochs=60, batch_size=16, precision="bfloat16", channels_last=True)
    history = fit(network, images, config, penalty=penalty, device="cuda")
    assert history[-1]["val_metric"] > 0.9
    folded = fold_masks(network, [(images.train.inputs[:8], None)]).module
    rates = open_rates(folded, images, images.train)
    penalised = sum(penalty.identity["shares"][name] * rate for name, rate in rates.items())
    assert penalised < 0.75


def test_the_dense_one_is_the_widest_of_its_kind():
    widths = [part.out_channels for part in ResNet18().modules() if isinstance(part, torch.nn.Conv2d)]
    assert widths == [64] * 5 + [128] * 5 + [256] * 5 + [512] * 5

"""2:4: the mask, zeros that hold through training and its checkpoints, plain layers afterwards, boards that have it."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

from edge_dendrite.boards import load_board
from edge_dendrite.compress.connections.nm_sparsity import bake_, hold_zeros_, masks_of, prune_two_of_four, two_of_four
from edge_dendrite.compress.model import CompressedModel, load, weights_digest
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import FitConfig, TwoOfFourConfig
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.export.onnx import check_parity, export_onnx
from edge_dendrite.models.convnets import DigitsCNN
from edge_dendrite.train.fit import fit

ORIN = load_board("jetson-orin-nano")
# conv1 reads a single channel; the others have 4 * k inputs.
SPARSE = ("conv2", "fc1", "fc2")


@pytest.fixture
def module():
    torch.manual_seed(0)
    return DigitsCNN().eval()


@pytest.fixture
def batches(digits):
    return list(itertools.islice(digits.batches(digits.train, 64), 2))


def test_the_mask_by_hand():
    scores = torch.tensor([[1.0, 5, 3, 2, 0, 0, 0, 0], [4, 3, 2, 1, 1, 2, 3, 4]])
    wanted = [[0, 1, 1, 0, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0, 1, 1]]
    assert two_of_four(scores).int().tolist() == wanted
    # A convolution sums over channels at each position of its kernel.
    kernel = torch.stack([scores, scores.flip(1)], -1)  # (neurons, inputs, positions)
    assert two_of_four(kernel)[..., 0].int().tolist() == wanted
    assert two_of_four(kernel)[0, :4, 1].int().tolist() == [1, 1, 0, 0]
    assert two_of_four(kernel).is_contiguous()


def assert_sparse(module):
    """Two zeros in every four consecutive inputs, and the other layer dense."""
    for name in SPARSE:
        weight = module.get_submodule(name).weight.detach()
        zeros = (weight.movedim(1, -1).unflatten(-1, (-1, 4)) == 0).sum(-1)
        assert torch.equal(zeros, torch.full_like(zeros, 2)), name
    assert torch.count_nonzero(module.conv1.weight) == module.conv1.weight.numel()


@pytest.mark.parametrize("score", ["magnitude", "taylor"])
def test_nonzeros_halve_and_parameters_do_not(module, batches, score):
    before = copy.deepcopy(module.state_dict())
    pruned = prune_two_of_four(module, batches, ORIN, TwoOfFourConfig(score, num_batches=2))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert_sparse(pruned.module)
    assert pruned.plan.edits == ()
    assert pruned.kept == {"conv1": "its 1 inputs are no multiple of 4"}
    dense = measure_stats(module, (torch.zeros(1, 1, 8, 8),))
    sparse = measure_stats(bake_(pruned.module), (torch.zeros(1, 1, 8, 8),))
    halved = sum(module.get_submodule(name).weight.numel() // 2 for name in SPARSE)
    assert (sparse.num_parameters, sparse.num_macs) == (dense.num_parameters, dense.num_macs)
    assert sparse.num_nonzero == dense.num_nonzero - halved
    assert sum(line.before - line.after for line in pruned.plan.layers) == halved


def test_magnitudes_keep_the_largest_and_taylor_what_the_loss_asks_for(module, batches):
    with torch.no_grad():
        module.fc1.weight[:, ::4] = 10.0  # large, but what reads them has no effect
        module.conv2.bias[::1] = -100.0  # so all inputs of fc1 are zero
    by_size = prune_two_of_four(module, batches, ORIN).module
    assert bool(masks_of(by_size)["fc1"][:, ::4].all())
    by_loss = prune_two_of_four(module, batches, ORIN, TwoOfFourConfig("taylor", num_batches=1)).module
    # Without any effect all are equal, and the first two stay.
    assert masks_of(by_loss)["fc1"][0, :4].tolist() == [True, True, False, False]
    assert bool((masks_of(by_size)["fc2"] != masks_of(by_loss)["fc2"]).any())


def test_zeros_hold_through_training_and_an_interruption(module, batches, digits, tmp_path):
    pruned = prune_two_of_four(module, batches, ORIN)
    again = prune_two_of_four(module, batches, ORIN)
    masks = {name: mask.clone() for name, mask in masks_of(pruned.module).items()}
    checkpoint = tmp_path / "state.safetensors"
    config = FitConfig(epochs=2, batch_size=128)

    class Stop(Exception):
        pass

    def stop_in_the_second_epoch(description, done, total):
        if done > total // 2 + 1:
            raise Stop

    with pytest.raises(Stop):
        fit(pruned.module, digits, config, checkpoint=checkpoint, progress=stop_in_the_second_epoch)
    fit(again.module, digits, config, checkpoint=checkpoint)
    assert_sparse(again.module)
    trained = copy.deepcopy(again.module.fc1.weight.detach())
    assert bool((trained != module.fc1.weight).any())
    assert all(torch.equal(mask, masks[name]) for name, mask in masks_of(again.module).items())
    baked = bake_(again.module)
    assert_sparse(baked)
    assert torch.equal(baked.fc1.weight, trained)


@torch.no_grad()
def test_baked_is_plain_saved_loaded_and_exported(module, batches, digits, tmp_path):
    pruned = prune_two_of_four(module, batches, ORIN)
    inputs = batches[0][0][:4]
    wanted = pruned.module(inputs)
    assert float((wanted - module(inputs)).abs().max()) > 1e-3
    plain = bake_(pruned.module)
    assert bake_(plain) is plain
    assert type(plain.fc1) is nn.Linear and masks_of(plain) == {}
    assert list(plain.state_dict()) == list(module.state_dict())
    assert all(parameter.requires_grad for parameter in plain.parameters())
    assert torch.equal(plain(inputs), wanted)
    model = CompressedModel.describe(plain, digits, name="x", source="digits-cnn", role="compressed", plan=pruned.plan)
    again = load(model.save(tmp_path / "m"))
    assert torch.equal(again.module(inputs), wanted)
    assert weights_digest(again.module) == weights_digest(plain)
    for opset in (13, 17):
        check_parity(export_onnx(plain, (1, 8, 8), opset), plain, inputs, 1e-4, 1e-4)


def test_frozen_layers_stay_frozen(module, batches):
    module.fc1.weight.requires_grad_(False)
    pruned = prune_two_of_four(module, batches, ORIN, TwoOfFourConfig("taylor", num_batches=1)).module
    frozen = [name for name, parameter in bake_(pruned).named_parameters() if not parameter.requires_grad]
    assert frozen == ["fc1.weight"]
    assert all(parameter.grad is None for parameter in pruned.parameters())


def test_a_control_takes_the_same_zeros(module, batches):
    pruned = prune_two_of_four(module, batches, ORIN)
    control = hold_zeros_(DigitsCNN(), masks_of(pruned.module))
    assert_sparse(control)
    assert bool((control.fc1.weight != pruned.module.fc1.weight).any())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("jetson-nano", "skips no pattern"),
        ("jetson-xavier-nx", "skips no pattern"),
        ("raspberry-pi-5", "does not say"),
        ("generic-x86", "does not say"),
    ],
)
def test_other_boards_are_refused_by_name(module, batches, name, reason):
    with pytest.raises(ConfigError, match=f"board {name}: 2:4 .*{reason}"):
        prune_two_of_four(module, batches, load_board(name))


@pytest.mark.parametrize("values", [{"score": "l2"}, {"score": None}, {"num_batches": 0}, {"pattern": "1:4"}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ConfigError, match="TwoOfFourConfig"):
        TwoOfFourConfig.from_dict(values)


def test_networks_without_such_layers_are_refused():
    with pytest.raises(PruneError, match="0 \\(its 6 inputs are no multiple of 4\\)"):
        prune_two_of_four(nn.Sequential(nn.Linear(6, 2)), [(torch.zeros(2, 6), torch.zeros(2).long())], ORIN)


def test_tied_weights_stay_dense():
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].weight = module[0].weight
    pruned = prune_two_of_four(module, [(torch.randn(2, 8), torch.zeros(2).long())], ORIN)
    assert set(masks_of(pruned.module)) == {"2"}
    assert set(pruned.kept) == {"0", "1"}
    assert pruned.module[1].weight is pruned.module[0].weight

"""Every level of pruning through the whole of compressing: budgets, controls of one shape, saving, ONNX, plans."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from edge_dendrite.compress.connections.nm_sparsity import masks_of
from edge_dendrite.compress.levels import plan_at_level, prune_at_level
from edge_dendrite.compress.model import load
from edge_dendrite.compress.pipeline import compress_with_controls, plan_compression, scoring_batches
from edge_dendrite.compress.record import read_record
from edge_dendrite.config import (
    BranchConfig,
    Budget,
    CompressConfig,
    FitConfig,
    GroupConfig,
    MaskConfig,
    PruneConfig,
    SegmentConfig,
    TwoOfFourConfig,
)
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.models.convnets import DigitsCNN

FIT = FitConfig(epochs=2, batch_size=64)
LEVELS = {
    "neurons": PruneConfig(num_rounds=2, num_batches=2),
    "learned": PruneConfig(score="learned", num_batches=2, masks=MaskConfig(num_steps=20)),
    "segments": SegmentConfig(num_rounds=2, num_batches=2),
    "groups": GroupConfig(num_groups=4, num_batches=2),
    "2:4": TwoOfFourConfig(board="jetson-orin-nano"),
    "branches": BranchConfig(num_batches=2, num_samples=512),
}
TARGET = 13_706 * 6 // 10


def config_of(level):
    return CompressConfig(Budget(pruning_ratio=0.4), FIT, finetune_epochs=1, prune=LEVELS[level])


@pytest.fixture(scope="module", params=LEVELS)
def level(request):
    return request.param


@pytest.fixture(scope="module")
def made(level, digits, tmp_path_factory):
    """(outcome, folder) of one level."""
    folder = tmp_path_factory.mktemp("level") / "out"
    return compress_with_controls(DigitsCNN, digits, config_of(level), folder, source="digits-cnn"), folder


def shapes(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def zeros_of(module):
    return {name: value == 0 for name, value in module.state_dict().items() if value.dim() > 1}


def test_the_budget_is_kept(level, made):
    outcome, _ = made
    stats = outcome.compressed.stats
    assert outcome.baseline.stats.num_parameters == 13_706
    if level == "2:4":
        # Half of all weights whose inputs come in fours; the others and the biases stay.
        assert stats.num_parameters == 13_706
        assert stats.num_nonzero <= 13_706 - (4608 + 8192 + 640) // 2
        for name in ("conv2", "fc1", "fc2"):
            weight = outcome.compressed.module.get_submodule(name).weight.detach().movedim(1, -1)
            assert bool(((weight.unflatten(-1, (-1, 4)) != 0).sum(-1) <= 2).all())
    else:
        assert 0.6 * TARGET < stats.num_parameters <= TARGET


def test_the_control_has_the_same_shapes_and_zeros_and_other_weights(level, made):
    outcome, _ = made
    longer, scratch, *_ = outcome.controls
    assert shapes(longer.module) == shapes(outcome.baseline.module)
    assert shapes(scratch.module) == shapes(outcome.compressed.module)
    # The plain network of equal capacity stands beside networks that are more than plain.
    wanted = [2, 1, 1, 3] if level in ("neurons", "learned", "2:4") else [2, 1, 1, 3, 1]
    assert [len(model.history) for model in outcome.models] == wanted
    if level == "2:4":
        own, other = zeros_of(outcome.compressed.module), zeros_of(scratch.module)
        for name in ("conv2.weight", "fc1.weight", "fc2.weight"):
            assert torch.equal(own[name], other[name])
            assert int(own[name].sum()) == own[name].numel() // 2
        assert int(zeros_of(longer.module)["fc1.weight"].sum()) < 100
    for (name, one), other in zip(
        outcome.compressed.module.named_parameters(), scratch.module.parameters(), strict=True
    ):
        assert not torch.equal(one, other), name


def test_nothing_but_plain_layers_is_left(made):
    outcome, _ = made
    for model in outcome.models:
        assert masks_of(model.module) == {}
        assert not [name for name in model.module.state_dict() if "parametrizations" in name]
        assert not model.module.training


@torch.no_grad()
def test_saved_and_loaded_again_it_computes_the_same(made, digits):
    outcome, folder = made
    x = digits.prepare(digits.validation.inputs[:8])
    kept = [folder / "controls" / model.role.removeprefix("control:") for model in outcome.controls]
    folders = (folder / "baseline", folder, *kept)
    for model, own in zip(outcome.models, folders, strict=True):
        again = load(own)
        assert torch.equal(again.module(x), model.module.eval()(x))
        assert again.plan == model.plan
        assert dataclasses.replace(again.stats, onnx_bytes=None) == model.stats
        assert again.role == model.role
    assert not list(folder.rglob("*.pt")) + list(folder.rglob("*.pkl"))


@torch.no_grad()
def test_onnx_runtime_computes_the_same(made, digits):
    outcome, folder = made
    x = digits.prepare(digits.validation.inputs[:6])
    for model in (load(folder), outcome.controls[1]):
        for opset in (13, 17):
            session = open_session(export_onnx(model.module, (1, 8, 8), opset).content)
            seen = run_onnx(session, x.numpy())
            assert np.allclose(seen, model.module(x).numpy(), atol=1e-4)


def test_a_second_call_makes_nothing(level, made, digits):
    _, folder = made
    calls = []
    compress_with_controls(
        DigitsCNN, digits, config_of(level), folder, source="digits-cnn", progress=lambda *call: calls.append(call)
    )
    assert calls == []


def test_the_record_leads_back_to_the_settings(level, made):
    _, folder = made
    recorded = json.loads(json.dumps(dict(read_record(folder)["recipe"])))["config"]
    config = CompressConfig.from_dict(recorded)
    assert config == config_of(level)
    assert config.level == ("neurons" if level == "learned" else level)


def test_the_plan_before_is_the_plan_after(level, made, digits):
    """What a dry run shows of the trained network is what was then done to it."""
    outcome, _ = made
    module = outcome.baseline.module
    before = {name: value.clone() for name, value in module.state_dict().items()}
    planned = plan_compression(DigitsCNN, digits, config_of(level), baseline=module)
    assert planned.plan == outcome.compressed.plan
    stats = outcome.compressed.stats
    assert planned.num_parameters == (13_706, stats.num_parameters)
    assert planned.num_macs == (outcome.baseline.stats.num_macs, stats.num_macs)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert list(module.state_dict()) == list(before)
    assert module(torch.zeros(1, 1, 8, 8)).requires_grad


def test_the_plan_says_what_each_layer_saves(level, made):
    """Parameters and multiply-accumulates of every layer that loses something (2:4 makes nothing smaller)."""
    outcome, _ = made
    changed = [line for line in outcome.compressed.plan.layers if line.after < line.before]
    assert changed
    for line in changed:
        assert 0.0 <= line.removed_score <= line.total_score
        if level == "2:4":
            assert (line.parameters_saved, line.macs_saved) == (0, 0)
        else:
            assert line.parameters_saved > 0, line
            assert line.macs_saved > 0, line
    if level in ("segments", "groups"):
        # Inputs of one layer are no business of another: here the layers' own savings add up.
        saved = 13_706 - outcome.compressed.stats.num_parameters
        assert sum(line.parameters_saved for line in changed) == saved


def newborn():
    torch.manual_seed(0)
    return DigitsCNN()


def batches(digits):
    return scoring_batches(digits, config_of("neurons"), config_of("neurons").prune)


def test_a_2_4_result_holds_its_zeros_until_it_is_baked(digits):
    pruned = prune_at_level(newborn(), batches(digits), Budget(pruning_ratio=0.9), LEVELS["2:4"])
    assert set(masks_of(pruned.module)) == {"conv2", "fc1", "fc2"}
    optimizer = torch.optim.SGD(pruned.module.parameters(), lr=0.1)
    inputs, targets = batches(digits)[0]
    torch.nn.functional.cross_entropy(pruned.module(inputs), targets).backward()
    optimizer.step()
    for name, mask in masks_of(pruned.module).items():
        assert int((pruned.module.get_submodule(name).weight != 0).sum()) <= int(mask.sum()) == mask.numel() // 2
    assert pruned.plan.edits == ()
    assert "conv1" in pruned.kept


@pytest.mark.parametrize("board", ["jetson-nano", "raspberry-pi-5"])
def test_a_board_without_2_4_is_refused_by_name(digits, board):
    config = TwoOfFourConfig(board=board)
    with pytest.raises(ConfigError, match=board):
        prune_at_level(newborn(), batches(digits), Budget(pruning_ratio=0.5), config)
    with pytest.raises(ConfigError, match=board):
        plan_at_level(newborn(), batches(digits), Budget(pruning_ratio=0.5), config, (1, 8, 8))


@pytest.mark.parametrize("level", ["segments", "groups", "branches"])
@pytest.mark.parametrize("budget", [Budget(macs_ratio=0.4), Budget(max_macs=20_000)])
def test_segments_and_groups_know_parameters_only(digits, level, budget):
    with pytest.raises(PruneError, match="give pruning_ratio or max_parameters"):
        prune_at_level(newborn(), batches(digits), budget, LEVELS[level])


@pytest.mark.parametrize("level", ["segments", "groups", "branches"])
def test_bytes_are_refused_with_what_to_give_instead(digits, level):
    """The message has to help whoever typed --max-onnx-bytes beside --level."""
    with pytest.raises((PruneError, ConfigError), match="max_onnx_bytes.*(pruning_ratio|max_parameters)"):
        prune_at_level(
            newborn(), batches(digits), Budget(max_onnx_bytes=30_000), LEVELS[level], num_bytes=lambda module: 60_000
        )


@pytest.mark.parametrize("level", ["neurons", "segments", "groups", "branches"])
def test_a_budget_out_of_reach_names_the_smallest(digits, level):
    module = newborn()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(PruneError, match=r"budget of 60 parameters cannot be reached.*of 13,706 stay"):
        prune_at_level(module, batches(digits), Budget(max_parameters=60), LEVELS[level])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_drop_of_the_metric_is_searched_at_other_levels_too(digits, tmp_path):
    config = dataclasses.replace(config_of("segments"), budget=Budget(max_drop=1.0), controls=False)
    outcome = compress_with_controls(DigitsCNN, digits, config, tmp_path / "out", source="digits-cnn")
    # Everything that can be reached keeps an accuracy that may fall to zero.
    tried = sorted(float(one.name) for one in (tmp_path / "out" / "search").iterdir())
    assert outcome.compressed.stats.num_parameters <= round(13_706 * (1 - tried[-1]))
    assert len(tried) >= 2

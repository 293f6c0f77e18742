"""Budgets through `prune`: parameters, multiply-accumulates, bytes of the real export."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edge_dendrite.compress.neurons.prune import plan_pruning, prune
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import Budget, LayerRule, MaskConfig, PruneConfig
from edge_dendrite.errors import ConfigError, EdgeDendriteError, PruneError
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.models.convnets import DigitsCNN, ResNet8

FINE = PruneConfig(min_units=1, round_to=1, num_rounds=2, num_batches=1)
COARSE = PruneConfig(num_rounds=2, num_batches=1)
PARAMETERS = 13_706


def newborn(factory=DigitsCNN):
    torch.manual_seed(0)
    return factory().eval()


def batches_of(digits):
    return [(digits.prepare(digits.train.inputs[:32]), digits.train.targets[:32])]


def stats_of(module, shape=(1, 8, 8)):
    return measure_stats(module, (torch.zeros(1, *shape),))


def test_what_the_network_costs_before():
    stats = stats_of(newborn())
    # 9 * 16 at 64 places, 9 * 16 * 32 at 16 places behind the first pooling, 128 * 64, 64 * 10.
    macs = 144 * 64 + 4608 * 16 + 8192 + 640
    assert (stats.num_parameters, stats.num_macs) == (PARAMETERS, macs)


@pytest.mark.parametrize("config", [FINE, COARSE], ids=["single units", "blocks of 8"])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.8])
def test_a_ratio_of_multiply_accumulates(digits, config, ratio):
    module = newborn()
    before = stats_of(module).num_macs
    planned = plan_pruning(module, batches_of(digits), Budget(macs_ratio=ratio), config)
    pruned = prune(module, batches_of(digits), Budget(macs_ratio=ratio), config)
    assert pruned.plan == planned.plan
    after = stats_of(pruned.module)
    assert planned.num_macs == (before, after.num_macs)
    assert planned.num_parameters == (PARAMETERS, after.num_parameters)
    assert after.num_macs <= round(before * (1 - ratio))
    # The largest unit is one of the first convolution: 9 * 64 and 9 * 32 * 16 of the second.
    room = round(before * (1 - ratio)) - after.num_macs
    assert room < (9 * 64 + 9 * 32 * 16) * (1 if config is FINE else 8)


@pytest.mark.parametrize("limit", [70_000, 30_000, 9_000])
def test_a_number_of_multiply_accumulates(digits, limit):
    pruned = prune(newborn(), batches_of(digits), Budget(max_macs=limit), FINE)
    assert 0.5 * limit < stats_of(pruned.module).num_macs <= limit


def test_multiply_accumulates_and_parameters_choose_otherwise(digits):
    """Half of the work is in the convolutions, half of the parameters in the linear layer."""
    by = {
        name: {
            line.layer: line.after / line.before
            for line in plan_pruning(newborn(), batches_of(digits), Budget(**{name: 0.5}), FINE).plan.layers
        }
        for name in ("pruning_ratio", "macs_ratio")
    }
    assert by["macs_ratio"]["fc1"] > by["pruning_ratio"]["fc1"]
    assert by["macs_ratio"]["conv1"] < by["pruning_ratio"]["conv1"]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(max_macs=100), "budget of 100 multiply-accumulates cannot be reached.*smallest widths .* of .* stay"),
        (Budget(macs_ratio=0.999), "multiply-accumulates cannot be reached"),
        (Budget(max_parameters=30), "budget of 30 parameters cannot be reached"),
        (Budget(max_onnx_bytes=500), "500 bytes"),
    ],
)
def test_impossible_budgets_say_what_could_be_had(digits, budget, message):
    module = newborn()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(PruneError, match=message) as caught:
        prune(module, batches_of(digits), budget, FINE, num_bytes=onnx_bytes)
    assert "larger budget" in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def onnx_bytes(module):
    return len(export_onnx(module, (1, 8, 8), 17).content)


@pytest.mark.parametrize("share", [0.9, 0.5, 0.2])
@pytest.mark.parametrize("config", [FINE, COARSE], ids=["single units", "blocks of 8"])
def test_the_exported_file_has_at_most_its_bytes(digits, share, config):
    module = newborn()
    limit = int(onnx_bytes(module) * share)
    pruned = prune(module, batches_of(digits), Budget(max_onnx_bytes=limit), config, num_bytes=onnx_bytes)
    size = onnx_bytes(pruned.module)
    assert size <= limit
    # What is left over is less than the largest block: units of the second convolution, with four columns behind.
    block = 1 if config is FINE else 8
    assert limit - size < 4 * block * (9 * 16 + 1 + 4 * 64) + 64


def test_the_exported_file_of_a_deeper_network():
    module = newborn(ResNet8)

    def size_of(one):
        return len(export_onnx(one, (3, 16, 16), 13).content)

    batches = [(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3]))]
    limit = size_of(module) // 3
    pruned = prune(module, batches, Budget(max_onnx_bytes=limit), COARSE, num_bytes=size_of)
    assert 0.7 * limit < size_of(pruned.module) <= limit


def test_a_file_that_is_larger_than_its_weights_say(digits):
    """What stands in a file beside the weights may grow when a network is cut; only an export tells."""

    def size_of(one):
        num_parameters = sum(parameter.numel() for parameter in one.parameters())
        return 4 * num_parameters + (3_000 if num_parameters < PARAMETERS else 0)

    limit = 4 * PARAMETERS // 2
    pruned = prune(newborn(), batches_of(digits), Budget(max_onnx_bytes=limit), FINE, num_bytes=size_of)
    assert 0.9 * limit < size_of(pruned.module) <= limit


def test_a_file_that_is_small_enough_is_left_alone(digits):
    module = newborn()
    budget = Budget(max_onnx_bytes=onnx_bytes(module))
    assert prune(module, batches_of(digits), budget, FINE, num_bytes=onnx_bytes).plan.edits == ()


def test_bytes_need_a_function_that_counts_them(digits):
    with pytest.raises(PruneError, match="max_onnx_bytes needs num_bytes"):
        prune(newborn(), batches_of(digits), Budget(max_onnx_bytes=10_000), FINE)


def test_a_drop_of_the_metric_is_not_for_prune_alone(digits):
    with pytest.raises(EdgeDendriteError, match="max_drop"):
        prune(newborn(), batches_of(digits), Budget(max_drop=0.01), FINE)


@pytest.mark.parametrize("budget", [Budget(max_macs=30_000), Budget(macs_ratio=0.5)])
def test_learned_masks_know_parameters_only(digits, budget):
    config = PruneConfig(score="learned", masks=MaskConfig(num_steps=2))
    with pytest.raises(PruneError, match="budgets of parameters only; give pruning_ratio or max_parameters"):
        prune(newborn(), batches_of(digits), budget, config)


@pytest.mark.parametrize("method", ["straight_through", "l0"])
def test_learned_masks_keep_the_budget_and_the_network(digits, method):
    module = newborn()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    config = PruneConfig(score="learned", round_to=1, masks=MaskConfig(method, num_steps=30))
    pruned = prune(module, batches_of(digits), Budget(pruning_ratio=0.5), config)
    assert 0.9 * PARAMETERS / 2 < stats_of(pruned.module).num_parameters <= PARAMETERS / 2
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    again = prune(module, batches_of(digits), Budget(pruning_ratio=0.5), config)
    assert again.plan == pruned.plan
    assert pruned.plan.layers[0].total_score <= 16, "scores are probabilities"


def test_learned_masks_take_the_units_that_nothing_reads(digits, trained):
    module = copy.deepcopy(trained)
    with torch.no_grad():
        module.fc2.weight[:, 8:24] = 0.0
    rules = (LayerRule("conv.", 0.0),)
    config = PruneConfig(score="learned", round_to=1, layers=rules, masks=MaskConfig(num_steps=80))
    batches = [(digits.prepare(digits.train.inputs[:256]), digits.train.targets[:256])]
    pruned = prune(module, batches, Budget(max_parameters=PARAMETERS - 16 * 139), config)
    kept = next(edit.keep for edit in pruned.plan.edits if getattr(edit, "tensor", "") == "fc2.weight")
    gone = set(range(64)) - set(kept)
    assert len(gone) == 16
    assert len(gone & set(range(8, 24))) >= 12, gone


def test_a_budget_is_one_and_in_range():
    with pytest.raises(ConfigError, match="exactly one"):
        Budget(macs_ratio=0.5, max_macs=10)
    with pytest.raises(ConfigError, match="macs_ratio"):
        Budget(macs_ratio=1.0)


def test_planned_totals_are_those_of_the_result_for_attention():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
            self.embed, self.body = nn.Linear(6, 16), nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
            self.head = nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.body(self.embed(x)).mean(1))

    module = newborn(Tokens)
    batches = [(torch.randn(4, 5, 6), torch.tensor([0, 1, 2, 0]))]
    planned = plan_pruning(module, batches, Budget(macs_ratio=0.4), PruneConfig(round_to=1, num_rounds=1))
    # Five tokens: embedding, four projections, two products, feed-forward; the head behind the mean.
    assert planned.num_macs[0] == 5 * (6 * 16 + 4 * 16**2 + 2 * 5 * 16 + 2 * 16 * 24) + 16 * 3
    widths = {line.layer.rpartition(".")[2]: line.after for line in planned.plan.layers}
    feed, heads = widths["linear1"], next(line.after for line in planned.plan.layers if "q_proj" in line.layer)
    inner = 4 * heads
    assert planned.num_macs[1] == 5 * (6 * 16 + 4 * 16 * inner + 2 * 5 * inner + 2 * 16 * feed) + 16 * 3
    assert planned.num_macs[1] <= 0.6 * planned.num_macs[0]

"""Groups that were learned in training: folded into plain layers, saved, counted, and trained on by the pipeline."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

from edge_dendrite.compress.connections.mask_folding import fold_masks, plan_folding
from edge_dendrite.compress.layers.group_masks import MaskedLayer
from edge_dendrite.compress.layers.sparse import GroupedLayer
from edge_dendrite.compress.levels import plan_at_level, prune_at_level
from edge_dendrite.compress.model import CompressedModel, load
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import Budget, FitConfig, GroupConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.train.fit import fit


class Net(nn.Module):
    """For the embedded digits: one layer that learns four groups, one that is dense."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = MaskedLayer(nn.Conv2d(16, 32, 3, stride=2, padding=1), 4)
        self.last = nn.Linear(32, 10)

    def forward(self, x):
        return self.last(self.second(self.first(x).relu()).relu().mean((2, 3)))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Net()


@pytest.fixture
def batches(digits):
    return [digits.read(digits.train, torch.arange(16))]


def test_folded_it_is_smaller_and_computes_the_same(network, batches):
    before = copy.deepcopy(network.state_dict())
    folded = fold_masks(network, batches)
    assert isinstance(folded.module.second, GroupedLayer)
    torch.testing.assert_close(folded.module(batches[0][0]), network(batches[0][0]))
    stats = measure_stats(folded.module, (batches[0][0][:1],))
    dense = 16 * 32 * 9
    assert stats.num_parameters == 16 * 10 + dense // 4 + 32 + 330
    (line,) = folded.plan.layers
    assert (line.before, line.after, line.parameters_saved) == (16, 4, dense * 3 // 4)
    assert line.macs_saved == line.parameters_saved * 16
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_masks_are_learned_by_fit_and_survive_folding_and_saving(network, batches, digits, tmp_path):
    before = network.second.inputs()
    history = fit(network, digits, FitConfig(epochs=4, batch_size=32, learning_rate=1e-2))
    assert history[-1]["val_metric"] > 0.5
    assert not torch.equal(network.second.inputs(), before), "nothing was chosen: the start is not what is best"
    folded = fold_masks(network, batches)
    model = CompressedModel.describe(
        folded.module, digits, name="n", source="mine:Net", role="compressed", plan=folded.plan
    )
    loaded = load(model.save(tmp_path / "folded"), model=Net)
    assert torch.equal(loaded.module(batches[0][0]), folded.module.eval()(batches[0][0]))


def test_the_plan_is_data(network, batches):
    folded = fold_masks(network, batches)
    plan = Plan.from_dict(json.loads(json.dumps(folded.plan.to_dict())))
    fresh = apply_plan_(Net(), plan)
    fresh.load_state_dict(folded.module.state_dict())
    assert torch.equal(fresh(batches[0][0]), folded.module(batches[0][0]))


def test_the_file_of_a_masked_network_chooses_nothing_at_run_time(network):
    import onnx

    exported = export_onnx(network.eval(), (1, 8, 8), 13)
    kinds = {node.op_type for node in onnx.load_model_from_string(exported.content).graph.node}
    assert "Conv" in kinds and not kinds & {"TopK", "ScatterElements", "Where"}


def test_the_level_of_groups_folds_masks_within_the_budget(network, batches):
    with pytest.raises(PruneError, match="the masks of this network choose its size"):
        prune_at_level(network, batches, Budget(pruning_ratio=0.99), GroupConfig())
    budget = Budget(pruning_ratio=0.1)
    pruned = prune_at_level(network, batches, budget, GroupConfig())
    assert pruned.plan.edits == plan_folding(network).edits
    planned = plan_at_level(network, batches, budget, GroupConfig(), (1, 8, 8))
    assert planned.num_parameters[0] > planned.num_parameters[1]


def test_a_network_without_masks_has_nothing_to_fold(batches):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert plan_folding(plain) == Plan()
    with pytest.raises(PruneError, match="no layer of this network has learned groups"):
        fold_masks(plain, batches)

from __future__ import annotations

import json

import pytest
import torch

from edge_dendrite.compress.comparison import controls
from edge_dendrite.compress.controls import dendrites_zeroed
from edge_dendrite.compress.layers.dendrites import DendriticLayer, has_dendrites, new_dendrites, set_dendrites_
from edge_dendrite.compress.model import load
from edge_dendrite.compress.pipeline import compress_with_controls
from edge_dendrite.compress.trials import Trial
from edge_dendrite.config import (
    BranchConfig,
    Budget,
    CompressConfig,
    FitConfig,
    GrowConfig,
    PruneConfig,
    RecipeConfig,
)
from edge_dendrite.data.source import load_data
from edge_dendrite.errors import ConfigError
from edge_dendrite.models.convnets import DigitsCNN
from edge_dendrite.paired import mcnemar, paired_difference
from edge_dendrite.roles import BASELINE, COMPRESSED, DENSE_LONGER, EQUAL_CAPACITY, FROM_SCRATCH, ZEROED

QUICK = RecipeConfig(
    branch_first=(2.0,),
    widths=(4,),
    trial_steps=5,
    trial_share=0.5,
    prune=PruneConfig(num_rounds=2, num_batches=2),
    branch=BranchConfig(num_batches=2, num_samples=512),
    grow=GrowConfig(num_batches=4, candidate_steps=20),
)
CONFIG = CompressConfig(
    Budget(max_parameters=3_000), FitConfig(epochs=2, batch_size=64), finetune_epochs=2, prune=QUICK
)


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("controls")
    return controls(DigitsCNN, data, CONFIG, out, seeds=(0, 3), source="digits-cnn"), out


def test_every_network_of_every_seed_is_tested(compared, data):
    comparison, out = compared
    roles = {one.role for one in comparison.tested}
    assert {BASELINE, COMPRESSED, DENSE_LONGER, FROM_SCRATCH} <= roles
    assert {one.seed for one in comparison.tested} == {0, 3}
    test = data.read_test()
    for one in comparison.tested:
        folder = out / f"seed-{one.seed}"
        place = {BASELINE: folder / "baseline", COMPRESSED: folder}.get(
            one.role, folder / "controls" / one.role.removeprefix("control:")
        )
        module = load(place).module
        right = module(data.prepare(test.inputs)).argmax(1) == test.targets
        assert one.metric == pytest.approx(float(right.double().mean()))
        assert one.num_parameters == sum(value.numel() for value in module.parameters())


def test_differences_are_paired_by_seed_and_sample(compared, data):
    comparison, out = compared
    of = {(one.role, one.seed): one.metric for one in comparison.tested}
    test = data.read_test()
    for one in comparison.against:
        # Only a network with dendrites has the control without them.
        seeds = tuple(seed for seed in (0, 3) if (one.role, seed) in of)
        wanted = paired_difference(*[[of[role, seed] for seed in seeds] for role in (COMPRESSED, one.role)])
        assert one.seeds == seeds and one.difference == wanted
    assert {one.role for one in comparison.against if one.seeds == (0, 3)} >= {BASELINE, DENSE_LONGER, FROM_SCRATCH}
    longer = next(one for one in comparison.against if one.role == DENSE_LONGER)
    for seed, seen in zip((0, 3), longer.tests, strict=True):
        modules = [load(out / f"seed-{seed}" / place).module for place in (".", "controls/dense-longer")]
        right = [(module(data.prepare(test.inputs)).argmax(1) == test.targets).numpy() for module in modules]
        assert seen == mcnemar(*right)


def test_the_result_is_kept_and_a_second_call_finds_all(compared, data):
    comparison, out = compared
    record = json.loads((out / "comparison.json").read_text("utf-8"))
    assert record == json.loads(json.dumps(comparison.to_dict()))

    def no_training(description, done, total):
        assert "training" not in description and "distil" not in description

    again = controls(DigitsCNN, data, CONFIG, out, seeds=(0, 3), source="digits-cnn", progress=no_training)
    assert again == comparison


def test_one_seed_judges_nothing(compared, data):
    _, out = compared
    one = controls(DigitsCNN, data, CONFIG, out, seeds=(0,), source="digits-cnn")
    assert {against.words for against in one.against} == {"one seed: not judged"}


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_that_are_none(data, tmp_path, seeds):
    with pytest.raises(ConfigError, match="give seeds that differ"):
        controls(DigitsCNN, data, CONFIG, tmp_path, seeds=seeds)


def test_the_recipe_in_the_pipeline_says_what_each_step_gained(compared, data):
    _, out = compared
    model = load(out / "seed-0")
    assert model.steps[0]["method"] == "as it came" and model.steps[2]["method"] == "fine-tune"
    assert model.steps[0]["metric"] == load(out / "seed-0" / "baseline").val_metric
    assert model.steps[-1]["metric"] == model.val_metric
    assert sum(value.numel() for value in model.module.parameters()) <= 3_000
    # The trial takes one of the two epochs.
    assert len(model.history) == 1


def test_branches_get_a_plain_network_of_equal_capacity(data, tmp_path):
    config = CompressConfig(
        Budget(max_parameters=9_000),
        FitConfig(epochs=1, batch_size=64),
        finetune_epochs=1,
        prune=BranchConfig(num_batches=2, num_samples=512),
    )
    outcome = compress_with_controls(DigitsCNN, data, config, tmp_path, source="digits-cnn")
    plain = next(one for one in outcome.controls if one.role == EQUAL_CAPACITY)
    sizes = [sum(value.numel() for value in one.module.parameters()) for one in (outcome.compressed, plain)]
    assert 0.9 * sizes[0] < sizes[1] <= sizes[0]
    assert {type(part) for part in plain.module.modules()} == {type(part) for part in DigitsCNN().modules()}
    assert outcome.missing == {} and not any(one.role == ZEROED for one in outcome.controls)


def test_a_control_that_cannot_be_made_says_why(data, tmp_path):
    rules = PruneConfig(min_units=64, num_batches=2)
    config = CompressConfig(
        Budget(max_parameters=9_000),
        FitConfig(epochs=1, batch_size=64),
        finetune_epochs=2,
        prune=RecipeConfig.from_dict({**QUICK.to_dict(), "prune": rules.to_dict(), "branch_first": [1.0]}),
    )
    outcome = compress_with_controls(DigitsCNN, data, config, tmp_path, source="digits-cnn")
    assert EQUAL_CAPACITY not in {one.role for one in outcome.controls}
    assert "cannot be reached" in outcome.missing[EQUAL_CAPACITY]


def test_zeroed_dendrites_add_nothing():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4)
    made = new_dendrites(layer, 2, "tanh")
    set_dendrites_(made, torch.randn(2, 6), torch.randn(2), torch.randn(4, 2))
    grown, x = torch.nn.Sequential(DendriticLayer(layer, [made])), torch.randn(5, 6)
    assert has_dendrites(grown) and not has_dendrites(torch.nn.Sequential(layer))
    zeroed = dendrites_zeroed(grown)
    assert torch.equal(zeroed(x), layer(x)) and not torch.allclose(grown(x), layer(x))


def test_grown_dendrites_get_the_control_without_them(data, tmp_path, monkeypatch):
    """The trial with dendrites wins: what its loss would be is not what is tested here."""
    train = Trial.train

    def won_by_dendrites(self, num_steps):
        train(self, num_steps)
        self.loss = 0.0 if self.method.endswith(", grow") else self.loss

    monkeypatch.setattr(Trial, "train", won_by_dendrites)
    config = CompressConfig(
        Budget(max_parameters=3_000),
        FitConfig(epochs=2, batch_size=64),
        finetune_epochs=2,
        prune=RecipeConfig.from_dict(
            {**QUICK.to_dict(), "dendrite_share": 0.4, "grow": {"mode": "gradient", "num_batches": 2}}
        ),
    )
    outcome = compress_with_controls(DigitsCNN, data, config, tmp_path, source="digits-cnn")
    assert outcome.compressed.steps[1]["method"].endswith(", grow")
    assert outcome.compressed.steps[-1]["method"] == "remove idle dendrites"
    grown, zeroed = load(tmp_path), next(one for one in outcome.controls if one.role == ZEROED)
    assert has_dendrites(grown.module)
    again = load(tmp_path / "controls" / "dendrites-zeroed").module
    x = data.prepare(data.validation.inputs[:8])
    assert torch.equal(again(x), dendrites_zeroed(grown.module)(x)) and zeroed.val_metric <= grown.val_metric

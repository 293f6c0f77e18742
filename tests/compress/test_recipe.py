from __future__ import annotations

import copy
import itertools
import json

import pytest
import torch

from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.compress.recipe import reduce, split_epochs
from edge_dendrite.config import BranchConfig, DistilConfig, FitConfig, PruneConfig, RecipeConfig
from edge_dendrite.data.source import load_data
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.models.convnets import DigitsCNN
from edge_dendrite.train.fit import Teacher, fit

QUICK = RecipeConfig(
    trial_steps=10,
    prune=PruneConfig(num_rounds=2, num_batches=2, round_to=4),
    branch=BranchConfig(num_batches=2, num_samples=512),
)


@pytest.fixture(scope="module")
def data():
    return load_data("digits")


@pytest.fixture(scope="module")
def trained(data):
    torch.manual_seed(0)
    module = DigitsCNN()
    fit(module, data, FitConfig(epochs=3, batch_size=64))
    return module


@pytest.fixture
def batches(data):
    return list(itertools.islice(data.batches(data.train, 64), 4))


def made(trained, data, batches, max_parameters, config=QUICK, epochs=4):
    calls = []

    def train(module, count):
        calls.append((sum(one.numel() for one in module.parameters()), count))
        fit(module, data, FitConfig(epochs=count, batch_size=64), teacher=Teacher(trained, DistilConfig()))

    teacher = Teacher(trained, DistilConfig())
    return reduce(trained, data, batches, max_parameters, epochs, teacher, train, config), calls


def test_every_cut_takes_the_method_with_the_smallest_loss_and_trains(trained, data, batches):
    before = copy.deepcopy(trained.state_dict())
    reduced, calls = made(trained, data, batches, 3_000)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert [step.epochs for step in reduced.steps] == [1, 3]
    assert calls == [(step.num_parameters, step.epochs) for step in reduced.steps]
    assert (
        reduced.steps[0].num_parameters <= round((13_706 * 3_000) ** 0.5) and reduced.steps[1].num_parameters <= 3_000
    )
    for step in reduced.steps:
        losses = {method: loss for method, loss in step.trials.items() if isinstance(loss, float)}
        assert set(step.trials) == {"prune", "branch", "branch, then prune"}
        assert step.method == min(losses, key=losses.get)
    plan = Plan.from_dict(json.loads(json.dumps(reduced.plan.to_dict())))
    fresh = apply_plan_(DigitsCNN(), plan).eval()
    fresh.load_state_dict(reduced.module.state_dict())
    x = data.prepare(data.validation.inputs[:4])
    assert torch.equal(fresh(x), reduced.module.eval()(x))


def test_a_second_run_is_the_same(trained, data, batches):
    one, two = (made(trained, data, batches, 5_000, epochs=2)[0] for _ in range(2))
    assert one.steps == two.steps and one.plan == two.plan
    states = one.module.state_dict(), two.module.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_method_that_cannot_says_why_and_another_is_taken(trained, data, batches):
    config = RecipeConfig(num_cuts=1, trial_steps=2, prune=QUICK.prune, branch=BranchConfig(layers=("nothing",)))
    reduced, _ = made(trained, data, batches, 6_000, config)
    assert reduced.steps[0].method == "prune"
    assert "no layer" in reduced.steps[0].trials["branch"]


def test_no_method_at_all(trained, data, batches):
    with pytest.raises(PruneError, match=r"no method reaches 50 parameters\. prune: .*branch: .*branch, then prune: "):
        made(trained, data, batches, 50, RecipeConfig(num_cuts=1, prune=QUICK.prune, branch=QUICK.branch))


@pytest.mark.parametrize(("total", "parts"), [(4, [1, 1, 2]), (6, [1, 1, 4]), (8, [2, 2, 4])])
def test_epochs_add_up(total, parts):
    assert split_epochs(total, 3) == parts
    with pytest.raises(PruneError, match="2 epochs are too few for 3 cuts"):
        split_epochs(2, 3)


def test_many_cuts():
    assert split_epochs(20, 11) == [1] * 10 + [10]
    assert split_epochs(101, 5)[-1] >= 50 and sum(split_epochs(101, 5)) == 101


def test_a_trial_that_diverges_is_no_winner(trained, data, batches):
    config = RecipeConfig(
        num_cuts=1, trial_steps=30, trial_learning_rate=1000.0, prune=QUICK.prune, branch=QUICK.branch
    )
    with pytest.raises(PruneError, match="the loss became (nan|inf)"):
        made(trained, data, batches, 6_000, config)


def test_settings():
    assert RecipeConfig.from_dict(json.loads(json.dumps(QUICK.to_dict()))) == QUICK
    for wrong in ({"num_cuts": 0}, {"trial_steps": 0}, {"prune": None}, {"branch": 3}, {"trial_learning_rate": 0.0}):
        with pytest.raises(ConfigError, match="RecipeConfig"):
            RecipeConfig(**wrong)

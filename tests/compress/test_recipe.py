from __future__ import annotations

import copy
import itertools
import json

import pytest
import torch

from edge_dendrite.compress import trials
from edge_dendrite.compress.layers.dendrites import DendriticLayer
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.compress.recipe import reduce
from edge_dendrite.compress.trials import Lessons, Trial, branch_first, candidates, first_of_each_shape
from edge_dendrite.config import BranchConfig, Budget, DistilConfig, FitConfig, GrowConfig, PruneConfig, RecipeConfig
from edge_dendrite.data.source import load_data
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.models.convnets import DigitsCNN
from edge_dendrite.train.evaluate import evaluate
from edge_dendrite.train.fit import Teacher, fit

QUICK = RecipeConfig(
    branch_first=(2.0,),
    widths=(4, 1),
    trial_steps=10,
    trial_share=0.5,
    prune=PruneConfig(num_rounds=2, num_batches=2),
    branch=BranchConfig(num_batches=2, num_samples=512),
    grow=GrowConfig(num_batches=4, candidate_steps=50),
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
    budget = Budget(max_parameters=max_parameters)
    return reduce(trained, data, batches, budget, epochs, teacher, train, config), calls


def number(reduced):
    return sum(one.numel() for one in reduced.module.parameters())


def check_plan(reduced, data):
    """A fresh network, the plan as JSON, and the weights are the network."""
    plan = Plan.from_dict(json.loads(json.dumps(reduced.plan.to_dict())))
    fresh = apply_plan_(DigitsCNN(), plan).eval()
    fresh.load_state_dict(reduced.module.state_dict())
    x = data.prepare(data.validation.inputs[:4])
    assert torch.equal(fresh(x), reduced.module(x))


def test_the_candidate_with_the_smallest_loss_is_trained_to_the_end(trained, data, batches):
    before = copy.deepcopy(trained.state_dict())
    reduced, calls = made(trained, data, batches, 3_000)
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    came, chosen, tuned = reduced.steps[:3]
    assert (came.method, came.num_parameters, came.epochs) == ("as it came", 13_706, 0)
    assert 2_000 < number(reduced) <= 3_000
    assert chosen.epochs == 30 / data.num_train_batches(64)
    losses = {method: loss for method, loss in chosen.trials.items() if isinstance(loss, float)}
    assert {one.words for one in candidates(QUICK)} <= set(chosen.trials)
    assert len(losses) >= 3 and chosen.method in losses
    # 30 steps of 64 samples are part of two epochs of 23: those are taken from the four.
    assert calls == [(chosen.num_parameters, 2)]
    assert tuned.epochs == 2
    assert reduced.steps[-1].metric == evaluate(reduced.module, data, data.validation)
    check_plan(reduced, data)


def test_a_second_run_is_the_same(trained, data, batches):
    one, two = (made(trained, data, batches, 5_000)[0] for _ in range(2))
    assert one.steps == two.steps and one.plan == two.plan
    states = one.module.state_dict(), two.module.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_dendrites_grow_in_the_room_that_is_left(trained, data, batches, monkeypatch):
    config = RecipeConfig.from_dict({**QUICK.to_dict(), "dendrite_share": 0.3, "branch_first": []})
    sizes = {}
    train = Trial.train

    def recorded(trial, num_steps):
        train(trial, num_steps)
        with_dendrites = [part for part in trial.module.modules() if isinstance(part, DendriticLayer)]
        size = sum(one.numel() for one in trial.module.parameters())
        sizes.setdefault(trial.method, []).append((size, len(with_dendrites)))

    monkeypatch.setattr(Trial, "train", recorded)
    reduced, _ = made(trained, data, batches, 3_000, config)
    grown = {words: loss for words, loss in reduced.steps[1].trials.items() if words.endswith(", grow")}
    assert len(grown) == 1 and isinstance(next(iter(grown.values())), float)
    (before, none), (after, some) = sizes[next(iter(grown))]
    assert none == 0 < some
    assert before <= 2_100 and before < after <= 3_000  # 0.7 of the budget, and the budget
    assert number(reduced) <= 3_000


def test_no_room_for_dendrites(trained, data, batches):
    config = RecipeConfig.from_dict({**QUICK.to_dict(), "dendrite_share": 0.0})
    reduced, _ = made(trained, data, batches, 3_000, config)
    assert not any(words.endswith("grow") for words in reduced.steps[1].trials)
    assert not any(isinstance(part, DendriticLayer) for part in reduced.module.modules())


def test_a_way_that_leads_nowhere_says_why_and_another_is_taken(trained, data, batches):
    config = RecipeConfig(
        branch_first=(2.0,), widths=(4,), trial_steps=2, prune=QUICK.prune, branch=BranchConfig(layers=("nothing",))
    )
    reduced, _ = made(trained, data, batches, 6_000, config)
    assert reduced.steps[1].method.startswith("prune to multiples of 4")
    assert "no layer" in reduced.steps[1].trials["branch to 2 times the budget, prune to multiples of 4"]


def test_no_way_at_all(trained, data, batches):
    with pytest.raises(PruneError, match=r"no way leads to 50 parameters\. prune to .*: .*branch to 2 times .*: "):
        made(trained, data, batches, 50)


def test_too_few_epochs(trained, data, batches):
    with pytest.raises(PruneError, match="the recipe needs 2 epochs or more"):
        made(trained, data, batches, 3_000, epochs=1)


def test_a_winner_of_long_trials_starts_again(trained, data, batches):
    config = RecipeConfig.from_dict({**QUICK.to_dict(), "trial_steps": 1000, "trial_share": 0.1})
    seen = []

    def train(module, count):
        seen.append((copy.deepcopy(module.state_dict()), count))

    teacher = Teacher(trained, DistilConfig())
    reduced = reduce(trained, data, batches, Budget(max_parameters=3_000), 4, teacher, train, config)
    chosen = reduced.steps[1]
    assert chosen.epochs == 0
    way = next(one for one in candidates(config) if one.words == chosen.method)
    untrained = way.make(trained, batches, 3_000, config).module.state_dict()
    (start, count) = seen[0]
    assert count == 4 and all(torch.equal(value, untrained[name]) for name, value in start.items())
    # As long as all of the training, so that what is chosen is good after it.
    assert max(loss for loss in chosen.trials.values() if isinstance(loss, float)) < 2.0
    assert chosen.trials[f"{chosen.method}, grow"].startswith("too few epochs")


def test_a_winner_of_short_trials_goes_on(trained, data, batches):
    reduced, calls = made(trained, data, batches, 3_000)
    assert reduced.steps[1].epochs == 3 * 10 / data.num_train_batches(64)
    assert calls[0][1] == 2


def test_a_budget_of_something_else(trained, data, batches):
    with pytest.raises(PruneError, match="the recipe looks for a number of parameters"):
        reduce(trained, data, batches, Budget(macs_ratio=0.5), 4, Teacher(trained, DistilConfig()), lambda *_: None)


def test_a_trial_that_diverges_is_no_winner(trained, data, batches):
    config = RecipeConfig.from_dict({**QUICK.to_dict(), "trial_steps": 30, "trial_learning_rate": 1000.0})
    with pytest.raises(PruneError, match="the loss became (nan|inf)"):
        made(trained, data, batches, 6_000, config, epochs=6)


def test_settings():
    assert RecipeConfig.from_dict(json.loads(json.dumps(QUICK.to_dict()))) == QUICK
    for wrong in (
        {"branch_first": (0.5,)},
        {"branch_first": 2.0},
        {"widths": ()},
        {"widths": (0,)},
        {"dendrite_share": 1.0},
        {"trial_steps": 0},
        {"prune": None},
        {"branch": 3},
        {"grow": PruneConfig()},
        {"trial_learning_rate": 0.0},
    ):
        with pytest.raises(ConfigError, match="RecipeConfig"):
            RecipeConfig(**wrong)


def test_one_key_of_a_method_leaves_the_recipe_its_others():
    assert RecipeConfig().grow.num_layers == RecipeConfig.from_dict({"grow": {"patience": 5}}).grow.num_layers == 4
    for wrong in ({"grow": {"max_parameters": 10}}, {"branch_first": [True]}):
        with pytest.raises(ConfigError, match="RecipeConfig"):
            RecipeConfig.from_dict(wrong)


def test_a_teacher_that_is_not_finite_is_named_once(trained, data, batches):
    broken = copy.deepcopy(trained)
    with torch.no_grad():
        broken.fc2.bias[0] = float("nan")
    with pytest.raises(PruneError, match="outputs on validation data are not finite"):
        made(broken, data, batches, 3_000)


def test_layers_without_fields_are_branched_to_the_budget_itself():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    batches = [(torch.randn(64, 64), torch.randint(10, (64,))) for _ in range(2)]
    way = next(one for one in candidates(QUICK) if one.first is not None)
    made = way.make(module, batches, 3_000, QUICK)
    assert {edit.kind for edit in made.plan.edits} == {"block_branches"}
    assert sum(one.numel() for one in made.module.parameters()) <= 3_000
    with pytest.raises(PruneError, match="cannot be reached by branching"):
        way.make(module, batches, 300, QUICK)


def test_branches_of_one_size_are_fitted_once_for_all_widths(trained, batches, monkeypatch):
    fitted = []

    def counted(*arguments):
        fitted.append(arguments[2])
        return branch_first(*arguments)

    monkeypatch.setattr(trials, "branch_first", counted)
    found, _ = first_of_each_shape(trained, candidates(QUICK), batches, 3_000, QUICK)
    assert [words for words in found if words.startswith("branch")]
    assert fitted == [2.0]


def test_trials_that_ask_the_teacher_anew_learn_the_same(trained, data, batches):
    """Where there are more data than the trials look at, or its outputs would take too much memory."""
    pruned = candidates(QUICK)[0].make(trained, batches, 3_000, QUICK)
    losses = []
    for is_known in (True, False):
        lessons = Lessons(data, Teacher(trained, DistilConfig()), "cpu", len(data.train) - (not is_known))
        assert (lessons.train is not None) == is_known and lessons.validation is not None
        if not is_known:
            lessons.validation = None
        trial = Trial("prune", copy.deepcopy(pruned), lessons, QUICK, "cpu")
        untrained = trial._validation_loss()
        trial.train(10)
        assert trial.loss < untrained
        losses.append(trial.loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)

"""The search for the smallest network that keeps its metric: the bisection by itself, and as a stage of compressing."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from torch import nn

from edge_dendrite.compress.model import CompressedModel, load
from edge_dendrite.compress.pipeline import compress_with_controls
from edge_dendrite.compress.search import smallest_that_keeps
from edge_dendrite.config import Budget, CompressConfig, FitConfig, PruneConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.errors import PruneError, TrainError
from edge_dendrite.models.convnets import DigitsCNN


class Tried:
    """Stands for pruning and training: a metric that is a function of the ratio, a largest ratio that can be had."""

    def __init__(self, metric, reachable=1.0):
        self.metric, self.reachable, self.ratios = metric, reachable, []

    def __call__(self, ratio):
        self.ratios.append(ratio)
        if ratio > self.reachable:
            raise PruneError(f"the budget of {ratio:.3f} cannot be reached")
        return CompressedModel(nn.Identity(), f"{ratio!r}", "x", "compressed", (1,), val_metric=self.metric(ratio))


def falling(ratio):
    return 1.0 - ratio**3


@pytest.mark.parametrize("least", [0.999, 0.99, 0.9, 0.7, 0.5, 0.2])
@pytest.mark.parametrize("num_trials", [1, 4, 6, 10])
def test_the_largest_ratio_that_passes_to_the_given_step(least, num_trials):
    tried = Tried(falling)
    limit, step = (1.0 - least) ** (1 / 3), 2.0**-num_trials
    if limit < step:
        with pytest.raises(PruneError, match="no pruned network keeps"):
            smallest_that_keeps(least, tried, num_trials)
        return
    found = smallest_that_keeps(least, tried, num_trials)
    assert limit - step < float(found.name) <= limit
    assert found.val_metric >= least
    assert len(tried.ratios) == len(set(tried.ratios)) == num_trials
    assert all(0.0 < ratio < 1.0 for ratio in tried.ratios)


@pytest.mark.parametrize("reachable", [0.9, 0.55, 0.3, 0.02])
def test_a_ratio_that_cannot_be_reached_is_too_large(reachable):
    tried = Tried(lambda ratio: 1.0, reachable)
    found = smallest_that_keeps(0.5, tried)
    assert reachable - 2**-6 < float(found.name) <= reachable
    assert [ratio for ratio in tried.ratios if ratio > reachable], "it was tried beyond"


def test_a_metric_that_is_just_kept_is_kept():
    found = smallest_that_keeps(0.5, Tried(lambda ratio: 0.5 if ratio <= 0.5 else 0.4999999), 1)
    assert float(found.name) == 0.5


def test_noise_never_lets_a_model_through_that_does_not_keep_the_metric():
    for seed in range(20):
        noise = torch.rand(200, generator=torch.Generator().manual_seed(seed)).tolist()

        def noisy(ratio, noise=noise):
            return falling(ratio) + 0.2 * (noise[round(ratio * 128)] - 0.5)

        tried = Tried(noisy)
        found = smallest_that_keeps(0.8, tried)
        passed = [ratio for ratio in tried.ratios if noisy(ratio) >= 0.8]
        assert float(found.name) == max(passed)


def test_a_metric_that_is_not_a_number_passes_for_none():
    with pytest.raises(PruneError, match="keeps 0.5 on validation data"):
        smallest_that_keeps(0.5, Tried(lambda ratio: float("nan")))


def test_when_none_passes_all_that_was_tried_is_told():
    tried = Tried(lambda ratio: 0.25 - ratio / 100, reachable=0.4)
    with pytest.raises(PruneError, match="no pruned network keeps 0.9 on validation data") as caught:
        smallest_that_keeps(0.9, tried, 4)
    message = str(caught.value)
    assert "50.0%: the budget of 0.500 cannot be reached" in message
    for ratio in tried.ratios[1:]:
        assert f"{ratio:.1%}: {0.25 - ratio / 100:.4g}" in message
    assert re.search("max_drop|epochs", message)


def test_other_errors_end_the_search():
    def broken(ratio):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        smallest_that_keeps(0.5, broken)


# The real search, on a part of the digits.

CONFIG = CompressConfig(
    Budget(max_drop=0.05),
    FitConfig(epochs=6, batch_size=64),
    finetune_epochs=1,
    prune=PruneConfig(num_rounds=2, num_batches=2),
    controls=False,
)


class Stop(Exception):
    pass


@pytest.fixture(scope="module")
def sealed(digits):
    """The digits, with test data that nobody may look at."""

    def never():
        raise AssertionError("test data were read")

    return dataclasses.replace(digits, read_test=never)


def searched(data: DataSet, folder, config=CONFIG, **settings):
    return compress_with_controls(DigitsCNN, data, config, folder, source="digits-cnn", **settings)


@pytest.fixture(scope="module")
def out(tmp_path_factory, sealed):
    folder = tmp_path_factory.mktemp("search") / "out"
    searched(sealed, folder)
    return folder


def trials(folder):
    """{ratio: model} of a search, in the order of their ratios."""
    return {float(one.name): load(one) for one in sorted((folder / "search").iterdir())}


def test_the_smallest_trial_that_keeps_the_metric_is_the_result(out):
    tried, result, baseline = trials(out), load(out), load(out / "baseline")
    least = baseline.val_metric - 0.05
    assert 0.5 in tried
    assert len(tried) <= 6
    passed = [ratio for ratio, model in tried.items() if model.val_metric >= least]
    assert 0 < len(passed) < 6, "neither of the two must be all that there is"
    best = tried[max(passed)]
    assert result.val_metric == best.val_metric >= least
    assert result.plan == best.plan
    assert (out / "model.safetensors").read_bytes() == (
        out / "search" / f"{max(passed):.6f}" / "model.safetensors"
    ).read_bytes()
    for ratio, model in tried.items():
        assert model.stats.num_parameters <= round(13_706 * (1 - ratio))
        assert len(model.history) == 1


def test_bisection_went_on_from_each_outcome(out):
    """Every trial lies between the largest ratio that passed and the smallest that did not, in the middle."""
    least = load(out / "baseline").val_metric - 0.05
    outcome = {ratio: model.val_metric >= least for ratio, model in trials(out).items()}
    low, high, seen = 0.0, 1.0, set()
    for _ in range(6):
        ratio = (low + high) / 2
        seen.add(ratio)
        # What cannot be reached has no folder.
        low, high = (ratio, high) if outcome.get(ratio, False) else (low, ratio)
    assert set(outcome) <= seen


def test_an_interrupted_search_goes_on_and_ends_bit_identical(out, sealed, tmp_path):
    folder = tmp_path / "out"
    trained = []

    def stopping_after(count):
        def progress(description, done, total):
            if description == "training distil" and done == 0:
                trained.append(description)
            if len(trained) == count and description == "training distil" and done > total / 2:
                raise Stop

        return progress

    for count in (1, 3):
        trained.clear()
        with pytest.raises(Stop):
            searched(sealed, folder, progress=stopping_after(count))
    kept = {path: path.stat().st_mtime_ns for path in (folder / "search").rglob("model.*")}
    assert len(kept) == 2 * 2, "two trials were finished before the third was stopped"
    assert not (folder / "model.json").exists()
    searched(sealed, folder)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "finished trials are reused"
    assert (folder / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert sorted(one.name for one in (folder / "search").iterdir()) == sorted(
        one.name for one in (out / "search").iterdir()
    )


def test_a_second_call_searches_nothing(out, sealed):
    calls = []
    searched(sealed, out, progress=lambda *call: calls.append(call))
    assert calls == []


def test_a_drop_that_nothing_keeps_leaves_the_baseline_and_no_result(sealed, tmp_path):
    config = dataclasses.replace(CONFIG, budget=Budget(max_drop=0.0), fit=FitConfig(epochs=1, batch_size=128))
    calls = []

    def falling(outputs, targets):
        """Worse at every evaluation: the baseline, which comes first, is the best."""
        calls.append(1)
        return -float(len(calls))

    with pytest.raises(PruneError, match="no pruned network keeps.*Allow a larger max_drop"):
        searched(sealed, tmp_path / "out", config, metric=falling)
    assert (tmp_path / "out" / "baseline" / "model.json").exists()
    assert not (tmp_path / "out" / "model.json").exists()


def test_what_was_tried_for_one_drop_serves_a_larger_one(sealed, tmp_path):
    """The advice of the error, followed in the same folder: nothing is trained again."""
    folder = tmp_path / "out"
    short = dataclasses.replace(CONFIG, fit=FitConfig(epochs=1, batch_size=128), controls=False)
    calls = []

    def falling(outputs, targets):
        """Worse at every evaluation."""
        calls.append(1)
        return -float(len(calls))

    with pytest.raises(PruneError, match="Allow a larger max_drop"):
        searched(sealed, folder, dataclasses.replace(short, budget=Budget(max_drop=0.0)), metric=falling)
    before = {path: path.stat().st_mtime_ns for path in (folder / "search").rglob("model.*")}
    made = searched(sealed, folder, dataclasses.replace(short, budget=Budget(max_drop=1e6)), metric=falling)
    assert made.compressed.val_metric < made.baseline.val_metric
    assert before and all(path.stat().st_mtime_ns == time for path, time in before.items() if path.exists())
    assert len({path.parent for path in before} & set((folder / "search").iterdir())) >= 1


def test_several_processes_are_refused(sealed, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainError, match="2 were launched"):
        searched(sealed, tmp_path / "out")
    assert not (tmp_path / "out").exists()

from __future__ import annotations

import pytest

from edge_dendrite.config import Budget, CompressConfig, DistilConfig, ExportConfig, FitConfig, PruneConfig
from edge_dendrite.errors import ConfigError


@pytest.mark.parametrize(
    "config",
    [
        Budget(pruning_ratio=0.5),
        Budget(max_parameters=100),
        PruneConfig(num_rounds=3),
        FitConfig(epochs=2, seed=7),
        DistilConfig(weight=0.25),
        ExportConfig(opset=13, target="jetson-nano"),
        CompressConfig(Budget(max_parameters=5), finetune_epochs=3),
    ],
    ids=lambda config: type(config).__name__,
)
def test_round_trip_through_a_dict(config):
    assert type(config).from_dict(config.to_dict()) == config


def test_unknown_key_names_the_nearest_one():
    with pytest.raises(ConfigError, match="unknown key 'epoch'; did you mean 'epochs'"):
        FitConfig.from_dict({"epoch": 3})
    with pytest.raises(ConfigError, match="FitConfig: unknown key 'learn_rate'"):
        CompressConfig.from_dict({"budget": {"pruning_ratio": 0.5}, "fit": {"learn_rate": 1}})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (FitConfig, {"epochs": 0}),
        (FitConfig, {"epochs": 2.5}),
        (FitConfig, {"epochs": True}),
        (FitConfig, {"learning_rate": 0}),
        (FitConfig, {"learning_rate": float("nan")}),
        (FitConfig, {"learning_rate": "fast"}),
        (DistilConfig, {"weight": 1.5}),
        (ExportConfig, {"opset": 12}),
        (ExportConfig, {"opset": 18}),
        (PruneConfig, {"round_to": 0}),
        (Budget, {"pruning_ratio": 1.0}),
        (Budget, {"pruning_ratio": -0.1}),
        (Budget, {"max_parameters": 0}),
        (Budget, {}),
        (Budget, {"pruning_ratio": 0.5, "max_parameters": 10}),
        (CompressConfig, {}),
    ],
)
def test_values_out_of_range_are_refused(kind, values):
    with pytest.raises(ConfigError, match=kind.__name__):
        kind.from_dict(values)


def test_budget_in_parameters():
    assert Budget(pruning_ratio=0.6).resolve(41_076) == 16_430
    assert Budget(max_parameters=2_000).resolve(41_076) == 2_000

from __future__ import annotations

import json

import pytest

from edge_dendrite.config import Budget, CompressConfig, DistilConfig, FitConfig
from edge_dendrite.errors import ConfigError


@pytest.mark.parametrize(
    "config",
    [
        FitConfig(ema_decay=0.99, precision="bfloat16", patience=3),
        DistilConfig(features=("a", ("b", "c.0")), feature_weight=0.5),
        CompressConfig(Budget(max_parameters=5), FitConfig(patience=2), distil=DistilConfig(features=(("a", "b"),))),
    ],
    ids=lambda config: type(config).__name__,
)
def test_round_trip_through_json(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_defaults_leave_the_records_of_before_as_they_were():
    """Checkpoints and recipes hold these dicts and are compared with them."""
    assert set(FitConfig().to_dict()) == {"epochs", "batch_size", "learning_rate", "weight_decay", "seed"}
    assert DistilConfig().to_dict() == {"temperature": 4.0, "weight": 0.7}
    assert FitConfig(patience=1).to_dict()["patience"] == 1


def test_features_may_be_names_or_pairs():
    assert DistilConfig(features=("a", ("b", "c"))).feature_pairs == (("a", "a"), ("b", "c"))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (FitConfig, {"ema_decay": 1.0}),
        (FitConfig, {"ema_decay": 0}),
        (FitConfig, {"precision": "float64"}),
        (FitConfig, {"patience": 0}),
        (DistilConfig, {"features": "conv1"}),
        (DistilConfig, {"features": ["a", 3]}),
        (DistilConfig, {"features": [["a", "b", "c"]]}),
        (DistilConfig, {"features": [""]}),
        (DistilConfig, {"feature_weight": 0}),
    ],
)
def test_values_out_of_range_are_refused(kind, values):
    with pytest.raises(ConfigError, match=kind.__name__):
        kind.from_dict(values)

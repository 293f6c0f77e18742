from __future__ import annotations

import json

import pytest

from edge_dendrite.config import (
    LEVELS,
    BranchConfig,
    Budget,
    CompressConfig,
    DistilConfig,
    ExportConfig,
    FitConfig,
    GroupConfig,
    GrowConfig,
    LayerRule,
    MaskConfig,
    PruneConfig,
    RecipeConfig,
    SegmentConfig,
    TwoOfFourConfig,
)
from edge_dendrite.errors import ConfigError
from edge_dendrite.inputs import compress_config


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
        (ExportConfig, {"opset": 24}),
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


RULES = (LayerRule("conv1", 0.0), LayerRule(r"blocks\.\d+\.fc", min_units=4, round_to=16))
OF_LEVEL = {
    "neurons": PruneConfig(
        score="learned",
        scope="type",
        num_rounds=3,
        normalised_units=True,
        layers=RULES,
        masks=MaskConfig(method="l0", num_steps=7, temperature=0.5, seed=4),
    ),
    "segments": SegmentConfig(segment_size=4, min_segments=2),
    "groups": GroupConfig(num_groups=4, round_to=8),
    "2:4": TwoOfFourConfig(board="jetson-orin-nano", score="taylor"),
    "branches": BranchConfig(num_branches=(1, 3), layers=("fc1", r"blocks\..*")),
    "recipe": RecipeConfig(branch_first=(3.0,), widths=(8, 1), prune=PruneConfig(score="l2"), grow=GrowConfig(seed=3)),
}


def test_every_level_is_tried_below():
    assert list(OF_LEVEL) == list(LEVELS)


@pytest.mark.parametrize("level", OF_LEVEL)
@pytest.mark.parametrize("budget", [Budget(max_macs=9), Budget(max_onnx_bytes=8), Budget(max_drop=0.0)])
def test_round_trip_of_every_level_through_json(level, budget):
    config = CompressConfig(
        budget,
        FitConfig(epochs=2, ema_decay=0.9, precision="bfloat16", patience=3),
        prune=OF_LEVEL[level],
        distil=DistilConfig(features=("a", ("b", "c"))),
        controls=False,
    )
    written = json.loads(json.dumps(config.to_dict()))
    again = CompressConfig.from_dict(written)
    assert again == config
    assert again.to_dict() == config.to_dict() == written
    assert again.level == written["prune"]["level"] == level
    assert type(again.prune) is type(OF_LEVEL[level])


@pytest.mark.parametrize(
    "config",
    [LayerRule("a", 0.5, 3, 8), LayerRule("a"), MaskConfig("l0", 5, train_weights=True), *OF_LEVEL.values()],
    ids=lambda config: type(config).__name__,
)
def test_round_trip_of_the_parts_through_json(config):
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_without_a_level_neurons_are_meant():
    values = {"budget": {"pruning_ratio": 0.5}, "prune": {"layers": [{"layer": "a", "pruning_ratio": 0.25}]}}
    assert CompressConfig.from_dict(values).prune == PruneConfig(layers=(LayerRule("a", 0.25),))


def prune_of(**values):
    return {"budget": {"pruning_ratio": 0.5}, "prune": values}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (prune_of(scor="l1"), "PruneConfig: unknown key 'scor'; did you mean 'score'"),
        (prune_of(level="segments", segment_siz=4), "SegmentConfig: unknown key 'segment_siz'; did you mean 'segment"),
        (prune_of(level="groups", num_group=4), "GroupConfig: unknown key 'num_group'; did you mean 'num_groups'"),
        (prune_of(level="2:4", bord="x"), "TwoOfFourConfig: unknown key 'bord'; did you mean 'board'"),
        (prune_of(level="segments", score="l1"), "SegmentConfig: unknown key 'score'"),
        (prune_of(level="neuron"), "unknown level 'neuron'.*neurons"),
        (prune_of(layers=[{"layer": "a", "min_unit": 3}]), "LayerRule: unknown key 'min_unit'; did you mean 'min_uni"),
        (prune_of(masks={"penalti": 3}), "MaskConfig: unknown key 'penalti'; did you mean 'penalty'"),
        ({"budget": {"max_mac": 3}}, "Budget: unknown key 'max_mac'; did you mean 'max_macs'"),
        ({"budget": {"pruning_ratio": 0.5}, "fine_tune_epochs": 3}, "did you mean 'finetune_epochs'"),
    ],
)
def test_unknown_keys_inside_name_their_class_and_the_nearest(values, message):
    with pytest.raises(ConfigError, match=message):
        CompressConfig.from_dict(values)


@pytest.mark.parametrize(
    "values",
    [
        prune_of(level=[]),
        prune_of(level=None),
        prune_of(layers="conv1"),
        prune_of(layers=["conv1"]),
        prune_of(layers=[{"pruning_ratio": 0.5}]),
        prune_of(layers=[{"layer": 3}]),
        prune_of(layers=[{"layer": "("}]),
        prune_of(layers=[{"layer": "a", "pruning_ratio": 1.0}]),
        prune_of(layers=[{"layer": "a", "min_units": 0}]),
        prune_of(layers=[{"layer": "a", "round_to": 1.5}]),
        prune_of(masks=3),
        prune_of(masks={"method": "hard"}),
        prune_of(masks={"open_probability": 1.0}),
        prune_of(masks={"train_weights": 1}),
        prune_of(masks={"num_steps": 0}),
        prune_of(score="tailor"),
        prune_of(score=[]),
        prune_of(scope="local"),
        prune_of(normalised_units="yes"),
        prune_of(num_rounds=0),
        prune_of(level="segments", segment_size=0),
        prune_of(level="groups", num_groups=1),
        prune_of(level="2:4", score="l1"),
        prune_of(level="2:4", board=3),
        {"budget": {"pruning_ratio": 0.5}, "prune": 3},
        {"budget": 0.5},
        {"budget": {"macs_ratio": 1.0}},
        {"budget": {"macs_ratio": True}},
        {"budget": {"max_macs": 1.5}},
        {"budget": {"max_onnx_bytes": 0}},
        {"budget": {"max_drop": -0.1}},
        {"budget": {"max_drop": float("nan")}},
        {"budget": {"macs_ratio": 0.5, "max_drop": 0.1}},
        {"budget": {"pruning_ratio": 0.5}, "fit": {"precision": "float64"}},
        {"budget": {"pruning_ratio": 0.5}, "fit": {"ema_decay": 1.0}},
        {"budget": {"pruning_ratio": 0.5}, "fit": {"patience": 0}},
        {"budget": {"pruning_ratio": 0.5}, "controls": "no"},
    ],
    ids=str,
)
def test_nothing_that_json_can_say_gets_through_unchecked(values):
    with pytest.raises(ConfigError):
        CompressConfig.from_dict(values)


def test_a_rule_may_be_an_expression_but_not_nonsense():
    with pytest.raises(ConfigError, match=r"'conv\[' is no regular expression"):
        LayerRule("conv[")
    with pytest.raises(ConfigError, match="the name of a layer"):
        LayerRule("")


def test_budgets_in_multiply_accumulates():
    assert Budget(macs_ratio=0.25).resolve(1000) == 750
    assert Budget(max_macs=300).resolve(1000) == 300
    costs = {Budget(**{key: 1 if key.startswith("max") else 0.5}).cost for key in ("macs_ratio", "max_macs")}
    assert costs == {"macs"}
    assert Budget(max_onnx_bytes=5).cost == Budget(max_drop=0.1).cost == Budget(max_parameters=5).cost == "parameters"


def test_what_was_recorded_before_a_setting_existed_stays_equal():
    """Records hold settings; a new one at its default must not make an old result another one."""
    assert not {"ema_decay", "precision", "patience"} & set(FitConfig().to_dict())
    assert FitConfig(patience=4).to_dict()["patience"] == 4
    assert not {"features", "feature_weight"} & set(DistilConfig().to_dict())


def test_a_budget_that_names_max_drop_without_one_is_no_search(tmp_path):
    file = tmp_path / "saved.json"
    file.write_text(json.dumps({"budget": Budget(pruning_ratio=0.5).to_dict()}), "utf-8")
    assert compress_config(file, "digits", {}, {}, {}, None).level == "neurons"
    file.write_text(json.dumps({"budget": {"max_drop": 0.01}}), "utf-8")
    assert compress_config(file, "digits", {}, {}, {}, None).level == "recipe"


def test_epochs_of_a_search_need_a_search():
    with pytest.raises(ConfigError, match="max_epochs is for the search"):
        CompressConfig(Budget(pruning_ratio=0.5), max_epochs=40)

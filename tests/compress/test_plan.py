from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from edge_dendrite.compress.plan import Cut, LayerChange, Plan, SetAttribute, apply_plan_
from edge_dendrite.errors import PruneError

PLAN = Plan(
    (
        Cut("a.weight", 0, (0, 2)),
        Cut("a.bias", 0, (0, 2)),
        SetAttribute("a", "out_features", 2),
        Cut("b.weight", 1, (0, 2)),
    ),
    (LayerChange("a", 3, 2, 0.25, 1.0),),
)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(3, 2)


def test_json_round_trip():
    assert Plan.from_dict(json.loads(json.dumps(PLAN.to_dict()))) == PLAN


def test_edits_take_the_right_slices():
    module, original = Two(), Two()
    module.load_state_dict(original.state_dict())
    apply_plan_(module, PLAN)
    assert torch.equal(module.a.weight, original.a.weight[[0, 2]])
    assert torch.equal(module.a.bias, original.a.bias[[0, 2]])
    assert torch.equal(module.b.weight, original.b.weight[:, [0, 2]])
    assert (module.a.out_features, module.a.weight.requires_grad) == (2, True)


def test_tied_tensors_stay_tied():
    module = Two()
    module.again = nn.Linear(4, 3)
    module.again.weight = module.a.weight
    apply_plan_(module, Plan((Cut("a.weight", 0, (1,)),)))
    assert module.again.weight is module.a.weight
    assert module.again.weight.shape == (1, 4)


@pytest.mark.parametrize(
    "edit",
    [
        Cut("c.weight", 0, (0,)),
        Cut("a.nothing", 0, (0,)),
        Cut("a.weight", 2, (0,)),
        Cut("a.weight", -1, (0,)),
        Cut("a.weight", 0, (3,)),
        Cut("a.weight", 0, (-1,)),
        Cut("a.weight", 0, ()),
        Cut("a.weight", 0, (1, 0)),
        Cut("a.weight", 0, (0, 0)),
        SetAttribute("c", "out_features", 2),
        SetAttribute("a", "forward", 2),
        SetAttribute("a", "training", 2),
    ],
)
def test_a_plan_that_does_not_fit_changes_nothing(edit):
    module = Two()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(PruneError, match="the plan"):
        apply_plan_(module, Plan((Cut("b.weight", 1, (0,)), edit)))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    "damage",
    [
        lambda plan: plan.update(schema="other"),
        lambda plan: plan.update(version=99),
        lambda plan: plan.pop("edits"),
        lambda plan: plan["edits"].append({"edit": "run", "code": "1"}),
        lambda plan: plan["edits"].append({"edit": "cut", "tensor": "a", "dim": 0, "keep": ["x"]}),
        lambda plan: plan["edits"].append({"edit": "set", "module": "a", "attribute": "__class__", "value": 1}),
        lambda plan: plan["edits"].append({"edit": "set", "module": "a", "attribute": "x", "value": "text"}),
        lambda plan: plan["edits"].append({"edit": "cut", "unknown": 1}),
        lambda plan: plan["layers"].append({"layer": "a"}),
    ],
)
def test_what_is_no_plan_is_refused(damage):
    values = PLAN.to_dict()
    damage(values)
    with pytest.raises(PruneError, match="not a plan"):
        Plan.from_dict(values)

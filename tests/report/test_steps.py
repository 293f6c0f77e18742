"""What each step gained: from the recipe's record, from a plain one, from damaged ones; its chart and its table."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ElementTree

import pytest

from edge_dendrite.report.charts.steps import MAX_STEPS, step_chart
from edge_dendrite.report.markdown import render_markdown
from edge_dendrite.report.pictures import draw_pictures
from edge_dendrite.report.rows import build_report
from edge_dendrite.report.steps import Step, read_steps, step_cells

STEPS = [
    {"method": "as it came", "num_parameters": 13706, "epochs": 0, "metric": 0.99, "trials": {}},
    {
        "method": "branch, prune",
        "num_parameters": 3388,
        "epochs": 4.4,
        "metric": 0.96,
        "trials": {"branch, prune": 0.5, "prune": 1.25, "grow": "it diverged"},
    },
    {"method": "fine-tune", "num_parameters": 3388, "epochs": 25, "metric": 0.985, "trials": {}},
]
BASELINE = {"role": "baseline", "stats": {"num_parameters": 13706}, "val_metric": 0.99, "history": [{}] * 40}


def compressed(**more):
    config = {"prune": {"level": "neurons"}, "fit": {"seed": 3}}
    record = {"role": "compressed", "stats": {"num_parameters": 4890}, "val_metric": 0.98, "history": [{}] * 30}
    return {**record, "recipe": {"config": config}, **copy.deepcopy(more)}


def test_steps_of_a_recipe():
    steps = read_steps([compressed(steps=STEPS), BASELINE])
    assert [(step.method, step.num_parameters, step.val_metric) for step in steps] == [
        ("as it came", 13706, 0.99),
        ("branch, prune", 3388, 0.96),
        ("fine-tune", 3388, 0.985),
    ]
    assert steps[1].trials == {"branch, prune": 0.5, "prune": 1.25, "grow": "it diverged"}
    assert [cells[4] for cells in step_cells(steps)] == ["-", "-0.0300", "+0.0250"]


def test_a_plain_pruning_has_before_and_after():
    steps = read_steps([compressed(), BASELINE])
    assert steps == (
        Step("dense, trained", 13706, 40, 0.99, {}),
        Step("neurons, then distilled", 4890, 30, 0.98, {}),
    )


@pytest.mark.parametrize(
    "records", [[], [BASELINE], [compressed()], [{"role": "compressed"}], [compressed(val_metric=None), BASELINE]]
)
def test_a_step_alone_is_no_gain(records):
    assert read_steps(records) == ()


@pytest.mark.parametrize(
    "wrong", [None, 3, "x", [3], [{}], [{"method": "x"}], [{**STEPS[0], "metric": float("nan")}] * 2]
)
def test_steps_that_make_no_sense_are_left_out(wrong):
    assert all(step.method for step in read_steps([compressed(steps=wrong), BASELINE]))


def test_the_chart_has_every_figure_and_names_its_points():
    svg = step_chart(read_steps([compressed(steps=STEPS)]))
    root = ElementTree.fromstring(svg)
    texts = {"".join(one.itertext()) for one in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"13.7\u00a0k", "3,388", "0.9900", "\u22120.0300", "+0.0250", "branch, prune"} <= {
        text.replace(" k", "\u00a0k") for text in texts
    }
    tips = [one.get("data-tip") for one in root.iter() if one.get("data-tip")]
    assert "3,388 parameters, -75.3 %" in tips
    assert "fine-tune: 0.9850, +0.0250 by this step" in tips


def test_one_step_has_no_chart_and_many_have_a_bounded_one():
    step = Step("x" * 300, 0, 0.0, 0.5, {})
    assert step_chart([step]) is None
    svg = step_chart([step] * 40)
    assert len(svg) < 100_000
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label").startswith(f"{MAX_STEPS} steps")


def test_the_report_draws_them_and_says_what_was_tried(study):
    report = build_report(study, title="t", records=[compressed(steps=STEPS), BASELINE])
    (picture,) = [one for one in draw_pictures(report) if one.title == "What each step gained"]
    assert "best first: branch, prune 0.5; prune 1.25." in picture.caption
    assert "1 candidate had no result" in picture.caption
    assert report.to_dict()["steps"][1]["trials"]["grow"] == "it diverged"
    text = render_markdown(report)
    assert "| branch, prune | 3,388 | 4.4 | 0.9600 | -0.0300 |" in text


def test_hostile_methods_stay_text(study):
    steps = copy.deepcopy(STEPS)
    steps[1]["method"] = steps[1]["trials"]["<b>"] = "<script>alert(1)</script>|`x`\x1b[31m"
    report = build_report(study, title="t", records=[compressed(steps=steps)])
    (picture,) = [one for one in draw_pictures(report) if one.title == "What each step gained"]
    assert "<script" not in picture.svg
    assert r"| \<script\>alert(1)\</script\>\|\`x\` \[31m | 3,388 |" in render_markdown(report)
    assert "\x1b" not in picture.svg + picture.caption

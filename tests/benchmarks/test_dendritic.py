"""The arms of the study of the dendritic ResNet-18, with its real networks on a few images."""

from __future__ import annotations

from dataclasses import replace

import onnx
import pytest
import torch

from edge_dendrite.config import FitConfig, GateConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.progress import silent
from scripts.benchmarks.rows import read_rows
from scripts.benchmarks.studies import DENDRITIC, DENSE, NARROW, PLAIN_GROUPS, find_study
from scripts.benchmarks.summary import Summary
from scripts.benchmarks.table import markdown
from scripts.benchmarks.train import cases, onnx_path, seed_folder, train_missing

STUDY = find_study("neuroshrink-cifar10-jpeg")
# The wide network takes a second for each batch on a CPU; nothing here needs it but the rows, so a small one stands in.
QUICK = replace(STUDY, model="resnet8", fit=FitConfig(epochs=2, batch_size=16), gates=GateConfig(target=0.3, warm_up=2))
ARMS = (DENSE, DENDRITIC, PLAIN_GROUPS, NARROW)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Folder of the rows and networks of all arms."""
    folder = tmp_path_factory.mktemp("dendritic")
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(96) % 10
    inputs = torch.randn(96, 3, 32, 32, generator=generator) + targets.view(-1, 1, 1, 1) / 3
    data = DataSet.from_tensors("images", train=(inputs, targets), test=(inputs[:20], targets[:20]))
    wanted = list(cases(QUICK, [0], ARMS, QUICK.budgets))
    list(train_missing(QUICK, wanted, data, folder / "rows.jsonl", folder / "work", silent))
    return folder


def test_every_arm_trains_the_same_epochs_from_its_own_weights(rows):
    made = {row["arm"]: row for row in read_rows(rows / "rows.jsonl")}
    assert tuple(made) == ARMS
    assert {row["epochs"] for row in made.values()} == {2}
    assert [made[arm]["num_parameters"] for arm in (PLAIN_GROUPS, NARROW)] == [171_346, 176_402]


def test_the_dendritic_row_says_what_its_gates_do_and_ships_those_that_decide(rows):
    (row,) = [one for one in read_rows(rows / "rows.jsonl") if one["arm"] == DENDRITIC]
    assert list(row["open_rates"]) == ["blocks.0", "blocks.1", "blocks.3", "blocks.5", "blocks.7"]
    assert row["gates"]["target"] == 0.3
    assert row["num_parameters"] <= 173_223
    deciding = [name for name, rate in row["open_rates"].items() if 0.01 <= rate <= 0.99]
    (case,) = cases(QUICK, [0], [DENDRITIC], QUICK.budgets)
    graph = onnx.load(onnx_path(seed_folder(rows / "work", QUICK, 0), case)).graph
    assert sum(node.op_type == "If" for node in graph.node) == len(deciding)


def test_the_table_compares_it_with_both_controls_and_names_no_teacher(rows):
    text = markdown(Summary(QUICK, read_rows(rows / "rows.jsonl")))
    assert "Every network trains 2 epochs" in text and "as its teacher" not in text
    assert "own shape from scratch yet" not in text and "better one of ours" not in text
    for other in (PLAIN_GROUPS, NARROW, DENSE):
        assert f"| `{DENDRITIC}` | `{other}` |" in text


def test_the_real_study_is_one_of_the_dense_network():
    assert (STUDY.model, STUDY.data, STUDY.more_epochs) == ("resnet18", "cifar10", 0)
    assert [case.arm for case in cases(STUDY, [0], ARMS, STUDY.budgets)] == list(ARMS)

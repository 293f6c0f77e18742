"""Latency rows: what is timed against what, and when nothing may be written."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.progress import silent
from scripts.benchmarks import latency as latency_module
from scripts.benchmarks.job import Case
from scripts.benchmarks.latency import OtherLoad, Protocol, measure_missing
from scripts.benchmarks.rows import append_row, read_rows
from scripts.benchmarks.studies import find_study
from scripts.benchmarks.train import onnx_path, seed_folder

STUDY = find_study("pruning-digits")
QUICK = Protocol(num_rounds=7, num_calls=5, num_warmup_calls=1, max_other_load=1.0)


def network(width: int) -> bytes:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.Flatten())
    return export_onnx(layers, (1, 16, 16), 17).content


@pytest.fixture
def trained(tmp_path):
    """Rows and files of three networks; the dense one does 1,000 times the work of the cut one."""
    for case, width in [(Case("dense", None, 0), 96), (Case("edge-dendrite", 0.6, 0), 3)]:
        append_row(tmp_path / "rows.jsonl", row(case))
        path = onnx_path(seed_folder(tmp_path / "work", STUDY, 0), case)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(network(width))
    return tmp_path


def row(case):
    return {"study": STUDY.name, "kind": "trained", "arm": case.arm, "budget": case.budget, "seed": case.seed}


def measure(folder, protocol=QUICK, seed=0):
    return measure_missing(STUDY, seed, folder / "rows.jsonl", folder / "work", protocol, silent)


def test_a_row_for_each_network_with_its_ratio_to_the_dense_one(trained):
    rows = {one["arm"]: one for one in measure(trained)}
    assert list(rows) == ["dense", "edge-dendrite"]
    assert rows["dense"]["ratio_to_dense"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    ours = rows["edge-dendrite"]
    ratios = sorted(
        one / other for one, other in zip(ours["round_medians_s"], ours["dense_round_medians_s"], strict=True)
    )
    assert len(ratios) == 7
    assert ours["ratio_to_dense"] == {"value": ratios[3], "low": ratios[0], "high": ratios[6]}
    assert ours["ratio_to_dense"]["value"] < 1
    assert ours["num_calls"] == 5 and 0 <= ours["other_load"] <= 1
    assert len(read_rows(trained / "rows.jsonl")) == 4


def test_what_is_measured_is_not_measured_again(trained):
    measure(trained)
    before = (trained / "rows.jsonl").read_bytes()
    assert measure(trained) == []
    assert measure(trained, seed=1) == []
    assert (trained / "rows.jsonl").read_bytes() == before
    late = Case("from-scratch", 0.6, 0)
    append_row(trained / "rows.jsonl", row(late))
    onnx_path(seed_folder(trained / "work", STUDY, 0), late).write_bytes(network(3))
    assert [one["arm"] for one in measure(trained)] == ["from-scratch"]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_on_a_busy_machine_nothing_is_written(trained, monkeypatch, when):
    shares = iter([0.5] if when == "before" else [0.0, 0.5])
    monkeypatch.setattr(OtherLoad, "share", lambda self: next(shares))
    before = (trained / "rows.jsonl").read_bytes()
    with pytest.raises(ValueError, match="other programs take 50 % of all processor time"):
        measure(trained, Protocol(num_rounds=6, num_calls=2, num_warmup_calls=1))
    assert (trained / "rows.jsonl").read_bytes() == before


def test_the_load_of_others_is_what_this_process_did_not_use(monkeypatch):
    seconds = iter([100.0, 100.0 + 3.0 * (os.cpu_count() or 1)])
    monkeypatch.setattr(latency_module.board, "busy_seconds", lambda: next(seconds))
    monkeypatch.setattr(latency_module.time, "process_time", iter([1.0, 2.0]).__next__)
    monkeypatch.setattr(latency_module.time, "perf_counter", iter([10.0, 20.0]).__next__)
    cpus = os.cpu_count() or 1
    assert OtherLoad().share() == pytest.approx((3.0 * cpus - 1.0) / (10.0 * cpus))


def test_a_missing_network_is_named(trained):
    onnx_path(seed_folder(trained / "work", STUDY, 0), Case("edge-dendrite", 0.6, 0)).unlink()
    with pytest.raises(ValueError, match=r"edge-dendrite-0\.6\.onnx: is not there; remove its row"):
        measure(trained)
